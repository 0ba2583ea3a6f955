"""The proof of usage: counted is what was acknowledged, billed is what was counted, and a recount finds the same."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from cli.faults.usage import CALLS, UNITS, Place, Usage, User
from domain.metering.aggregation import PartialAggregate, merge
from domain.metering.usage_value import NANOS
from infra.database import Pool
from infra.settings import Settings
from processors.invariants.findings import Difference
from processors.invariants.usage import invoice_of
from schemas.codec import Codec, default_codec
from usage.closing import Closing
from usage.closings import closings_of, counted_pieces
from usage.partials import FIRST_BUCKET, LAST_BUCKET, Buckets, Connection, partials, series_of_customer
from usage.recount import recount

NAMED_MAX: Final = 5
"""Places of a meter's of which each difference is told."""
_SUMS: Final = """
SELECT a.bucket, a.late, a.n, a.total FROM usage.aggregates a JOIN usage.series s USING (series)
WHERE s.tenant_id = $1 AND s.customer_id = $2 AND s.meter_id = $3
"""
_INVOICES: Final = "SELECT invoice_id FROM read.invoices WHERE tenant_id = $1 AND customer_id = $2"


class _Row(NamedTuple):
    """A sum, in the unit of its meter."""

    bucket: int
    late: int
    quantity: Fraction


async def usage_differences(pool: Pool, tenant_id: str, usage: Usage) -> list[Difference]:
    """Where counters or invoices of a tenant say otherwise than was acknowledged. The pool's role is the owner's."""
    found: list[Difference] = []
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        for user in usage.users:
            for code, meter_id in usage.meters.items():
                who = f"{tenant_id} {user.customer_id} {code}"
                kept = await _kept(connection, tenant_id, user, meter_id)
                found += _compared(who, kept, user.counted(code))
                if code in (UNITS, CALLS) and not user.voids:  # what is given up is counted by I9
                    rows = await _rows(connection, tenant_id, user, code, meter_id)
                    closings = await closings_of(connection, tenant_id, user.customer_id, meter_id)
                    billed = await _billed(connection, default_codec(), tenant_id, user, meter_id)
                    found += _is_billed(who, rows, closings, billed)
    return found


async def _kept(connection: Connection, tenant_id: str, user: User, meter_id: str) -> dict[Place, PartialAggregate]:
    """What is kept of each group in each quarter hour, without what voids have brought to nothing."""
    series = await series_of_customer(connection, tenant_id, user.customer_id, [meter_id])
    groups = {each.series: each.groups for each in series}
    found = await partials(connection, series, Buckets(FIRST_BUCKET, LAST_BUCKET))
    return {
        (groups[name], bucket): merge(partial)
        for (name, bucket), partial in found.items()
        if partial.count or partial.total or partial.tallies
    }


def _compared(
    who: str, kept: Mapping[Place, PartialAggregate], acknowledged: Mapping[Place, PartialAggregate]
) -> list[Difference]:
    places = [place for place in kept.keys() | acknowledged.keys() if kept.get(place) != acknowledged.get(place)]
    return [
        Difference(
            kind="usage counted",
            subject=f"{who} {place}",
            detail=f"{acknowledged.get(place)} was acknowledged, {kept.get(place)} is kept; {len(places)} such places",
        )
        for place in sorted(places)[:NAMED_MAX]
    ]


async def _rows(connection: Connection, tenant_id: str, user: User, code: str, meter_id: str) -> list[_Row]:
    """The sums of a meter whose figures add up."""
    rows = await connection.fetch(_SUMS, tenant_id, user.customer_id, meter_id)
    return [
        _Row(bucket, late, Fraction(n) if code == CALLS else Fraction(total) / NANOS) for bucket, late, n, total in rows
    ]


async def _billed(connection: Connection, codec: Codec, tenant_id: str, user: User, meter_id: str) -> Fraction:
    """What invoices say that was used: each period as it was last rated."""
    total = Fraction(0)
    for (invoice_id,) in await connection.fetch(_INVOICES, tenant_id, user.customer_id):
        invoice = await invoice_of(connection, codec, tenant_id, invoice_id)
        assert invoice is not None, "a row of the read model has a stream"
        rerated = {each.line_id: each.quantity for each in invoice.rerated}
        for line in invoice.lines:
            usage = line.usage
            if usage is None or usage.meter_id != meter_id or usage.snapshot is None or usage.late is not None:
                continue
            if line.bills_so_far:
                continue  # its period's last line is of all of it
            total += rerated.get(line.line_id, usage.snapshot.quantity)
    return total


def _is_billed(who: str, rows: list[_Row], closings: list[Closing], billed: Fraction) -> list[Difference]:
    """Billed, open and late usage is all that is counted: I9, for a meter of which figures add up. What is billed of a
    period that runs is open, until its last line, and so is what no closing took: a draft's time may go on beyond that
    of closings behind it.
    """
    last = closings[-1] if closings else None
    running = _running(closings)
    counted = open_ = late = Fraction(0)
    for row in rows:
        counted += row.quantity
        is_running = any(piece.first <= row.bucket < piece.end for piece in running)
        is_taken = any(each.first_bucket <= row.bucket < each.end_bucket for each in closings)
        if last is None or is_running or not is_taken:
            open_ += row.quantity
        elif row.late == last.seq:
            late += row.quantity
    if billed + open_ + late == counted:
        return []
    detail = f"{billed} billed, {open_} open and {late} late are not the {counted} that are counted"
    return [Difference(kind="usage billed", subject=who, detail=detail)]


def _running(closings: list[Closing]) -> list[Buckets]:
    """What is closed of periods whose last line is still to come."""
    ends = {each.charge: each for each in closings if each.charge is not None}
    return [piece for each in ends.values() if not each.is_last for piece in counted_pieces(closings, each)]


async def recount_differences(pool: Pool, settings: Settings, bootstrap: str) -> list[Difference]:
    """Where the topic, read once more, comes to something else than is kept. The pool's role is the owner's."""
    found: list[Difference] = []
    async with pool.acquire() as connection:
        for partition in range(settings.usage.partitions):
            counted = await recount(settings, connection, bootstrap=bootstrap, partition=partition)
            for each in () if counted is None else counted.differences:
                detail = f"{each.kept} is kept, {each.counted} is counted"
                found.append(Difference(kind=f"recounted {each.what}", subject=each.key, detail=detail))
    return found
