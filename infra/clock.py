"""Where the time comes from. The domain never reads a clock: `now` is handed to it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The present instant in UTC, by this machine's clock."""
    return datetime.now(UTC)
