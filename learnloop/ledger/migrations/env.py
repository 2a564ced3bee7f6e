"""Alembic's entry: migrations run on the connection that :mod:`learnloop.ledger.migrate` opened."""

from alembic import context

from learnloop.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
