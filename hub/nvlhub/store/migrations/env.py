"""Run by Alembic: migrate over the connection that the store gives."""

from alembic import context

from nvlhub.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
