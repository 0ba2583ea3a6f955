"""The terms of a subscription: what was subscribed to, as it was then, and what may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from domain.catalog.feature import Feature
from domain.catalog.price import BillingTiming
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL
from domain.kernel.billing_period import Interval
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding
from domain.pricing.amount import amount_of
from domain.pricing.models import Flat, Price, model_of
from domain.subscriptions.alignment import StubPeriod
from domain.subscriptions.proration_basis import BasisNeedsMonths, ProrationBasis

MAX_ITEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionItem:
    """A price as it was when it was subscribed to, in the customer's currency, and how many of it; of the plan or of an
    add-on, whose product it then is. With a meter nobody says how many (None): that one counts them.

    `interval` is None where it is the subscription's own, and else a whole number of those.
    """

    price_id: str
    product_id: str
    description: str
    tax_category: str | None
    price: Price
    timing: BillingTiming
    quantity: Decimal | None
    interval: Interval | None = None
    tax_inclusive: bool = False
    meter_id: str | None = None

    @property
    def licensed_quantity(self) -> Decimal:
        """How many were subscribed to, of an item without a meter."""
        assert self.quantity is not None, "no meter counts them"
        return self.quantity


class TrialEnd(StrEnum):
    """What becomes of a subscription that is charged automatically where its trial ends and there is nothing to charge:
    it is invoiced all the same, waits in a pause, or ends.
    """

    INVOICE = "invoice"
    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageThreshold:
    """Usage is invoiced before its period is over once so much of it is not billed yet: each time, or with
    `recurring=False` once a period.
    """

    amount: Money
    recurring: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTerms:
    """What is agreed until it is changed: `days_until_due` counts from finalization for invoices paid by hand.

    `interval` is the shortest of the items': by it the subscription's periods are counted. `features` are those of its
    plan and its add-ons together. `proration_basis` counts what share of a whole a part of a period is. Renewals of
    one instant of those that are `billed_together` share an invoice. `trial_end` is for a trial that ends without a
    payment method. `stub` is what a period costs that begins within one of the schedule. With a `usage_threshold` usage
    is invoiced while its period runs.
    """

    plan_id: str
    plan_version: int
    items: tuple[SubscriptionItem, ...]
    interval: Interval
    currency: CurrencyCode
    rounding: Rounding
    time_zone: str
    collection: CollectionMethod
    days_until_due: int
    proration_basis: ProrationBasis = ProrationBasis.DAY
    trial_end: TrialEnd = TrialEnd.INVOICE
    features: tuple[Feature, ...] = ()
    billed_together: bool = False
    stub: StubPeriod = StubPeriod.PRORATED
    usage_threshold: UsageThreshold | None = None


class InvalidUsageThreshold(Refusal):
    """A threshold of usage is above zero, in the subscription's currency, and no more than an invoice can hold."""

    code = "invalid_usage_threshold"
    kind = RefusalKind.INVALID
    param = "usage_threshold"


class InvalidSubscriptionItems(Refusal):
    """A subscription has 1 to 20 prices of positive quantities, and no more in a period than an invoice can hold."""

    code = "invalid_subscription_items"
    kind = RefusalKind.INVALID
    param = "items"


class PlanIsAddOn(Refusal):
    """An add-on is sold beside another plan: subscribe to that one, and name this one's price among the items."""

    code = "plan_is_add_on"
    kind = RefusalKind.INVALID
    param = "plan"


class OnlyAddOns(Refusal):
    """A subscription has a price of its own plan at least: name one beside those of add-ons."""

    code = "only_add_ons"
    kind = RefusalKind.INVALID
    param = "items"


class PriceOfAnotherPlan(Refusal):
    """A subscription's prices are its plan's and add-ons': name such, or subscribe to the other plan."""

    code = "price_of_another_plan"
    kind = RefusalKind.INVALID
    param = "items"


class DuplicatePrice(Refusal):
    """A price stands once in a subscription: name it once, with the quantity of all."""

    code = "duplicate_price"
    kind = RefusalKind.INVALID
    param = "items"


