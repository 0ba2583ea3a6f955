"""Revenue of one invoice line, recognized straight-line by day over its service period, exact to the minor unit.

Recognized up to a date is round(amount × days elapsed / days), the date itself not included; a month is the difference
of two such figures. So the months sum to the amount by construction, wherever they are cut (vector 37).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import CurrencyMismatch, Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding, round_to_int


class InvalidServicePeriod(Refusal):
    """The service period ends before it begins."""

    code = "invalid_service_period"
    kind = RefusalKind.INVALID


class CreditExceedsRevenue(Refusal):
    """The credit is more than what is left of the line, or goes the other way."""

    code = "credit_exceeds_revenue"


class CreditOutOfOrder(Refusal):
    """Credits re-spread what is left after the last one, so they come in order of their dates."""

    code = "credit_out_of_order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """`amount` minor units spread over [first_date, end_date), and `at_once` recognized on `first_date` besides.

    In effect until the next stretch begins. One without days recognizes its whole amount on `first_date`.
    """

    first_date: date
    end_date: date
    amount: int
    at_once: int = 0

    def recognized_by(self, as_of: date, rounding: Rounding) -> int:
        """Minor units recognized before `as_of`."""
        if as_of <= self.first_date:
            return 0
        if as_of >= self.end_date:
            return self.amount + self.at_once
        elapsed, days = (as_of - self.first_date).days, (self.end_date - self.first_date).days
        return round_to_int(Fraction(self.amount * elapsed, days), rounding) + self.at_once


@dataclass(frozen=True, slots=True, kw_only=True)
class RevenueInMonth:
    """What one calendar month recognizes; negative where a credit takes back more than the month earned."""

    month: date  # its first day
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class RevenueSchedule:
    """A line's revenue by date. Made by `straight_line`, changed by `credited` and `ended`; a value, like all of it."""

    currency: CurrencyCode
    stretches: tuple[Stretch, ...]
    rounding: Rounding

    def recognized_by(self, as_of: date) -> Money:
        """Revenue recognized before `as_of` (the date itself not included), in minor units, each stretch rounded."""
        total = 0
        for stretch, following in pairwise(self.stretches):
            total += stretch.recognized_by(min(as_of, following.first_date), self.rounding)
        return Money(total + self.stretches[-1].recognized_by(as_of, self.rounding), self.currency)

    def deferred_on(self, as_of: date) -> Money:
        """What is billed and not yet earned at the beginning of `as_of`, credits up to then taken off.

        Credits of a later date are in the schedule already; ask the schedule as it was before them for an earlier view.
        """
        return self.total - self.recognized_by(as_of)

    @property
    def total(self) -> Money:
        """What will have been recognized in the end: the line's amount less its credits."""
        return self.recognized_by(date.max)

    def by_month(self) -> tuple[RevenueInMonth, ...]:
        """Every calendar month from the first day of service to the last day with revenue, months of nothing included.

        They sum to `total` exactly.
        """
        last = max(max(stretch.first_date, stretch.end_date - timedelta(days=1)) for stretch in self.stretches)
        months = list(_months(self.stretches[0].first_date, last))
        return tuple(
            RevenueInMonth(month=month, amount=self.recognized_by(following) - self.recognized_by(month))
            for month, following in pairwise(months)
        )

    def credited(self, credit: Money, on: date) -> "RevenueSchedule":
        """The schedule after `credit` of the line is credited on a date: what was earned before it stands.

        The credit takes what is deferred first, and the rest of that is spread anew over [on, end); a credit of more
        than is deferred takes back the difference from revenue on that date. Raises CreditExceedsRevenue for more than
        the whole line, CreditOutOfOrder, CurrencyMismatch.
        """
        if credit.currency != self.currency:
            raise CurrencyMismatch(currency=credit.currency, other=self.currency)
        left = self.total.amount
        if not (0 <= credit.amount <= left or left <= credit.amount <= 0):
            raise CreditExceedsRevenue(credit=credit.amount, left=left, currency=self.currency)
        first = self._next_stretch_from(on)
        deferred = self.deferred_on(first).amount
        remaining = deferred - credit.amount
        spread = remaining if remaining * left > 0 else 0
        end = max(self.stretches[-1].end_date, first)
        return self._with(Stretch(first_date=first, end_date=end, amount=spread, at_once=remaining - spread))

    def ended(self, on: date) -> "RevenueSchedule":
        """The schedule when the service ends on a date without a credit: all that is deferred is earned on it."""
        first = self._next_stretch_from(on)
        return self._with(Stretch(first_date=first, end_date=first, amount=self.deferred_on(first).amount))

    def _next_stretch_from(self, on: date) -> date:
        first = max(on, self.stretches[0].first_date)
        if first < self.stretches[-1].first_date:
            raise CreditOutOfOrder(on=on.isoformat(), last=self.stretches[-1].first_date.isoformat())
        return first

    def _with(self, stretch: Stretch) -> "RevenueSchedule":
        # one that begins on the same day has recognized nothing before it: the new one stands in its place
        earlier = (past for past in self.stretches if past.first_date < stretch.first_date)
        return replace(self, stretches=(*earlier, stretch))


def straight_line(amount: Money, first_date: date, end_date: date, rounding: Rounding) -> RevenueSchedule:
    """A line's amount spread evenly over the days of [first_date, end_date), local dates of its service period.

    A service of no days is earned at once on `first_date`. Negative amounts (credit lines) mirror positive ones. A
    straight line by day is what the design's books ask for; the figures of vector 37 were computed for this project.
    Raises InvalidServicePeriod.
    """
    if end_date < first_date:
        raise InvalidServicePeriod(first_date=first_date.isoformat(), end_date=end_date.isoformat())
    stretch = Stretch(first_date=first_date, end_date=end_date, amount=amount.amount)
    return RevenueSchedule(currency=amount.currency, stretches=(stretch,), rounding=rounding)


def _months(first: date, last: date) -> Iterator[date]:
    """First days of months, from the month of `first` to the month after that of `last`."""
    month = first.replace(day=1)
    while month <= last:
        yield month
        month = (month + timedelta(days=31)).replace(day=1)
    yield month
