"""Users as MLflow's client for administrators asks about them. Paths: /api/2.0/mlflow/users…"""

from litestar.datastructures import State

from tiltyard.errors import BadRequest, InvalidParameterValue
from tiltyard.wire.mlflow import auth
from tiltyard.wire.tags import Text
from tiltyard_registry.api.framework.routes import delete, get, patch, post
from tiltyard_registry.api.mlflow.roles import told_role
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.rules.principals.names import PrincipalKind
from tiltyard_registry.store.principals import passwords, principals, roles
from tiltyard_registry.store.principals.principal_rows import PrincipalRow
from tiltyard_registry.store.sql.database import Database
from tiltyard_registry.store.sql.session import Session


@post("/users/create")
async def create_user(
    database: Database, who: Principal, state: State, request_id: str | None, data: auth.CreateUser
) -> auth.UserReply:
    """Makes a user known, with a password."""
    # Before the transaction, which would be open for as long as that takes.
    hash = await passwords.new_hash(database, state.password_hashes, who, data.username, data.password, is_new=True)
    async with database.write(request_id=request_id) as session:
        row = await principals.create_principal(session, who, PrincipalKind.USER, data.username)
        await passwords.set_password(session, who, data.username, hash)
    return auth.UserReply(_told(row))


@get("/users/get")
async def get_user(read_session: Session, who: Principal, username: Text) -> auth.UserReply:
    """One user: oneself, or, for administrators, anybody."""
    return auth.UserReply(_told(await _find(read_session, who, username)))


@get("/users/list")
async def list_users(read_session: Session, who: Principal) -> auth.UsersReply:
    """Every user with their roles; who is no administrator finds themselves."""
    rows = await principals.list_principals(read_session, who, kind=PrincipalKind.USER)
    of_users = await roles.list_roles_of(read_session, rows)
    return auth.UsersReply(
        [
            auth.UserWithRoles(row["id"], row["name"], row["is_admin"], [told_role(one) for one in of_users[row["id"]]])
            for row in rows
        ]
    )


@get("/users/current")
async def get_current_user(who: Principal) -> auth.CurrentUserReply:
    """Who asks, and whether it is by a password."""
    return auth.CurrentUserReply(auth.User(who.id or 0, who.name, who.is_admin), who.via == "basic")


@patch("/users/update-password")
async def update_password(
    database: Database, who: Principal, state: State, request_id: str | None, data: auth.UpdatePassword
) -> None:
    """Gives a user a new password."""
    if data.username == who.name and data.password == data.current_password:
        raise InvalidParameterValue("New password must differ from the current password.")
    hash = await passwords.new_hash(
        database, state.password_hashes, who, data.username, data.password, data.current_password
    )
    async with database.write(request_id=request_id) as session:
        await passwords.set_password(session, who, data.username, hash)


@patch("/users/update-admin")
async def update_admin(session: Session, who: Principal, data: auth.UpdateAdmin) -> None:
    """Makes a user an administrator, or one like others."""
    await principals.update_principal(session, who, data.username, kind=PrincipalKind.USER, is_admin=data.is_admin)


@delete("/users/delete")
async def delete_user(session: Session, who: Principal, data: auth.Username) -> None:
    """Removes a user who owns nothing."""
    if who.is_admin and data.username == who.name:
        raise BadRequest("Users cannot delete their own account. Ask another administrator to delete this user.")
    await principals.delete_principal(session, who, data.username, kind=PrincipalKind.USER)


async def _find(session: Session, who: Principal, name: str) -> PrincipalRow:
    return await principals.get_principal(session, who, name, kind=PrincipalKind.USER)


def _told(row: PrincipalRow) -> auth.User:
    return auth.User(row["id"], row["name"], row["is_admin"])
