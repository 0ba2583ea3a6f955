"""Shares of a period: whole, cut in pieces, used and unused at a cancellation."""

from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given

from domain.kernel.billing_period import BillingCycle, Interval, IntervalUnit, Period
from domain.kernel.currency import currency_code
from domain.subscriptions.proration import (
    ProrationPolicy,
)
from domain.subscriptions.proration_basis import (
    BasisNeedsMonths,
    ProrationBasis,
    ServicePeriod,
    share_of,
    unused_share_after_cancellation,
    used_share_at_cancellation,
)
from testing.examples.half_up import HALF_UP
from testing.moments import local, utc
from tests.domain.strategies import bases, bases_that_tile, divided_periods, intervals

USD = currency_code("USD")
MONTHLY = Interval(IntervalUnit.MONTH)
APRIL = ServicePeriod.of(BillingCycle(anchor_local=local("2025-04-01"), time_zone="UTC", interval=MONTHLY), 0)
SHORT = ServicePeriod.of(BillingCycle(anchor_local=local("2025-01-31"), time_zone="UTC", interval=MONTHLY), 0)
LONG = ServicePeriod.of(
    BillingCycle(anchor_local=local("2025-02-28"), time_zone="UTC", interval=MONTHLY, day_of_month=31), 0
)
DAY = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY)
SECOND = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.SECOND)
FIXED_30 = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.FIXED_30)
NONE = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.NONE)


def pieces(service: ServicePeriod, cuts: list[datetime]) -> list[Period]:
    edges = [service.period.start, *sorted(cuts), service.period.end]
    return [Period(start, end) for start, end in pairwise(edges)]


def test_a_service_period_carries_the_schedules_own_dates() -> None:
    schedule = BillingCycle(anchor_local=local("2025-01-31T18:00"), time_zone="America/New_York", interval=MONTHLY)
    service = ServicePeriod.containing(schedule, utc("2025-03-01"))
    assert service == ServicePeriod.of(schedule, 1)
    assert (service.first_date, service.end_date) == (date(2025, 2, 28), date(2025, 3, 31))
    assert (service.period, service.time_zone, service.interval) == (schedule.period(1), "America/New_York", MONTHLY)
    assert service.date_at(utc("2025-03-05T04:59")) == date(2025, 3, 4)
    assert service.date_at(utc("2025-01-01")) == service.date_at(service.period.start) == service.first_date
    assert service.date_at(utc("2026-01-01")) == service.date_at(service.period.end) == service.end_date


def test_a_boundary_that_a_gap_moves_past_midnight_keeps_its_date() -> None:
    """In Toronto in 1919 the clock went from 23:30 on 30 March to 00:30 on the 31st."""
    daily = BillingCycle(
        anchor_local=local("1919-03-29T23:45"), time_zone="America/Toronto", interval=Interval(IntervalUnit.DAY)
    )
    service = ServicePeriod.of(daily, 1)
    assert (service.first_date, service.end_date) == (date(1919, 3, 30), date(1919, 3, 31))
    assert service.date_at(service.period.start) == date(1919, 3, 30)
    shortly_after = service.period.start + timedelta(hours=1)
    assert service.date_at(shortly_after) == date(1919, 3, 31)
    assert share_of(service.period, service, ProrationBasis.DAY) == 1
    assert share_of(service.period.starting_at(shortly_after), service, ProrationBasis.DAY) == 0


def test_dates_before_the_first_count_as_the_first() -> None:
    """Apia's 30 December began, on its schedule, at an instant that the wall clock calls the 31st."""
    schedule = BillingCycle(anchor_local=local("2011-12-30T12:00"), time_zone="Pacific/Apia", interval=MONTHLY)
    service = ServicePeriod.of(schedule, 0)
    assert service.first_date == date(2011, 12, 30)
    assert service.date_at(service.period.start + timedelta(seconds=1)) == date(2011, 12, 31)
    repeated = ServicePeriod.of(
        BillingCycle(anchor_local=local("1969-10-01T00:30"), time_zone="Pacific/Kwajalein", interval=MONTHLY), 0
    )
    assert repeated.date_at(repeated.period.start + timedelta(hours=1)) == repeated.first_date


