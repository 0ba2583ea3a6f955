"""What recurring revenue changed by day (UTC, business time) and movement: in all, and of each subscription.

The sums of months and of days stand in rows without a customer, so that a report of a year reads a few hundred rows
however many customers there are; beside them the subscriptions that make them up, each with its customer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.reporting.mrr import Movement
from domain.reporting.mrr_history import DayMovement
from projections.read_model import Column, Fact, Key, Projection, Rows, sums_model
from projections.reading import Page, PageRequest, Reader, UnknownCursor

IN_ALL: Final = ""
"""In place of the customer and the subscription in sums."""


class Level(StrEnum):
    """What a row is of: all that moved in a month, which its first day names; all of a day; one subscription's day."""

    MONTH = "month"
    DAY = "day"
    SUBSCRIPTION = "subscription"


TABLE = sums_model(
    name="mrr_days",
    version=1,
    projection=Projection.BILLING,
    key=(
        Column("tenant_id", 'text COLLATE "C" NOT NULL'),
        Column("level", 'text COLLATE "C" NOT NULL'),
        Column("customer_id", 'text COLLATE "C" NOT NULL'),
        Column("day", "date NOT NULL"),
        Column("currency", 'text COLLATE "C" NOT NULL'),
        Column("movement", 'text COLLATE "C" NOT NULL'),
        Column("subscription_id", 'text COLLATE "C" NOT NULL'),
        Column("shard", "integer NOT NULL"),
    ),
    sums=("change", "subscriptions", "customers"),
    view="SELECT * FROM {table}",
    indexes=("tenant_id, level, day, subscription_id, movement",),
)


def add_movement(rows: Rows[list[int]], fact: Fact, currency: CurrencyCode, movement: DayMovement, sign: int) -> None:
    """Add a movement (1), or take it away (-1), of the customer whose key the fact has."""
    change = (sign * movement.change, sign * movement.subscriptions, sign * movement.customers)
    day, kind = movement.day, movement.movement.value
    for level, customer_id, on, subscription_id in (
        (Level.MONTH, IN_ALL, day.replace(day=1), IN_ALL),
        (Level.DAY, IN_ALL, day, IN_ALL),
        (Level.SUBSCRIPTION, fact.subject, day, movement.subscription_id),
    ):
        key: Key = (fact.tenant_id, level.value, customer_id, on, currency, kind, subscription_id, fact.shard)
        row = rows.setdefault(key, [0, 0, 0])
        for nth, each in enumerate(change):
            row[nth] += each


class ReportInterval(StrEnum):
    """What a report's periods are: calendar days or months of UTC."""

    DAY = "day"
    MONTH = "month"


class MovedInPeriod(NamedTuple):
    """What one movement came to in a period, which `starts_on` names; None: in all the time before the first."""

    currency: CurrencyCode
    starts_on: date | None
    movement: Movement
    change: int
    subscriptions: int
    customers: int


_MOVED: Final = """
SELECT currency, CASE WHEN day >= $2 THEN date_trunc($4, day::timestamp)::date END AS starts_on, movement,
    sum(change)::bigint, sum(subscriptions)::bigint, sum(customers)::bigint
FROM (
    SELECT * FROM read.mrr_days WHERE tenant_id = $1 AND level = 'month' AND day < $5
    UNION ALL
    SELECT * FROM read.mrr_days WHERE tenant_id = $1 AND level = 'month' AND day >= $6 AND day < $7
    UNION ALL
    SELECT * FROM read.mrr_days WHERE tenant_id = $1 AND level = 'day' AND day >= $5 AND day < $6 AND day <= $3
    UNION ALL
    SELECT * FROM read.mrr_days WHERE tenant_id = $1 AND level = 'day' AND day >= $7 AND day <= $3
) AS moved
GROUP BY 1, 2, 3 ORDER BY 1, 2 NULLS FIRST, 3
"""


async def moved(
    connection: Reader, tenant_id: str, *, first: date, last: date, interval: ReportInterval
) -> list[MovedInPeriod]:
    """The movements of each period of these days, both ends included, and those of all the time before them.

    What is a whole month comes from the months' sums.
    """
    since = first.replace(day=1)
    whole_from = whole_to = since
    if interval is ReportInterval.MONTH:
        whole_from = since if since == first else next_month(first)
        whole_to = max(whole_from, (last + timedelta(days=1)).replace(day=1))
    records = await connection.fetch(_MOVED, tenant_id, first, last, interval.value, since, whole_from, whole_to)
    return [
        MovedInPeriod(CurrencyCode(currency), starts_on, Movement(movement), change, subscriptions, customers)
        for currency, starts_on, movement, change, subscriptions, customers in records
    ]


def next_month(day: date) -> date:
    """The first day of the month after."""
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementsOf:
    """Of which days, both included, and of which of them; None: of all."""

    first: date
    last: date
    movement: Movement | None = None
    currency: str | None = None


class SubscriptionMoved(NamedTuple):
    """What a subscription has in a day's movement. `movement_id` is where a page goes on."""

    movement_id: str
    day: date
    customer_id: str
    subscription_id: str
    movement: Movement
    change: Money


_COLUMNS: Final = "day, customer_id, subscription_id, movement, currency, change"
_OF: Final = (
    "tenant_id = $1 AND level = 'subscription' AND day BETWEEN $2 AND $3 AND change <> 0 "
    "AND ($4::text IS NULL OR movement = $4) AND ($5::text IS NULL OR currency = $5)"
)


async def page(connection: Reader, tenant_id: str, of: MovementsOf, request: PageRequest) -> Page[SubscriptionMoved]:
    """The subscriptions that make up the movements of some days, the latest day first. Raises UnknownCursor."""
    values: list[object] = [tenant_id, of.first, of.last, of.movement, of.currency, request.limit + 1]
    backwards = request.ending_before is not None
    cursor = request.ending_before or request.starting_after
    where = _OF
    if cursor is not None:
        values += _place(cursor)
        where += f" AND (day, subscription_id, movement) {'>' if backwards else '<'} ($7, $8, $9)"
    order = "ASC" if backwards else "DESC"
    records = await connection.fetch(
        f"SELECT {_COLUMNS} FROM read.mrr_days WHERE {where} "  # noqa: S608  our names
        f"ORDER BY day {order}, subscription_id {order}, movement {order} LIMIT $6",
        *values,
    )
    items = [
        SubscriptionMoved(
            movement_id=f"{day}:{subscription_id}:{movement}",
            day=day,
            customer_id=customer_id,
            subscription_id=subscription_id,
            movement=Movement(movement),
            change=Money(change, CurrencyCode(currency)),
        )
        for day, customer_id, subscription_id, movement, currency, change in records[: request.limit]
    ]
    return Page(items[::-1] if backwards else items, len(records) > request.limit)


def _place(cursor: str) -> Sequence[object]:
    day, _, rest = cursor.partition(":")
    subscription_id, _, movement = rest.partition(":")
    try:
        return date.fromisoformat(day), subscription_id, Movement(movement).value
    except ValueError:
        raise UnknownCursor(cursor) from None
