"""Facts and commands that the specifications of subscriptions are told with: one subscription, by month from NOW."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.identifiers import INVOICE, INVOICE_LINE, derived_id
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind, LinePricing
from domain.catalog.price import BillingTiming, PriceUsed
from domain.pricing.models import WHOLE_PERIOD, Price
from domain.kernel.rounding import STANDARD_ROUNDING
from domain.kernel.stream import Event, Schedule, WorkKind
from domain.subscriptions.cancellation import CancellationReason, SubscriptionCanceled
from domain.subscriptions.subscription import SubscriptionCreated, SubscriptionPeriodStarted
from domain.subscriptions.terms import SubscriptionItem, SubscriptionTerms
from domain.subscriptions.cancel_commands import CancelSubscription, UndoCancellation
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.trial_commands import EndTrial, ExtendTrial
from testing.moments import utc
from testing.specification import NOW, Claimed
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    BY_HAND,
    CUSTOMER_ID,
    IN_ADVANCE,
    MONTH,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    SUBSCRIPTION_ID,
    USD,
    flat,
    number_taken,
    usd,
)

RENEWAL = WorkKind.SUBSCRIPTION_RENEWAL
DAY = Interval(IntervalUnit.DAY)
FEBRUARY = utc("2026-02-28T10:00")  # NOW is the 31st of January
MARCH = utc("2026-03-31T10:00")
APRIL = utc("2026-04-30T10:00")


def period_invoice(index: int) -> str:
    return derived_id(INVOICE, SUBSCRIPTION_ID, f"period/{index}")


LAST_INVOICE = derived_id(INVOICE, SUBSCRIPTION_ID, "end")


DESCRIPTIONS = {PRICE_ID: "Phone, monthly", ARREARS_PRICE_ID: "Phone, monthly – Calls"}


def item(price_id: str = PRICE_ID, price: Price | None = None, timing: BillingTiming = IN_ADVANCE) -> Any:
    return SubscriptionItem(
        price_id=price_id,
        product_id=PRODUCT_ID,
        description=DESCRIPTIONS.get(price_id, "Phone, monthly"),
        tax_category=None,
        price=price or flat(),
        timing=timing,
        quantity=Decimal(1),
    )


def created(*items: SubscriptionItem, **changes: Any) -> SubscriptionCreated:
    terms = SubscriptionTerms(
        plan_id=PLAN_ID,
        plan_version=1,
        items=items or (item(),),
        interval=changes.pop("interval", MONTH),
        currency=USD,
        rounding=STANDARD_ROUNDING,
        time_zone=changes.pop("time_zone", "UTC"),
        collection=changes.pop("collection", BY_HAND),
        days_until_due=30,
    )
    facts: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION_ID,
        "customer_id": CUSTOMER_ID,
        "terms": terms,
        "starts_at": changes.get("created_at", NOW),
        "anchor_at": NOW,
        "trial_end": None,
        "test_clock_id": None,
        "created_at": NOW,
    }
    return SubscriptionCreated(**facts | changes)


def price_used(price_id: str = PRICE_ID) -> PriceUsed:
    """That it is the first subscription to the price."""
    return PriceUsed(price_id=price_id, by=SUBSCRIPTION_ID)


def period_started(index: int, start: datetime, end: datetime, *, invoiced: bool = True) -> SubscriptionPeriodStarted:
    return SubscriptionPeriodStarted(
        subscription_id=SUBSCRIPTION_ID,
        index=index,
        period_start=start,
        period_end=end,
        invoice_id=period_invoice(index) if invoiced else None,
    )


def invoice_line(
    invoice_id: str,
    amount: int,
    start: datetime,
    end: datetime,
    timing: BillingTiming = IN_ADVANCE,
    kind: InvoiceLineKind = InvoiceLineKind.RECURRING,
    *,
    price: Price | None = None,
    share: Fraction = WHOLE_PERIOD,
) -> InvoiceLine:
    """Of a flat price of the amount for the whole period, unless another price and share are given."""
    price_id = PRICE_ID if timing is IN_ADVANCE else ARREARS_PRICE_ID
    return InvoiceLine(
        line_id=derived_id(INVOICE_LINE, invoice_id, f"{timing}/{price_id}"),
        description=DESCRIPTIONS.get(price_id, "Phone, monthly"),
        amount=usd(amount),
        quantity=Decimal(1),
        timing=timing,
        kind=kind,
        product_id=PRODUCT_ID,
        price_id=price_id,
        period_start=start,
        period_end=end,
        pricing=LinePricing(price=price or flat(amount), share=share, rounding=STANDARD_ROUNDING),
        tax_inclusive=False,
    )


def invoiced(number: int, at: datetime, *lines: InvoiceLine, invoice_id: str, due_at: datetime) -> tuple[Event, Event]:
    return number_taken(number, invoice_id), InvoiceFinalized(
        invoice_id=invoice_id,
        customer_id=CUSTOMER_ID,
        subscription_id=SUBSCRIPTION_ID,
        series="INV",
        number=f"INV-{number:06d}",
        collection=BY_HAND,
        currency=USD,
        lines=lines,
        total=usd(sum(line.amount.amount for line in lines)),
        applied=usd(0),
        test_clock_id=None,
        finalized_at=at,
        due_at=due_at,
    )


def canceled(at: datetime, reason: CancellationReason, *, invoiced: bool = False) -> SubscriptionCanceled:
    return SubscriptionCanceled(
        subscription_id=SUBSCRIPTION_ID,
        canceled_at=at,
        reason=reason,
        invoice_id=LAST_INVOICE if invoiced else None,
    )


def renew(due_at: datetime | None = None) -> RenewSubscription:
    return RenewSubscription(subscription_id=SUBSCRIPTION_ID, due_at=due_at)


def cancel_now() -> CancelSubscription:
    return CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False)


def cancel_at_period_end() -> CancelSubscription:
    return CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=True)


def cancel_on(date: datetime) -> CancelSubscription:
    return CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False, cancel_at=date)


def undo_cancel() -> UndoCancellation:
    return UndoCancellation(subscription_id=SUBSCRIPTION_ID)


def extend_trial(trial_end: datetime) -> ExtendTrial:
    return ExtendTrial(subscription_id=SUBSCRIPTION_ID, trial_end=trial_end)


def end_trial() -> EndTrial:
    return EndTrial(subscription_id=SUBSCRIPTION_ID)


def timer(due_at: datetime, clock_id: str | None = None) -> Schedule:
    return Schedule(RENEWAL, SUBSCRIPTION_ID, due_at=due_at, clock_id=clock_id)


PLAN_CLAIM = Claimed("subscription.plan", f"{PLAN_ID}/{SUBSCRIPTION_ID}", SUBSCRIPTION_ID)


def period_claim(index: int) -> Claimed:
    return Claimed("subscription.period", f"{SUBSCRIPTION_ID}:{index}", SUBSCRIPTION_ID)
