"""Commands about usage that is billed, for random histories: what waits, is counted or hurried, and comes late."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from domain.catalog.price import BillingTiming, CreatePrice
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice
from domain.invoicing.usage_line import UsageSnapshot
from domain.invoicing.usage_request import BillUsage, CountedUsage, RecountedUsage
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.metering.aggregation import Aggregation
from domain.metering.meter import CreateMeter, MeterTerms
from domain.pricing.models import PerUnit
from domain.subscriptions.commands import CreateSubscription, RenewSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import BillUsageSoFar, SetUsageThreshold
from testing.histories import USD, History
from testing.random_drafts import waiting_for_tax


def used(history: History, tenant: str, customer_id: str, plan_id: str, usd: Money) -> Iterator[Command]:
    """A subscription that began some time ago: what it has used waits, and later what came late for that."""
    meter_id, price_id, subscription_id = (history.new_id(prefix) for prefix in ("mtr_", "price_", "sub_"))
    yield CreateMeter(
        meter_id=meter_id,
        code=f"used_{usd.amount}",
        name="Used",
        aggregation=Aggregation.SUM,
        terms=MeterTerms(value_property="amount"),
    )
    yield CreatePrice(
        price_id=price_id,
        plan_id=plan_id,
        price=PerUnit(currency=USD, unit_amount=Decimal(usd.amount % 50)),
        timing=BillingTiming.IN_ARREARS,
        meter_id=meter_id,
    )
    yield CreateSubscription(
        subscription_id=subscription_id,
        customer_id=customer_id,
        plan_id=plan_id,
        items=(RequestedItem(price_id=price_id),),
        starts_at=history.now - timedelta(days=40),
        trial_days=0,
    )
    first = _latest(history, tenant, subscription_id)
    if first is None:
        return
    yield from _counted(history, tenant, first, usd)
    if usd.amount % 2:
        yield from _billed_so_far(history, tenant, subscription_id, usd)
    subscription = history.state(tenant, SUBSCRIPTION, subscription_id)
    history.now = max(history.now, subscription.next_boundary or history.now)
    yield RenewSubscription(subscription_id=subscription_id)
    second = _latest(history, tenant, subscription_id)
    if second is not None and second.invoice_id != first.invoice_id:
        line = first.lines[0]
        late = RecountedUsage(
            invoice_id=first.invoice_id, line_id=line.line_id, quantity=Fraction(usd.amount % 40), events=3
        )
        yield from _counted(history, tenant, second, usd, late)
        if usd.amount % 4 == 1:
            yield VoidInvoice(invoice_id=second.invoice_id)


def _billed_so_far(history: History, tenant: str, subscription_id: str, usd: Money) -> Iterator[Command]:
    """What was used of the running period is billed while that runs, up to twice."""
    threshold = UsageThreshold(amount=Money(max(usd.amount, 1), USD), recurring=usd.amount % 5 != 0)
    yield SetUsageThreshold(subscription_id=subscription_id, threshold=threshold)
    for _ in range(1 + usd.amount % 2):
        seen = history.state(tenant, SUBSCRIPTION, subscription_id)
        yield BillUsageSoFar(
            subscription_id=subscription_id,
            price_ids=tuple(item.price_id for item in seen.terms.items),
            period_index=seen.period_index,
            changes=seen.changes,
            billings_so_far=seen.billings_so_far,
        )
        billed = _latest(history, tenant, subscription_id)
        if billed is not None and billed.lacks_usage:
            yield from _counted(history, tenant, billed, usd)


def _latest(history: History, tenant: str, subscription_id: str) -> Invoice | None:
    subscription = history.state(tenant, SUBSCRIPTION, subscription_id)
    if subscription is None or subscription.latest_invoice_id is None:
        return None
    invoice: Invoice | None = history.state(tenant, INVOICE, subscription.latest_invoice_id)
    return invoice


def _counted(history: History, tenant: str, invoice: Invoice, usd: Money, *late: RecountedUsage) -> Iterator[Command]:
    if usd.amount % 3 == 0:
        yield FinalizeInvoice(invoice_id=invoice.invoice_id)
    if usd.amount % 6 == 0:  # its time was over by then, and is in any case now
        yield FinalizeInvoice(invoice_id=invoice.invoice_id)
    counted = [
        CountedUsage(line_id=line.line_id, snapshot=_snapshot(usd.amount % 20 + nth), late=late if nth == 0 else ())
        for nth, line in enumerate(line for line in invoice.lines if line.lacks_usage)
    ]
    yield BillUsage(invoice_id=invoice.invoice_id, counted=tuple(counted))
    yield from waiting_for_tax(history, tenant, invoice.invoice_id, usd)
    if usd.amount % 7 == 0:
        yield VoidInvoice(invoice_id=invoice.invoice_id)


def _snapshot(quantity: int) -> UsageSnapshot:
    return UsageSnapshot(
        closing=1, partition=0, covers=9, sha256="ab" * 32, quantity=Fraction(quantity), events=quantity
    )
