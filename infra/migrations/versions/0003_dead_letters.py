"""Records that a consumer gave up on."""

from infra.migrations import run_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of dead letters."""
    run_file("0003_dead_letters.sql")
