"""A cell for the processors' tests: a database and topics of its own, roles as real processes, and a writer."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from cli.faults.stage import CAUGHT_UP
from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import BillingTiming, CreatePrice
from domain.catalog.product import CreateProduct
from domain.customers.customer import CreateCustomer
from domain.customers.payment_method import AttachPaymentMethod, PaymentMethodKind
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.draft import DraftInvoice
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.payments.commands import CreatePayment
from domain.payments.refund_commands import RequestRefund
from domain.pricing.models import Graduated, Tier
from domain.subscriptions.commands import CreateSubscription
from domain.subscriptions.selling import RequestedItem
from gateway_adapters.port import GatewayTransaction, TransactionKind
from gateway_adapters.registry import gateways_from
from gateway_adapters.sandbox.adapter import SandboxAdapter
from host.embedded.databases import PostgresServer
from host.launch import Launch
from host.supervisor import Supervisor
from infra.database import Pool
from infra.event_store.port import Outcome, SealedPerson, Writer
from infra.ids import new_id
from infra.kafka.topics import full_name
from infra.payment_tokens import seal_token
from infra.settings import Settings, SupervisorSettings, gateway_api_key, vault_master_key
from infra.vault import Vault
from processors.invariants.audit import EVERY_INVARIANT, Audited, audit
from processors.invariants.findings import Checked, Invariant
from projections.read_model import Projection
from testing.forked import fork_role
from testing.requests import TENANT, request
from testing.services import FreshDatabase, KafkaServer, fresh_database
from tests.integration.log_filling import domain_writer

LIMIT_S = 90.0
"""Bounds a test that would otherwise hang; nothing is expected to take so long."""

VISA = "tok_visa"
EUR = currency_code("EUR")
START = datetime(2026, 1, 1, tzinfo=UTC)
QUICK: Mapping[str, str] = {
    "TALLYBOOK_RELAY_LEASE_MS": "2000",
    "TALLYBOOK_KAFKA_SESSION_TIMEOUT_MS": "2000",
    "TALLYBOOK_KAFKA_METADATA_MAX_AGE_MS": "500",
    "TALLYBOOK_PROCESSORS_WORK_LEASE_MS": "2000",
    "TALLYBOOK_PROCESSORS_WORK_BACKOFF_MAX_MS": "500",
    "TALLYBOOK_PROCESSORS_SWEEP_INTERVAL_S": "0.5",
    "TALLYBOOK_PROCESSORS_REFUND_RETRY_BACKOFF_MS": "200",
    "TALLYBOOK_GATEWAY_CALL_TIMEOUT_MS": "1000",
}


@dataclass(slots=True)
class Cell:
    """What a test acts on. `pool` is the owner's."""

    settings: Settings
    supervisor: Supervisor
    pool: Pool
    writer: Writer
    environment: Mapping[str, str]
    plan_id: str = ""
    price_id: str = ""

    async def start(self, *roles: str, instances: int = 1) -> None:
        """Start processes of these roles and wait until they are ready."""
        started = [
            each.name
            for role in roles
            for each in await self.supervisor.start(role, instances=instances, environment=self.environment)
        ]
        await self.supervisor.wait_ready(*started)

    async def do(self, command: Command, *, seals: SealedPerson | None = None) -> Outcome:
        """Record a command that must be accepted."""
        outcome = await self.writer.submit(request(command, correlation_id=new_id("corr_"), seals=seals))
        assert outcome.refusal_code is None, (command, outcome.refusal_code)
        return outcome

    async def customer(self, token: str | None = VISA, *, clock_id: str | None = None) -> str:
        """A customer with a default payment method of this token."""
        customer_id = new_id("cus_")
        await self.do(CreateCustomer(customer_id=customer_id, currency="EUR", test_clock_id=clock_id))
        if token is not None:
            sealed = seal_token(Vault(vault_master_key(self.settings)), TENANT, customer_id, token, None)
            await self.do(
                AttachPaymentMethod(
                    payment_method_id=new_id("pm_"),
                    customer_id=customer_id,
                    kind=PaymentMethodKind.CARD,
                    gateway="sandbox",
                    token_reference=sealed.rows.reference,
                    make_default=True,
                ),
                seals=sealed.rows,
            )
        return customer_id

    async def subscribe(self, customer_id: str, *, amount: int = 1999) -> str:
        """A monthly subscription of three units, of which the third is free, invoiced and charged at once."""
        if not self.plan_id:
            product_id, self.plan_id, self.price_id = new_id("prod_"), new_id("plan_"), new_id("price_")
            await self.do(CreateProduct(product_id=product_id, name="P"))
            terms = PlanTerms(name="Monthly", interval=Interval(IntervalUnit.MONTH))
            await self.do(CreatePlan(plan_id=self.plan_id, product_id=product_id, terms=terms))
            first = Tier(up_to=Decimal(2), unit_amount=Decimal(amount) / 2)
            price = Graduated(currency=EUR, tiers=(first, Tier(above=Decimal(2), up_to=None)))
            await self.do(CreatePrice(price_id=self.price_id, plan_id=self.plan_id, price=price))
        subscription_id = new_id("sub_")
        items = (RequestedItem(price_id=self.price_id, quantity=Decimal(3)),)
        await self.do(
            CreateSubscription(
                subscription_id=subscription_id, customer_id=customer_id, plan_id=self.plan_id, items=items
            )
        )
        return subscription_id

    async def invoice(
        self,
        customer_id: str,
        *,
        amount: int = 700,
        collection: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY,
        finalize: bool = True,
    ) -> str:
        """A one-off invoice: finalized and to be collected automatically, unless it is to be otherwise."""
        invoice_id = new_id("in_")
        line = InvoiceLine(
            line_id=new_id("il_"),
            description="Set-up",
            amount=Money(amount, EUR),
            quantity=Decimal(1),
            timing=BillingTiming.IN_ARREARS,
        )
        await self.do(
            DraftInvoice(
                invoice_id=invoice_id,
                customer_id=customer_id,
                collection=collection,
                currency=EUR,
                lines=(line,),
            )
        )
        if finalize:
            await self.do(FinalizeInvoice(invoice_id=invoice_id))
        return invoice_id

    async def pay(self, customer_id: str, *, amount: int = 500) -> str:
        """A payment intent, confirmed."""
        payment_id = new_id("pay_")
        await self.do(
            CreatePayment(payment_id=payment_id, customer_id=customer_id, amount=Money(amount, EUR), confirm=True)
        )
        return payment_id

    async def refund(self, payment_id: str, *, amount: int | None = None) -> str:
        """A refund, requested."""
        refund_id = new_id("re_")
        money = None if amount is None else Money(amount, EUR)
        await self.do(RequestRefund(refund_id=refund_id, payment_id=payment_id, amount=money))
        return refund_id

    async def events(self, stream_id: str) -> list[str]:
        """The types of a stream's events, in order."""
        rows = await self.pool.fetch(
            "SELECT event_type FROM log.events WHERE stream_id = $1 ORDER BY stream_version", stream_id
        )
        return [row[0] for row in rows]

    async def count(self, event_type: str) -> int:
        """How many events of a type the log has."""
        return int(await self.pool.fetchval("SELECT count(*) FROM log.events WHERE event_type = $1", event_type))

    async def reaches(self, stream_id: str, event_type: str) -> None:
        """Wait until a stream has an event of this type."""
        await until(lambda: self._has(stream_id, event_type), f"{event_type} of {stream_id}")

    async def _has(self, stream_id: str, event_type: str) -> bool:
        return event_type in await self.events(stream_id)

    async def transactions(self, kind: TransactionKind) -> list[GatewayTransaction]:
        """What the gateway has of a kind."""
        gateway = self.gateway()
        try:
            listed = gateway.list_transactions(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
            return [transaction async for transaction in listed if transaction.kind is kind]
        finally:
            await gateway.close()

    async def charged(self, payment_id: str) -> int:
        """How often the gateway has charged a payment, whatever the attempt."""
        charges = await self.transactions(TransactionKind.CHARGE)
        return sum(charge.reference is not None and charge.reference.startswith(payment_id) for charge in charges)

    def gateway(self) -> SandboxAdapter:
        """A client of the cell's gateway."""
        gateway = gateways_from(self.settings)["sandbox"]
        assert isinstance(gateway, SandboxAdapter)
        return gateway

    async def gateway_says(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """A request to the sandbox's own controls."""
        key = gateway_api_key(self.settings)
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, f"{self.settings.gateway.url}{path}", json=body, headers=headers) as answer,
        ):
            answer.raise_for_status()
            shown: dict[str, object] = await answer.json()
            return shown

    async def authenticate(self, payment_id: str) -> None:
        """What a customer does at the gateway for a payment's first attempt: they pass."""
        shown = await self.gateway_says("GET", f"/v1/operations?reference={payment_id}:1")
        data = shown["data"]
        assert isinstance(data, list)
        await self.gateway_says("POST", f"/v1/payments/{data[0]['id']}/authenticate", {"passes": True})

    async def check(self, *only: Invariant) -> dict[Invariant, Checked]:
        """The invariants, by name."""
        gateways = gateways_from(self.settings)
        assert self.settings.database.url is not None
        assert self.settings.kafka.bootstrap is not None
        parts = Audited(
            pool=self.pool,
            settings=self.settings,
            gateways=gateways,
            bootstrap=self.settings.kafka.bootstrap,
            owner_dsn=self.settings.database.url.get_secret_value(),
        )
        try:
            return {check.invariant: check async for check in audit(parts, only=only or EVERY_INVARIANT)}
        finally:
            for gateway in gateways.values():
                await gateway.close()

    async def _is_folded(self) -> bool:
        topics = [full_name(self.settings.kafka.topic_prefix, projection.topic) for projection in Projection]
        return bool(await self.pool.fetchval(CAUGHT_UP, topics, [projection.value for projection in Projection]))

    async def prove(self, *only: Invariant) -> None:
        """Wait until the invariants hold; what never does is shown by name."""
        found: dict[Invariant, Checked] = {}

        async def holds() -> bool:
            nonlocal found
            if Invariant.READ_MODELS in (only or EVERY_INVARIANT) and not await self._is_folded():
                return False  # what is not there yet would hold, and say nothing
            found = await self.check(*only)
            return all(check.holds for check in found.values()) and not _behind(found)

        try:
            await until(holds, "the invariants")
        except AssertionError:
            pytest.fail("; ".join(f"{c.invariant} {each}" for c in found.values() for each in c.named) or "behind")


