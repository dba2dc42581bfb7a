"""MLflow's client for administrators: users, what they may do, and roles."""

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import pytest

from tests.fixtures.services import Service

PACKAGE = "mlflow.server.auth"
PASSWORD = "correct horse battery"


@pytest.fixture
def admin(mlflow: ModuleType, shared_registry: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client. Its package is taken without what it does when imported: that wants a server's extras."""
    assert mlflow
    if PACKAGE not in sys.modules:
        spec = find_spec(PACKAGE)
        assert spec is not None
        monkeypatch.setitem(sys.modules, PACKAGE, module_from_spec(spec))
    module = import_module(f"{PACKAGE}.client")
    yield module.AuthServiceClient(shared_registry.url)
    for name in [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]:
        monkeypatch.delitem(sys.modules, name)


def test_users_are_made_changed_and_removed(admin: Any, mlflow: ModuleType, unique: str) -> None:
    """What the client asks about users is answered as it reads it."""
    made = admin.create_user(unique, PASSWORD)
    assert (made.username, made.is_admin) == (unique, False)
    assert admin.get_user(unique).id == made.id
    # Made an administrator, they would be the last one, and stay it.
    admin.update_user_admin(unique, False)
    assert not admin.get_user(unique).is_admin
    admin.update_user_password(unique, "another long one")
    with pytest.raises(mlflow.MlflowException, match="already exists"):
        admin.create_user(unique, PASSWORD)
    admin.delete_user(unique)
    with pytest.raises(mlflow.MlflowException, match="does not exist"):
        admin.get_user(unique)


def test_what_a_user_may_do_is_granted_told_and_taken_back(
    admin: Any, mlflow: ModuleType, client: Any, unique: str
) -> None:
    """A level takes the place of the one before; READ and USE are one."""
    admin.create_user(unique, PASSWORD)
    experiment = client.create_experiment(unique)
    model = client.create_registered_model(f"{unique}.clinic.tumor").name

    def told(*resource: str) -> tuple[bool, str]:
        found = admin.get_user_permission(unique, *resource)
        return found.allowed, found.permission

    for resource in (("experiment", experiment), ("registered_model", model)):
        assert told(*resource) == (False, "NO_PERMISSIONS")
        for level, shown in (("READ", "READ"), ("MANAGE", "MANAGE"), ("EDIT", "EDIT"), ("USE", "READ")):
            admin.grant_user_permission(unique, *resource, level)
            assert told(*resource) == (True, shown)
        admin.revoke_user_permission(unique, *resource)
        admin.revoke_user_permission(unique, *resource)
        assert told(*resource) == (False, "NO_PERMISSIONS")
    assert told("experiment", "987654321") == (False, "NO_PERMISSIONS")
    for resource, level, why in (
        (("experiment", experiment), "DENY", "DENY cannot be granted"),
        (("experiment", experiment), "ALL", "expected one of READ, USE, EDIT, MANAGE"),
        (("experiment", "*"), "MANAGE", "would reach catalogs and models"),
        (("registered_model", "*"), "READ", "grant on a catalog or a schema"),
        (("scorer", "1/x"), "READ", "resource_type"),
    ):
        with pytest.raises(mlflow.MlflowException, match=why) as refused:
            admin.grant_user_permission(unique, *resource, level)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_every_experiment_is_granted_at_once(admin: Any, client: Any, unique: str) -> None:
    """The pattern `*` holds for experiments that are made later too."""
    admin.create_user(unique, PASSWORD)
    admin.grant_user_permission(unique, "experiment", "*", "EDIT")
    experiment = client.create_experiment(unique)
    assert admin.get_user_permission(unique, "experiment", experiment).permission == "EDIT"
    admin.revoke_user_permission(unique, "experiment", "*")
    assert not admin.get_user_permission(unique, "experiment", experiment).allowed


def test_roles_are_groups(admin: Any, mlflow: ModuleType, client: Any, unique: str) -> None:
    """A role keeps its id under another name; what it may do counts for who is in it."""
    admin.create_user(unique, PASSWORD)
    experiment = client.create_experiment(unique)
    made = admin.create_role("default", f"{unique}-team", "those who score")
    assert (made.workspace, made.description, made.permissions) == ("default", "those who score", [])
    renamed = admin.update_role(made.id, name=f"{unique}-crew", description="others")
    assert (renamed.id, renamed.name, renamed.description) == (made.id, f"{unique}-crew", "others")
    given = admin.add_role_permission(made.id, "experiment", experiment, "EDIT")
    assert admin.add_role_permission(made.id, "experiment", experiment, "EDIT").id == given.id
    with pytest.raises(mlflow.MlflowException, match="already: update that"):
        admin.add_role_permission(made.id, "experiment", experiment, "READ")
    assert [one.permission for one in admin.list_role_permissions(made.id)] == ["EDIT"]

    assignment = admin.assign_role(unique, made.id)
    assert (assignment.user_id, assignment.role_id) == (admin.get_user(unique).id, made.id)
    assert admin.assign_role(unique, made.id).id == assignment.id
    assert [role.id for role in admin.list_user_roles(unique)] == [made.id]
    assert [one.user_id for one in admin.list_role_users(made.id)] == [assignment.user_id]
    assert admin.get_user_permission(unique, "experiment", experiment).permission == "EDIT"
    assert admin.update_role_permission(given.id, "READ").permission == "READ"
    assert admin.get_user_permission(unique, "experiment", experiment).permission == "READ"
    for listed in (admin.list_roles("default"), admin.list_all_roles()):
        assert [one.permission for role in listed if role.id == made.id for one in role.permissions] == ["READ"]

    admin.remove_role_permission(given.id)
    with pytest.raises(mlflow.MlflowException, match="not found"):
        admin.remove_role_permission(given.id)
    assert not admin.get_user_permission(unique, "experiment", experiment).allowed
    admin.unassign_role(unique, made.id)
    assert admin.list_user_roles(unique) == []
    admin.delete_role(made.id)
    with pytest.raises(mlflow.MlflowException, match="not found"):
        admin.get_role(made.id)
    with pytest.raises(mlflow.MlflowException, match="'default' alone"):
        admin.create_role("other", unique)
