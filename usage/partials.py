"""Rows of usage as the domain's partial aggregates, from which figures are made."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from domain.metering.aggregation import Aggregation, PartialAggregate, Tally
from domain.metering.usage_value import units
from usage.aggregation.fold import BUCKET_US
from usage.aggregation.meters import MeterVersion, version_from


class Queries(Protocol):
    """A connection that queries run on."""

    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...
    async def fetchrow(self, query: str, *args: object) -> Any: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...


Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
LAST_BUCKET: Final = 2**31 - 1
FIRST_BUCKET: Final = -(2**31)

_SERIES: Final = """
SELECT s.series, s.meter_id, s.version, s.groups,
    (SELECT a.rule FROM usage.adopted_meters a WHERE a.partition = s.partition AND a.tenant_id = s.tenant_id
        AND a.meter_id = s.meter_id AND a.version = s.version) AS rule
FROM usage.series s WHERE s.tenant_id = $1 AND s.customer_id = $2 AND s.meter_id = ANY($3::text[])
ORDER BY s.meter_id, s.version, s.groups
"""
_SUMS: Final = """
SELECT series, bucket, sum(n)::bigint AS n, sum(total) AS total FROM usage.aggregates
WHERE series = ANY($1::bytea[]) AND bucket >= $2 AND bucket < $3 AND late BETWEEN $4 AND $5
GROUP BY series, bucket ORDER BY series, bucket
"""
_TALLIES: Final = """
SELECT series, bucket, at_us, event_id, value, member, sum(times)::bigint AS times FROM usage.tallies
WHERE series = ANY($1::bytea[]) AND bucket >= $2 AND bucket < $3 AND late BETWEEN $4 AND $5
GROUP BY series, bucket, at_us, event_id, value, member HAVING sum(times) <> 0
ORDER BY series, bucket, at_us, event_id, value, member
"""
_LEVELS: Final = """
SELECT DISTINCT ON (p.nth) p.nth, last.value FROM unnest($1::bytea[], $2::int[]) AS p (series, nth)
CROSS JOIN LATERAL (
    SELECT t.at_us, t.event_id, t.value FROM usage.tallies t
    WHERE t.series = p.series AND t.bucket < $3 AND t.late <= $4
    GROUP BY t.bucket, t.at_us, t.event_id, t.value HAVING sum(t.times) > 0
    ORDER BY t.bucket DESC, t.at_us DESC, t.event_id DESC, t.value DESC LIMIT 1
) AS last ORDER BY p.nth, last.at_us DESC, last.event_id DESC, last.value DESC
"""
_COUNTED_UP_TO: Final = "SELECT next_offset FROM usage.checkpoints WHERE partition = $1"
ANY_LATE: Final = (0, LAST_BUCKET)


Group: TypeAlias = tuple[tuple[str, str], ...]
"""Properties that a meter groups by, with their values; empty text where events had none."""


class MeteredSeries(NamedTuple):
    """A series with the version of the meter that it is counted by."""

    series: bytes
    version: MeterVersion
    groups: tuple[str, ...]

    @property
    def group(self) -> Group:
        """Which group it is of, whatever version of the meter reads it."""
        return tuple(zip(self.version.group_by, self.groups, strict=True))


class Buckets(NamedTuple):
    """[first, end): quarter hours since 1970."""

    first: int
    end: int


def bucket_of(at: datetime) -> int:
    """The quarter hour that an instant is in."""
    return (at - EPOCH) // MICROSECOND // BUCKET_US


def end_bucket_of(at: datetime) -> int:
    """The first quarter hour that begins at or after an instant."""
    return -((EPOCH - at) // MICROSECOND // BUCKET_US)


def buckets_of(since: datetime, until: datetime) -> Buckets:
    """The quarter hours of a period [since, until): those that begin in it.

    So where periods touch, each quarter hour is of one of them, and where a period follows a trial, a pause or nothing
    at all, the one that it begins in is not its own.
    """
    return Buckets(end_bucket_of(since), end_bucket_of(until))


def start_of(bucket: int) -> datetime:
    """When a bucket begins."""
    return EPOCH + bucket * BUCKET_US * MICROSECOND


def left_of(whole: Buckets, taken: Iterable[Buckets]) -> list[Buckets]:
    """What is left of it, in order, in as few pieces as there can be."""
    pieces = [whole] if whole.first < whole.end else []
    for each in taken:
        if each.first >= each.end or each.end <= whole.first or each.first >= whole.end:
            continue
        before = [Buckets(piece.first, min(piece.end, each.first)) for piece in pieces]
        behind = [Buckets(max(piece.first, each.end), piece.end) for piece in pieces]
        pieces = sorted(piece for piece in (*before, *behind) if piece.first < piece.end)
    return pieces


async def counted_up_to(connection: Queries, partition: int) -> int:
    """The first record of a partition that is not counted yet."""
    return int(await connection.fetchval(_COUNTED_UP_TO, partition) or 0)


async def series_of_customer(
    connection: Queries, tenant_id: str, customer_id: str, meter_ids: Iterable[str]
) -> list[MeteredSeries]:
    """What is summed of a customer by these meters."""
    rows = await connection.fetch(_SERIES, tenant_id, customer_id, list(meter_ids))
    return [MeteredSeries(row["series"], version_from(row["rule"]), tuple(row["groups"])) for row in rows]


def grouped(series: Iterable[MeteredSeries]) -> dict[Group, list[MeteredSeries]]:
    """One meter's series by their groups: a level goes on from one version of the meter into the next."""
    found: dict[Group, list[MeteredSeries]] = {}
    for each in series:
        found.setdefault(each.group, []).append(each)
    return found


