"""Business histories made by the domain's own deciders, as the log would hold them; for read models and benchmarks.

A history decides commands in memory and keeps the events with positions, versions and postings. `write_log` puts them
into a database's log as a writer would have, only faster.
"""

import random
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import asyncpg

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.catalog.product import CreateProduct
from domain.catalogue import STREAMS
from domain.commands import decide
from domain.customers.customer import (
    CreateCustomer,
)
from domain.customers.payment_method import (
    AttachPaymentMethod,
    PaymentMethodKind,
)
from domain.customers.tax_location import TaxLocation
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import encode, uuid7
from domain.kernel.personal_reference import PersonalReference
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Stream
from domain.payments.commands import (
    CollectInvoice,
    RecordPaymentCaptured,
)
from domain.pricing.models import PerUnit
from domain.subscriptions.commands import CreateSubscription, RenewSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from infra.event_store.port import Recorded
from schemas.codec import encode_entry, encode_event

USD = CurrencyCode("USD")
START = datetime(2026, 1, 1, tzinfo=UTC)
RECORDED_START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MONTH = Interval(unit=IntervalUnit.MONTH, count=1)
TAX_PLACES = (
    TaxLocation(country="DE", postal_prefix="101"),
    TaxLocation(country="FR"),
    None,
    TaxLocation(country="CA", region="QC"),
)
WITH_METADATA = tuple(stream for stream in STREAMS.values() if stream.metadata_set is not None)
PHONE = PerUnit(currency=USD, unit_amount=Decimal(7035))


class History:
    """Decided commands as recorded events. The same seed makes the same history, to the byte."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.events: list[Recorded] = []
        self.refused = 0
        self.now = START
        self._states: dict[tuple[str, str, str], tuple[Any, int]] = {}
        self._ids = 0

    def new_id(self, prefix: str) -> str:
        """The next id; ids rise."""
        self._ids += 1
        return prefix + encode(uuid7(1_770_000_000_000 + self._ids, self._ids * 7_919))

    def state(self, tenant_id: str, stream: Stream[Any], stream_id: str) -> Any:
        """A stream's state so far; None if it does not exist."""
        return self._states.get((tenant_id, stream.name, stream_id), (None, 0))[0]

    def do(self, tenant_id: str, command: Command) -> list[Recorded]:
        """Decide a command; a refusal changes nothing."""
        view = _View(self, tenant_id)
        try:
            decision = decide(command, view, self.now)
        except Refusal:
            self.refused += 1
            return []
        recorded_at = RECORDED_START + timedelta(milliseconds=len(self.events))
        correlation = f"corr{len(self.events)}"
        made: list[Recorded] = []
        for stream, stream_id, event, at in decision.changes:
            key = (tenant_id, stream.name, stream_id)
            before, version = self._states.get(key, (None, 0))
            state = stream.evolve(before, event)
            self._states[key] = (state, version + 1)
            entry = stream.postings(event, state)
            event_type, schema_id, payload = encode_event(event)
            made.append(
                Recorded(
                    position=len(self.events) + len(made) + 1,
                    event_id=self.new_id("evt_"),
                    tenant_id=tenant_id,
                    stream_type=stream.name,
                    stream_id=stream_id,
                    stream_version=version + 1,
                    event_type=event_type,
                    schema_id=schema_id,
                    payload=payload,
                    postings=None if entry is None else encode_entry(entry),
                    partition_key=f"{tenant_id}:{stream.customer_of(state) or stream_id}",
                    effective_at=at or decision.effective_at,
                    recorded_at=recorded_at,
                    correlation_id=correlation,
                    causation_id=self.events[-1].event_id if self.events else None,
                    actor="test",
                    decision=None,
                )
            )
        self.events += made
        return made

    def catalogue(self, tenant_id: str) -> tuple[str, str, str]:
        """A product with a plan and a monthly price per phone in USD; their ids."""
        product_id, plan_id, price_id = self.new_id("prod_"), self.new_id("plan_"), self.new_id("price_")
        self.do(tenant_id, CreateProduct(product_id=product_id, name="Phone", description=None))
        terms = PlanTerms(name="Monthly", interval=MONTH)
        self.do(tenant_id, CreatePlan(plan_id=plan_id, product_id=product_id, terms=terms))
        self.do(tenant_id, CreatePrice(price_id=price_id, plan_id=plan_id, price=PHONE))
        return product_id, plan_id, price_id

    def customer(self, tenant_id: str, *, test_clock_id: str | None = None) -> str:
        """A customer with a card that is their default; the customer's id."""
        customer_id, method_id = self.new_id("cus_"), self.new_id("pm_")
        personal = PersonalReference(reference=self.new_id("pd_"), commitment=bytes(range(32)))
        self.do(
            tenant_id,
            CreateCustomer(
                customer_id=customer_id,
                external_id=f"ext-{self._ids}",
                currency="USD",
                personal=personal,
                tax_location=TAX_PLACES[self._ids % len(TAX_PLACES)],
                vat_id_country=("FR", None)[self._ids % 2],
                tax_exempt=self._ids % 5 == 0,
                test_clock_id=test_clock_id,
            ),
        )
        self.do(
            tenant_id,
            AttachPaymentMethod(
                payment_method_id=method_id,
                customer_id=customer_id,
                kind=PaymentMethodKind.CARD,
                gateway="sandbox",
                token_reference="tok_visa",
                make_default=True,
            ),
        )
        return customer_id

    def subscribe(self, tenant_id: str, customer_id: str, plan_id: str, price_id: str) -> str:
        """A subscription to one price, charged automatically; its id."""
        subscription_id = self.new_id("sub_")
        self.do(
            tenant_id,
            CreateSubscription(
                subscription_id=subscription_id,
                customer_id=customer_id,
                plan_id=plan_id,
                items=(RequestedItem(price_id=price_id),),
            ),
        )
        return subscription_id

    def renew_and_collect(self, tenant_id: str, subscription_id: str) -> None:
        """The next period's invoice, charged and paid: the seven events of a renewal."""
        subscription = self.state(tenant_id, SUBSCRIPTION, subscription_id)
        self.now = max(self.now, subscription.next_boundary)
        self.do(tenant_id, RenewSubscription(subscription_id=subscription_id))
        self.collect(tenant_id, self.state(tenant_id, SUBSCRIPTION, subscription_id).latest_invoice_id)

    def collect(self, tenant_id: str, invoice_id: str) -> str:
        """Charge an open invoice's customer, with success; the payment's id."""
        payment_id = self.new_id("pay_")
        self.do(tenant_id, CollectInvoice(invoice_id=invoice_id, payment_id=payment_id))
        captured = RecordPaymentCaptured(payment_id=payment_id, attempt=1, gateway_payment_id=f"gw_{payment_id}")
        self.do(tenant_id, captured)
        return payment_id


