"""Signing keys: each follows the one before at an instant that is set when it is made.

What a key is for is a function of these instants and the time, so nothing has to be carried out when its turn comes:
a rotation is one row, and there is no half of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class KeyState(StrEnum):
    """What a key is for at an instant."""

    NEXT = "next"
    """Published, so that every verifier knows it by the time it signs."""
    ACTIVE = "active"
    """Signs."""
    RETIRED = "retired"
    """Verifies what it signed, until the last of that is over."""
    GONE = "gone"
    """Verifies nothing, and is published no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """How long keys live."""

    life: timedelta
    """So long a key signs."""
    notice: timedelta
    """So long before it signs it is published."""
    token_life: timedelta
    """The longest life of what it signs, leeway included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTimes:
    """A key by its number; the next number's `signs_from` is when it stops signing."""

    number: int
    signs_from: datetime
    distrusted_at: datetime | None = None


def state_of(number: int, keys: Sequence[KeyTimes], now: datetime, limits: KeyLimits) -> KeyState:
    """What the key of this number is for. `keys` are all there are, by number."""
    key = next(key for key in keys if key.number == number)
    if key.distrusted_at is not None:
        return KeyState.GONE
    if now < key.signs_from:
        return KeyState.NEXT
    followers = [other.signs_from for other in keys if other.number > number and other.signs_from <= now]
    if not followers:
        return KeyState.ACTIVE
    return KeyState.RETIRED if now < min(followers) + limits.token_life else KeyState.GONE


def due(keys: Sequence[KeyTimes], now: datetime, limits: KeyLimits) -> datetime | None:
    """From when another key is to sign that is to be made now: the first one, or the one after the newest where that is
    near its end. None where nothing is due.
    """
    trusted = [key for key in keys if key.distrusted_at is None]
    if not trusted:
        return now
    ends_at = max(trusted, key=lambda key: key.number).signs_from + limits.life
    if now < ends_at - limits.notice:
        return None
    # One that nobody followed in time signs on until its follower has been published for long enough.
    return max(ends_at, now + limits.notice)
