"""A customer's MRR by day: steps of each subscription, and the movements of each day between them.

A day is one of UTC. What happens several times on one day counts once, as the difference between the day's end and the
end of the day before. A step that is told late, of a day that is past, changes that day and what follows from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import NamedTuple

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.reporting.mrr import Movement, subscription_movements


@dataclass(frozen=True, slots=True, kw_only=True)
class MrrStep:
    """From the end of `day` on a subscription's MRR is `amount` minor units, until its next step."""

    day: date
    subscription_id: str
    amount: int


class DayMovement(NamedTuple):
    """What a subscription has in its customer's movement of a day: minor units, below zero for contraction and churn.

    `subscriptions` is 1 where it begins to have recurring revenue, -1 where it ends to, else 0. `customers` is the same
    of the customer, in the first of the day's movements.
    """

    day: date
    movement: Movement
    subscription_id: str
    change: int
    subscriptions: int
    customers: int


def stepped(steps: tuple[MrrStep, ...], day: date, subscription_id: str, amount: int) -> tuple[MrrStep, ...]:
    """The steps with a subscription's MRR this from `day` on; the very same where nothing changes.

    Later steps of the subscription go: what was decided last says what holds.
    """
    kept = [each for each in steps if each.subscription_id != subscription_id or each.day < day]
    before = next((each.amount for each in reversed(kept) if each.subscription_id == subscription_id), 0)
    if before != amount:
        kept.append(MrrStep(day=day, subscription_id=subscription_id, amount=amount))
        kept.sort(key=lambda each: (each.day, each.subscription_id))
    return steps if len(kept) == len(steps) and tuple(kept) == steps else tuple(kept)


def first_difference(before: Sequence[MrrStep], after: Sequence[MrrStep]) -> date | None:
    """The first day on which two histories differ."""
    for one, other in zip(before, after, strict=False):
        if one != other:
            return min(one.day, other.day)
    longer = before if len(before) > len(after) else after
    shared = min(len(before), len(after))
    return longer[shared].day if len(longer) > shared else None


def movements_since(steps: Sequence[MrrStep], since: date, currency: CurrencyCode) -> Iterator[DayMovement]:
    """The movements of each day from `since` on, in the order of days. They sum to what MRR changed in that time."""
    known: dict[str, Money] = {}
    paid_before = False
    for day, on_day in groupby(steps, key=lambda each: each.day):
        after = known | {each.subscription_id: Money(each.amount, currency) for each in on_day}
        paying = {key: money for key, money in after.items() if not money.is_zero}
        if day >= since:
            customers = bool(paying) - bool(known)
            for moved in subscription_movements(known, paying, currency, paid_before=paid_before):
                key = moved.subscription
                subscriptions = (key in paying) - (key in known)
                yield DayMovement(day, moved.movement, key, moved.change.amount, subscriptions, customers)
                customers = 0
        known = paying
        paid_before = paid_before or bool(paying)
