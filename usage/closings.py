"""Closing a period of usage, by a watermark and without clocks. What billing builds on is here, and is small:

`Closings.close(wanted)` gives what a customer's meter comes to in a period: `Closed`, with the figure, what the closing
covers and the hash of its rows, which go into the invoice's event; and what came late for periods that earlier closings
have billed, each recounted. `NotYet`: not everything that Kafka held when the closing was first asked for is counted:
ask again, as due work does. `OutOfOrder`: the meter is closed beyond that period. To ask again under the same reference
gives the same answer, whatever came since.

A closing's rows never change: an event that comes after it for one of its quarter hours, or for one before, bears the
closing's number (`late`) and is the next one's. Which events are late is a function of their offsets and of `covers`
alone, so `usage.recount` finds the same (docs/decisions/0126-a-period-is-closed-by-a-watermark.md). A boundary within a
quarter hour takes all of it to the period that ends there.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple, Protocol

from domain.metering.aggregation import ZERO, Aggregation, PartialAggregate, Window, merge, quantity_of
from infra.database import Pool
from usage.partials import (
    Buckets,
    Connection,
    MeteredSeries,
    bucket_of,
    end_bucket_of,
    level_before,
    partials,
    series_of_customer,
    start_of,
)
from usage.wire import partition_of_customer

PINNED_MAX: Final = 100_000
"""References whose watermark is remembered while they wait."""

_LOCK: Final = """
UPDATE usage.checkpoints SET closings = closings + 1 WHERE partition = $1 RETURNING next_offset, closings
"""
_COLUMNS: Final = "meter_id, seq, reference, partition, since, until, first_bucket, bucket, covers, sha256"
_BY_REFERENCE: Final = f"""
SELECT {_COLUMNS} FROM usage.closings WHERE tenant_id = $1 AND reference = $2
"""  # noqa: S608  constants
_OF_METER: Final = f"""
SELECT {_COLUMNS} FROM usage.closings WHERE tenant_id = $1 AND customer_id = $2 AND meter_id = $3 ORDER BY seq
"""  # noqa: S608  constants
_INSERT: Final = f"""
INSERT INTO usage.closings (tenant_id, customer_id, version, {_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""  # noqa: S608  constants
_ROWS: Final = """
SELECT 'sum', encode(series, 'hex'), bucket, late, n::text, trim_scale(total)::text, '', '', '' FROM usage.aggregates
WHERE series = ANY($1::bytea[]) AND (late = 0 AND bucket >= $2 AND bucket < $3 OR late = $4 AND $4 > 0)
    AND (n <> 0 OR total <> 0)
UNION ALL
SELECT 'tally', encode(series, 'hex'), bucket, late, at_us::text, event_id, value::text, member, times::text
FROM usage.tallies
WHERE series = ANY($1::bytea[]) AND (late = 0 AND bucket >= $2 AND bucket < $3 OR late = $4 AND $4 > 0) AND times <> 0
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""
_LATE_BUCKETS: Final = """
SELECT DISTINCT bucket FROM usage.aggregates WHERE series = ANY($1::bytea[]) AND late = $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A period [since, until) of a customer's meter. `reference` is whom it is closed for; it names one closing."""

    tenant_id: str
    customer_id: str
    meter_id: str
    since: datetime
    until: datetime
    reference: str


class LateWindow(NamedTuple):
    """An earlier closing's period, as it stands with all that came until this one. `events` less their voids."""

    reference: str
    quantity: Decimal | Fraction
    events: int


class Closed(NamedTuple):
    """What a closing says. `covers`: the records of the partition below this offset are in it, and no others.

    `quantity` is in the meter's unit (value-hours for a time-weighted sum), exact.
    """

    seq: int
    partition: int
    covers: int
    sha256: bytes
    quantity: Decimal | Fraction
    events: int
    late: tuple[LateWindow, ...]


class NotYet(NamedTuple):
    """The aggregator has counted up to `counted`, and the closing waits for `wanted`."""

    partition: int
    counted: int
    wanted: int


class OutOfOrder(NamedTuple):
    """The meter is closed up to `until` already, under another reference: nothing was closed."""

    reference: str
    until: datetime


class Ends(Protocol):
    """Knows how far Kafka's partitions of usage reach."""

    async def end(self, partition: int) -> int:
        """The offset after the last record that was acknowledged."""
        ...


class Closing(NamedTuple):
    """A row of usage.closings."""

    meter_id: str
    seq: int
    reference: str
    partition: int
    since: datetime
    until: datetime
    first_bucket: int
    bucket: int
    covers: int
    sha256: bytes

    @property
    def buckets(self) -> Buckets:
        return Buckets(self.first_bucket, self.bucket)


class Closings:
    """Closes periods. The pool's role is the writer's."""

    def __init__(self, pool: Pool, ends: Ends, *, partitions: int) -> None:
        self._pool = pool
        self._ends = ends
        self._partitions = partitions
        self._pinned: dict[tuple[str, str], int] = {}

    async def close(self, wanted: Wanted, *, waits: bool = True) -> Closed | NotYet | OutOfOrder:
        """Close a period, or say why it cannot be closed. `waits=False`: with what is counted by now.

        Raises ValueError for a reference that has closed another period, and what the database raises.
        """
        partition = partition_of_customer(wanted.tenant_id, wanted.customer_id, self._partitions)
        async with self._pool.acquire() as connection:
            known = await _by_reference(connection, wanted)
            if known is not None:
                return await closed(connection, wanted, known)
            until = await self._watermark(wanted, partition) if waits else 0
            outcome = await _close(connection, wanted, partition, until)
            if not isinstance(outcome, Closing):
                return outcome
            self._pinned.pop((wanted.tenant_id, wanted.reference), None)
            return await closed(connection, wanted, outcome)

    async def _watermark(self, wanted: Wanted, partition: int) -> int:
        """Where the partition ended when this closing was first asked for: what comes meanwhile is not waited for."""
        key = (wanted.tenant_id, wanted.reference)
        pinned = self._pinned.get(key)
        if pinned is None:
            if len(self._pinned) >= PINNED_MAX:
                self._pinned.clear()
            pinned = self._pinned[key] = await self._ends.end(partition)
        return pinned


class _Undone(Exception):
    """Leaves the transaction without a change."""

    def __init__(self, outcome: NotYet | OutOfOrder | Closing) -> None:
        self.outcome = outcome
        super().__init__()


async def _close(
    connection: Connection, wanted: Wanted, partition: int, watermark: int
) -> Closing | NotYet | OutOfOrder:
    try:
        async with connection.transaction():
            return await _close_locked(connection, wanted, partition, watermark)
    except _Undone as undone:
        return undone.outcome


async def _close_locked(connection: Connection, wanted: Wanted, partition: int, watermark: int) -> Closing:
    # The row is locked first: other closings of the partition, and its aggregator, come before or after this one.
    row = await connection.fetchrow(_LOCK, partition)
    if row is None or row["next_offset"] < watermark:
        raise _Undone(NotYet(partition, 0 if row is None else row["next_offset"], watermark))
    known = await _by_reference(connection, wanted)
    if known is not None:
        raise _Undone(known)
    earlier = await closings_of(connection, wanted.tenant_id, wanted.customer_id, wanted.meter_id)
    last = earlier[-1] if earlier else None
    if last is not None and wanted.until < last.until:
        raise _Undone(OutOfOrder(last.reference, last.until))
    closing = following(earlier, wanted, partition, row["next_offset"])
    closing = closing._replace(sha256=await rows_hash(connection, wanted, closing))
    await connection.execute(_INSERT, wanted.tenant_id, wanted.customer_id, row["closings"], *closing)
    return closing


def following(earlier: Sequence[Closing], wanted: Wanted, partition: int, covers: int) -> Closing:
    """The closing that comes after these of the meter, without its rows' hash."""
    first, end = bucket_of(wanted.since), end_bucket_of(wanted.until)
    if earlier:
        first, end = max(first, earlier[-1].bucket), max(end, earlier[-1].bucket)
    place = wanted.meter_id, len(earlier) + 1, wanted.reference, partition
    return Closing(*place, wanted.since, wanted.until, first, end, covers, b"")


async def _by_reference(connection: Connection, wanted: Wanted) -> Closing | None:
    row = await connection.fetchrow(_BY_REFERENCE, wanted.tenant_id, wanted.reference)
    if row is None:
        return None
    known = Closing(*row)
    if (known.meter_id, known.since, known.until) != (wanted.meter_id, wanted.since, wanted.until):
        raise ValueError(f"{wanted.reference} has closed another period: {known.since} to {known.until}")
    return known


async def closings_of(connection: Connection, tenant_id: str, customer_id: str, meter_id: str) -> list[Closing]:
    """All closings of a customer's meter, oldest first."""
    return [Closing(*row) for row in await connection.fetch(_OF_METER, tenant_id, customer_id, meter_id)]


async def rows_hash(connection: Connection, wanted: Wanted, closing: Closing) -> bytes:
    """SHA-256 of a closing's rows in one order, parts behind their lengths, so that no two closings look alike."""
    series = await series_of_customer(connection, wanted.tenant_id, wanted.customer_id, [wanted.meter_id])
    digest = hashlib.sha256()
    for row in await connection.fetch(_ROWS, [each.series for each in series], *closing.buckets, closing.seq - 1):
        for part in row:
            text = str(part).encode()
            digest.update(b"%d:%b" % (len(text), text))
    return digest.digest()


async def closed(connection: Connection, wanted: Wanted, closing: Closing) -> Closed:
    """What a closing says; the same whenever it is asked."""
    series = await series_of_customer(connection, wanted.tenant_id, wanted.customer_id, [wanted.meter_id])
    own = await _figure(connection, series, closing.buckets, late_max=closing.seq - 1)
    late = []
    if closing.seq > 1:
        earlier = await closings_of(connection, wanted.tenant_id, wanted.customer_id, wanted.meter_id)
        names = [each.series for each in series]
        touched = [row[0] for row in await connection.fetch(_LATE_BUCKETS, names, closing.seq - 1)]
        for each in earlier[: closing.seq - 1]:
            if _is_touched(series, each.buckets, touched):
                figure = await _figure(connection, series, each.buckets, late_max=closing.seq - 1)
                late.append(LateWindow(each.reference, *figure))
    return Closed(closing.seq, closing.partition, closing.covers, closing.sha256, *own, tuple(late))


def _is_touched(series: list[MeteredSeries], window: Buckets, touched: list[int]) -> bool:
    """Whether something came late for a window; a level goes on into the windows that follow."""
    holds_on = any(each.version.aggregation is Aggregation.TIME_WEIGHTED_SUM for each in series)
    return any(bucket < window.end and (holds_on or bucket >= window.first) for bucket in touched)


async def _figure(
    connection: Connection, series: list[MeteredSeries], buckets: Buckets, *, late_max: int
) -> tuple[Decimal | Fraction, int]:
    """The meter's quantity over a window, of all groups and versions together, and how many events it is of."""
    if not series:
        return ZERO, 0
    aggregation = series[0].version.aggregation
    parts = await partials(connection, series, buckets, late=(0, late_max))
    partial = merge(PartialAggregate(aggregation=aggregation), *parts.values())
    carried_in = ZERO
    if aggregation is Aggregation.TIME_WEIGHTED_SUM:
        carried_in = await level_before(connection, series, buckets.first, late_max=late_max)
    window = Window(start=start_of(buckets.first), end=start_of(buckets.end))
    return quantity_of(partial, window, carried_in), partial.count
