"""Where the time comes from. The domain never reads a clock: `now` is handed to it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

_MILLISECOND = timedelta(milliseconds=1)


def system_clock() -> datetime:
    """The present instant in UTC, by this machine's clock."""
    return datetime.now(UTC)


def clock_apart_ms(before: datetime, theirs: datetime, after: datetime) -> float:
    """How far ours is ahead of another's clock (ms; negative: behind), at least: theirs was read between our two
    readings, and anywhere between them it does not differ.
    """
    if theirs < before:
        return (before - theirs) / _MILLISECOND
    return min(0.0, (after - theirs) / _MILLISECOND)
