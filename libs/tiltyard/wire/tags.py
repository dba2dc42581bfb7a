"""Key and value, as tags and params travel."""

from typing import Annotated

from msgspec import Meta, Struct

# A required text: absent, null and empty are all 'missing' to the protocol.
Text = Annotated[str, Meta(min_length=1)]


class Tag(Struct):
    """One tag or one param. An absent value is the empty text."""

    key: Text
    value: str = ""


class Empty(Struct):
    """`{}`: the answer of calls that only change state."""
