"""Alembic's environment: it only writes SQL; `infra.migrations.migrate` runs it in a transaction of its own."""

from alembic import context

from infra.migrations import VERSION_SCHEMA

context.configure(dialect_name="postgresql", version_table_schema=VERSION_SCHEMA)
context.run_migrations()
