"""The log, the vault, access, and the roles."""

from infra.migrations import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make everything the writer and the API need."""
    run_file("0001_log.sql")
    run_file("0001_append.sql")
