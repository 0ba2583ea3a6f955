"""From a partition's records to what they add: told apart, measured by their meters, summed per series and bucket.

Pure: a fold looks at its partition's state and leaves it alone; `commit` is for when the database has it. The
aggregator and the recount fold alike, so what is counted is a function of the records and of where meters and closings
stand among them (docs/decisions/0124-usage-is-a-function-of-its-topic.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from domain.metering.aggregation import Aggregation
from infra.kafka.records import ConsumerRecord
from infra.kafka.unreadable import ERROR_HEADER
from usage.aggregation.dedupe import (
    NEVER,
    REMEMBERED_DAYS,
    SeenIds,
    day_of,
    entries_of,
    entry,
    id_hash,
    id_prefix,
    place_of,
)
from usage.aggregation.meters import Adoption, MeterKey, Meters, MeterVersion, RefusedEvent, measured, version_at
from usage.aggregation.voids import Voided, in_its_place, overtaken, version_of_void, void_mark
from usage.wire import (
    EVENT,
    INSTEAD,
    VOID,
    MalformedUsage,
    WireEvent,
    decode,
    original_appended_of,
    partition_of_customer,
    tenant_of,
)

BUCKET_US: Final = 900_000_000
"""A quarter of an hour: every zone's midnight is a multiple of it from UTC."""

SERIES_BYTES: Final = 16
LANES_MAX: Final = 200_000
LANE_SERIES_MAX: Final = 1_000
"""Groups of values that a lane keeps the series of."""
WRITTEN_SERIES_MAX: Final = 1_000_000
"""Series that are known to be in the table; another one is written once more, which does nothing."""
TOLD_MAX: Final = 5
"""Refused events that a record's dead letter names."""

LaneKey = tuple[str, str, str, str]
"""Tenant, customer, meter as events name it, and kind: a void is told apart from its event."""
Fresh = dict[bytes, tuple[int, int]]
"""Ids that records of the same fold have counted: what they are remembered with, and the days of their appends."""
Known = tuple[list["Lane"], list[bytes], list[int], list[int]]
"""Of the events of a poll: their lanes, the hashes of their ids, and what was remembered of these before it."""
ClosingKey = tuple[str, str, str]
"""Tenant, customer and the meter's id."""
TallyKey = tuple[bytes, int, int, str, int, str]
"""Series, bucket, instant (microseconds), event id, value (10⁻⁹) and member: what a tally is told apart by."""


class RefusedUsage(Exception):
    """Some events of a record were not counted; the others were."""


class Closed(NamedTuple):
    """The last closing of a customer's meter: its number, and the first bucket that is not closed."""

    seq: int
    bucket: int


class Series(NamedTuple):
    """What is summed on its own."""

    series: bytes
    tenant_id: str
    customer_id: str
    meter_id: str
    version: int
    groups: tuple[str, ...]

    @property
    def closing_key(self) -> ClosingKey:
        return self.tenant_id, self.customer_id, self.meter_id


class Conflict(NamedTuple):
    """An event under an id that counts with another content, or in a place that another one had taken."""

    offset: int
    nth: int
    tenant_id: str
    customer_id: str
    event_id: str
    kind: str
    appended_ms: int


@dataclass(slots=True)
class Block:
    """The new ids of records that the broker appended on one day, and where each of them stands."""

    first_offset: int
    next_offset: int
    day: int
    entries: bytearray
    places: bytearray


@dataclass(slots=True)
class Lane:
    """A customer's meter, as the events of a poll name it again and again."""

    prefix: bytes
    counted_prefix: bytes
    versions: tuple[MeterVersion, ...]
    refusal: str
    series: dict[tuple[int, tuple[str, ...]], Series] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class PartitionState:
    """What one partition has come to, apart from its sums."""

    partition: int
    partitions: int
    next_offset: int
    closings: int = 0
    closed: dict[ClosingKey, Closed] = field(default_factory=dict)
    meters: Meters = field(default_factory=Meters)
    seen: SeenIds = field(default_factory=SeenIds)
    lanes: dict[LaneKey, Lane] = field(default_factory=dict)
    written_series: set[bytes] = field(default_factory=set)

    def adopt(self, adoptions: Iterable[Adoption]) -> None:
        """Count by these versions from here on."""
        for each in adoptions:
            self.meters.adopt(each.tenant_id, each.version)
            self.lanes.clear()

    def late(self, series: Series, bucket: int) -> int:
        """The closing that the bucket is behind; 0 where it is open."""
        closed = self.closed.get(series.closing_key)
        return closed.seq if closed is not None and bucket < closed.bucket else 0


