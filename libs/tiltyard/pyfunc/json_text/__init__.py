"""JSON texts: within bounds, in pieces where they are large."""

from typing import TypeAlias

# What was sent. A large body is received where it stays, in memory that is not that of a `bytes`.
Body: TypeAlias = bytes | memoryview
