"""The renewal run: `python -m benchmarks.renewal_run [customers]`.

Invoices a second from the timers' start until every renewal of the telecom data is invoiced, charged where it is
automatic, posted, published and projected. Beside it, the commands alone: the same renewals decided and recorded, with
nothing downstream. Memory of each role is read at the end.
"""

import sys
import time
from datetime import UTC, datetime
from decimal import Decimal

import psutil
from rich.progress import Progress

from benchmarks.accepted import TENANT, accepted, request_of
from benchmarks.processor_time import ProcessorTime
from benchmarks.results import Row
from benchmarks.servers import bench_servers, bench_stack, found_by
from cli.api_client import ApiClient
from cli.telecom_customers import TelecomCustomer, read_customers
from cli.telecom_expected import expected_month
from cli.telecom_month import TelecomMonth
from cli.tenants import create_tenant
from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.catalog.product import CreateProduct
from domain.customers.customer import CreateCustomer
from domain.invoicing.collection import CollectionMethod
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.kernel.tenant_mode import TenantMode
from domain.pricing.models import Flat
from domain.subscriptions.commands import CreateSubscription, RenewSubscription
from domain.subscriptions.selling import RequestedItem
from host.configured import owner_dsn
from host.stack import Stack
from infra.event_store.opening import open_writer
from infra.ids import new_id

MIB = 1_048_576
CLOCK_APART_MAX_MS = 10 * 365 * 86_400_000


async def rows(customers: int | None = None) -> list[Row]:
    """`renewal-run`, and `memory-<role>` in MiB."""
    telecom = read_customers(limit=customers, plain=True)
    renewing = expected_month(telecom).february.invoices
    alone = await _commands_alone(renewing)
    async with bench_stack() as stack:
        rate, notes = await _month(stack, telecom)
        memory = [
            Row(f"memory-{process.role}", psutil.Process(process.pid).memory_info().rss / MIB, "MiB")
            for process in stack.supervisor.roles
            if process.pid is not None
        ]
    return [Row("renewal-run", rate, "invoices/s", {"commands alone": rate / alone}, notes), *memory]


async def _month(stack: Stack, telecom: list[TelecomCustomer]) -> tuple[float, str]:
    tenant = await create_tenant(
        owner_dsn(stack.settings), stack.settings, tenant_id=TENANT, name="Benchmark", mode=TenantMode.TEST
    )
    async with ApiClient(stack.api_url, tenant.key.secret, certificate_file=stack.certificate_file) as api:
        processor_time = ProcessorTime(stack)
        month = TelecomMonth(
            api, telecom, tenant=TENANT, progress=Progress(disable=True), around_renewals=processor_time
        )
        run = await month.run()
    first, second = run.january, run.february
    per_invoice = ", ".join(f"{name} {1000 * s / second.invoices:.2f}" for name, s in processor_time.used.items())
    notes = (
        f"{second.invoices:,} renewals, {second.charged:,} charged, in {second.seconds:.1f} s; "
        f"processor time per invoice in ms: {per_invoice}; "
        f"the first cycle through the API: {first.invoices / first.seconds:,.0f} customers/s subscribed and charged"
    )
    return second.invoices / second.seconds, notes


async def _commands_alone(count: int) -> float:
    """Renewals decided and recorded a second, by one writer with nothing behind it."""
    async with bench_servers() as settings:
        assert settings.database.url is not None
        dsn = settings.database.url.get_secret_value()
        clock = datetime(2026, 1, 1, tzinfo=UTC)
        # Its clock is moved from period to period, away from the database's.
        unbound = settings.writer.model_copy(update={"clock_apart_max_ms": CLOCK_APART_MAX_MS})
        writer = open_writer(dsn, unbound, clock=lambda: clock)

        async def submit(commands: list[Command]) -> None:
            await accepted(writer, map(request_of, commands))

        product, plan, price = new_id("prod_"), new_id("plan_"), new_id("price_")
        terms = PlanTerms(name="Monthly", interval=Interval(IntervalUnit.MONTH))
        await submit([CreateProduct(product_id=product, name="Telephone")])
        await submit([CreatePlan(plan_id=plan, product_id=product, terms=terms)])
        flat = Flat(amount=Money(1999, currency_code("USD")))
        await submit([CreatePrice(price_id=price, plan_id=plan, price=flat)])
        customers = [new_id("cus_") for _ in range(count)]
        subscriptions = [new_id("sub_") for _ in range(count)]
        await submit([CreateCustomer(customer_id=one, currency="USD") for one in customers])
        await submit(
            [
                CreateSubscription(
                    subscription_id=subscription,
                    customer_id=customer,
                    plan_id=plan,
                    items=(RequestedItem(price_id=price, quantity=Decimal(1)),),
                    collection=CollectionMethod.CHARGE_AUTOMATICALLY,
                )
                for customer, subscription in zip(customers, subscriptions, strict=True)
            ]
        )
        clock = datetime(2026, 2, 1, tzinfo=UTC)
        start = time.perf_counter()
        await submit([RenewSubscription(subscription_id=one) for one in subscriptions])
        seconds = time.perf_counter() - start
        await writer.close()
        return count / seconds


if __name__ == "__main__":
    for row in found_by(rows(int(sys.argv[1]) if len(sys.argv) > 1 else None)):
        print(row)
