"""The vectors of revenue schedules and of monthly recurring revenue."""

from datetime import date, timedelta

import pytest

from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.reporting.mrr import movements
from testing.examples.half_up import monthly_recurring, straight_line

USD = currency_code("USD")


def usd(amount: int) -> Money:
    return Money(amount, USD)


def test_vector_37_a_year_of_revenue_by_month() -> None:
    schedule = straight_line(usd(9999), date(2023, 5, 17), date(2024, 5, 17))
    months = schedule.by_month()
    assert [month.amount.amount for month in months] == [
        410, 819, 847, 847, 820, 847, 819, 847, 847, 792, 847, 820, 437,
    ]  # fmt: skip
    assert months[0].month == date(2023, 5, 1)
    assert months[-1].month == date(2024, 5, 1)


def test_vector_37_seven_days_of_one_dollar() -> None:
    first = date(2025, 3, 3)
    schedule = straight_line(usd(100), first, first + timedelta(days=7))
    by_day = [
        schedule.recognized_by(first + timedelta(days=day + 1)) - schedule.recognized_by(first + timedelta(days=day))
        for day in range(7)
    ]
    assert [amount.amount for amount in by_day] == [14, 15, 14, 14, 14, 15, 14]


def test_vector_37_a_cancellation_with_credit_leaves_nothing_deferred() -> None:
    schedule = straight_line(usd(9999), date(2023, 5, 17), date(2024, 5, 17))
    canceled_on = date(2024, 2, 1)
    assert schedule.recognized_by(canceled_on) == usd(7103)
    assert schedule.deferred_on(canceled_on) == usd(2896)
    credited = schedule.credited(usd(2896), canceled_on)
    assert credited.deferred_on(canceled_on).is_zero
    assert credited.total == usd(7103)
    assert credited.recognized_by(date(2024, 6, 1)) == usd(7103)


@pytest.mark.parametrize(
    ("price", "interval", "monthly"),
    [
        (1200, Interval(IntervalUnit.WEEK), 5200),
        (1200, Interval(IntervalUnit.WEEK, 2), 2600),
        (100, Interval(IntervalUnit.DAY), 3042),
        (100, Interval(IntervalUnit.DAY, 10), 304),
        (1000, Interval(IntervalUnit.QUARTER), 333),
        (100_000, Interval(IntervalUnit.YEAR), 8333),
        (100_000, Interval(IntervalUnit.YEAR, 2), 4167),
    ],
    ids=str,
)
def test_vector_38_mrr_of_an_interval_with_52_weeks_and_365_days_a_year(
    price: int, interval: Interval, monthly: int
) -> None:
    assert monthly_recurring(usd(price), interval) == usd(monthly)


def test_vector_38_weekly_changed_to_yearly_is_a_contraction() -> None:
    before = {"sub": monthly_recurring(usd(1200), Interval(IntervalUnit.WEEK))}
    after = {"sub": monthly_recurring(usd(60_000), Interval(IntervalUnit.YEAR))}
    assert (before["sub"], after["sub"]) == (usd(5200), usd(5000))
    moved = movements(before, after, USD, paid_before=True)
    assert moved.contraction == usd(-200)
    assert moved.total == usd(-200)
    assert [moved.new, moved.expansion, moved.churn, moved.reactivation] == [usd(0)] * 4