class IntervalsDoNotNest(Refusal):
    """Of intervals billed together each is a whole number of the shorter: subscribe to the other price by itself."""

    code = "intervals_do_not_nest"
    kind = RefusalKind.INVALID
    param = "items"


class FlatPriceHasNoQuantity(Refusal):
    """A flat price is one amount whatever the quantity: leave the quantity out, or use a price per unit."""

    code = "flat_price_has_no_quantity"
    kind = RefusalKind.INVALID
    param = "items"


class MeteredPriceHasNoQuantity(Refusal):
    """A meter counts what this price is billed for: leave the quantity out."""

    code = "metered_price_has_no_quantity"
    kind = RefusalKind.INVALID
    param = "items"


class MeterTwice(Refusal):
    """Two of the prices are of what one meter counts, which is billed once: name one of them."""

    code = "meter_twice"
    kind = RefusalKind.INVALID
    param = "items"


def intervals_of(terms: SubscriptionTerms) -> tuple[Interval, ...]:
    """Its own, and the longer ones of items."""
    return (terms.interval, *longer_intervals(terms))


def longer_intervals(terms: SubscriptionTerms) -> tuple[Interval, ...]:
    """Those of items that are not the subscription's own."""
    return tuple(dict.fromkeys(item.interval for item in terms.items if item.interval is not None))


def check_items(items: tuple[SubscriptionItem, ...], rounding: Rounding) -> None:
    """Raises InvalidSubscriptionItems, DuplicatePrice, FlatPriceHasNoQuantity, MeterTwice."""
    if not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidSubscriptionItems(items=len(items))
    named: set[str] = set()
    meters: set[str] = set()
    for nth, item in enumerate(items):
        if item.price_id in named:
            raise DuplicatePrice(price=item.price_id).at(f"items.{nth}.price")
        named.add(item.price_id)
        if item.meter_id is not None:
            if item.meter_id in meters:
                raise MeterTwice(price=item.price_id, meter=item.meter_id).at(f"items.{nth}.price")
            meters.add(item.meter_id)
            continue
        if item.licensed_quantity <= 0:
            raise InvalidSubscriptionItems(price=item.price_id, quantity=str(item.quantity)).at(f"items.{nth}.quantity")
        if isinstance(model_of(item.price), Flat) and item.quantity != 1:
            raise FlatPriceHasNoQuantity(price=item.price_id, quantity=str(item.quantity)).at(f"items.{nth}.quantity")
    # The most that one invoice bills, so that no later renewal is refused for it.
    amount = sum(
        amount_of(item.price, item.licensed_quantity, rounding).amount for item in items if item.meter_id is None
    )
    if amount > MAX_INVOICE_TOTAL:
        raise InvalidSubscriptionItems(amount=amount, most=MAX_INVOICE_TOTAL)


def check_threshold(threshold: UsageThreshold | None, currency: CurrencyCode) -> None:
    """Raises InvalidUsageThreshold."""
    if threshold is None:
        return
    if threshold.amount.currency != currency:
        refused = InvalidUsageThreshold(currency=threshold.amount.currency, subscriptions_currency=currency)
        raise refused.at("usage_threshold.amount.currency")
    if not 0 < threshold.amount.amount <= MAX_INVOICE_TOTAL:
        raise InvalidUsageThreshold(amount=threshold.amount.amount).at("usage_threshold.amount.amount")


def check_basis(basis: ProrationBasis, interval: Interval) -> None:
    """Raises BasisNeedsMonths."""
    if basis is ProrationBasis.FIXED_30 and not interval.months:
        raise BasisNeedsMonths(basis=basis)


def shortest_of(intervals: Sequence[Interval]) -> Interval:
    """The one by which periods are counted: of the items' intervals, in their order. Raises IntervalsDoNotNest."""
    by_length = sorted(enumerate(intervals), key=lambda each: (each[1].days, each[1].months))
    for (_, shorter), (nth, longer) in pairwise(by_length):
        if not longer.multiple_of(shorter):
            refused = IntervalsDoNotNest(interval=_told(longer), beside=_told(shorter))
            raise refused.at(f"items.{nth}.price")
    return by_length[0][1]


def _told(interval: Interval) -> str:
    return f"{interval.count} {interval.unit}"
