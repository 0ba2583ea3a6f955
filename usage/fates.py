"""What became of events: an aggregator decides it once, and what it leaves behind tells it without counting anew.

The block of a record's place has the ids that were counted there, each with its record; the others of that record had
been counted before, or could not be, which the meter tells that read them.
"""

from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from usage.aggregation.dedupe import id_hash, id_prefix, place_in
from usage.aggregation.meters import Adoption, Meters, MeterVersion, RefusedEvent, measured, version_at, version_from
from usage.partials import Connection, counted_up_to
from usage.wire import EVENT, INSTEAD, WireEvent

_ADOPTED: Final = """
SELECT tenant_id, rule, from_offset FROM usage.adopted_meters WHERE partition = $1 AND tenant_id = $2
ORDER BY from_offset, meter_id, version
"""
_BLOCKS: Final = """
SELECT e.nth - 1 AS nth, b.first_offset, b.place FROM unnest($2::bigint[], $3::bytea[])
    WITH ORDINALITY AS e (record_offset, hash, nth)
CROSS JOIN LATERAL (
    SELECT k.first_offset, substring(k.places FROM (k.at - 1) * 3 / 8 + 1 FOR 6) AS place
    FROM (
        SELECT first_offset, next_offset, hashes, places, position(e.hash IN hashes) AS at FROM usage.dedupe_blocks
        WHERE partition = $1 AND first_offset <= e.record_offset ORDER BY first_offset DESC LIMIT 1
    ) AS k WHERE k.next_offset > e.record_offset AND k.at > 0
) AS b
"""
_EARLIER: Final = """
SELECT e.nth - 1 AS nth FROM unnest($2::bigint[], $3::bytea[]) WITH ORDINALITY AS e (record_offset, hash, nth)
WHERE EXISTS (SELECT FROM usage.dedupe_blocks
    WHERE partition = $1 AND first_offset < e.record_offset AND position(e.hash IN hashes) > 0)
"""
"""Of each id it goes through those of 70 days: it is asked of events in the place of others alone."""
_CONFLICTS: Final = """
SELECT record_offset, nth FROM usage.conflicts WHERE partition = $1 AND tenant_id = $2
AND record_offset = ANY($3::bigint[])
"""
_OVERTAKEN: Final = """
SELECT record_offset, nth FROM usage.conflicts
WHERE tenant_id = $1 AND customer_id = $2 AND event_id = $3 AND kind = $4 ORDER BY appended_at DESC, nth DESC LIMIT 1
"""
_VOIDS: Final = """
SELECT v.customer_id, v.event_id, v.instead_id FROM usage.voids v
JOIN unnest($2::text[], $3::text[]) AS e (customer_id, event_id) USING (customer_id, event_id) WHERE v.tenant_id = $1
ORDER BY v.appended_at
"""


class Fate(StrEnum):
    """What became of an event: nobody has read it yet; it counts; its meter's filters leave it out; it had been counted
    before; another content counts under its id, or another event in its place; its meter could not count it.
    """

    PENDING = "pending"
    COUNTED = "counted"
    LEFT_OUT = "left_out"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REFUSED = "refused"


class Found(NamedTuple):
    """An event where it stands, `nth` of its record. Time in ms since 1970."""

    partition: int
    offset: int
    nth: int
    appended_ms: int
    event: WireEvent

    @property
    def place(self) -> tuple[int, int]:
        """Where in its partition."""
        return self.offset, self.nth


_Place: TypeAlias = tuple[int, int]
"""An offset, and which event of the record there."""


class _Adopted:
    """The meters' versions that a partition counts a tenant's events by, as they were at an offset."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._adoptions = [Adoption(row["tenant_id"], version_from(row["rule"]), row["from_offset"]) for row in rows]
        self._offsets = [each.from_offset for each in self._adoptions]
        self._known: dict[int, Meters] = {}

    def at(self, offset: int) -> Meters:
        count = bisect_right(self._offsets, offset)
        if count not in self._known:
            self._known[count] = Meters(self._adoptions[:count])
        return self._known[count]


async def fates(connection: Connection, tenant_id: str, partition: int, found: Sequence[Found]) -> list[Fate]:
    """What became of each of these events of one partition. The connection's role is the writer's."""
    reached = await counted_up_to(connection, partition)
    adopted = _Adopted(await connection.fetch(_ADOPTED, partition, tenant_id))
    offsets = [each.offset for each in found]
    hashes = [id_hash(id_prefix(tenant_id, each.event.customer, EVENT), each.event.id) for each in found]
    rows = await connection.fetch(_CONFLICTS, partition, tenant_id, offsets)
    conflicts = {(row["record_offset"], row["nth"]) for row in rows}
    counted: dict[int, _Place] = {}
    for row in await connection.fetch(_BLOCKS, partition, offsets, hashes):
        # a block of before there were places does not tell a repeat
        counted[row["nth"]] = place_in(row["place"], row["first_offset"]) if row["place"] else found[row["nth"]].place
    told: list[Fate] = []
    unsure: list[int] = []
    for nth, each in enumerate(found):
        if each.offset >= reached:
            told.append(Fate.PENDING)
        elif each.place in conflicts:
            told.append(Fate.CONFLICT)
        else:
            fate = _fate(each, adopted.at(each.offset).of(tenant_id, each.event.meter), counted.get(nth))
            if fate is Fate.DUPLICATE and each.event.kind == INSTEAD and nth not in counted:
                unsure.append(nth)
            told.append(fate)
    if unsure:
        some = [offsets[nth] for nth in unsure], [hashes[nth] for nth in unsure]
        known = {row["nth"] for row in await connection.fetch(_EARLIER, partition, *some)}
        for place, nth in enumerate(unsure):
            if place not in known:
                told[nth] = Fate.REFUSED  # no void stood before it that counted
    return told


def _fate(each: Found, versions: tuple[MeterVersion, ...], counted: _Place | None) -> Fate:
    """Of an event that was read and is in no conflict; `counted`: where the one stands that counts under its id, if it
    was counted in the same block.
    """
    if not versions:
        return Fate.REFUSED
    try:
        taken = measured(version_at(versions, each.event.timestamp_us, each.appended_ms), each.event)
    except RefusedEvent:
        return Fate.REFUSED
    if counted == each.place:
        return Fate.COUNTED if taken is not None else Fate.LEFT_OUT
    if counted is not None and counted > each.place:
        return Fate.REFUSED  # what it lacked came later, and it was sent again
    return Fate.DUPLICATE


async def overtaken(connection: Connection, tenant_id: str, customer_id: str, event_id: str) -> tuple[int, int] | None:
    """Where the last event with this id of a customer stands that was to come in the place of another, when that had
    been taken: an offset, and which event of the record there.
    """
    row = await connection.fetchrow(_OVERTAKEN, tenant_id, customer_id, event_id, INSTEAD)
    return None if row is None else (row["record_offset"], row["nth"])


async def voids(connection: Connection, tenant_id: str, found: Sequence[WireEvent]) -> dict[tuple[str, str], str]:
    """Which of these events were taken away, by customer and id: the id of the one in its place, empty where there is
    none.
    """
    customers, ids = [each.customer for each in found], [each.id for each in found]
    rows = await connection.fetch(_VOIDS, tenant_id, customers, ids)
    return {(row["customer_id"], row["event_id"]): row["instead_id"] for row in rows}