async def partials(
    connection: Connection,
    series: Iterable[MeteredSeries],
    buckets: Buckets,
    *,
    late: tuple[int, int] = ANY_LATE,
) -> dict[tuple[bytes, int], PartialAggregate]:
    """By series and bucket what counts there, of the events that came behind the closings `late` (0: in time)."""
    kinds = {each.series: each.version.aggregation for each in series}
    values = (list(kinds), buckets.first, buckets.end, *late)
    tallies: dict[tuple[bytes, int], list[Tally]] = {}
    for row in await connection.fetch(_TALLIES, *values):
        tally = _tally(kinds[row["series"]], row["at_us"], row["event_id"], row["value"], row["member"], row["times"])
        tallies.setdefault((row["series"], row["bucket"]), []).append(tally)
    found: dict[tuple[bytes, int], PartialAggregate] = {}
    for row in await connection.fetch(_SUMS, *values):
        key = (row["series"], row["bucket"])
        found[key] = PartialAggregate(
            aggregation=kinds[row["series"]],
            count=row["n"],
            total=units(row["total"]),
            tallies=tuple(tallies.get(key, ())),
        )
    return found


async def levels_before(
    connection: Queries, groups: Sequence[Sequence[MeteredSeries]], bucket: int, *, late_max: int = LAST_BUCKET
) -> dict[int, Decimal]:
    """By its place the level that a group had where a bucket begins, by what came behind no later closing; groups that
    had none are left out.
    """
    series = [each.series for group in groups for each in group]
    of = [nth for nth, group in enumerate(groups) for _ in group]
    rows = await connection.fetch(_LEVELS, series, of, bucket, late_max)
    return {row["nth"]: units(row["value"]) for row in rows}


def _tally(kind: Aggregation, at_us: int, event_id: str, value: Decimal, member: str, times: int) -> Tally:
    match kind:
        case Aggregation.MAX:
            return Tally(value=units(value), times=times)
        case Aggregation.UNIQUE:
            return Tally(key=member, times=times)
        case _:
            return Tally(at=EPOCH + at_us * MICROSECOND, event_id=event_id, value=units(value), times=times)
