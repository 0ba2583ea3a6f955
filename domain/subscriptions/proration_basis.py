"""What share of a billing period a piece of it is, by basis. Exact fractions; nothing is rounded here.

Every share is over the whole, unshortened period, and a whole period is always 1. Cut anywhere, the pieces of a period
sum to 1 under `second`, `day`, `day_inclusive` and `none`. Under `fixed_30` they do only where the period begins and
ends on the same day number: from 31 January to 28 February there are 27 days of thirty, though the whole is still 1.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Self

from domain.kernel.billing_period import BillingCycle, Interval, Period, local_date_of
from domain.kernel.refusal import Refusal, RefusalKind

DAYS_PER_FIXED_MONTH = 30


class BasisNeedsMonths(Refusal):
    """The fixed_30 basis prices thirtieths of a month, so the interval must be counted in months."""

    code = "basis_needs_months"
    kind = RefusalKind.INVALID
    param = "proration_basis"


class ProrationBasis(StrEnum):
    """How the length of a piece is counted."""

    SECOND = "second"  # elapsed time in UTC; Stripe documents its prorations so
    DAY = "day"  # local dates, the end excluded: the day of a change or cancellation is unused by the old plan
    DAY_INCLUSIVE = "day_inclusive"  # local dates, both ends billed: a cancellation on d still bills d; Lago counts so
    FIXED_30 = "fixed_30"  # thirty days a month whatever the calendar says; Zuora and Kill Bill offer it
    NONE = "none"  # all of a period's price belongs to the piece that holds its start, any other piece is free


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePeriod:
    """One whole period of a schedule, with the dates that a calendar on the wall calls its ends.

    The dates are the schedule's own (the anchor's day), so that a boundary moved by a daylight-saving gap to the
    other side of midnight does not change how many days the period has.
    """

    period: Period
    first_date: date
    end_date: date  # excluded
    time_zone: str
    interval: Interval

    @classmethod
    def of(cls, schedule: BillingCycle, k: int) -> Self:
        """Period k of the schedule."""
        return cls(
            period=schedule.period(k),
            first_date=schedule.local_boundary(k).date(),
            end_date=schedule.local_boundary(k + 1).date(),
            time_zone=schedule.time_zone,
            interval=schedule.interval,
        )

    @classmethod
    def containing(cls, schedule: BillingCycle, instant: datetime) -> Self:
        """The whole period around `instant`."""
        return cls.of(schedule, schedule.index_at(instant))

    def date_at(self, instant: datetime) -> date:
        """The local date at `instant`, kept within the period's own dates."""
        if instant <= self.period.start:
            return self.first_date
        if instant >= self.period.end:
            return self.end_date
        return min(max(local_date_of(instant, self.time_zone), self.first_date), self.end_date)


def share_of(piece: Period, service: ServicePeriod, basis: ProrationBasis) -> Fraction:
    """The share, from 0 to 1, that `piece` is of the whole period. What lies outside the period does not count.

    For `fixed_30`: 30 × months apart + end day - start day, over 30 × the period's months (vector 15), at most 1.
    Raises BasisNeedsMonths. Empty pieces and empty periods have no share.
    """
    whole = service.period
    start, end = max(piece.start, whole.start), min(piece.end, whole.end)
    if basis is ProrationBasis.FIXED_30 and service.interval.months == 0:
        raise BasisNeedsMonths(basis=basis)
    if start >= end:
        return Fraction(0)
    if start == whole.start and end == whole.end:
        return Fraction(1)
    match basis:
        case ProrationBasis.SECOND:
            return Fraction(_microseconds(end - start), _microseconds(whole.end - whole.start))
        case ProrationBasis.DAY | ProrationBasis.DAY_INCLUSIVE:
            return _share_of_dates(service.date_at(start), service.date_at(end), service)
        case ProrationBasis.FIXED_30:
            first, last = service.date_at(start), service.date_at(end)
            if first == service.first_date and last == service.end_date:
                return Fraction(1)
            days = _days_of_thirty(first, last)
            return min(Fraction(days, DAYS_PER_FIXED_MONTH * service.interval.months), Fraction(1))
        case ProrationBasis.NONE:
            return Fraction(1 if start == whole.start else 0)


def unused_share_after_cancellation(at: datetime, service: ServicePeriod, basis: ProrationBasis) -> Fraction:
    """The share that a cancellation at `at` leaves unused: what is credited of a period paid in advance.

    As `share_of` [at, end), but `day_inclusive` bills the day of the cancellation, so the unused part begins on the
    next (vectors 8, 9 and 36).
    """
    if basis is ProrationBasis.DAY_INCLUSIVE:
        return 1 - used_share_at_cancellation(at, service, basis)
    return share_of(service.period.starting_at(at), service, basis)


def used_share_at_cancellation(
    at: datetime, service: ServicePeriod, basis: ProrationBasis, *, since: datetime | None = None
) -> Fraction:
    """The share used from `since` (else the period's start) until a cancellation at `at`: what is billed in arrears."""
    whole = service.period
    start = max(since, whole.start) if since is not None else whole.start
    if basis is not ProrationBasis.DAY_INCLUSIVE or at >= whole.end or start > at:
        return share_of(Period(start, max(start, at)), service, basis)
    day_after = min(service.date_at(at) + timedelta(days=1), service.end_date)
    return _share_of_dates(service.date_at(start), day_after, service)


def _share_of_dates(first: date, end: date, service: ServicePeriod) -> Fraction:
    return Fraction((end - first).days, (service.end_date - service.first_date).days)


def _days_of_thirty(first: date, end: date) -> int:
    months = (end.year - first.year) * 12 + end.month - first.month
    return DAYS_PER_FIXED_MONTH * months + end.day - first.day


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
