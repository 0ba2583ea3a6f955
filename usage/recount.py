"""`tallybook usage recount`: the topic read once more from its beginning, against what PostgreSQL holds.

Each closing is applied at the offset that it covers, each meter's version at the offset from which it was adopted: what
comes out must be what is kept, row by row, whatever was killed, sent twice or read by whom. What is kept otherwise can
be mended: written as it is counted, while nobody else writes it, but for what a closing has billed. Days are held
against the quarter hours that are kept, and mended after these.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence, Set
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.unreadable import tolerate_unreadable_batches
from infra.settings import Settings
from usage.aggregation.fold import BUCKET_US, PartitionState, Read, fold, read
from usage.aggregation.upkeep import LOCK
from usage.partials import Connection
from usage.recounted_rows import (
    CONFLICTS,
    TABLES,
    VOIDS,
    Difference,
    Kept,
    Known,
    Row,
    Rows,
    Unlike,
    kept_rows,
    mend,
    unlike,
)
from usage.wire import topic_of

POLL_TIMEOUT_MS: Final = 500
POLL_MAX_RECORDS: Final = 500
AHEAD_US: Final = 2 * BUCKET_US
"""How far an event's time may be ahead of its arrival, rounded up: what is older than the topic is not compared."""

_CLAIM: Final = "UPDATE usage.checkpoints SET closings = closings + 1 WHERE partition = $1"
"""No aggregator and no closing goes on before the commit; and as no closing is of this number, aggregators notice that
rows are others than they know, and load them.
"""


class UsageAway(Exception):
    """The topic no longer holds what was counted: it was made anew."""


class Recounted(NamedTuple):
    """What a partition's recount found."""

    partition: int
    upto: int
    events: int
    rows: int
    differences: tuple[Difference, ...]


async def recount(
    settings: Settings, connection: Connection, *, bootstrap: str, partition: int, mends: bool = False
) -> Recounted | None:
    """Recount one partition up to its checkpoint, while everything goes on. None where nothing was ever counted.

    The connection is the aggregator's, or to mend, the owner's.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        kept = await kept_rows(connection, partition)
    if kept is None:
        return None
    async with _topic(settings, bootstrap, partition) as topic:
        counting = _Counting(settings, topic, kept)
        await counting.upto(kept)
        found = counting.unlike(kept)
        if not (found and mends):
            return counting.told(kept, found, mended=())
        async with connection.transaction():
            await connection.execute(LOCK, partition)
            await connection.execute(_CLAIM, partition)
            kept = await kept_rows(connection, partition)
            assert kept is not None, "a checkpoint stays"
            await counting.upto(kept)
            found = counting.unlike(kept)
            mended = await mend(connection, partition, kept, found, counting.rows)
        return counting.told(kept, found, mended=mended)


class _Topic(NamedTuple):
    """A partition of the topic, being read; `beginning` is the offset of its first record."""

    consumer: AIOKafkaConsumer
    place: TopicPartition
    beginning: int

    async def below(self, upto: int) -> AsyncIterator[list[Any]]:
        """The records that come before an offset, and were not read yet."""
        end = (await self.consumer.end_offsets([self.place]))[self.place]
        if end < upto:
            raise UsageAway(
                f"{self.place.topic}/{self.place.partition} ends at {end}, and {upto} records of it were counted"
            )
        at = await self.consumer.position(self.place)
        while at < upto:
            polled = await self.consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=POLL_MAX_RECORDS)
            found = polled.get(self.place, ())
            records = [record for record in found if record.offset < upto]
            if records:
                yield records
            at = await self.consumer.position(self.place)
            if len(records) < len(found):
                at = found[len(records)].offset
                self.consumer.seek(self.place, at)


@asynccontextmanager
async def _topic(settings: Settings, bootstrap: str, partition: int) -> AsyncIterator[_Topic]:
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
        consumer.seek(place, beginning)
        yield _Topic(consumer, place, beginning)
    finally:
        await consumer.stop()


class _Counting:
    """What the records of a partition come to, with each meter's version and each closing at its place."""

    def __init__(self, settings: Settings, topic: _Topic, kept: Kept) -> None:
        self.rows = Rows()
        self._topic = topic
        self._events = 0
        self._floor: int | None = None
        self._recent: set[Row] = set()
        self._state = PartitionState(topic.place.partition, settings.usage.partitions, 0)
        self._passed = 0
        """Of what decides besides the records, how much is behind."""
        for entries, day in kept.rows.ids.before(topic.beginning):
            self._state.seen.load(entries, day)

    async def upto(self, kept: Kept) -> None:
        """Count on, up to where it is kept."""
        adoptions = [(each.from_offset, 0, each) for each in kept.adopted.adoptions]
        closings = [(each[0], 1, each) for each in kept.closings]
        deciding: list[tuple[int, int, Any]] = sorted([*adoptions, *closings], key=lambda each: each[:2])
        placed = kept.rows.of[CONFLICTS.what].keys() | kept.rows.of[VOIDS.what].keys()
        async for records in self._topic.below(kept.upto):
            if self._topic.beginning > 0 and self._floor is None:
                self._floor = (records[0].timestamp * 1000 + AHEAD_US) // BUCKET_US + 1
            self._take(records, deciding, placed)

    def _take(self, records: Iterable[Any], deciding: Sequence[tuple[int, int, Any]], placed: Set[Row]) -> None:
        """Fold records, cut where a version or a closing stands among them."""
        offsets = [each[0] for each in deciding]
        for passed, group in groupby(records, key=lambda record: bisect_right(offsets, record.offset)):
            for _, kind, what in deciding[self._passed : passed]:
                if kind == 0:
                    self._state.adopt([what])
                else:
                    self._state.closed[what[1]] = what[2]
            self._passed = passed
            found = read(group)
            folded = fold(self._state, found, found[-1].record.offset + 1)
            self.rows.take(self._state, folded)
            self._events += folded.events
            if self._floor is not None:
                told = {(each.offset, each.nth) for each in folded.conflicts}
                told |= {(each.offset, each.nth) for each in folded.voids}
                self._recent.update(_since(self._floor, found, (placed, told)))
            folded.commit(self._state)

    def unlike(self, kept: Kept) -> list[Unlike]:
        """What is kept otherwise."""
        known = None if self._floor is None else Known(self._floor, self._recent)
        return unlike(kept, self.rows, known)

    def told(self, kept: Kept, found: Sequence[Unlike], *, mended: Sequence[Unlike]) -> Recounted:
        """What became of it."""
        rows = sum(len(self.rows.of[each.what]) for each in TABLES)
        done = {(each.what, each.key) for each in mended}
        differences = tuple(each.told(mended=(each.what, each.key) in done) for each in found)
        return Recounted(self._topic.place.partition, kept.upto, self._events, rows, differences)


def _since(floor: int, found: Iterable[Read], places: Sequence[Set[Row]]) -> Iterator[Row]:
    """Those of the places whose events are of a quarter hour or a later one."""
    for each in found:
        for nth, event in enumerate(each.events):
            place = each.record.offset, nth
            if any(place in some for some in places) and event.timestamp_us // BUCKET_US >= floor:
                yield place
