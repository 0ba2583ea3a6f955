"""What was counted and billed of the telecom month's usage, held against the reckoning of what was sent."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from rich.table import Table

from cli.api_client import ApiClient, Resource
from cli.telecom_customers import MESSAGES
from cli.telecom_events import ONE
from cli.telecom_rated import ExpectedUsage
from cli.telecom_usage import METERS, Tally, UsageMonth
from domain.metering.usage_value import NANOS
from infra.database import Pool

_COUNTED: Final = """
SELECT s.meter_id, sum(a.n) AS events, sum(a.total) AS total, coalesce(sum(a.n) FILTER (WHERE a.late > 0), 0) AS late
FROM usage.series s JOIN usage.aggregates a USING (series) WHERE s.tenant_id = $1 GROUP BY s.meter_id
"""
_CONFLICTS: Final = "SELECT count(DISTINCT (customer_id, event_id)) FROM usage.conflicts WHERE tenant_id = $1"
_IDS: Final = "SELECT coalesce(sum(ids), 0) FROM usage.dedupe_blocks"


@dataclass(slots=True, kw_only=True)
class CountedUsage:
    """What there is of a tenant's usage at the end: events that count, and the figures of the meters, by code."""

    counts: int = 0
    duplicates: int = 0
    conflicts: int = 0
    late: int = 0
    late_lines: int = 0
    late_amount: int = 0
    quantities: dict[str, Fraction] = field(default_factory=dict)
    billed: defaultdict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    amounts: Counter[str] = field(default_factory=Counter)
    """Quantities and minor units of the lines of invoices."""


async def remembered_ids(pool: Pool) -> int:
    """How many ids of events and voids aggregators have counted, whosever they are. The pool's role is the owner's."""
    return int(await pool.fetchval(_IDS))


async def counted_usage(pool: Pool, api: ApiClient, usage: UsageMonth, *, tenant: str, ids_before: int) -> CountedUsage:
    """As aggregators and invoices have it. What was taken and is no new id is a duplicate, unless it is in conflict."""
    found = CountedUsage()
    codes = {meter_id: code for code, meter_id in usage.meters.items()}
    for row in await pool.fetch(_COUNTED, tenant):
        code = codes[row["meter_id"]]
        found.counts += int(row["events"])
        found.late += int(row["late"])
        found.quantities[code] = Fraction(row["events"]) if code == MESSAGES else Fraction(row["total"]) / NANOS
    found.conflicts = int(await pool.fetchval(_CONFLICTS, tenant))
    tally = usage.tally
    records = tally.accepted + tally.voided + 2 * tally.corrected
    found.duplicates = records - (await remembered_ids(pool) - ids_before) - found.conflicts
    async for page in api.pages("/v1/invoices", {}, fresh=True):
        for invoice in page:
            for line in invoice["lines"]:
                if line["usage"] is not None:
                    _add(found, codes[line["usage"]["meter"]], line)
    return found


def _add(found: CountedUsage, code: str, line: Resource) -> None:
    amount = line["amount"]["amount"]
    found.billed[code] += Fraction(line["quantity"])
    found.amounts[code] += amount
    if line["usage"]["late"] is not None:
        found.late_lines += 1
        found.late_amount += amount


def wrong_usage(expected: ExpectedUsage, tally: Tally, counted: CountedUsage) -> Iterator[str]:
    """Every difference, by name."""
    for what, found, wanted in (
        ("were sent", tally.sent, expected.sent),
        ("were accepted", tally.accepted, expected.sent),
        ("were voided", tally.voided, expected.voided),
        ("were corrected", tally.corrected, expected.corrected),
        ("count", counted.counts, expected.counts),
        ("were dropped as duplicates", counted.duplicates, expected.duplicates),
        ("are in conflict", counted.conflicts, expected.conflicts),
        ("came late", counted.late, expected.late),
    ):
        if found != wanted:
            yield f"{found:,} usage events {what}; what was sent says {wanted:,}."
    late = (counted.late_lines, counted.late_amount)
    if late != (expected.late_lines, expected.late_amount):
        yield (
            f"Late usage is {late[0]} lines of {late[1]} minor units; what was sent says {expected.late_lines} of "
            f"{expected.late_amount}."
        )
    for code in METERS:
        wanted_quantity = Fraction(expected.quantities[code], ONE)
        for what, quantity in (
            ("were counted", counted.quantities.get(code, Fraction(0))),
            ("are billed", counted.billed[code]),
        ):
            if quantity != wanted_quantity:
                yield f"{float(quantity):,} {code} {what}; what was sent says {float(wanted_quantity):,}."
        if counted.amounts[code] != expected.amounts[code]:
            yield (
                f"{code.capitalize()} are billed with {counted.amounts[code]:,} minor units; what was sent says "
                f"{expected.amounts[code]:,}."
            )


def usage_table(tally: Tally, counted: CountedUsage) -> Table:
    """What became of the events."""
    table = Table("what", "how many", title="Usage events")
    for what, number in (
        ("sent", tally.sent),
        ("accepted", tally.accepted),
        ("accepted a second", round(tally.accepted / tally.seconds) if tally.seconds else 0),
        ("duplicates dropped", counted.duplicates),
        ("conflicts, of which the first counts", counted.conflicts),
        ("voided", tally.voided),
        ("corrected", tally.corrected),
        ("counted in the end", counted.counts),
        ("of them late for their period", counted.late),
        ("lines of late usage", counted.late_lines),
    ):
        table.add_row(what, f"{number:,}")
    return table
