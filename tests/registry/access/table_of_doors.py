"""The routes of other systems' doors to grants: what they ask for, and who is told what is theirs alone."""

from tests.registry.access.callers import LEAVERS, READERS
from tests.registry.access.table import EXPERIMENT, MODEL, ROOT, SCHEMA, Asked, P, prefixed, unity
from tests.registry.api_app import MLFLOW, OWN
from tiltyard_registry.rules.access import SEE

MLFLOW3 = "/api/3.0/mlflow"
mlflow3 = prefixed(MLFLOW3)
_GIVE = {"changes": [{"principal": "editor", "add": ["MANAGE"]}, {"principal": "editor", "remove": ["MANAGE"]}]}

_UNITY_DOORS = [
    unity(method, f"/{what}/{{securable_type}}/{{full_name}}", kind, wanted, body, path=f"/{what}/{path}")
    for what, method, wanted, body in (
        ("permissions", "GET", SEE, None),
        ("effective-permissions", "GET", SEE, None),
        ("permissions", "PATCH", P.MANAGE, _GIVE),
    )
    for kind, path in (
        (MODEL, "registered_model/{model}"),
        (SCHEMA, "schema/{schema}"),
        (EXPERIMENT, "experiment/{experiment}"),
    )
]

_EDITOR = {"username": "editor"}
_ON_EXPERIMENT = {"resource_type": "experiment", "resource_id": "{experiment}"}
_ON_MODEL = {"resource_type": "registered_model", "resource_id": "{model}"}

_LEVELS = [
    mlflow3("POST", f"/users/permissions/{verb}", kind, P.MANAGE, {**_EDITOR, **resource, **more})
    for kind, resource in ((EXPERIMENT, _ON_EXPERIMENT), (MODEL, _ON_MODEL))
    for verb, more in (("revoke", {}), ("grant", {"permission": "EDIT"}))
]

DOORS = [*_UNITY_DOORS, *_LEVELS]
"""What is granted on something is told to who sees it, and changed by who manages it."""

_NEW = ("POST", f"{OWN}/principals", {"kind": "user", "name": "{new}"})
_ROLE = {"role_id": READERS}
_USER = {"username": "{new}"}
_PERMISSION = {"resource_type": "experiment", "resource_pattern": "{experiment}", "permission": "EDIT"}
_GRANTS = f"{OWN}/grants/experiment/{{experiment}}"
_GIVEN = ("PATCH", _GRANTS, {"changes": [{"principal": "readers", "add": ["READ"]}]})
_WITHOUT = ("PATCH", _GRANTS, {"changes": [{"principal": "readers", "remove": ["READ"]}]})
_OF_ROLE = {"role_permission_id": f"{READERS}/experiment/{{experiment}}"}


def _of_admins(method: str, route: str, body: object, *before: tuple[str, str, object], prefix: str = MLFLOW3) -> Asked:
    return Asked(f"{method} {prefix}{route}", ROOT, P.MANAGE, body=body, before=before)


ADMIN_DOORS = [
    _of_admins("POST", "/users/create", {**_USER, "password": "correct horse battery"}, prefix=MLFLOW),
    _of_admins("PATCH", "/users/update-admin", {**_USER, "is_admin": True}, _NEW, prefix=MLFLOW),
    _of_admins("PATCH", "/users/update-password", {**_USER, "password": "correct horse"}, _NEW, prefix=MLFLOW),
    _of_admins("DELETE", "/users/delete", _USER, _NEW, prefix=MLFLOW),
    _of_admins("POST", "/roles/create", {"workspace": "default", "name": "{new}"}),
    _of_admins("PATCH", "/roles/update", {**_ROLE, "description": "who read"}),
    _of_admins("DELETE", "/roles/delete", {"role_id": LEAVERS}),
    _of_admins("POST", "/roles/permissions/add", {**_ROLE, **_PERMISSION}, _WITHOUT),
    _of_admins("PATCH", "/roles/permissions/update", {**_OF_ROLE, "permission": "READ"}, _GIVEN),
    _of_admins("DELETE", "/roles/permissions/remove", _OF_ROLE, _GIVEN),
    _of_admins("POST", "/roles/assign", {**_ROLE, **_USER}, _NEW),
    _of_admins("DELETE", "/roles/unassign", {**_ROLE, **_USER}, _NEW),
]
"""What administrators may do, and nobody else whatever was granted to them."""

DOORS_FOR_KNOWN = {
    f"GET {MLFLOW}/users/get": "who asks; administrators are told of everybody",
    f"GET {MLFLOW}/users/list": "who asks; administrators are told of everybody",
    f"GET {MLFLOW}/users/current": "who asks",
    f"GET {MLFLOW3}/users/current/permissions": "who asks",
    f"GET {MLFLOW3}/users/permissions/get": "who asks; administrators are told of everybody",
    f"GET {MLFLOW3}/users/permissions/list": "who asks; administrators are told of everybody",
    f"GET {MLFLOW3}/users/roles/list": "who asks; administrators are told of everybody",
    f"GET {MLFLOW3}/roles/get": "the groups of who asks; administrators are told of all",
    f"GET {MLFLOW3}/roles/list": "the groups of who asks; administrators are told of all",
    f"GET {MLFLOW3}/roles/permissions/list": "the groups of who asks; administrators are told of all",
    f"GET {MLFLOW3}/roles/users/list": "the groups of who asks; administrators are told of all",
}
"""Routes that everybody may ask who is known, and what they are about."""
