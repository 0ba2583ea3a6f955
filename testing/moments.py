"""Times as text: `utc` for instants, `local` for what a wall clock shows."""

from datetime import UTC, datetime


def utc(text: str) -> datetime:
    """An instant in UTC: "2024-03-31" or "2024-03-31T13:30"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str) -> datetime:
    """A naive local time."""
    return datetime.fromisoformat(text)
