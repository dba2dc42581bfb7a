"""`tiltyard users create-admin`: the first administrator, made on the database itself."""

import asyncio
from pathlib import Path

import click

from tiltyard.cli import options
from tiltyard.cli.access.secret_input import secret, secret_file
from tiltyard_registry.cli.migrate import upgrade
from tiltyard_registry.rules.access import Principal
from tiltyard_registry.settings import RegistrySettings

_OPERATOR = Principal("system", is_admin=True)
_TOKEN_DAYS = 90


@click.command("create-admin")
@click.argument("name")
@options.of(RegistrySettings, "database_url", "data_dir", to="settings")
@secret_file("--password-file", "password")
@options.option("--token", is_flag=True, help="Make a service with a token, which is printed once, and no password.")
def create_admin(settings: RegistrySettings, name: str, password_file: Path | None, token: bool) -> None:
    """Make NAME an administrator.

    Needs the database and no server: whoever can write there may. An embedded database is made when it is missing.
    """
    from tiltyard_registry.auth.password_hashes import hash_of
    from tiltyard_registry.rules.principals.passwords import check_new_password

    hash = None if token else hash_of(check_new_password(secret(password_file, "Password", twice=True), name))
    if settings.is_embedded:
        upgrade(settings)
    text = asyncio.run(_create(settings, name, hash))
    click.echo(f"'{name}' is an administrator." if text is None else text)


async def _create(settings: RegistrySettings, name: str, hash: str | None) -> str | None:
    """The text of the administrator's token, if it was made one."""
    from tiltyard_registry.store import migrations
    from tiltyard_registry.store.principals import passwords, principals, tokens
    from tiltyard_registry.store.sql.database import Database

    database = Database(settings.resolved_database_url)
    try:
        async with database.read() as session:
            if not await migrations.is_current(session):
                raise click.ClickException("The database does not have the schema yet. Run 'tiltyard migrate' first.")
        async with database.write() as session:
            kind = "user" if hash else "service"
            await principals.create_principal(session, _OPERATOR, kind, name, is_admin=True)
            if hash is not None:
                await passwords.set_password(session, _OPERATOR, name, hash)
                return None
            days = min(_TOKEN_DAYS, settings.token_max_days)
            made = await tokens.create_token(
                session,
                _OPERATOR,
                "made by create-admin",
                expires_in_days=days,
                most_days=days,
                scopes=("admin",),
                principal=name,
            )
            return made.text
    finally:
        await database.close()
