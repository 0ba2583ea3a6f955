"""Monthly recurring revenue: any interval brought to a month, and how a customer's changed between two states.

A year is 12 months, 52 weeks or 365 days. Each subscription is rounded once, and movements are differences of rounded
figures, so they sum to the difference exactly (vector 38).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import ExactAmount, Money, sum_money, times
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding

_UNITS_PER_MONTH = {
    IntervalUnit.DAY: Fraction(365, 12),
    IntervalUnit.WEEK: Fraction(52, 12),
    IntervalUnit.MONTH: Fraction(1),
    IntervalUnit.QUARTER: Fraction(1, 3),
    IntervalUnit.YEAR: Fraction(1, 12),
}

SubscriptionKey = TypeVar("SubscriptionKey")


class NegativeRecurringRevenue(Refusal):
    """A subscription's recurring revenue is never below zero."""

    code = "negative_recurring_revenue"
    kind = RefusalKind.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class MrrMovements:
    """How a customer's MRR changed, in minor units. Contraction and churn are negative; `total` is the difference."""

    new: Money
    expansion: Money
    contraction: Money
    churn: Money
    reactivation: Money

    @property
    def total(self) -> Money:
        return self.new + self.expansion + self.contraction + self.churn + self.reactivation


def monthly_recurring(price: Money | ExactAmount, interval: Interval, rounding: Rounding) -> Money:
    """The price of one interval as minor units a month, rounded once by `rounding`.

    A subscription's price is the exact sum of its items, so that the figure is rounded once.
    price × units a month / count: a week is 52/12 of a month's price, a day 365/12, a quarter 1/3, a year 1/12. That
    calendar was chosen for this project (vector 38); other tools count days differently.
    """
    return times(price, _UNITS_PER_MONTH[interval.unit] * Fraction(1, interval.count), rounding)


def movements(
    before: Mapping[SubscriptionKey, Money],
    after: Mapping[SubscriptionKey, Money],
    currency: CurrencyCode,
    *,
    paid_before: bool,
) -> MrrMovements:
    """What happened to a customer between two states, each the MRR by subscription, all in `currency`.

    A customer who comes from nothing is new, or reactivated if `paid_before`; one who goes to nothing churned. In
    between, every subscription that rose (or began) is expansion and every one that fell (or ended) is contraction.
    Nothing is rounded here. Raises NegativeRecurringRevenue, CurrencyMismatch.
    """
    zero = Money.zero(currency)
    total_before, total_after = _total(before, currency), _total(after, currency)
    new = expansion = contraction = churn = reactivation = zero
    if total_before.is_zero:
        if paid_before:
            reactivation = total_after
        else:
            new = total_after
    elif total_after.is_zero:
        churn = -total_before
    else:
        changes = [after.get(key, zero) - before.get(key, zero) for key in {**before, **after}]
        expansion = sum_money((change for change in changes if not change.is_negative), currency)
        contraction = sum_money((change for change in changes if change.is_negative), currency)
    return MrrMovements(new=new, expansion=expansion, contraction=contraction, churn=churn, reactivation=reactivation)


def _total(state: Mapping[SubscriptionKey, Money], currency: CurrencyCode) -> Money:
    for key, money in state.items():
        if money.is_negative:
            raise NegativeRecurringRevenue(subscription=str(key), amount=money.amount)
    return sum_money(state.values(), currency)
