"""How alembic reaches the store: over the connection it is given, within that connection's transaction."""

from alembic import context

from projecthub.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