def _behind(found: Mapping[Invariant, Checked]) -> bool:
    kafka = found.get(Invariant.KAFKA)
    return kafka is not None and kafka.counts["events not published yet"] > 0


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not await condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {LIMIT_S} s: {what}") from None


@contextlib.asynccontextmanager
async def open_cell(
    server: PostgresServer,
    template: str,
    kafka: KafkaServer,
    folder: Path,
    launch: Launch = fork_role,
    /,
    **environment: str,
) -> AsyncIterator[Cell]:
    """A cell on a database of its own, with nothing but the gateway started."""
    name = uuid.uuid4().hex[:12]
    await asyncio.to_thread((folder / name).mkdir, mode=0o711)
    async with (
        fresh_database(server, template) as database,
        _on(database, kafka, f"c{name}.", folder / name, launch, environment) as cell,
    ):
        yield cell


@contextlib.asynccontextmanager
async def _on(
    database: FreshDatabase,
    kafka: KafkaServer,
    prefix: str,
    folder: Path,
    launch: Launch,
    environment: Mapping[str, str],
) -> AsyncIterator[Cell]:
    base = Settings()
    variables = {
        **QUICK,
        **environment,
        "TALLYBOOK_DATABASE_URL": database.dsn,
        "TALLYBOOK_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "TALLYBOOK_KAFKA_TOPIC_PREFIX": prefix,
        "TALLYBOOK_DATA_DIR": str(folder),
        "TALLYBOOK_DATABASE_POOL_MAX_CONNECTIONS": "4",
    }
    async with contextlib.AsyncExitStack() as stack:
        limits = SupervisorSettings(ready_timeout_s=LIMIT_S)
        supervised = Supervisor(folder / "roles", limits, environment=variables, launch=launch)
        supervisor = await stack.enter_async_context(supervised)
        gateway = (await supervisor.start("gateway"))[0]
        await supervisor.wait_ready()
        url = f"http://127.0.0.1:{gateway.port}"
        variables["TALLYBOOK_GATEWAY_URL"] = url  # for whatever is started from now on
        settings = replace(
            base,
            general=base.general.model_copy(update={"data_dir": folder}),
            database=base.database.model_copy(
                update={"url": SecretStr(database.dsn), "owner_url": SecretStr(database.dsn)}
            ),
            kafka=base.kafka.model_copy(update={"bootstrap": kafka.bootstrap, "topic_prefix": prefix}),
            gateway=base.gateway.model_copy(update={"url": url}),
        )
        pool = await asyncpg.create_pool(
            database.dsn, min_size=1, max_size=4, server_settings={"role": "tallybook_owner"}
        )
        stack.push_async_callback(pool.close)
        writer = await stack.enter_async_context(domain_writer(database.dsn))
        yield Cell(settings=settings, supervisor=supervisor, pool=pool, writer=writer, environment=variables)
