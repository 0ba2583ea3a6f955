"""What stood on the receivable account for each invoice, and from when until when: what was owed at any moment.

A row is a *stretch* of business time in which one amount stood. Stretch 0 is the present one; what stood before it is
kept in stretches 1, 2 and so on, which end and never change. So what stood at a moment is the sum over the stretches
that hold it, and the sum over all invoices is what the account held.

A stretch that ended says by `within_days` how long it lasted at most, a power of two. Of those that lasted at most n
days, the ones that hold a moment began within the n days before it: so they are found by an index, one short walk for
each power, however long ago the moment is and however much has been paid since.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

from domain.invoicing import receivable as receivables
from domain.invoicing.receivable import Receivable
from domain.kernel.billing_period import start_of_day
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.reporting.ageing import OLDEST_FIRST, AgeBucket, Ageing, first_due_days, of_buckets
from projections.columns import layout
from projections.read_model import Fact, Projection, ReadModel, Rows
from projections.reading import FIRST_PAGE, Page, PageRequest, Reader

PRESENT: Final = 0
_ONE_DAY: Final = timedelta(days=1)


class Stretch(NamedTuple):
    """`state.amount` stood from `since` until `until` (exclusive; None: it stands still). The present stretch counts
    those before it.
    """

    state: Receivable
    stretch: int
    stretches: int
    since: datetime
    until: datetime | None
    within_days: int | None


def apply(rows: Rows[Stretch], fact: Fact) -> None:
    """Where the amount moves, the present stretch ends there and another begins.

    An event may count for a time before the present stretch: what it moves stood since then beside what is known.
    """
    key = (fact.tenant_id, fact.stream_id, PRESENT)
    row = rows.get(key)
    state = receivables.evolve(None if row is None else row.state, fact.event)
    at = fact.effective_at
    if state is None:
        return
    if row is None:
        rows[key] = Stretch(state, PRESENT, 0, at, None, None)
        return
    moved = state.amount - row.state.amount
    if moved.is_zero:
        rows[key] = row._replace(state=state)
        return
    begin, end, stood = (row.since, at, row.state.amount) if at >= row.since else (at, row.since, moved)
    nth = row.stretches
    if begin < end and not stood.is_zero:
        nth += 1
        ended = Stretch(replace(state, amount=stood), nth, 0, begin, end, within_days(end - begin))
        rows[fact.tenant_id, fact.stream_id, nth] = ended
    rows[key] = Stretch(state, PRESENT, nth, end, None, None)


def within_days(lasted: timedelta) -> int:
    """The least power of two, in days, that is no shorter."""
    days = -(-lasted // _ONE_DAY)
    return 1 << (days - 1).bit_length() if days > 1 else 1


_LAYOUT = layout(Stretch, Receivable)
_STANDS: Final = "until IS NULL AND amount <> 0"
OWED: Final = f"tenant_id = $1 AND {_STANDS}"
"""The condition of what a tenant's customers owe now."""
_ENDED: Final = "until IS NOT NULL"
TABLE: ReadModel[Stretch] = ReadModel(
    name="receivables",
    version=1,
    projection=Projection.BILLING,
    columns=_LAYOUT.columns,
    key=("tenant_id", "invoice_id", "stretch"),
    events=receivables.EVENTS,
    apply=apply,
    write=_LAYOUT.write,
    read=_LAYOUT.read,
    key_of=lambda fact: (fact.tenant_id, fact.stream_id, PRESENT),
    begins=lambda fact: fact.event_type in receivables.BEGINNINGS,
    indexes=("tenant_id, customer_id",),
    partial_indexes=(
        ("tenant_id, customer_id, amount_currency, due_at, since, amount", _STANDS),
        ("tenant_id, due_at, invoice_id", _STANDS),
        ("tenant_id, within_days, since, until, customer_id, amount_currency, due_at, amount", _ENDED),
    ),
)

_POWERS: Final = [1 << exponent for exponent in range(18)]
"""Of days: the last is longer than all the time that our calendar has."""
CROWD: Final = 10_000
"""Where so many past stretches hold a moment, a page's customers are found by walking customers in order: each of few
has one. Where fewer do, they are found among those.
"""
_COLUMNS: Final = "customer_id, amount_currency, due_at, amount"


class CustomerAgeing(NamedTuple):
    """What one customer owes, by age; an entry per currency, none of which comes to nothing everywhere."""

    customer_id: str
    owed: Sequence[Ageing]


