"""Monthly recurring revenue: any interval brought to a month, and how a customer's changed between two states.

A year is 12 months, 52 weeks or 365 days. Each subscription is rounded once, and movements are differences of rounded
figures, so they sum to the difference exactly (vector 38).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

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


class Movement(StrEnum):
    """Why recurring revenue changed: a customer's first, more or less of it, none any more, some again."""

    NEW = "new"
    EXPANSION = "expansion"
    CONTRACTION = "contraction"
    CHURN = "churn"
    REACTIVATION = "reactivation"


class SubscriptionMovement(NamedTuple, Generic[SubscriptionKey]):
    """What one subscription has in a customer's movement; `change` is below zero for contraction and churn."""

    subscription: SubscriptionKey
    movement: Movement
    change: Money


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


def times_a_month(interval: Interval) -> Fraction:
    """How often an interval comes in a month: a week 52/12 times, a day 365/12, a quarter 1/3, a year 1/12.

    That calendar was chosen for this project (vector 38); other tools count days differently.
    """
    return _UNITS_PER_MONTH[interval.unit] * Fraction(1, interval.count)


def monthly_recurring(price: Money | ExactAmount, interval: Interval, rounding: Rounding) -> Money:
    """The price of one interval as minor units a month, rounded once by `rounding`.

    A subscription's price is the exact sum of its items, so that the figure is rounded once.
    price × how often the interval comes in a month (`times_a_month`).
    """
    return times(price, times_a_month(interval), rounding)


def movements(
    before: Mapping[SubscriptionKey, Money],
    after: Mapping[SubscriptionKey, Money],
    currency: CurrencyCode,
    *,
    paid_before: bool,
) -> MrrMovements:
    """What happened to a customer between two states, each the MRR by subscription, all in `currency`.

    The sums of `subscription_movements`. Raises NegativeRecurringRevenue, CurrencyMismatch.
    """
    found = subscription_movements(before, after, currency, paid_before=paid_before)
    sums = {kind: sum_money((each.change for each in found if each.movement is kind), currency) for kind in Movement}
    return MrrMovements(
        new=sums[Movement.NEW],
        expansion=sums[Movement.EXPANSION],
        contraction=sums[Movement.CONTRACTION],
        churn=sums[Movement.CHURN],
        reactivation=sums[Movement.REACTIVATION],
    )


def subscription_movements(
    before: Mapping[SubscriptionKey, Money],
    after: Mapping[SubscriptionKey, Money],
    currency: CurrencyCode,
    *,
    paid_before: bool,
) -> list[SubscriptionMovement[SubscriptionKey]]:
    """What happened to a customer between two states, by subscription; one that stayed as it was is not named.

    A customer who comes from nothing is new, or reactivated if `paid_before`; one who goes to nothing churned. In
    between, every subscription that rose (or began) is expansion and every one that fell (or ended) is contraction.
    Nothing is rounded here. Raises NegativeRecurringRevenue, CurrencyMismatch.
    """
    zero = Money.zero(currency)
    was_paying = not _total(before, currency).is_zero
    is_paying = not _total(after, currency).is_zero
    found: list[SubscriptionMovement[SubscriptionKey]] = []
    for key in {**before, **after}:
        change = after.get(key, zero) - before.get(key, zero)
        if change.is_zero:
            continue
        if not was_paying:
            movement = Movement.REACTIVATION if paid_before else Movement.NEW
        elif not is_paying:
            movement = Movement.CHURN
        else:
            movement = Movement.CONTRACTION if change.is_negative else Movement.EXPANSION
        found.append(SubscriptionMovement(key, movement, change))
    return found


def _total(state: Mapping[SubscriptionKey, Money], currency: CurrencyCode) -> Money:
    for key, money in state.items():
        if money.is_negative:
            raise NegativeRecurringRevenue(subscription=str(key), amount=money.amount)
    return sum_money(state.values(), currency)
