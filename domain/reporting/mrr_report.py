"""MRR period by period: where each began, its five movements, and where that left it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.reporting.mrr import Movement, MrrMovements

PeriodKey = TypeVar("PeriodKey")


class Moved(NamedTuple):
    """What one movement came to: minor units, and by how many subscriptions and customers have recurring revenue."""

    change: int = 0
    subscriptions: int = 0
    customers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """What there is at one moment: MRR, and how many subscriptions and customers have any."""

    mrr: Money
    subscriptions: int
    customers: int

    @property
    def arr(self) -> Money:
        """Twelve times the month's."""
        return Money(self.mrr.amount * 12, self.mrr.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class MrrPeriod:
    """`start` and the movements come to `end`, exactly. `customers_lost` went to nothing in it."""

    start: Recurring
    moved: MrrMovements
    customers_lost: int
    end: Recurring


def nothing_of(currency: CurrencyCode) -> Recurring:
    """Before anything moved."""
    return Recurring(mrr=Money.zero(currency), subscriptions=0, customers=0)


def moved_by(start: Recurring, moved: Mapping[Movement, Moved]) -> MrrPeriod:
    """The period that began with `start` and in which these moved; what is not named did not."""
    currency = start.mrr.currency
    of = {kind: Money(moved.get(kind, Moved()).change, currency) for kind in Movement}
    movements = MrrMovements(
        new=of[Movement.NEW],
        expansion=of[Movement.EXPANSION],
        contraction=of[Movement.CONTRACTION],
        churn=of[Movement.CHURN],
        reactivation=of[Movement.REACTIVATION],
    )
    end = Recurring(
        mrr=start.mrr + movements.total,
        subscriptions=start.subscriptions + sum(each.subscriptions for each in moved.values()),
        customers=start.customers + sum(each.customers for each in moved.values()),
    )
    lost = -moved.get(Movement.CHURN, Moved()).customers
    return MrrPeriod(start=start, moved=movements, customers_lost=lost, end=end)


def period_by_period(
    start: Recurring, periods: Iterable[PeriodKey], moved: Mapping[PeriodKey, Mapping[Movement, Moved]]
) -> list[MrrPeriod]:
    """Each period in order, beginning where the one before it ended; one in which nothing moved is there, too."""
    found: list[MrrPeriod] = []
    for period in periods:
        reached = moved_by(start, moved.get(period, {}))
        found.append(reached)
        start = reached.end
    return found
