"""Business histories made by the domain's own deciders, as the log would hold them; for read models and benchmarks.

A history decides commands in memory and keeps the events with positions, versions and postings. `write_log` puts them
into a database's log as a writer would have, only faster.
"""

import random
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import asyncpg

from domain.catalog.plan import ArchivePlan, ChangePlanTerms, CreatePlan, PlanTerms
from domain.catalog.price import ArchivePrice, BillingTiming, CreatePrice
from domain.catalog.product import ArchiveProduct, ChangeProduct, CreateProduct
from domain.catalogue import STREAMS
from domain.commands import ChangeMetadata, decide
from domain.customers.customer import (
    CreateCustomer,
    DeleteCustomer,
    EraseCustomer,
    PersonalReference,
    SetDefaultPaymentMethod,
    UpdateCustomer,
)
from domain.customers.payment_method import (
    AttachPaymentMethod,
    ChangePaymentMethod,
    DetachPaymentMethod,
    PaymentMethodKind,
    RecordPaymentMethodForgotten,
)
from domain.customers.test_clock import (
    AdvanceTestClock,
    CancelTestClockAdvance,
    CompleteTestClockAdvance,
    CompleteTestClockDeletion,
    CreateTestClock,
    DeleteTestClock,
    MoveTestClock,
)
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.invoice import (
    CollectionMethod,
    DraftInvoice,
    InvoiceLine,
    PayInvoiceOutOfBand,
    VoidInvoice,
)
from domain.kernel.accounts import CASH, EQUITY, credit, debit
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import CurrencyCode
from domain.kernel.identifiers import encode, uuid7
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command, Stream
from domain.kernel.tenant_mode import TenantMode
from domain.ledger.journal_entry import PostJournalEntry, ReverseJournalEntry
from domain.payments.cancel_commands import CancelPayment, ExpirePaymentAttempt, RecordPaymentCanceled
from domain.payments.commands import (
    CollectInvoice,
    ConfirmPayment,
    CreatePayment,
    PayInvoice,
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
)
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT
from domain.payments.refund_commands import (
    ChangeRefundMetadata,
    RecordRefundFailed,
    RecordRefundOutcomeUnknown,
    RecordRefundSucceeded,
    RequestRefund,
)
from domain.pricing.models import PerUnit
from domain.subscriptions.commands import CancelSubscription, CreateSubscription, RenewSubscription, RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from infra.event_store.port import Recorded
from schemas.codec import encode_entry, encode_event

USD = CurrencyCode("USD")
START = datetime(2026, 1, 1, tzinfo=UTC)
RECORDED_START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MONTH = Interval(unit=IntervalUnit.MONTH, count=1)
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
        self.do(tenant_id, CreatePrice(price_id=price_id, plan_id=plan_id, model=PHONE))
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
        return self._history.state(self._tenant_id, stream, stream_id)


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


def scramble(history: History, tenants: tuple[str, ...], steps: int) -> History:
    """Random commands of every kind, many of them refused, by several tenants."""
    known: dict[str, dict[str, list[str]]] = {tenant: {} for tenant in tenants}
    for tenant in tenants:
        product_id, plan_id, price_id = history.catalogue(tenant)
        known[tenant] = {"product": [product_id], "plan": [plan_id], "price": [price_id]}
        known[tenant]["customer"] = [history.customer(tenant)]
    for _ in range(steps):
        history.now += timedelta(hours=history.random.randrange(200))
        tenant = history.random.choice(tenants)
        for command in _random_commands(history, tenant, known[tenant]):
            for event in history.do(tenant, command):
                ids = known[tenant].setdefault(event.stream_type, [])
                if event.stream_version == 1:
                    ids.append(event.stream_id)
    return history


