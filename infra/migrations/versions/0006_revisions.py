"""The order of a person's revisions."""

from infra.migrations import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Number the revisions of personal data as they are written."""
    run_file("0006_revisions.sql")
