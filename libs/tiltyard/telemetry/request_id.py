"""Ids by which a caller finds its request again: in answers, in logs, in the events of the registry."""

import re

REQUEST_ID_HEADER = b"x-request-id"

# As long as the registry's events can hold. Of what clouds and proxies make up, nothing is longer.
_VALID = re.compile(r"[A-Za-z0-9._:/+=\-]{1,64}")


def valid_request_id(given: str | None) -> str | None:
    """What a caller gave, if it is an id that logs and tables can hold: plain ASCII of at most 64 characters."""
    return given if given and _VALID.fullmatch(given) else None
