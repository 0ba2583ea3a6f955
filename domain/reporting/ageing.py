"""Receivables by age: how much is not yet due, and how much is overdue for how long."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money, sum_money


class AgeBucket(StrEnum):
    """Days overdue; an amount due today is current."""

    CURRENT = "current"
    DAYS_1_30 = "1-30"
    DAYS_31_60 = "31-60"
    DAYS_61_90 = "61-90"
    OVER_90 = "90+"


_LAST_DAY: Final = (
    (AgeBucket.CURRENT, 0),
    (AgeBucket.DAYS_1_30, 30),
    (AgeBucket.DAYS_31_60, 60),
    (AgeBucket.DAYS_61_90, 90),
)
OLDEST_FIRST: Final = tuple(reversed(AgeBucket))
"""The buckets, in the order of the due days that they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAmount:
    """What is still owed on something, and the local date on which it is due."""

    amount: Money
    due_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Ageing:
    """Minor units owed in one currency, by age; `total` is their sum."""

    current: Money
    days_1_30: Money
    days_31_60: Money
    days_61_90: Money
    over_90: Money

    @property
    def currency(self) -> CurrencyCode:
        """The one currency of all its amounts."""
        return self.current.currency

    @property
    def total(self) -> Money:
        return self.current + self.days_1_30 + self.days_31_60 + self.days_61_90 + self.over_90


def bucket_of(due_on: date, as_of: date) -> AgeBucket:
    """The bucket of an amount on a date, by whole days overdue: 30 days are still 1-30, 91 are 90+.

    The edges are the accountants' usual ones, as the design names them.
    """
    overdue_days = (as_of - due_on).days
    return next((bucket for bucket, last_day in _LAST_DAY if overdue_days <= last_day), AgeBucket.OVER_90)


def first_due_days(as_of: date) -> tuple[date, ...]:
    """The first due day of each bucket of `OLDEST_FIRST` but the first of them, which holds whatever was due before."""
    return tuple(as_of - timedelta(days=last_day) for _, last_day in reversed(_LAST_DAY))


def of_buckets(amounts: Mapping[AgeBucket, Money], currency: CurrencyCode) -> Ageing:
    """From the sum of each bucket; nothing is owed in those that are not named."""
    nothing = Money.zero(currency)
    return Ageing(
        current=amounts.get(AgeBucket.CURRENT, nothing),
        days_1_30=amounts.get(AgeBucket.DAYS_1_30, nothing),
        days_31_60=amounts.get(AgeBucket.DAYS_31_60, nothing),
        days_61_90=amounts.get(AgeBucket.DAYS_61_90, nothing),
        over_90=amounts.get(AgeBucket.OVER_90, nothing),
    )


def age(open_amounts: Iterable[OpenAmount], as_of: date, currency: CurrencyCode) -> Ageing:
    """Sum by bucket, in minor units; nothing is rounded. Credits (negative amounts) age by their date like the rest.

    Raises CurrencyMismatch for an amount of another currency.
    """
    by_bucket: dict[AgeBucket, list[Money]] = {bucket: [] for bucket in AgeBucket}
    for item in open_amounts:
        by_bucket[bucket_of(item.due_on, as_of)].append(item.amount)
    return of_buckets({bucket: sum_money(amounts, currency) for bucket, amounts in by_bucket.items()}, currency)
