"""Alembic's entry: runs on the connection that `chathub.migrate` hands over, inside its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="chatserver")
context.run_migrations()
