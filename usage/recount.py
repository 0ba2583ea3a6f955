"""`tallybook usage recount`: the topic read once more from its beginning, against what PostgreSQL holds.

Each closing is applied at the offset that it covers, each meter's version at the offset from which it was adopted: what
comes out must be what is kept, column by column, whatever was killed, sent twice or read by whom.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.settings import Settings
from usage.aggregation import store
from usage.aggregation.fold import BUCKET_US, Closed, ClosingKey, Folded, PartitionState, fold, read
from usage.aggregation.meters import Adoption
from usage.partials import Connection
from usage.wire import topic_of

POLL_TIMEOUT_MS: Final = 500
POLL_MAX_RECORDS: Final = 500
DIFFERENCES_MAX: Final = 20
"""Differences of a partition that are told one by one."""
AHEAD_US: Final = 2 * BUCKET_US
"""How far an event's time may be ahead of its arrival, rounded up: what is older than the topic is not compared."""

_CLOSINGS: Final = """
SELECT covers, tenant_id, customer_id, meter_id, seq, bucket FROM usage.closings WHERE partition = $1
ORDER BY covers, version, seq
"""
_SUMS: Final = """
SELECT a.series, a.bucket, a.late, a.n, a.total FROM usage.aggregates a JOIN usage.series s USING (series)
WHERE s.partition = $1 AND (a.n <> 0 OR a.total <> 0)
"""
_TALLIES: Final = """
SELECT t.series, t.bucket, t.late, t.at_us, t.event_id, t.value, t.member, t.times
FROM usage.tallies t JOIN usage.series s USING (series) WHERE s.partition = $1 AND t.times <> 0
"""
_CONFLICTS: Final = """
SELECT record_offset, nth, tenant_id, customer_id, event_id, kind FROM usage.conflicts WHERE partition = $1
"""

SumKey = tuple[bytes, int, int]
Kept = dict[Any, Any]


@dataclass(slots=True)
class Counted:
    """What the records of a partition come to. `floor` is the first bucket that the topic holds all events of."""

    sums: dict[SumKey, tuple[int, int]] = field(default_factory=dict)
    tallies: dict[tuple[object, ...], int] = field(default_factory=dict)
    conflicts: set[tuple[object, ...]] = field(default_factory=set)
    ids: int = 0
    events: int = 0
    floor: int | None = None

    def take(self, state: PartitionState, folded: Folded) -> None:
        """Add what one fold adds, as an aggregator writes it."""
        for name, bucket, late, _, n, high, low in store.sum_rows(state, folded):
            had = self.sums.get((name, bucket, late), (0, 0))  # type: ignore[arg-type]  # rows are untyped
            total = high * store.PARTS + low  # type: ignore[operator]
            self.sums[name, bucket, late] = (had[0] + n, had[1] + total)  # type: ignore[index,operator]
        for *place, high, low, member, _, times in store.tally_rows(state, folded):
            key = (*place, high * store.PARTS + low, member)  # type: ignore[operator]
            self.tallies[key] = self.tallies.get(key, 0) + times  # type: ignore[operator]
        for each in folded.conflicts:
            self.conflicts.add((each.offset, each.nth, each.tenant_id, each.customer_id, each.event_id, each.kind))
        self.events += folded.events
        folded.commit(state)
        self.ids = state.seen.count


class UsageAway(Exception):
    """The topic no longer holds what was counted: it was made anew."""


class Difference(NamedTuple):
    """Something that is kept otherwise than it is counted."""

    what: str
    key: str
    kept: str
    counted: str


class Recounted(NamedTuple):
    """What a partition's recount found."""

    partition: int
    upto: int
    events: int
    rows: int
    differences: tuple[Difference, ...]