def _random_commands(history: History, tenant: str, known: dict[str, list[str]]) -> Iterator[Command]:
    draw = history.random
    new = history.new_id

    def some(kind: str) -> str:
        ids = known.get(kind)
        return draw.choice(ids[-12:]) if ids else f"{kind}_unknown"

    customer_id = some("customer")
    usd = Money(draw.randrange(1, 90_000), USD)
    match draw.randrange(19):
        case 0:
            known["customer"].append(history.customer(tenant))
        case 1:
            yield UpdateCustomer(customer_id=customer_id, time_zone=draw.choice(("UTC", "Asia/Tokyo")))
            yield SetDefaultPaymentMethod(customer_id=customer_id, payment_method_id=some("payment_method"))
        case 2:
            yield draw.choice((DeleteCustomer, EraseCustomer))(customer_id=customer_id)
        case 3:
            yield ChangeProduct(product_id=some("product"), name=f"Name {usd.amount}")
            days = draw.choice((0, 0, 14))
            yield ChangePlanTerms(plan_id=some("plan"), name=f"Plan {usd.amount}", interval=MONTH, trial_days=days)
            yield CreatePrice(
                price_id=new("price_"),
                plan_id=some("plan"),
                external_id=f"price-{usd.amount}",
                model=PerUnit(currency=USD, unit_amount=Decimal("12.5")),
                timing=draw.choice(tuple(BillingTiming)),
            )
            if draw.random() < 0.05:
                yield ArchivePlan(plan_id=some("plan"))
        case 4 | 5 | 6:
            yield CreateSubscription(
                subscription_id=new("sub_"),
                customer_id=customer_id,
                plan_id=some("plan"),
                items=(RequestedItem(price_id=some("price"), quantity=Decimal(draw.choice(("1", "2.5", "7")))),),
                collection=draw.choice(tuple(CollectionMethod)),
            )
        case 7 | 8:
            subscription = history.state(tenant, SUBSCRIPTION, some("subscription"))
            if subscription is not None and subscription.next_boundary is not None:
                history.now = max(history.now, subscription.next_boundary)
                yield RenewSubscription(subscription_id=subscription.subscription_id)
        case 9:
            yield CancelSubscription(subscription_id=some("subscription"), at_period_end=draw.random() < 0.5)
        case 10:
            invoice_id = new("in_")
            line = InvoiceLine(
                line_id=new("il_"),
                description="Set-up",
                amount=usd,
                quantity=Decimal(1),
                timing=draw.choice(tuple(BillingTiming)),
            )
            yield DraftInvoice(
                invoice_id=invoice_id,
                customer_id=customer_id,
                collection=draw.choice(tuple(CollectionMethod)),
                currency=USD,
                lines=(line,),
                metadata=(("order", str(usd.amount)),),
            )
            if draw.random() < 0.7:
                yield FinalizeInvoice(invoice_id=invoice_id)
        case 11:
            yield draw.choice((VoidInvoice, PayInvoiceOutOfBand))(invoice_id=some("invoice"))
        case 12 | 13:
            payment_id = new("pay_")
            yield draw.choice((CollectInvoice, PayInvoice))(invoice_id=some("invoice"), payment_id=payment_id)
            yield from _random_outcome(history, tenant, payment_id)
        case 14:
            payment_id = new("pay_")
            yield CreatePayment(payment_id=payment_id, customer_id=customer_id, amount=usd, confirm=draw.random() < 0.5)
            yield ConfirmPayment(payment_id=payment_id, payment_method_id=some("payment_method"))
            yield from _random_outcome(history, tenant, payment_id)
            yield DetachPaymentMethod(payment_method_id=some("payment_method"))
        case 15:
            payment_id, refund_id = some("payment"), new("re_")
            yield RequestRefund(refund_id=refund_id, payment_id=payment_id, amount=None, reason="asked")
            yield RecordRefundOutcomeUnknown(refund_id=refund_id, payment_id=payment_id, why="time-out")
            outcome = draw.random()
            if outcome < 0.4:
                yield RecordRefundSucceeded(refund_id=refund_id, payment_id=payment_id, gateway_refund_id="gr_1")
            elif outcome < 0.8:
                yield RecordRefundFailed(
                    refund_id=refund_id, payment_id=payment_id, failure_code=DeclineCode.ACCOUNT_CLOSED
                )
        case 16:
            method_id = new("pm_")
            yield AttachPaymentMethod(
                payment_method_id=method_id,
                customer_id=customer_id,
                kind=draw.choice(tuple(PaymentMethodKind)),
                gateway="sandbox",
                token_reference="tok_visa",
                make_default=draw.random() < 0.5,
            )
            yield ChangePaymentMethod(payment_method_id=some("payment_method"), token_reference=f"tok_{usd.amount}")
            if draw.random() < 0.3:
                method_id = some("payment_method")
                yield DetachPaymentMethod(payment_method_id=method_id)
                yield RecordPaymentMethodForgotten(payment_method_id=method_id)
            yield CancelPayment(payment_id=some("payment"))
            rare = draw.random()
            if rare < 0.05:
                yield ArchiveProduct(product_id=some("product"))
            elif rare < 0.15:
                yield ArchivePrice(price_id=known["price"][-1])
        case 17:
            subscription = history.state(tenant, SUBSCRIPTION, some("subscription"))
            if subscription is not None and subscription.past_due_invoice_ids:
                yield PayInvoiceOutOfBand(invoice_id=subscription.past_due_invoice_ids[0])
            change = {"order": str(usd.amount), "note": draw.choice(("", "kept", None))}
            for stream in WITH_METADATA:
                yield ChangeMetadata(stream=stream, stream_id=some(stream.name), change=draw.choice((change, None)))
            payment = history.state(tenant, PAYMENT, some("payment"))
            for refund in payment.refunds if payment is not None else ():
                yield ChangeRefundMetadata(
                    refund_id=refund.refund_id, payment_id=payment.payment_id, change=draw.choice((change, None))
                )
        case _:
            entry_id, clock_id = new("je_"), new("clock_")
            postings = (debit(CASH, usd), credit(EQUITY, usd))
            yield PostJournalEntry(entry_id=entry_id, postings=postings, memo="capital")
            is_taken_back = draw.random() < 0.3
            if is_taken_back:
                yield ReverseJournalEntry(entry_id=entry_id, memo="wrong")
            yield CreateTestClock(clock_id=clock_id, name="clock", frozen_at=START, mode=TenantMode.TEST)
            yield AdvanceTestClock(clock_id=clock_id, to=START + timedelta(days=40))
            yield MoveTestClock(clock_id=clock_id, advance=1, to=START + timedelta(days=9))
            if is_taken_back:
                yield CancelTestClockAdvance(clock_id=clock_id)
            yield CompleteTestClockAdvance(clock_id=clock_id, advance=1)
            if is_taken_back:
                yield DeleteTestClock(clock_id=clock_id)
                yield CompleteTestClockDeletion(clock_id=clock_id)


