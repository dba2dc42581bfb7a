"""The routes about principals, tokens and grants: what they ask for, and who is told what is theirs alone."""

from tests.registry.access.table import EXPERIMENT, MODEL, ROOT, SCHEMA, Asked, P, own
from tests.registry.api_app import OWN
from tiltyard_registry.rules.access import SEE

_GIVE = {"changes": [{"principal": "editor", "add": ["MANAGE"]}, {"principal": "editor", "remove": ["MANAGE"]}]}

GRANTS = [
    *(
        own(method, f"/{what}/{{securable_type}}/{{full_name}}", kind, wanted, body, path=f"/{what}/{path}")
        for what, method, wanted, body in (
            ("grants", "GET", SEE, None),
            ("effective-permissions", "GET", SEE, None),
            ("grants", "PATCH", P.MANAGE, _GIVE),
        )
        for kind, path in (
            (MODEL, "registered_model/{model}"),
            (SCHEMA, "schema/{schema}"),
            (EXPERIMENT, "experiment/{experiment}"),
        )
    )
]
"""What is granted on something is told to who sees it, and changed by who manages it."""


def _of_admins(method: str, route: str, body: object = None, *, path: str = "", **more: object) -> Asked:
    return Asked(f"{method} {OWN}{route}", ROOT, P.MANAGE, path=path and OWN + path, body=body, **more)


_NEW = ("POST", f"{OWN}/principals", {"kind": "user", "name": "{new}"})
_TEAM = ("POST", f"{OWN}/principals", {"kind": "group", "name": "team-{new}"})

OF_ADMINS = [
    _of_admins("POST", "/principals", {"kind": "user", "name": "{new}"}),
    _of_admins("PATCH", "/principals/{name}", {"display_name": "x"}, path="/principals/{new}", before=[_NEW]),
    _of_admins("DELETE", "/principals/{name}", path="/principals/{new}", before=[_NEW]),
    _of_admins(
        "PUT",
        "/principals/{name}/password",
        {"password": "correct horse battery"},
        path="/principals/{new}/password",
        before=[_NEW],
    ),
    _of_admins("PUT", "/groups/{name}/members/{member}", path="/groups/team-{new}/members/{new}", before=[_NEW, _TEAM]),
    _of_admins(
        "DELETE", "/groups/{name}/members/{member}", path="/groups/team-{new}/members/{new}", before=[_NEW, _TEAM]
    ),
]
"""What administrators may do, and nobody else whatever was granted to them."""

FOR_KNOWN = {
    f"GET {OWN}/me": "who asks",
    f"GET {OWN}/principals": "who asks; administrators are told of everybody",
    f"GET {OWN}/principals/{{name}}": "who asks; administrators are told of everybody",
    f"GET {OWN}/groups/{{name}}/members": "who is in a group, to who is in it; and to administrators",
    f"GET {OWN}/tokens": "their own tokens; administrators are told of all",
    f"POST {OWN}/tokens": "their own tokens; administrators make those of services",
    f"DELETE {OWN}/tokens/{{id}}": "their own tokens; administrators revoke any",
    f"POST {OWN}/tokens/{{id}}/rotate": "their own tokens; administrators rotate any",
}
"""Routes that everybody may ask who is known, and what they are about. `test_principals` has who is told what."""