class AgeingReport(NamedTuple):
    """What all customers owe, by age and currency, and a page of those who owe it."""

    totals: Sequence[Ageing]
    customers: Page[CustomerAgeing]


async def ageing(
    connection: Reader,
    tenant_id: str,
    *,
    as_of: date,
    time_zone: str,
    customer_id: str | None = None,
    currency: str | None = None,
    request: PageRequest = FIRST_PAGE,
    crowd: int = CROWD,
) -> AgeingReport:
    """What was owed at the end of a day, by days overdue then; days are those of the time zone. Customers in the order
    of their ids, forwards only.

    One statement, so of one moment of the read model.
    """
    records = await connection.fetch(
        _report_sql(of_customer=customer_id is not None, of_currency=currency is not None),
        tenant_id,
        start_of_day(as_of + _ONE_DAY, time_zone),
        _POWERS,
        *(start_of_day(day, time_zone) for day in first_due_days(as_of)),
        request.starting_after or "",
        request.limit + 1,
        crowd,
        *(value for value in (customer_id, currency) if value is not None),
    )
    owed: dict[str | None, dict[CurrencyCode, dict[AgeBucket, Money]]] = {}
    for debtor, code, bucket, amount in records:
        money = Money(amount, CurrencyCode(code))
        owed.setdefault(debtor, {}).setdefault(money.currency, {})[OLDEST_FIRST[bucket]] = money
    found = {debtor: [of_buckets(each, code) for code, each in sorted(of.items())] for debtor, of in owed.items()}
    totals = found.pop(None, [])
    customers = [CustomerAgeing(debtor, found[debtor]) for debtor in sorted(filter(None, found))]
    return AgeingReport(totals, Page(customers[: request.limit], len(customers) > request.limit))


_STOOD: Final = "tenant_id = $1 AND since < $2{filters}"
_PRESENT: Final = f"read.receivables WHERE {_STOOD} AND {_STANDS}"
# Behind OFFSET the planner leaves it alone: one walk of the index for each power, and never one over everything.
_PAST: Final = f"""unnest($3::int[]) AS power CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM read.receivables
    WHERE {_STOOD} AND {_ENDED} AND within_days = power AND since >= $2 - power * interval '1 day' AND until >= $2
    OFFSET 0
) AS past"""  # noqa: S608  constants
_BUCKET: Final = " + ".join(f"(due_at >= ${place})::int" for place in (4, 5, 6, 7))
_BY_BUCKET: Final = f"amount_currency, {_BUCKET} AS bucket, sum(amount)::bigint AS amount"
_REPORT: Final = f"""
WITH crowd AS (SELECT count(*) = $10 AS is_there FROM (SELECT FROM {_PAST} LIMIT $10) AS stretches),
debtors AS (
    SELECT DISTINCT customer_id FROM (
        (SELECT DISTINCT customer_id FROM {_PRESENT} AND customer_id > $8 ORDER BY customer_id LIMIT $9)
        UNION ALL
        (SELECT DISTINCT customer_id FROM {_PAST}
         WHERE customer_id > $8 AND NOT (SELECT is_there FROM crowd) ORDER BY customer_id LIMIT $9)
        UNION ALL
        (SELECT DISTINCT customer_id FROM read.receivables
         WHERE {_STOOD} AND until >= $2 AND customer_id > $8 AND (SELECT is_there FROM crowd)
         ORDER BY customer_id LIMIT $9)
    ) AS owing ORDER BY customer_id LIMIT $9
)
SELECT NULL AS customer_id, {_BY_BUCKET}
FROM (SELECT {_COLUMNS} FROM {_PRESENT} UNION ALL SELECT {_COLUMNS} FROM {_PAST}) AS stood
GROUP BY 2, 3 HAVING sum(amount) <> 0
UNION ALL
SELECT customer_id, {_BY_BUCKET} FROM read.receivables
WHERE {_STOOD} AND (until IS NULL OR until >= $2) AND customer_id IN (SELECT customer_id FROM debtors)
GROUP BY 1, 2, 3 HAVING sum(amount) <> 0
"""  # noqa: S608  constants


@cache
def _report_sql(*, of_customer: bool, of_currency: bool) -> str:
    """$1 tenant, $2 the moment, $3 powers, $4 to $7 where buckets begin, $8 cursor, $9 how many customers, $10 crowd;
    then the filters.
    """
    wanted = ["customer_id"] * of_customer + ["amount_currency"] * of_currency
    filters = "".join(f" AND {column} = ${place}" for place, column in enumerate(wanted, 11))
    return _REPORT.format(filters=filters)