def _random_outcome(history: History, tenant: str, payment_id: str) -> Iterator[Command]:
    draw = history.random
    payment = history.state(tenant, PAYMENT, payment_id)
    attempt = 1 if payment is None else payment.attempt
    gateway_id = f"gw_{payment_id}"
    if payment is not None and payment.invoice_id is not None and draw.random() < 0.4:
        yield PayInvoiceOutOfBand(invoice_id=payment.invoice_id)  # so that what is captured now is not needed
    match draw.randrange(5):
        case 0:
            yield RecordPaymentOutcomeUnknown(payment_id=payment_id, attempt=attempt, why="time-out")
            yield RecordPaymentCaptured(payment_id=payment_id, attempt=attempt, gateway_payment_id=gateway_id)
        case 1:
            yield RecordPaymentActionRequired(payment_id=payment_id, attempt=attempt, gateway_payment_id=gateway_id)
            if draw.random() < 0.5:
                yield ExpirePaymentAttempt(payment_id=payment_id, attempt=attempt)
                yield RecordPaymentCanceled(payment_id=payment_id, attempt=attempt)
        case 2:
            yield RecordPaymentDeclined(
                payment_id=payment_id, attempt=attempt, decline_code=DeclineCode.INSUFFICIENT_FUNDS, retryable=True
            )
        case _:
            yield RecordPaymentCaptured(payment_id=payment_id, attempt=attempt, gateway_payment_id=gateway_id)


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
