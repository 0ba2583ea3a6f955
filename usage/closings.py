"""Closing a period of usage, by a watermark and without clocks. What billing builds on is here, and is small:

`Closings.close(wanted)` gives what a customer's meter comes to in a period: `Closed`, with the figure, what the closing
covers and the hash of its rows, which go into the invoice's event; and what came late for periods that earlier closings
have billed, each recounted. `NotYet`: not everything that Kafka held when the closing was first asked for is counted:
ask again, as due work does. To ask again under the same reference gives the same answer, whatever came since.

Periods may be closed in any order: a quarter hour belongs to the closing that takes it first. Where a later period was
closed before, what came since for this one is late by its number, and this one's all the same: nobody else took it.

A closing's rows never change: an event that comes after it for one of its quarter hours, or for one before, bears the
closing's number (`late`) and is the next one's. Which events are late is a function of their offsets and of `covers`
alone, so `usage.recount` finds the same (docs/decisions/0126-a-period-is-closed-by-a-watermark.md). A quarter hour is
of the period that it begins in.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from domain.invoicing.usage_request import VOIDED_USAGE, voided_usage_of
from domain.metering.aggregation import (
    ZERO,
    Aggregation,
    GroupUsage,
    PartialAggregate,
    Window,
    amounts_of,
    merge,
    quantity_of_groups,
    total_of,
)
from infra.database import Pool
from usage.closing import Closing, told
from usage.partials import (
    Buckets,
    Connection,
    MeteredSeries,
    buckets_of,
    grouped,
    left_of,
    levels_before,
    partials,
    series_of_customer,
    start_of,
)
from usage.watermarks import Ends, Watermarks
from usage.wire import partition_of_customer

_LOCK: Final = """
UPDATE usage.checkpoints SET closings = closings + 1 WHERE partition = $1 RETURNING next_offset, closings
"""
_PERIOD: Final = "since, until, charge, is_last, first_bucket, end_bucket"
_COLUMNS: Final = f"meter_id, seq, reference, partition, {_PERIOD}, bucket, covers, sha256"
_BY_REFERENCE: Final = f"""
SELECT {_COLUMNS} FROM usage.closings WHERE tenant_id = $1 AND reference = $2
"""  # noqa: S608  constants
_OF_METER: Final = f"""
SELECT {_COLUMNS} FROM usage.closings WHERE tenant_id = $1 AND customer_id = $2 AND meter_id = $3 ORDER BY seq
"""  # noqa: S608  constants
_INSERT: Final = f"""
INSERT INTO usage.closings (tenant_id, customer_id, version, {_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""  # noqa: S608  constants
_ROWS: Final = """
WITH taken AS (SELECT t.first, t.past FROM unnest($4::int[], $5::int[]) AS t (first, past))
SELECT 'sum', encode(series, 'hex'), bucket, late, n::text, trim_scale(total)::text, '', '', '' FROM usage.aggregates
WHERE series = ANY($1::bytea[]) AND (late = $6 AND $6 > 0 OR late <= $6 AND bucket >= $2 AND bucket < $3
    AND NOT EXISTS (SELECT 1 FROM taken WHERE bucket >= taken.first AND bucket < taken.past)) AND (n <> 0 OR total <> 0)
UNION ALL
SELECT 'tally', encode(series, 'hex'), bucket, late, at_us::text, event_id, value::text, member, times::text
FROM usage.tallies
WHERE series = ANY($1::bytea[]) AND (late = $6 AND $6 > 0 OR late <= $6 AND bucket >= $2 AND bucket < $3
    AND NOT EXISTS (SELECT 1 FROM taken WHERE bucket >= taken.first AND bucket < taken.past)) AND times <> 0
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""
_VOIDED: Final = """
SELECT owner FROM log.claims WHERE tenant_id = $1 AND kind = $2 AND value >= $3 AND value < $3 || chr(1114111)
"""
_LATE_BUCKETS: Final = """
SELECT DISTINCT bucket FROM usage.aggregates WHERE series = ANY($1::bytea[]) AND late BETWEEN $2 AND $3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A period [since, until) of a customer's meter. `reference` is whom it is closed for; it names one closing.

    Closings of one `charge` count one period together, each what it came to until then: all begin with it, and the one
    that `is_last` ends with it. What comes late for one that is not, the next of them counts.
    """

    tenant_id: str
    customer_id: str
    meter_id: str
    since: datetime
    until: datetime
    reference: str
    charge: str | None = None
    is_last: bool = True


class LateWindow(NamedTuple):
    """An earlier closing's period, as it stands with all that came until this one. `events` less their voids, and each
    one's amount where the meter keeps it, in order of time.
    """

    reference: str
    quantity: Decimal | Fraction
    events: int
    amounts: tuple[Decimal, ...] = ()


class Closed(NamedTuple):
    """What a closing says. `covers`: the records of the partition below this offset are in it, and no others.

    `quantity` is in the meter's unit (value-hours for a time-weighted sum), exact, of all groups together. `amounts` as
    in LateWindow.
    """

    seq: int
    partition: int
    covers: int
    sha256: bytes
    quantity: Decimal | Fraction
    events: int
    late: tuple[LateWindow, ...]
    amounts: tuple[Decimal, ...] = ()


class ClosedFigure(NamedTuple):
    """A period's quantity, of how many events, and the amounts of these as in LateWindow."""

    quantity: Decimal | Fraction
    events: int
    amounts: tuple[Decimal, ...] = ()


class NotYet(NamedTuple):
    """The aggregator has counted up to `counted`, and the closing waits for `wanted`."""

    partition: int
    counted: int
    wanted: int


class Closings:
    """Closes periods. The pool's role is the writer's."""

    def __init__(self, pool: Pool, ends: Ends, *, partitions: int) -> None:
        self._pool = pool
        self._watermarks = Watermarks(ends)
        self._partitions = partitions

    async def close(self, wanted: Wanted, *, waits: bool = True) -> Closed | NotYet:
        """Close a period, or say why it cannot be closed. `waits=False`: with what is counted by now.

        Raises ValueError for a reference that has closed another period, and what the database raises.
        """
        partition = partition_of_customer(wanted.tenant_id, wanted.customer_id, self._partitions)
        async with self._pool.acquire() as connection:
            known = await _by_reference(connection, wanted)
            if known is not None:
                return await closed(connection, wanted, known)
            waiting = wanted.tenant_id, wanted.reference
            until = await self._watermarks.of(waiting, partition) if waits else 0
            outcome = await _close(connection, wanted, partition, until)
            if isinstance(outcome, NotYet):
                return outcome
            self._watermarks.forget(waiting)
            return await closed(connection, wanted, outcome)


class _Undone(Exception):
    """Leaves the transaction without a change."""

    def __init__(self, outcome: NotYet | Closing) -> None:
        self.outcome = outcome
        super().__init__()


async def _close(connection: Connection, wanted: Wanted, partition: int, watermark: int) -> Closing | NotYet:
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
    closing = following(earlier, wanted, partition, row["next_offset"])
    closing = closing._replace(sha256=await rows_hash(connection, wanted, earlier, closing))
    await connection.execute(_INSERT, wanted.tenant_id, wanted.customer_id, row["closings"], *closing)
    return closing


def following(earlier: Sequence[Closing], wanted: Wanted, partition: int, covers: int) -> Closing:
    """The closing that comes after these of the meter, without its rows' hash."""
    whole = buckets_of(wanted.since, wanted.until)
    pieces = _left_by(earlier, whole)
    first, end = (pieces[0].first, pieces[-1].end) if pieces else (whole.end, whole.end)
    bucket = max(end, earlier[-1].bucket) if earlier else end
    place = wanted.meter_id, len(earlier) + 1, wanted.reference, partition
    period = wanted.since, wanted.until, wanted.charge, wanted.is_last
    return Closing(*place, *period, first, end, bucket, covers, b"")


def pieces_of(closings: Iterable[Closing], closing: Closing) -> list[Buckets]:
    """What a closing took: its period, without what those before it took. One piece, but where one of them was for a
    time within it. `closings`: at least those before it of its meter and customer.
    """
    return _left_by((each for each in closings if each.seq < closing.seq), closing.buckets)


def counted_pieces(closings: Sequence[Closing], closing: Closing) -> list[Buckets]:
    """What a closing counts: what it took, and with it what those before it took of the same charge. `closings`: at
    least those before it.
    """
    if closing.charge is None:
        return pieces_of(closings, closing)
    of_charge = [each for each in closings if each.charge == closing.charge and each.seq < closing.seq]
    of_charge.append(closing)
    whole = Buckets(min(each.first_bucket for each in of_charge), max(each.end_bucket for each in of_charge))
    near = [each for each in closings if _meet(each.buckets, whole)]
    return _joined(piece for each in of_charge for piece in pieces_of(near, each))


def _joined(pieces: Iterable[Buckets]) -> list[Buckets]:
    """The same time in as few pieces as there can be."""
    joined: list[Buckets] = []
    for piece in sorted(pieces):
        if joined and piece.first <= joined[-1].end:
            joined[-1] = Buckets(joined[-1].first, max(joined[-1].end, piece.end))
        else:
            joined.append(piece)
    return joined


def _left_by(earlier: Iterable[Closing], wanted: Buckets) -> list[Buckets]:
    return left_of(wanted, (each.buckets for each in earlier))


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


async def rows_hash(connection: Connection, wanted: Wanted, closings: Iterable[Closing], closing: Closing) -> bytes:
    """SHA-256 of a closing's rows in one order, parts behind their lengths, so that no two closings look alike.
    `closings`: at least those before it.
    """
    series = await series_of_customer(connection, wanted.tenant_id, wanted.customer_id, [wanted.meter_id])
    taken = [each.buckets for each in closings if each.seq < closing.seq and _meet(each.buckets, closing.buckets)]
    bounds = [each.first for each in taken], [each.end for each in taken]
    digest = hashlib.sha256()
    names = [each.series for each in series]
    for row in await connection.fetch(_ROWS, names, *closing.buckets, *bounds, closing.seq - 1):
        for part in row:
            text = str(part).encode()
            digest.update(b"%d:%b" % (len(text), text))
    return digest.digest()


def _meet(one: Buckets, other: Buckets) -> bool:
    return one.first < other.end and other.first < one.end


async def closed(connection: Connection, wanted: Wanted, closing: Closing, *, tells_all: bool = False) -> Closed:
    """What a closing says, the same whenever it is asked, as long as nothing is voided. Once an invoice of the meter
    was, and with `tells_all`, it tells of every earlier period that anything ever came late for, be that told before.
    """
    series = await series_of_customer(connection, wanted.tenant_id, wanted.customer_id, [wanted.meter_id])
    earlier: Sequence[Closing] = ()
    if closing.seq > 1:
        earlier = await closings_of(connection, wanted.tenant_id, wanted.customer_id, wanted.meter_id)
        earlier = earlier[: closing.seq - 1]
    late = closing.seq - 1
    own = await _figure(connection, series, counted_pieces(earlier, closing), late_max=late)
    windows = []
    if earlier:
        voided = await _voided(connection, wanted)
        names = [each.series for each in series]
        rows = await connection.fetch(_LATE_BUCKETS, names, 1 if tells_all or voided else late, late)
        touched = [row[0] for row in rows]
        for each in told(earlier, closing, voided):
            pieces = counted_pieces(earlier, each)
            if _is_touched(series, pieces, touched):
                windows.append(LateWindow(each.reference, *await _figure(connection, series, pieces, late_max=late)))
    place = closing.seq, closing.partition, closing.covers, closing.sha256
    return Closed(*place, own.quantity, own.events, tuple(windows), own.amounts)


async def _voided(connection: Connection, wanted: Wanted) -> frozenset[str]:
    prefix = voided_usage_of(wanted.customer_id, wanted.meter_id)
    return frozenset([row[0] for row in await connection.fetch(_VOIDED, wanted.tenant_id, VOIDED_USAGE, prefix)])


async def figure_of(
    connection: Connection, wanted: Wanted, closings: Sequence[Closing], closing: Closing, late_max: int
) -> ClosedFigure:
    """What a closing's period comes to with what came behind no closing after `late_max`."""
    series = await series_of_customer(connection, wanted.tenant_id, wanted.customer_id, [wanted.meter_id])
    return await _figure(connection, series, counted_pieces(closings, closing), late_max=late_max)


def _is_touched(series: list[MeteredSeries], pieces: Sequence[Buckets], touched: list[int]) -> bool:
    """Whether something came late for a window; a level goes on into the windows that follow."""
    holds_on = any(each.version.aggregation is Aggregation.TIME_WEIGHTED_SUM for each in series)
    return any(bucket < piece.end and (holds_on or bucket >= piece.first) for piece in pieces for bucket in touched)


async def _figure(
    connection: Connection, series: list[MeteredSeries], pieces: Sequence[Buckets], *, late_max: int
) -> ClosedFigure:
    """What a window comes to, of all groups and versions of the meter together."""
    if not series or not pieces:
        return ClosedFigure(ZERO, 0)
    aggregation = series[0].version.aggregation
    groups = list(grouped(series).values())
    found = [await _by_group(connection, groups, piece, late_max) for piece in pieces]
    events = sum(each.count for parts in found for each in parts)
    if aggregation is not Aggregation.TIME_WEIGHTED_SUM:
        whole = [GroupUsage(partial=merge(*parts)) for parts in zip(*found, strict=True)]
        quantity = quantity_of_groups(aggregation, whole, _window(Buckets(pieces[0].first, pieces[-1].end)))
        if aggregation is not Aggregation.AMOUNTS:
            return ClosedFigure(quantity, events)
        return ClosedFigure(quantity, events, amounts_of(merge(*(each.partial for each in whole))))
    held = []
    for piece, parts in zip(pieces, found, strict=True):
        levels = await levels_before(connection, groups, piece.first, late_max=late_max)
        used = [GroupUsage(partial=partial, carried_in=levels.get(nth, ZERO)) for nth, partial in enumerate(parts)]
        held.append(quantity_of_groups(aggregation, used, _window(piece)))
    return ClosedFigure(total_of(held), events)


async def _by_group(
    connection: Connection, groups: Sequence[Sequence[MeteredSeries]], piece: Buckets, late_max: int
) -> list[PartialAggregate]:
    """What each group's events of these quarter hours add, of those behind no later closing."""
    of = {each.series: nth for nth, group in enumerate(groups) for each in group}
    parts = [[PartialAggregate(aggregation=group[0].version.aggregation)] for group in groups]
    series = [each for group in groups for each in group]
    for (name, _), partial in (await partials(connection, series, piece, late=(0, late_max))).items():
        parts[of[name]].append(partial)
    return [merge(*each) for each in parts]


def _window(buckets: Buckets) -> Window:
    return Window(start=start_of(buckets.first), end=start_of(buckets.end))