class Read(NamedTuple):
    """A record with its events; `error` says why it has none. `original_ms`: when what its voids take away was
    appended, where it says so.
    """

    record: ConsumerRecord
    tenant_id: str
    events: Sequence[WireEvent]
    error: MalformedUsage | None
    original_ms: int | None = None


@dataclass(slots=True)
class Folded:
    """What a poll's records of one partition add. Nothing of it is known to the state before `commit`."""

    next_offset: int
    sums: dict[tuple[bytes, int], list[int]] = field(default_factory=dict)
    tallies: dict[TallyKey, int] = field(default_factory=dict)
    series: dict[bytes, Series] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    voids: list[Voided] = field(default_factory=list)
    refused: list[tuple[ConsumerRecord, Exception]] = field(default_factory=list)
    events: int = 0
    counted: int = 0
    duplicates: int = 0

    def commit(self, state: PartitionState) -> None:
        """The database has it: the state is as after these records."""
        for block in self.blocks:
            state.seen.load(bytes(block.entries), block.day)
        state.next_offset = self.next_offset
        if len(state.written_series) >= WRITTEN_SERIES_MAX:
            state.written_series.clear()
        state.written_series.update(self.series)


def read(records: Iterable[ConsumerRecord]) -> list[Read]:
    """Every record with its events."""
    found = []
    for record in records:
        try:
            for name, value in record.headers:
                if name == ERROR_HEADER and record.value is None:
                    raise MalformedUsage((value or b"").decode("utf-8", "replace"))
            tenant_id, original_ms = tenant_of(record.headers), original_appended_of(record.headers)
            found.append(Read(record, tenant_id, decode(record.value or b""), None, original_ms))
        except MalformedUsage as error:
            found.append(Read(record, "", (), error))
    return found


def meters_named(found: Iterable[Read]) -> set[MeterKey]:
    """The meters that these events name."""
    return {(each.tenant_id, event.meter) for each in found for event in each.events}


def fold(state: PartitionState, found: Sequence[Read], next_offset: int) -> Folded:
    """What these records add; they follow each other, and come right after what the state has seen."""
    folded = Folded(next_offset)
    lanes, hashes, offered = [], [], bytearray()
    for each in found:
        for event in each.events:
            key = (each.tenant_id, event.customer, event.meter, event.kind)
            lane = state.lanes.get(key) or _lane(state, key)
            lanes.append(lane)
            hashed = id_hash(lane.prefix, event.id)
            hashes.append(hashed)
            offered += hashed
            offered += b"\0\0\0\0"
    days: Any = ()
    checksums: Any = ()
    if hashes:
        known_days, known_checksums = state.seen.look_up(entries_of(bytes(offered)))
        days, checksums = known_days.tolist(), known_checksums.tolist()
    at = 0
    fresh: Fresh = {}
    for each in found:
        at = _fold_record(state, each, folded, fresh, (lanes, hashes, days, checksums), at)
    return folded


def _fold_record(
    state: PartitionState,
    each: Read,
    folded: Folded,
    fresh: Fresh,
    known: Known,
    at: int,
) -> int:
    """One record's events, in order; returns where the next one's stand in `known`."""
    lanes, hashes, days, checksums = known
    record, refusals, new, places = each.record, [], bytearray(), bytearray()
    day = day_of(record.timestamp)
    remembered_from = day - REMEMBERED_DAYS
    for nth, event in enumerate(each.events):
        lane, hashed, seen_on, checksum = lanes[at], hashes[at], days[at], checksums[at]
        at += 1
        before = fresh[hashed][0] if hashed in fresh else None
        if before is None and seen_on != NEVER and seen_on >= remembered_from:
            before = checksum
        sign, mark = 1, event.checksum
        try:
            if lane.refusal:
                raise RefusedEvent(lane.refusal)
            if event.kind == VOID:
                sign, mark = -1, void_mark(each.events, nth)
                counted_on = _voided(state, lane, event, fresh, remembered_from)
                version = version_of_void(
                    lane.versions, event, said_ms=each.original_ms, appended_ms=record.timestamp, day=counted_on
                )
            else:
                if event.kind == INSTEAD and before is None:
                    before = overtaken(each.events, nth, _mark_of(fresh, known, at - 2, remembered_from))
                version = lane.versions[0]
                if len(lane.versions) > 1:
                    version = version_at(lane.versions, event.timestamp_us, record.timestamp)
            taken = measured(version, event)
        except RefusedEvent as error:
            refusals.append(f"event {nth} ({event.id[:80]}): {error}")
            continue
        if before is not None:
            folded.duplicates += 1
            if before != mark:
                folded.conflicts.append(
                    Conflict(record.offset, nth, each.tenant_id, event.customer, event.id, event.kind, record.timestamp)
                )
            continue
        fresh[hashed] = (mark, day)
        new += entry(hashed, mark)
        places += place_of(record.offset, nth)
        folded.counted += 1
        if sign < 0:
            whose = each.tenant_id, event.customer, event.id
            folded.voids.append(Voided(record.offset, nth, *whose, in_its_place(each.events, nth), record.timestamp))
        if taken is None:
            continue
        series = lane.series.get((version.version, taken.groups))
        if series is None:
            series = series_of(each.tenant_id, event.customer, version.meter_id, version.version, taken.groups)
            if len(lane.series) >= LANE_SERIES_MAX:
                lane.series.clear()
            lane.series[version.version, taken.groups] = series
        bucket = event.timestamp_us // BUCKET_US
        sums = folded.sums.get((series.series, bucket))
        if sums is None:
            folded.sums[series.series, bucket] = [sign, sign * taken.value]
            folded.series[series.series] = series
        else:
            sums[0] += sign
            sums[1] += sign * taken.value
        if version.aggregation not in _SUMMED:
            tally = tally_key(version.aggregation, series.series, bucket, event, taken.value, taken.member)
            folded.tallies[tally] = folded.tallies.get(tally, 0) + sign
    folded.events += len(each.events)
    if each.error is not None:
        folded.refused.append((record, each.error))
    elif refusals:
        told = "; ".join(refusals[:TOLD_MAX])
        folded.refused.append((record, RefusedUsage(f"{len(refusals)} of {len(each.events)} events: {told}")))
    if new:
        _remember(folded, record.offset, day, new, places)
    return at


