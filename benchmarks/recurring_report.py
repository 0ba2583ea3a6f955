"""The report of recurring revenue over 100,000 customers, against adding up the same subscriptions one by one.

`python -m benchmarks.recurring_report [customers]` prints the row. Each customer subscribes in one of 24 months; a
third change their plan, a tenth leave and some of those come back. The rows are made by the read models' own rule.
"""

import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import asyncpg

from api.http.reading import TenantReader
from benchmarks.servers import bench_servers, found_by
from domain.kernel.frozen import replace
from domain.pricing.models import PerUnit
from domain.subscriptions.cancellation import CancellationReason, SubscriptionCanceled
from domain.subscriptions.change import Proration, SubscriptionChanged
from domain.subscriptions.subscription import SubscriptionCreated
from infra.kafka.topics import partition_of
from infra.settings import Settings
from projections.folding.fold import Fold
from projections.folding.row_store import values
from projections.models import mrr_days, recurring
from projections.models.mrr_days import MovementsOf, ReportInterval
from projections.read_model import Fact, ReadModel
from projections.reading import PageRequest, Reader
from testing.examples.streams import USD
from testing.examples.subscriptions import created, item

CUSTOMERS: Final = 100_000
MONTHS: Final = 24
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
TENANT: Final = "bench"
REPEATS: Final = 30
SEED: Final = 20260101
FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
PARTITIONS: Final = 12
_ONE_BY_ONE: Final = """
SELECT currency, CASE WHEN day >= $2 THEN date_trunc('month', day::timestamp)::date END, movement, sum(change)::bigint
FROM read.mrr_days WHERE tenant_id = $1 AND level = 'subscription' AND day <= $3 GROUP BY 1, 2, 3
"""


async def rows(customers: int = CUSTOMERS) -> list[dict[str, Any]]:
    """Milliseconds of a year's report by month; of a day's figures and of a page of movements in the notes."""
    async with bench_servers() as settings:
        await _fill(settings, customers)
        reader = await TenantReader.open(_dsn(settings), settings.database)
        try:
            async with reader.of(TENANT) as connection:
                return [await _measured(connection, customers)]
        finally:
            await reader.close()


async def _measured(connection: Reader, customers: int) -> dict[str, Any]:
    async def year() -> object:
        return await mrr_days.moved(connection, TENANT, first=FIRST, last=LAST, interval=ReportInterval.MONTH)

    async def day() -> object:
        return await mrr_days.moved(connection, TENANT, first=LAST, last=LAST, interval=ReportInterval.DAY)

    async def listed() -> object:
        of = MovementsOf(first=FIRST, last=LAST)
        return await mrr_days.page(connection, TENANT, of, PageRequest(limit=100))

    async def one_by_one() -> object:
        return await connection.fetch(_ONE_BY_ONE, TENANT, FIRST, LAST)

    ours, slow = await _ms(year), await _ms(one_by_one)
    notes = (
        f"{customers:,} customers; as of a day {await _ms(day):.1f} ms; a page of movements {await _ms(listed):.1f} ms"
    )
    return {
        "id": "recurring-report",
        "ours": round(ours, 2),
        "unit": "ms",
        "ratios": {"each subscription added up": round(slow / ours, 1)},
        "notes": notes,
    }


async def _ms(asked: Callable[[], Awaitable[object]]) -> float:
    """The median, once everything is warm."""
    taken: list[float] = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        await asked()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[REPEATS // 10 :]) * 1_000


async def _fill(settings: Settings, customers: int) -> None:
    fold = Fold((recurring.TABLE, mrr_days.TABLE))
    fold.apply(list(_facts(customers)))
    connection = await asyncpg.connect(_dsn(settings))
    for model in fold.models:
        await _copy(connection, model, fold)
    await connection.execute("VACUUM ANALYZE read.mrr_days_v1")
    await connection.close()


async def _copy(connection: "asyncpg.Connection[asyncpg.Record]", model: ReadModel[Any], fold: Fold) -> None:
    columns = [column.name for column in model.columns]
    records = values(model, fold.rows[model.name].items())
    table = f"{model.name}_v1"
    # COPY is refused where row security holds, as it does of the owner.
    await connection.execute(f"ALTER TABLE read.{table} NO FORCE ROW LEVEL SECURITY")
    await connection.copy_records_to_table(table, schema_name="read", columns=columns, records=records)
    await connection.execute(f"ALTER TABLE read.{table} FORCE ROW LEVEL SECURITY")


def _dsn(settings: Settings) -> str:
    url = settings.database.owner_url or settings.database.url
    assert url is not None, "the servers are ours"
    return url.get_secret_value()


def _facts(customers: int) -> Iterator[Fact]:
    chance = random.Random(SEED)
    for nth in range(customers):
        customer_id, subscription_id = f"cus_{nth:08}", f"sub_{nth:08}"
        shard = partition_of(f"{TENANT}:{customer_id}".encode(), PARTITIONS)
        begun = START + timedelta(days=chance.randrange(MONTHS * 30))
        first = _begun(customer_id, subscription_id, begun, chance)
        events: list[tuple[str, object, datetime]] = [("subscription.created", first, begun)]
        if chance.random() < 1 / 3:
            changed_at = begun + timedelta(days=chance.randrange(1, 200))
            events.append(("subscription.changed", _changed(first, changed_at, chance), changed_at))
        if chance.random() < 1 / 10:
            ended_at = events[-1][2] + timedelta(days=chance.randrange(1, 100))
            events.append(("subscription.canceled", _canceled(subscription_id, ended_at), ended_at))
            if chance.random() < 1 / 4:
                again = ended_at + timedelta(days=20)
                events.append(
                    ("subscription.created", _begun(customer_id, f"{subscription_id}b", again, chance), again)
                )
        for version, (event_type, event, at) in enumerate(events, start=1):
            yield Fact(
                event,
                event_type,
                TENANT,
                "subscription",
                subscription_id,
                version,
                1,
                "",
                at,
                at,
                None,
                customer_id,
                shard,
            )


def _price(chance: random.Random) -> PerUnit:
    return PerUnit(currency=USD, unit_amount=Decimal(chance.choice((900, 2_900, 4_900, 9_900))))


def _begun(customer_id: str, subscription_id: str, at: datetime, chance: random.Random) -> SubscriptionCreated:
    facts = {"customer_id": customer_id, "subscription_id": subscription_id, "created_at": at, "starts_at": at}
    return created(item(price=_price(chance)), **facts)


def _changed(begun: SubscriptionCreated, at: datetime, chance: random.Random) -> SubscriptionChanged:
    return SubscriptionChanged(
        subscription_id=begun.subscription_id,
        terms=replace(begun.terms, items=(item(price=_price(chance)),)),
        proration=Proration.NONE,
        lines=(),
        withdrawn=(),
        invoice_id=None,
        longer=(),
        paid=(),
        arrears_from=(),
        resets_anchor=False,
        changed_at=at,
    )


def _canceled(subscription_id: str, at: datetime) -> SubscriptionCanceled:
    return SubscriptionCanceled(
        subscription_id=subscription_id, canceled_at=at, reason=CancellationReason.REQUESTED, invoice_id=None
    )


if __name__ == "__main__":
    print(found_by(rows(*map(int, sys.argv[1:]))))