class _View:
    def __init__(self, history: History, tenant_id: str) -> None:
        self._history = history
        self._tenant_id = tenant_id

    def get(self, stream: Stream[Any], stream_id: str) -> Any:
        return self._history.state(stream.home or self._tenant_id, stream, stream_id)

    def is_new(self, stream: Stream[Any], stream_id: str) -> bool:
        return self.get(stream, stream_id) is None


def renewals(customers: int, months: int, *, seed: int = 0, tenant_id: str = "acme") -> History:
    """The telecom months: every customer subscribes, then is renewed and charged month after month."""
    history = History(seed)
    _, plan_id, price_id = history.catalogue(tenant_id)
    subscriptions = []
    for _ in range(customers):
        customer_id = history.customer(tenant_id)
        subscription_id = history.subscribe(tenant_id, customer_id, plan_id, price_id)
        history.collect(tenant_id, history.state(tenant_id, SUBSCRIPTION, subscription_id).latest_invoice_id)
        subscriptions.append(subscription_id)
    for _ in range(months):
        for subscription_id in subscriptions:
            history.renew_and_collect(tenant_id, subscription_id)
    return history


STREAM_VERSIONS = """
INSERT INTO log.streams AS s (tenant_id, stream_type, stream_id, version, last_change)
SELECT tenant_id, stream_type, stream_id, max(stream_version), count(*) FROM log.events WHERE position > $1
GROUP BY tenant_id, stream_type, stream_id
ON CONFLICT (tenant_id, stream_type, stream_id)
DO UPDATE SET version = excluded.version, last_change = excluded.last_change
"""


async def write_log(connection: "asyncpg.Connection[asyncpg.Record]", events: list[Recorded]) -> None:
    """Put a history into an empty log, or after what the log holds of it already. The connection may do anything."""
    head = await connection.fetchval("SELECT position FROM log.head")
    fresh = events[head:]
    if not fresh:
        return
    names = [field.name for field in fields(Recorded)]
    async with connection.transaction():
        rows = map(attrgetter(*names), fresh)
        await connection.copy_records_to_table("events", schema_name="log", columns=names, records=rows)
        await connection.execute(
            "UPDATE log.head SET position = $1, recorded_at = $2", fresh[-1].position, fresh[-1].recorded_at
        )
        await connection.execute(STREAM_VERSIONS, head)
