"""What a void takes away, by which version of the meter, and what may come in its place."""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from usage.aggregation.dedupe import DAY_MS, NEVER, day_of
from usage.aggregation.meters import MeterVersion, RefusedEvent, version_at
from usage.wire import INSTEAD, ORIGINAL_APPENDED, VOID, WireEvent


class Voided(NamedTuple):
    """A void that counted, and what its record puts in the place of what it took away: an id, or nothing."""

    offset: int
    nth: int
    tenant_id: str
    customer_id: str
    event_id: str
    instead_id: str
    appended_ms: int


def version_of_void(
    versions: tuple[MeterVersion, ...], void: WireEvent, *, said_ms: int | None, appended_ms: int, day: int
) -> MeterVersion:
    """The version that read what a void takes away: by when that was appended. Its day is remembered; where that does
    not tell, as a version was added on that very day, the void's record has to say it. `appended_ms`: of that record.
    """
    if len(versions) == 1:
        return versions[0]
    if said_ms is not None:
        if day_of(said_ms) != day:
            raise RefusedEvent(f"its event was appended on another day than the header {ORIGINAL_APPENDED} says")
        return version_at(versions, void.timestamp_us, said_ms)
    earliest = version_at(versions, void.timestamp_us, day * DAY_MS)
    latest = version_at(versions, void.timestamp_us, min((day + 1) * DAY_MS - 1, appended_ms))
    if earliest is not latest:
        raise RefusedEvent(f"which version of its meter read its event, only the header {ORIGINAL_APPENDED} can tell")
    return earliest


def void_mark(events: Sequence[WireEvent], nth: int) -> int:
    """What a void is remembered with: its content, and whom it makes room for, so that of several voids of one event it
    is known which one counted.
    """
    void, follows = events[nth], in_its_place(events, nth)
    return crc32(follows.encode(), void.checksum) if follows else void.checksum


def in_its_place(events: Sequence[WireEvent], nth: int) -> str:
    """The id of the event that stands in the place of what a void takes away; empty where none does."""
    follows = events[nth + 1] if nth + 1 < len(events) else None
    if follows is None or follows.kind != INSTEAD or follows.customer != events[nth].customer:
        return ""
    return follows.id


def overtaken(events: Sequence[WireEvent], nth: int, counted: int | None) -> int | None:
    """None for an event in the place of one that the void right before it took away; for one whose place was taken
    already, what no event is remembered with. `counted`: what the id of the event before is remembered with.
    """
    void = events[nth - 1] if nth else None
    if void is None or void.kind != VOID or void.customer != events[nth].customer or counted is None:
        raise RefusedEvent("no void that was counted stands right before it")
    return None if counted == void_mark(events, nth - 1) else NEVER
