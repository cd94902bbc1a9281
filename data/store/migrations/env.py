"""Runs the migrations on the connection that `Database.migrate` hands over; called by Alembic only."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
