"""The monthly recurring revenue of a subscription: what its items cost a month, less recurring discounts, net of tax.

What nobody knows beforehand, a measured quantity or a percentage of it, is no recurring revenue. Nor is what is not
billed as agreed: in a trial, a pause or a suspension a subscription has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from domain.discounts.computation import AmountOff, Discount, PercentOff
from domain.kernel.billing_period import Interval
from domain.kernel.money import Money
from domain.kernel.percent import factor_of
from domain.kernel.rounding import Rounding, round_to_int
from domain.pricing.amount import exact_amount_of
from domain.pricing.models import GraduatedPercentage, Percentage, Price, model_of
from domain.reporting.mrr import times_a_month
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.terms import SubscriptionTerms

COUNTED: Final = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})
"""In which states a subscription has recurring revenue."""
NOTHING: Final = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringItem:
    """An item and its exact minor units a month before discounts, with the tax that they contain if `tax_inclusive`.

    `interval` is that by which it is billed.
    """

    price_id: str
    product_id: str
    tax_category: str | None
    tax_inclusive: bool
    interval: Interval
    monthly: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringDiscount:
    """What comes off every period. `product_ids`: empty means all products. `price_ids`: None means all of them."""

    off: Discount
    product_ids: tuple[str, ...] = ()
    price_ids: frozenset[str] | None = None

    def touches(self, item: RecurringItem) -> bool:
        """Whether it takes something off the item."""
        return (not self.product_ids or item.product_id in self.product_ids) and (
            self.price_ids is None or item.price_id in self.price_ids
        )


def recurring_items(terms: SubscriptionTerms) -> tuple[RecurringItem, ...]:
    """What each item of these terms comes to in a month, by the calendar of `times_a_month`, exactly."""
    found: list[RecurringItem] = []
    for item in terms.items:
        interval = item.interval or terms.interval
        amount = NOTHING
        if item.meter_id is None and not is_measured(item.price):
            amount = exact_amount_of(item.price, item.licensed_quantity, terms.rounding).amount
        found.append(
            RecurringItem(
                price_id=item.price_id,
                product_id=item.product_id,
                tax_category=item.tax_category,
                tax_inclusive=item.tax_inclusive,
                interval=interval,
                monthly=amount * times_a_month(interval),
            )
        )
    return tuple(found)


def is_measured(price: Price) -> bool:
    """Whether nobody knows beforehand what it comes to: a percentage of amounts that are still to come."""
    return isinstance(model_of(price), Percentage | GraduatedPercentage)


def monthly_revenue(
    items: Sequence[RecurringItem],
    discounts: Sequence[RecurringDiscount],
    included_tax: Mapping[str | None, Decimal],
    rounding: Rounding,
) -> int:
    """Minor units a month, rounded once by `rounding`, zero at least.

    Discounts in the order of invoices: percentages of what is left first, then fixed amounts, each as often as the
    shortest interval among its items comes in a month, split in proportion and capped at what is left. Then of an
    inclusive price the tax goes: amount / (1 + percent), by the percentages of `included_tax` for each tax category;
    of a category that is not there nothing is known to be contained. That order is vector 33's.
    """
    left = [item.monthly for item in items]
    for discount in sorted(discounts, key=lambda each: isinstance(each.off, AmountOff)):
        _take_off(left, items, discount)
    net = NOTHING
    for item, amount in zip(items, left, strict=True):
        percent = included_tax.get(item.tax_category) if item.tax_inclusive else None
        net += amount if percent is None else Fraction(amount, 1 + Fraction(factor_of(percent)))
    return round_to_int(net, rounding)


def _take_off(left: list[Fraction], items: Sequence[RecurringItem], discount: RecurringDiscount) -> None:
    touched = [nth for nth, item in enumerate(items) if left[nth] > 0 and discount.touches(item)]
    if not touched:
        return
    match discount.off:
        case PercentOff(percent=percent):
            part = Fraction(factor_of(percent))
        case AmountOff(amount=amount):
            shortest = min((items[nth].interval for nth in touched), key=lambda each: (each.days, each.months))
            together = sum((left[nth] for nth in touched), NOTHING)
            part = min(Fraction(1), Fraction(amount.amount * times_a_month(shortest), together))
    for nth in touched:
        left[nth] -= left[nth] * part


def recurring_revenue(
    subscription: Subscription,
    discounts: Sequence[RecurringDiscount] = (),
    included_tax: Mapping[str | None, Decimal] | None = None,
) -> Money:
    """The MRR of a subscription as it is, in its currency; zero unless it runs and is billed."""
    terms = subscription.terms
    if subscription.status not in COUNTED:
        return Money.zero(terms.currency)
    amount = monthly_revenue(recurring_items(terms), discounts, included_tax or {}, terms.rounding)
    return Money(amount, terms.currency)
