"""Sessions of programs: what a refresh token that is presented comes to.

A session is a family of tokens, one generation after another, of which one is current. A token that is presented a
second time tells that two hold it, the thief and the robbed, and nobody can tell which is which: the session ends.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class SessionKind(StrEnum):
    """Who keeps it: a browser a cookie, a program its refresh tokens."""

    BROWSER = "browser"
    PROGRAM = "program"


class EndReason(StrEnum):
    """Why a session ended before its time."""

    LOGGED_OUT = "logged_out"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  a reason
    TOKEN_REUSED = "token_reused"  # noqa: S105  a reason
    REVOKED = "revoked"
    SUSPENDED = "suspended"


class Refreshing(StrEnum):
    """What becomes of a refresh token."""

    NEXT = "next"
    """It is current: the next generation replaces it."""
    AGAIN = "again"
    """It was current a moment ago: an answer was lost, or a request sent twice. The current one is given again."""
    REUSED = "reused"
    """It is older: two hold it. The session ends."""
    OVER = "over"
    """The session has ended, or run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How long sessions last."""

    idle: timedelta
    longest: timedelta
    grace: timedelta
    """So long after a rotation the token before is still answered with the current one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A session's place in time and among its generations."""

    generation: int
    rotated_at: datetime
    idle_ends_at: datetime
    ends_at: datetime
    ended_at: datetime | None


def is_over(family: Family, now: datetime) -> bool:
    """Whether the session has ended, been idle for too long, or lasted as long as any may."""
    return family.ended_at is not None or now >= min(family.idle_ends_at, family.ends_at)


def refreshing(presented: int, family: Family, now: datetime, grace: timedelta) -> Refreshing:
    """What a genuine token of the generation `presented` comes to."""
    if is_over(family, now) or presented > family.generation:
        # A newer one than the current was made by a database that a backup has since replaced.
        return Refreshing.OVER
    if presented == family.generation:
        return Refreshing.NEXT
    if presented == family.generation - 1 and now < family.rotated_at + grace:
        return Refreshing.AGAIN
    return Refreshing.REUSED