@pytest.mark.parametrize("basis", list(ProrationBasis))
def test_a_whole_period_is_one_and_nothing_is_nothing(basis: ProrationBasis) -> None:
    for service in (APRIL, SHORT, LONG):
        whole = service.period
        assert share_of(whole, service, basis) == 1
        assert share_of(Period(utc("2020-01-01"), utc("2030-01-01")), service, basis) == 1
        assert share_of(Period(whole.start, whole.start), service, basis) == 0
        assert share_of(Period(whole.end, utc("2030-01-01")), service, basis) == 0
        assert share_of(Period(utc("2020-01-01"), whole.start), service, basis) == 0
        assert share_of(Period(utc("2029-01-01"), utc("2030-01-01")), service, basis) == 0


def test_time_outside_the_period_does_not_count() -> None:
    piece = Period(utc("2025-03-01"), utc("2025-04-16"))
    assert share_of(piece, APRIL, ProrationBasis.DAY) == Fraction(1, 2)
    assert share_of(piece, APRIL, ProrationBasis.SECOND) == Fraction(1, 2)


def test_a_change_on_the_first_date_leaves_the_whole_period_where_dates_count() -> None:
    evening = Period(SHORT.period.start + timedelta(hours=20), SHORT.period.end)
    for basis in (ProrationBasis.DAY, ProrationBasis.DAY_INCLUSIVE, ProrationBasis.FIXED_30):
        assert share_of(evening, SHORT, basis) == 1
    assert share_of(evening, SHORT, ProrationBasis.NONE) == 0
    assert share_of(evening, SHORT, ProrationBasis.SECOND) == Fraction(28 * 24 - 20, 28 * 24)


def test_fixed_30_does_not_always_sum_to_the_period() -> None:
    cut = utc("2025-02-10")
    short = [share_of(piece, SHORT, ProrationBasis.FIXED_30) for piece in pieces(SHORT, [cut])]
    assert short == [Fraction(9, 30), Fraction(18, 30)]
    long = [share_of(piece, LONG, ProrationBasis.FIXED_30) for piece in pieces(LONG, [utc("2025-03-10")])]
    assert long == [Fraction(12, 30), Fraction(21, 30)]


def test_fixed_30_never_counts_more_than_the_period() -> None:
    nearly_all = Period(LONG.period.start, utc("2025-03-30"))
    assert share_of(nearly_all, LONG, ProrationBasis.FIXED_30) == 1


def test_fixed_30_counts_the_months_of_longer_intervals() -> None:
    quarter = ServicePeriod.of(
        BillingCycle(anchor_local=local("2025-01-01"), time_zone="UTC", interval=Interval(IntervalUnit.QUARTER)), 0
    )
    assert share_of(Period(utc("2025-02-16"), utc("2025-04-01")), quarter, ProrationBasis.FIXED_30) == Fraction(45, 90)
    two_years = ServicePeriod.of(
        BillingCycle(anchor_local=local("2025-01-01"), time_zone="UTC", interval=Interval(IntervalUnit.YEAR, 2)), 0
    )
    rest = share_of(Period(utc("2025-12-11"), utc("2027-01-01")), two_years, ProrationBasis.FIXED_30)
    assert rest == Fraction(380, 720)


def test_fixed_30_is_for_months() -> None:
    weekly = BillingCycle(anchor_local=local("2025-01-01"), time_zone="UTC", interval=Interval(IntervalUnit.WEEK))
    service = ServicePeriod.of(weekly, 0)
    with pytest.raises(BasisNeedsMonths) as refused:
        share_of(service.period, service, ProrationBasis.FIXED_30)
    assert refused.value.details == {"basis": "fixed_30"}


@given(divided_periods(), bases_that_tile)
def test_the_pieces_of_a_period_sum_to_it(divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis) -> None:
    service, cuts = divided
    shares = [share_of(piece, service, basis) for piece in pieces(service, cuts)]
    assert sum(shares) == 1
    assert all(0 <= share <= 1 for share in shares)