def _remember(folded: Folded, offset: int, day: int, new: bytearray, places: bytearray) -> None:
    last = folded.blocks[-1] if folded.blocks else None
    if last is not None and last.day == day:
        last.next_offset = offset + 1
        last.entries += new
        last.places += places
    else:
        folded.blocks.append(Block(offset, offset + 1, day, new, places))


def _mark_of(fresh: Fresh, known: Known, at: int, remembered_from: int) -> int | None:
    """What the id of an event of the poll is remembered with."""
    _, hashes, days, checksums = known
    if hashes[at] in fresh:
        return fresh[hashes[at]][0]
    return checksums[at] if days[at] != NEVER and days[at] >= remembered_from else None


def _voided(state: PartitionState, lane: Lane, event: WireEvent, fresh: Fresh, remembered_from: int) -> int:
    """The day on which what a void takes away was appended. It counted as the void says: else a void would bring a bill
    below what was used.
    """
    original = id_hash(lane.counted_prefix, event.id)
    counted = fresh.get(original)
    if counted is None:
        days, checksums = state.seen.look_up(entries_of(entry(original, 0)))
        if days[0] != NEVER and days[0] >= remembered_from:
            counted = int(checksums[0]), int(days[0])
    if counted is None:
        raise RefusedEvent("it voids an event that was not counted, or is no longer remembered")
    checksum, day = counted
    if checksum != event.checksum:
        raise RefusedEvent("it voids an event that counted with another content")
    return day


def _lane(state: PartitionState, key: LaneKey) -> Lane:
    """Kept for the events that follow, until another meter version is adopted."""
    tenant_id, customer_id, meter, kind = key
    versions = state.meters.of(tenant_id, meter)
    refusal = ""
    if partition_of_customer(tenant_id, customer_id, state.partitions) != state.partition:
        refusal = "its customer belongs to another partition"
    elif not versions:
        refusal = f"no meter is named {meter[:80]}"
    counted = id_prefix(tenant_id, customer_id, EVENT)
    prefix = id_prefix(tenant_id, customer_id, VOID) if kind == VOID else counted
    if len(state.lanes) >= LANES_MAX:
        state.lanes.clear()
    lane = state.lanes[key] = Lane(prefix, counted, versions, refusal)
    return lane


def series_of(tenant_id: str, customer_id: str, meter_id: str, version: int, groups: tuple[str, ...]) -> Series:
    """A series with its name. Every part stands behind its length, so no two series have the same text."""
    parts = (tenant_id, customer_id, meter_id, str(version), *groups)
    text = b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in parts)
    name = blake2b(text, digest_size=SERIES_BYTES).digest()
    return Series(name, tenant_id, customer_id, meter_id, version, groups)


_SUMMED: Final = frozenset({Aggregation.COUNT, Aggregation.SUM})


def tally_key(
    aggregation: Aggregation, series: bytes, bucket: int, event: WireEvent, value: int, member: str
) -> TallyKey:
    """As `domain.metering.aggregation` tells tallies apart: parts that the figure does not ask for are empty."""
    if aggregation is Aggregation.MAX:
        return (series, bucket, 0, "", value, "")
    if aggregation is Aggregation.UNIQUE:
        return (series, bucket, 0, "", 0, member)
    return (series, bucket, event.timestamp_us, event.id, value, "")
