"""An index of the trigrams of the names of runs, for searches by a pattern."""

from contextlib import suppress

from alembic import op
from sqlalchemy.exc import OperationalError

revision = "0005"
down_revision = "0004"

# A loop over the characters: `substr` would count them from the start each time.
_FUNCTION = """
CREATE FUNCTION tiltyard_trigrams(name text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  before text := '';
  last text := '';
  current text;
  trigrams text[] := '{}';
BEGIN
  FOREACH current IN ARRAY string_to_array(lower(name), NULL) LOOP
    IF before <> '' THEN
      trigrams := trigrams || (before || last || current);
    END IF;
    before := last;
    last := current;
  END LOOP;
  RETURN trigrams;
END $$
"""

# Names that are new wait in a list of the index until there are so many kilobytes of them, for one write of them all.
_INDEX = (
    "CREATE INDEX ix_runs_name_trigrams ON runs USING gin (tiltyard_trigrams(run_name)) "
    "WITH (gin_pending_list_limit = 512)"
)

_ON_SQLITE = (
    "CREATE TABLE run_names_indexed (upto INTEGER NOT NULL)",
    "INSERT INTO run_names_indexed VALUES (0)",
    "CREATE TABLE run_names_stale (run INTEGER NOT NULL PRIMARY KEY)",
    """
    CREATE TRIGGER tr_runs_renamed AFTER UPDATE OF run_name ON runs
    WHEN new.run_name <> old.run_name AND new.id <= (SELECT upto FROM run_names_indexed)
    BEGIN INSERT OR IGNORE INTO run_names_stale VALUES (new.id); END
    """,
    # The highest id may be given again.
    """
    CREATE TRIGGER tr_runs_deleted AFTER DELETE ON runs
    WHEN (SELECT upto FROM run_names_indexed) > coalesce((SELECT max(id) FROM runs), 0)
    BEGIN UPDATE run_names_indexed SET upto = coalesce((SELECT max(id) FROM runs), 0); END
    """,
)
_VIRTUAL_TABLE = """
CREATE VIRTUAL TABLE run_name_trigrams
USING fts5(run_name, content='', columnsize=0, detail='none', tokenize='trigram')
"""


def upgrade() -> None:
    """Adds the index, which SQLite fills later."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_FUNCTION)
        op.execute(_INDEX)
        return
    for statement in _ON_SQLITE:
        op.execute(statement)
    # A SQLite without it looks at every name.
    with suppress(OperationalError):
        op.execute(_VIRTUAL_TABLE)
