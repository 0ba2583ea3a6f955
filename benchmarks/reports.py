"""Reports over many customers, in milliseconds: `python -m benchmarks.reports [customers]` (by default 100,000).

The read models are filled by COPY, as their rules would have filled them: a customer has a year of monthly invoices,
all but the last of which are paid, so that as many are open at the end of each month as there are customers. What is
timed is the query in the API's own role, with its answer made; beside it, adding up what is owed at that moment with
no report made of it.
"""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

import asyncpg

from api.http.reading import TenantReader
from benchmarks.results import Row
from benchmarks.servers import bench_servers, found_by
from domain.invoicing.receivable import Receivable
from domain.kernel.billing_period import start_of_day
from domain.kernel.currency import currency_code
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from infra.ids import new_id
from infra.settings import Settings
from projections.folding.tables import table_name
from projections.models import receivables
from projections.models.receivables import PRESENT, TABLE, Stretch, within_days
from projections.read_model import Key

CUSTOMERS: Final = 100_000
MONTHS: Final = 12
RUNS: Final = 15
TENANT: Final = "bench"
EUR: Final = currency_code("EUR")
FIRST: Final = datetime(2025, 1, 1, tzinfo=UTC)
MONTH: Final = timedelta(days=30)
PAID_AFTER: Final = timedelta(days=29)
TERMS_DAYS: Final = (0, 10, 30, 60)
"""When invoices are due, by customer in turn: so there are some of each age."""
ROWS_AT_ONCE: Final = 100_000


async def rows(customers: int = CUSTOMERS) -> list[Row]:
    """`ageing` by now and of a day half a year ago, for all customers and for one."""
    async with bench_servers() as settings:
        return await _ageing(settings, customers)


async def _ageing(settings: Settings, customers: int) -> list[Row]:
    assert settings.database.url is not None
    dsn = settings.database.url.get_secret_value()
    some_customer = await _fill(dsn, customers)
    reader = await TenantReader.open(dsn, settings.database)
    found: list[Row] = []
    try:
        async with reader.of(TENANT) as connection:

            async def report(as_of: date, customer_id: str | None = None) -> int:
                ageing = await receivables.ageing(
                    connection, TENANT, as_of=as_of, time_zone="Europe/Berlin", customer_id=customer_id
                )
                return sum(each.total.amount for each in ageing.totals)

            async def added_up(as_of: date) -> int:
                return int(
                    await connection.fetchval(
                        "SELECT coalesce(sum(amount), 0)::bigint FROM read.receivables WHERE tenant_id = $1 "
                        "AND since < $2 AND (until IS NULL OR until >= $2) AND amount <> 0",
                        TENANT,
                        start_of_day(as_of + timedelta(days=1), "Europe/Berlin"),
                    )
                )

            last = (FIRST + MONTHS * MONTH).date()
            for name, as_of in (("ageing", last), ("ageing-of-a-past-day", last - 6 * MONTH)):
                assert await report(as_of) == await added_up(as_of)
                ours, limit = [await _median_ms(partial(each, as_of)) for each in (report, added_up)]
                notes = f"{customers:,} customers who owe, {customers * MONTHS:,} invoices"
                found.append(Row(name, ours, "ms", {"the sum alone": limit / ours}, notes))
            ours = await _median_ms(partial(report, last, some_customer))
            found.append(Row("ageing-of-a-customer", ours, "ms", {}, f"{MONTHS} invoices"))
    finally:
        await reader.close()
    return found


async def _median_ms(work: Callable[[], Awaitable[object]]) -> float:
    times: list[float] = []
    for _ in range(RUNS):
        start = time.perf_counter()
        await work()
        times.append(1_000 * (time.perf_counter() - start))
    return statistics.median(times)


async def _fill(dsn: str, customers: int) -> str:
    """The table of what was owed, and one of the customers."""
    connection = await asyncpg.connect(dsn)
    schema, table = table_name(TABLE, 1).split(".")
    names = [new_id("cus_") for _ in range(customers)]
    batch: list[tuple[object, ...]] = []
    for key, row in _stretches(names):
        batch.append(TABLE.write(key, row))
        if len(batch) == ROWS_AT_ONCE:
            await connection.copy_records_to_table(table, schema_name=schema, records=batch)
            batch = []
    await connection.copy_records_to_table(table, schema_name=schema, records=batch)
    await connection.execute(f"VACUUM ANALYZE {schema}.{table}")
    await connection.close()
    return names[customers // 2]


def _stretches(customers: list[str]) -> Iterator[tuple[Key, Stretch]]:
    """Of every customer's invoices, in the order in which they were finalized."""
    for month in range(MONTHS):
        for nth, customer_id in enumerate(customers):
            invoice_id = new_id("in_")
            since = FIRST + month * MONTH + timedelta(seconds=nth)
            state = Receivable(
                invoice_id=invoice_id,
                customer_id=customer_id,
                due_at=since + timedelta(days=TERMS_DAYS[nth % len(TERMS_DAYS)]),
                amount=Money(1_999 + nth % 100, EUR),
            )
            if month == MONTHS - 1:
                yield (TENANT, invoice_id, PRESENT), Stretch(state, PRESENT, 0, since, None, None)
                continue
            paid_at = since + PAID_AFTER
            yield (TENANT, invoice_id, 1), Stretch(state, 1, 0, since, paid_at, within_days(PAID_AFTER))
            settled = replace(state, amount=Money.zero(EUR))
            yield (TENANT, invoice_id, PRESENT), Stretch(settled, PRESENT, 1, paid_at, None, None)


async def main() -> None:
    for row in await rows(*map(int, sys.argv[1:])):
        print(row)


if __name__ == "__main__":
    found_by(main())
