"""Run by Alembic for every command: migrates over the connection, and in the transaction, of the caller."""

from alembic import context

from tiltyard_registry.tables.all_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Also on SQLite, whose driver is told to leave transactions alone.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
