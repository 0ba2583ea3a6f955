"""The read side's bookkeeping."""

from infra.migrations import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make what the projections' workers keep beside the read models."""
    run_file("0004_read.sql")