async def recount(settings: Settings, connection: Connection, *, bootstrap: str, partition: int) -> Recounted | None:
    """Recount one partition up to its checkpoint, while everything goes on. None where nothing was ever counted.

    The connection may be any that reads the schema `usage` of all tenants.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        upto = await connection.fetchval("SELECT next_offset FROM usage.checkpoints WHERE partition = $1", partition)
        if upto is None:
            return None
        adoptions = await store.adoptions(connection, partition)
        closings = [
            (row[0], (row[1], row[2], row[3]), Closed(row[4], row[5]))
            for row in await connection.fetch(_CLOSINGS, partition)
        ]
        kept = Counted()
        kept.sums = {tuple(row[:3]): (row[3], int(row[4])) for row in await connection.fetch(_SUMS, partition)}
        kept.tallies = {(*row[:5], int(row[5]), row[6]): row[7] for row in await connection.fetch(_TALLIES, partition)}
        kept.conflicts = {tuple(row) for row in await connection.fetch(_CONFLICTS, partition)}
    counted = await count(
        settings, bootstrap=bootstrap, partition=partition, upto=upto, adoptions=adoptions, closings=closings
    )
    differences = [
        *_compared("sum", kept.sums, counted.sums, (0, 0), counted.floor),
        *_compared("tally", kept.tallies, counted.tallies, 0, counted.floor),
    ]
    if counted.floor is None:
        both = dict.fromkeys(kept.conflicts, 1), dict.fromkeys(counted.conflicts, 1)
        differences += _compared("conflict", *both, 0, None)
    return Recounted(partition, upto, counted.events, len(counted.sums) + len(counted.tallies), tuple(differences))


def _compared(what: str, kept: Kept, counted: Kept, nothing: object, floor: int | None) -> list[Difference]:
    found = []
    for key in sorted(kept.keys() | counted.keys()):
        if floor is not None and key[1] < floor:
            continue
        one, other = kept.get(key, nothing), counted.get(key, nothing)
        if one != other:
            named = "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key)
            found.append(Difference(what, named, str(one), str(other)))
    return found


async def count(
    settings: Settings,
    *,
    bootstrap: str,
    partition: int,
    upto: int,
    adoptions: Sequence[Adoption],
    closings: Sequence[tuple[int, ClosingKey, Closed]],
) -> Counted:
    """What the records below an offset come to, with each meter's version and each closing at its place."""
    counted = Counted()
    state = PartitionState(partition, settings.usage.partitions, 0)
    waiting = sorted(
        [*((each.from_offset, 0, each) for each in adoptions), *((each[0], 1, each) for each in closings)],
        key=lambda each: each[:2],
    )
    tolerate_unreadable_batches()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        request_timeout_ms=settings.kafka.request_timeout_ms,
    )
    await consumer.start()
    try:
        place = TopicPartition(topic_of(settings.kafka.topic_prefix), partition)
        consumer.assign([place])
        beginning = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        if end < upto:
            raise UsageAway(f"{place.topic}/{partition} ends at {end}, and {upto} records of it were counted")
        consumer.seek(place, beginning)
        async for records in _records(consumer, place, upto):
            if beginning > 0 and counted.floor is None:
                counted.floor = (records[0].timestamp * 1000 + AHEAD_US) // BUCKET_US + 1
            _take(state, counted, records, waiting)
    finally:
        await consumer.stop()
    return counted


async def _records(consumer: AIOKafkaConsumer, place: TopicPartition, upto: int) -> AsyncIterator[list[Any]]:
    """The records below an offset, in order."""
    while await consumer.position(place) < upto:
        polled = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=POLL_MAX_RECORDS)
        records = [record for record in polled.get(place, ()) if record.offset < upto]
        if records:
            yield records


def _take(state: PartitionState, counted: Counted, records: Iterable[Any], waiting: list[tuple[int, int, Any]]) -> None:
    """Fold records, cut where a version or a closing stands among them."""
    offsets = [each[0] for each in waiting]

    for passed, group in groupby(records, key=lambda record: bisect_right(offsets, record.offset)):
        taken = len(offsets) - len(waiting)
        for _, kind, what in waiting[: passed - taken]:
            if kind == 0:
                state.adopt([what])
            else:
                state.closed[what[1]] = what[2]
        del waiting[: passed - taken]
        found = read(group)
        counted.take(state, fold(state, found, found[-1].record.offset + 1))
