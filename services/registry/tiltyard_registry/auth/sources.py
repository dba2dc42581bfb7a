"""What providers are made from."""

from typing import NamedTuple

from tiltyard_registry.auth.password_hashes import PasswordHashes
from tiltyard_registry.store.events.changes import Changes
from tiltyard_registry.store.sql.database import Database


class Sources(NamedTuple):
    """What a provider may ask: the database, what changed in it, and who makes hashes of passwords."""

    database: Database
    changes: Changes
    hashes: PasswordHashes
