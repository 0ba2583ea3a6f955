"""The vectors of proration. The policy (advance or arrears, and the basis) is in each test's name."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from domain.kernel.billing_period import BillingCycle, Interval, IntervalUnit, Period, trial_end
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.subscriptions.proration import (
    PriceFrom,
    ProrationLine,
    ProrationPolicy,
    arrears_charges,
    cancellation_credit,
    changes_in_period,
    pause_credit,
    plan_change,
    resume_charge,
    start_charge,
)
from domain.subscriptions.proration_basis import ProrationBasis, ServicePeriod, share_of
from testing.examples.half_up import HALF_UP
from testing.examples.paid import paid
from testing.moments import local, utc

USD = currency_code("USD")
MONTHLY = Interval(IntervalUnit.MONTH)
SECOND = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.SECOND)
DAY = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY)
DAY_INCLUSIVE = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY_INCLUSIVE)
FIXED_30 = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.FIXED_30)
NONE = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.NONE)


def usd(amount: int) -> Money:
    return Money(amount, USD)


def cents(lines: tuple[ProrationLine, ...]) -> list[int]:
    return [line.amount.amount for line in lines]


def period_from(anchor: str, interval: Interval = MONTHLY, time_zone: str = "UTC") -> ServicePeriod:
    """Period 0 of an anniversary schedule with a local anchor."""
    schedule = BillingCycle(anchor_local=local(anchor), time_zone=time_zone, interval=interval)
    return ServicePeriod.of(schedule, 0)


def calendar_period(around: str, interval: Interval = MONTHLY, time_zone: str = "UTC") -> ServicePeriod:
    return ServicePeriod.containing(BillingCycle.calendar(utc(around), time_zone, interval), utc(around))


@pytest.mark.parametrize(
    ("start", "time_zone", "expected"),
    [
        ("2023-06-16T05:00", "America/Denver", 400),
        ("2023-06-16T05:00", "America/Halifax", 300),
        ("2023-06-16T20:00", "Europe/Paris", 300),
        ("2023-06-16T20:00", "Asia/Karachi", 200),
    ],
)
def test_vector_4_weekly_in_advance_calendar_day_inclusive_counts_the_zones_dates(
    start: str, time_zone: str, expected: int
) -> None:
    week = calendar_period(start, Interval(IntervalUnit.WEEK), time_zone)
    assert cents(start_charge(usd(700), utc(start), week, DAY_INCLUSIVE)) == [expected]


def test_vector_5_a_trial_that_ends_in_a_calendar_month_in_advance_day_inclusive() -> None:
    start = utc("2024-03-05T12:12")
    ends = trial_end(start, Interval(IntervalUnit.DAY, 10), "UTC")
    assert ends == utc("2024-03-15T12:12")
    march = calendar_period("2024-03-15")
    schedule = BillingCycle.calendar(ends, "UTC", MONTHLY)
    assert schedule.billable_periods(ends, utc("2024-03-15T12:02")) == []
    assert schedule.billable_periods(ends, utc("2024-03-15T13:02")) == [Period(ends, utc("2024-04-01"))]
    lines = start_charge(usd(5_000_000), ends, march, DAY_INCLUSIVE)
    assert cents(lines) == [2_741_935]
    assert lines[0].share == Fraction(17, 31)


def test_vector_6_plan_change_in_arrears_day_inclusive_bills_the_old_plan_to_the_day_before() -> None:
    february = calendar_period("2024-02-12")
    prices = [PriceFrom(at=utc("2024-01-01"), price=usd(2900)), PriceFrom(at=utc("2024-02-12"), price=usd(29000))]
    old, new = arrears_charges(prices, february, DAY_INCLUSIVE)
    assert (old.amount, old.share) == (usd(1100), Fraction(11, 29))
    assert (new.amount, new.share) == (usd(18000), Fraction(18, 29))


def test_vector_7_plan_change_in_advance_day_inclusive() -> None:
    change = plan_change(paid(2900), usd(29000), utc("2024-02-12"), calendar_period("2024-02-12"), DAY_INCLUSIVE)
    assert cents(change.lines) == [-1800, 18000]
    assert [line.share for line in change.lines] == [Fraction(18, 29)] * 2


def test_vector_8_cancellation_in_advance_day_inclusive_bills_the_day_itself() -> None:
    lines = cancellation_credit(paid(2900), utc("2024-02-01"), calendar_period("2024-02-01"), DAY_INCLUSIVE)
    assert cents(lines) == [-2800]


def test_vector_9_cancellation_of_a_quarter_in_arrears_day_inclusive() -> None:
    quarter = calendar_period("2024-05-20", Interval(IntervalUnit.QUARTER))
    prices = [PriceFrom(at=utc("2024-05-20"), price=usd(91_000))]
    lines = arrears_charges(prices, quarter, DAY_INCLUSIVE, canceled_at=utc("2024-06-20"))
    assert cents(lines) == [32_000]
    assert lines[0].share == Fraction(32, 91)


@pytest.mark.parametrize(("on", "expected"), [("2025-06-16", [-5000, 15000]), ("2025-06-11", [-6667, 20000])])
def test_vector_10_plan_change_in_advance_day(on: str, expected: list[int]) -> None:
    assert cents(plan_change(paid(10000), usd(30000), utc(on), period_from("2025-06-01"), DAY).lines) == expected


def test_vector_11_plan_change_in_advance_day_over_a_leap_february() -> None:
    change = plan_change(paid(10000), usd(30000), utc("2024-02-25"), period_from("2024-02-18"), DAY)
    assert cents(change.lines) == [-7586, 22759]


def test_vector_12_yearly_to_monthly_in_advance_day_resets_the_anchor() -> None:
    year = period_from("2025-06-01", Interval(IntervalUnit.YEAR))
    policy = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY, reset_anchor=True)
    change = plan_change(paid(100_000), usd(10_000), utc("2025-08-13"), year, policy, new_interval=MONTHLY)
    credit, charge = change.lines
    assert (credit.amount, credit.share) == (usd(-80_000), Fraction(292, 365))
    assert (charge.amount, charge.period) == (usd(10_000), Period(utc("2025-08-13"), utc("2025-09-13")))
    assert change.new_schedule is not None
    assert change.new_schedule.period(0) == charge.period


def test_vector_13_thirty_day_interval_in_advance_day() -> None:
    thirty_days = period_from("2025-01-01", Interval(IntervalUnit.DAY, 30))
    assert cents(plan_change(paid(10000), usd(20000), utc("2025-01-16"), thirty_days, DAY).lines) == [-5000, 10000]


def test_vector_14_change_in_advance_second() -> None:
    month = period_from("2017-02-14")
    assert (month.period.start.timestamp(), month.period.end.timestamp()) == (1487030400, 1489449600)
    changed_at = datetime.fromtimestamp(1488568488, UTC)
    credit = plan_change(paid(1000), usd(2000), changed_at, month, SECOND).lines[0]
    assert (credit.amount, credit.share) == (usd(-364), Fraction(881_112, 2_419_200))


@pytest.mark.parametrize(
    ("start", "billing_day", "stub_end", "share", "expected"),
    [
        ("2023-05-15", 23, "2023-05-23", Fraction(8, 30), 532),
        ("2023-05-23", 15, "2023-06-15", Fraction(22, 30), 1463),
    ],
)
def test_vector_15_stub_before_a_billing_day_in_advance_fixed_30(
    start: str, billing_day: int, stub_end: str, share: Fraction, expected: int
) -> None:
    schedule = BillingCycle.on_day_of_month(billing_day, utc(start), "UTC", MONTHLY)
    assert schedule.first_period(utc(start)) == Period(utc(start), utc(stub_end))
    (line,) = start_charge(usd(1995), utc(start), ServicePeriod.containing(schedule, utc(start)), FIXED_30)
    assert (line.share, line.amount) == (share, usd(expected))


def test_vector_16_pause_and_resume_in_advance_day_keep_the_billing_day() -> None:
    schedule = BillingCycle.on_day_of_month(2, utc("2012-03-02"), "UTC", MONTHLY)
    march = ServicePeriod.containing(schedule, utc("2012-03-04"))
    assert march.period == Period(utc("2012-03-02"), utc("2012-04-02"))
    (credit,) = pause_credit(paid(24995), utc("2012-03-04"), march, DAY)
    assert (credit.share, credit.amount) == (Fraction(29, 31), usd(-23382))
    april = ServicePeriod.containing(schedule, utc("2012-04-05"))
    (charge,) = resume_charge(usd(24995), utc("2012-03-04"), utc("2012-04-05"), april, DAY)
    assert charge.period == Period(utc("2012-04-05"), utc("2012-05-02"))
    assert (charge.share, charge.amount) == (Fraction(27, 30), usd(22496))


def test_vector_29_cancellation_in_advance_across_a_gap_day_and_second() -> None:
    month = period_from("2018-11-04", time_zone="America/Sao_Paulo")
    canceled_at = utc("2018-11-19T02:00")
    assert cents(cancellation_credit(paid(30000), canceled_at, month, DAY)) == [-15000]
    (line,) = cancellation_credit(paid(30000), canceled_at, month, SECOND)
    assert (line.share, line.amount) == (Fraction(1_296_000, 2_588_400), usd(-15021))


def test_vector_30_lord_howe_in_advance_day_and_second() -> None:
    april = calendar_period("2024-04-10", time_zone="Australia/Lord_Howe")
    changed_at = utc("2024-04-15T13:30")  # midnight of the 16th, local
    assert cents(plan_change(paid(30000), usd(60000), changed_at, april, SECOND).lines) == [-14990, 29979]
    assert cents(plan_change(paid(30000), usd(60000), changed_at, april, DAY).lines) == [-15000, 30000]
    october = calendar_period("2024-10-10", time_zone="Australia/Lord_Howe")
    canceled_at = utc("2024-10-15T13:00")  # midnight of the 16th, local
    assert cents(cancellation_credit(paid(31000), canceled_at, october, SECOND)) == [-16011]
    assert cents(cancellation_credit(paid(31000), canceled_at, october, DAY)) == [-16000]


def test_vector_31_apia_december_in_advance_day_counts_the_missing_date_second_does_not() -> None:
    december = calendar_period("2011-12-10", time_zone="Pacific/Apia")
    canceled_at = utc("2011-12-16T10:00")  # midnight of the 16th, local
    (by_day,) = cancellation_credit(paid(31000), canceled_at, december, DAY)
    assert (by_day.share, by_day.amount) == (Fraction(16, 31), usd(-16000))
    (by_second,) = cancellation_credit(paid(31000), canceled_at, december, SECOND)
    assert (by_second.share, by_second.amount) == (Fraction(15, 30), usd(-15500))


def test_vector_31_the_empty_day_has_no_share_under_any_basis() -> None:
    schedule = BillingCycle(
        anchor_local=local("2011-12-30"), time_zone="Pacific/Apia", interval=Interval(IntervalUnit.DAY)
    )
    empty = ServicePeriod.of(schedule, 0)
    for basis in (ProrationBasis.SECOND, ProrationBasis.DAY, ProrationBasis.DAY_INCLUSIVE, ProrationBasis.NONE):
        assert share_of(empty.period, empty, basis) == 0


def test_vector_32_yearly_from_a_leap_day_in_advance_day() -> None:
    schedule = BillingCycle(anchor_local=local("2024-02-29"), time_zone="UTC", interval=Interval(IntervalUnit.YEAR))
    year = ServicePeriod.containing(schedule, utc("2027-08-28"))
    (line,) = cancellation_credit(paid(36_600), utc("2027-08-28"), year, DAY)
    assert (line.share, line.amount) == (Fraction(185, 366), usd(-18_500))


def test_vector_35_several_changes_in_advance_day_same_day_changes_net_out() -> None:
    changes = [
        PriceFrom(at=utc("2025-04-11"), price=usd(25000)),
        PriceFrom(at=utc("2025-04-17T09:00"), price=usd(16000)),
        PriceFrom(at=utc("2025-04-17T15:00"), price=usd(19000)),
        PriceFrom(at=utc("2025-04-24"), price=usd(5000)),
    ]
    lines = changes_in_period(paid(10000), changes, period_from("2025-04-01"), DAY)
    assert cents(lines) == [-6667, 16667, -11667, 8867, -4433, 1167]
    assert 10000 + sum(cents(lines)) == 13934


def test_vector_35_the_net_change_sums_to_what_two_changes_invoiced_at_once_would() -> None:
    month, on = period_from("2025-04-01"), utc("2025-04-17")
    first = plan_change(paid(25000), usd(16000), on, month, DAY).lines
    second = plan_change(paid(16000), usd(19000), on, month, DAY).lines
    net = plan_change(paid(25000), usd(19000), on, month, DAY).lines
    assert sum(cents(first)) + sum(cents(second)) == sum(cents(net))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(SECOND, [-3629]), (DAY, [-3871]), (DAY_INCLUSIVE, [-3548]), (FIXED_30, [-3667]), (NONE, [])],
    ids=["second", "day", "day_inclusive", "fixed_30", "none"],
)
def test_vector_36_one_cancellation_in_advance_under_each_basis(policy: ProrationPolicy, expected: list[int]) -> None:
    lines = cancellation_credit(paid(10000), utc("2025-01-20T18:00"), period_from("2025-01-01"), policy)
    assert cents(lines) == expected