@given(divided_periods())
def test_under_fixed_30_the_pieces_sum_to_the_days_of_thirty(divided: tuple[ServicePeriod, list[datetime]]) -> None:
    """Which is the whole where the period begins and ends on one day number, and is not elsewhere."""
    service, cuts = divided
    first, end = service.first_date, service.end_date
    shares = [share_of(piece, service, ProrationBasis.FIXED_30) for piece in pieces(service, cuts)]
    assert all(0 <= share <= 1 for share in shares)
    if first.day == end.day:
        assert sum(shares) == 1
    elif all(share < 1 for share in shares):
        assert sum(shares) == 1 + Fraction(end.day - first.day, 30 * service.interval.months)


@given(divided_periods(), bases)
def test_a_longer_piece_is_never_a_smaller_share(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis
) -> None:
    service, cuts = divided
    credits_by_time = [unused_share_after_cancellation(cut, service, basis) for cut in cuts]
    assert credits_by_time == sorted(credits_by_time, reverse=True)
    used_by_time = [used_share_at_cancellation(cut, service, basis) for cut in cuts]
    assert used_by_time == sorted(used_by_time)


@given(divided_periods(), bases_that_tile)
def test_what_is_used_and_what_is_unused_at_a_cancellation_make_the_whole(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis
) -> None:
    service, cuts = divided
    for cut in cuts:
        used = used_share_at_cancellation(cut, service, basis)
        assert used + unused_share_after_cancellation(cut, service, basis) == 1


@given(divided_periods(intervals))
def test_day_inclusive_bills_one_day_more_than_day_at_a_cancellation(
    divided: tuple[ServicePeriod, list[datetime]],
) -> None:
    service, (at, *_) = divided
    days = (service.end_date - service.first_date).days
    by_day = used_share_at_cancellation(at, service, ProrationBasis.DAY)
    inclusive = used_share_at_cancellation(at, service, ProrationBasis.DAY_INCLUSIVE)
    assert inclusive == min(by_day + Fraction(1, days), Fraction(1))


def test_a_cancellation_after_the_period_has_used_it_up() -> None:
    for basis in ProrationBasis:
        assert used_share_at_cancellation(utc("2026-01-01"), APRIL, basis) == 1
        assert unused_share_after_cancellation(utc("2026-01-01"), APRIL, basis) == 0
        assert used_share_at_cancellation(APRIL.period.end, APRIL, basis) == 1


def test_nothing_of_an_empty_period_is_used() -> None:
    schedule = BillingCycle(
        anchor_local=local("2011-12-30"), time_zone="Pacific/Apia", interval=Interval(IntervalUnit.DAY)
    )
    empty = ServicePeriod.of(schedule, 0)
    for at in (empty.period.start, empty.period.end + timedelta(days=3)):
        assert used_share_at_cancellation(at, empty, ProrationBasis.DAY_INCLUSIVE) == 0
        assert used_share_at_cancellation(at, empty, ProrationBasis.DAY) == 0


def test_use_since_a_start_in_the_period() -> None:
    since, at = utc("2025-04-10T12:00"), utc("2025-04-20T06:00")
    assert used_share_at_cancellation(at, APRIL, ProrationBasis.DAY, since=since) == Fraction(10, 30)
    assert used_share_at_cancellation(at, APRIL, ProrationBasis.DAY_INCLUSIVE, since=since) == Fraction(11, 30)
    assert used_share_at_cancellation(since, APRIL, ProrationBasis.DAY_INCLUSIVE, since=since) == Fraction(1, 30)
    assert used_share_at_cancellation(since, APRIL, ProrationBasis.DAY_INCLUSIVE, since=at) == 0
    assert used_share_at_cancellation(since, APRIL, ProrationBasis.DAY, since=at) == 0
    before = utc("2025-03-01")
    assert used_share_at_cancellation(at, APRIL, ProrationBasis.DAY_INCLUSIVE, since=before) == Fraction(20, 30)
