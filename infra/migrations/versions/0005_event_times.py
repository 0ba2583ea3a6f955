"""An index over the times of events."""

from infra.migrations import run_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make an event's lookup by its id a range of pages instead of the whole log."""
    run_file("0005_event_times.sql")
