"""The relay's lease, checkpoint and last published positions."""

from infra.migrations import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the relay's tables."""
    run_file("0002_relay.sql")
