"""Revenue by day: exact in the end, unchanged in the past, re-spread after a credit."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.currency import currency_code
from domain.kernel.money import CurrencyMismatch, Money, sum_money
from domain.kernel.rounding import Rounding
from domain.revenue.schedule import CreditExceedsRevenue, CreditOutOfOrder, InvalidServicePeriod, RevenueSchedule
from testing.examples.half_up import straight_line
from testing.oracles.revenue import DailyRevenue
from tests.domain.random_cases import CASES, seeded
from tests.domain.strategies import minor_units, roundings

USD, EUR = currency_code("USD"), currency_code("EUR")
FIRST = date(2025, 1, 11)

day_counts = st.integers(1, 800)
days_later = st.integers(-30, 900).map(lambda days: FIRST + timedelta(days=days))
positive_units = st.integers(0, 10**9)


def usd(amount: int) -> Money:
    return Money(amount, USD)


def over(days: int, amount: int) -> RevenueSchedule:
    return straight_line(usd(amount), FIRST, FIRST + timedelta(days=days))


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def months(schedule: RevenueSchedule) -> list[tuple[str, int]]:
    return [(month.month.isoformat(), month.amount.amount) for month in schedule.by_month()]


def test_nothing_is_earned_before_the_first_day_and_all_of_it_after_the_last() -> None:
    schedule = over(10, 1000)
    earned = [schedule.recognized_by(on(day)).amount for day in (-5, 0, 1, 9, 10, 99)]
    assert earned == [0, 0, 100, 900, 1000, 1000]
    assert [schedule.deferred_on(on(day)).amount for day in (-5, 0, 1, 10)] == [1000, 1000, 900, 0]
    assert schedule.total == usd(1000)


def test_half_a_minor_unit_goes_by_the_rule() -> None:
    half_up = straight_line(usd(1), FIRST, on(2))
    half_even = straight_line(usd(1), FIRST, on(2), Rounding.HALF_EVEN)
    assert (half_up.recognized_by(on(1)), half_even.recognized_by(on(1))) == (usd(1), usd(0))
    assert half_up.recognized_by(on(2)) == half_even.recognized_by(on(2)) == usd(1)


def test_months_run_from_the_first_day_of_service_to_the_last() -> None:
    assert months(over(21, 2100)) == [("2025-01-01", 2100)]
    assert months(over(22, 2200)) == [("2025-01-01", 2100), ("2025-02-01", 100)]
    whole_months = straight_line(usd(5900), date(2025, 1, 1), date(2025, 3, 1))
    assert months(whole_months) == [("2025-01-01", 3100), ("2025-02-01", 2800)]
    over_new_year = straight_line(usd(6200), date(2025, 12, 1), date(2026, 2, 1))
    assert months(over_new_year) == [("2025-12-01", 3100), ("2026-01-01", 3100)]


def test_a_service_of_no_days_is_earned_at_once_on_its_date() -> None:
    at_once = straight_line(usd(500), FIRST, FIRST)
    assert [at_once.recognized_by(on(day)).amount for day in (0, 1)] == [0, 500]
    assert months(at_once) == [("2025-01-01", 500)]


def test_a_service_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidServicePeriod) as refused:
        straight_line(usd(1), FIRST, on(-1))
    assert refused.value.details == {"first_date": "2025-01-11", "end_date": "2025-01-10"}


def test_a_credit_takes_what_is_deferred_and_the_rest_is_spread_anew() -> None:
    schedule = over(10, 1000).credited(usd(300), on(4))
    assert [schedule.recognized_by(on(day)).amount for day in (4, 5, 7, 10)] == [400, 450, 550, 700]
    assert schedule.total == usd(700)
    assert schedule.deferred_on(on(4)) == usd(300)


def test_a_credit_of_more_than_is_deferred_takes_revenue_back_on_its_date() -> None:
    schedule = over(10, 1000).credited(usd(800), on(4))
    assert [schedule.recognized_by(on(day)).amount for day in (4, 5, 10)] == [400, 200, 200]
    assert months(over(31, 3100).credited(usd(3000), on(25))) == [("2025-01-01", 2100), ("2025-02-01", -2000)]


def test_a_credit_after_the_service_is_taken_back_in_its_own_month() -> None:
    schedule = over(10, 1000).credited(usd(250), on(60))
    assert months(schedule) == [("2025-01-01", 1000), ("2025-02-01", 0), ("2025-03-01", -250)]
    assert [schedule.recognized_by(on(day)).amount for day in (60, 61)] == [1000, 750]


def test_a_credit_before_the_service_makes_it_cheaper_from_the_start() -> None:
    schedule = over(10, 1000).credited(usd(500), on(-7))
    assert [schedule.recognized_by(on(day)).amount for day in (-7, 0, 1, 10)] == [0, 0, 50, 500]
    assert schedule.credited(usd(100), on(-3)).recognized_by(on(5)) == usd(200)


def test_several_credits_on_one_date_are_as_one() -> None:
    for parts in ([300, 200], [500], [100, 0, 400], [450, 50]):
        schedule = over(10, 1000)
        for part in parts:
            schedule = schedule.credited(usd(part), on(8))
        assert schedule == over(10, 1000).credited(usd(500), on(8))
    in_full = over(10, 1000).credited(usd(600), on(8)).credited(usd(400), on(8)).credited(usd(0), on(8))
    assert [in_full.recognized_by(on(day)).amount for day in (8, 9, 10)] == [800, 0, 0]
    assert in_full.total.is_zero


def test_credits_of_a_credit_line_mirror_those_of_a_charge() -> None:
    for credit in (300, 800, 1000):
        charge, back = over(10, 1000).credited(usd(credit), on(4)), over(10, -1000).credited(usd(-credit), on(4))
        for day in range(12):
            assert back.recognized_by(on(day)) == -charge.recognized_by(on(day))


@pytest.mark.parametrize(("amount", "credit"), [(1000, 1001), (1000, -1), (-1000, 1), (-1000, -1001), (0, 1)])
def test_a_credit_is_never_more_than_the_line_nor_the_other_way(amount: int, credit: int) -> None:
    with pytest.raises(CreditExceedsRevenue) as refused:
        over(10, amount).credited(usd(credit), on(4))
    assert refused.value.details == {"credit": credit, "left": amount, "currency": "USD"}


def test_a_credit_is_in_the_lines_currency() -> None:
    with pytest.raises(CurrencyMismatch) as refused:
        over(10, 1000).credited(Money(1, EUR), on(4))
    assert refused.value.details == {"currency": "EUR", "other": "USD"}


def test_the_past_of_a_credit_is_closed() -> None:
    schedule = over(10, 1000).credited(usd(100), on(4))
    with pytest.raises(CreditOutOfOrder) as refused:
        schedule.credited(usd(100), on(3))
    assert refused.value.details == {"on": "2025-01-14", "last": "2025-01-15"}
    with pytest.raises(CreditOutOfOrder):
        schedule.ended(on(3))
    with pytest.raises(CreditOutOfOrder) as refused:
        schedule.credited(usd(100), on(6)).credited(usd(100), on(5))
    assert refused.value.details == {"on": "2025-01-16", "last": "2025-01-17"}


def test_a_service_that_ends_early_without_a_credit_is_earned_on_that_date() -> None:
    ended = over(10, 1000).ended(on(4))
    assert [ended.recognized_by(on(day)).amount for day in (4, 5, 10)] == [400, 1000, 1000]
    assert over(10, 1000).credited(usd(300), on(4)).ended(on(4)).recognized_by(on(5)) == usd(700)
    assert ended.credited(usd(100), on(6)).total == usd(900)
    assert ended.credited(usd(100), on(4)).recognized_by(on(5)) == usd(900)


def test_a_credit_of_nothing_changes_nothing() -> None:
    for amount in (1, -1, 1000, -1000):
        schedule = over(10, amount)
        assert schedule.credited(usd(0), FIRST) == schedule
        assert schedule.credited(usd(0), on(5)).by_month() == schedule.by_month()


@given(minor_units, day_counts, roundings)
def test_revenue_ends_at_the_full_amount_and_its_months_sum_to_it(amount: int, days: int, rounding: Rounding) -> None:
    schedule = straight_line(usd(amount), FIRST, on(days), rounding)
    assert schedule.total == usd(amount)
    assert sum_money((month.amount for month in schedule.by_month()), USD) == usd(amount)
    assert schedule.recognized_by(on(days)) == usd(amount)
    assert schedule.recognized_by(FIRST).is_zero


@given(minor_units, day_counts, days_later)
def test_what_is_recognized_and_what_is_deferred_make_the_whole(amount: int, days: int, as_of: date) -> None:
    schedule = over(days, amount)
    assert schedule.recognized_by(as_of) + schedule.deferred_on(as_of) == usd(amount)
    day = abs(schedule.recognized_by(as_of + timedelta(days=1)).amount - schedule.recognized_by(as_of).amount)
    assert day * days <= abs(amount) + days
    assert schedule.recognized_by(as_of) == -over(days, -amount).recognized_by(as_of)


@given(positive_units, day_counts, st.lists(st.integers(0, 10**9), max_size=4), st.integers(0, 300))
def test_credits_change_the_future_by_their_sum_and_the_past_not_at_all(
    amount: int, days: int, wanted: list[int], gap: int
) -> None:
    schedule = over(days, amount)
    for number, want in enumerate(wanted):
        credited_on = on(number * gap - 20)
        credit = want % (schedule.total.amount + 1)
        after = schedule.credited(usd(credit), credited_on)
        assert after.total == schedule.total - usd(credit)
        for earlier in (credited_on, credited_on - timedelta(days=3), FIRST):
            if earlier <= max(credited_on, FIRST):
                assert after.recognized_by(earlier) == schedule.recognized_by(earlier)
        schedule = after
    assert sum_money((month.amount for month in schedule.by_month()), USD) == schedule.total
    assert schedule.recognized_by(on(5000)) == schedule.total
    assert not schedule.total.is_negative


def test_revenue_agrees_with_the_oracle() -> None:
    random = seeded()
    for _ in range(CASES // 10):
        amount, days = random.randint(0, 10**6), random.randint(2, 60)
        schedule, naive = over(days, amount), DailyRevenue(amount, FIRST, on(days))
        day = random.randrange(days)
        for _ in range(random.randint(0, 2)):
            credit = random.randint(0, schedule.total.amount)
            schedule = schedule.credited(usd(credit), on(day))
            naive.credit(credit, on(day))
            if naive.reversals or day + 1 >= days:
                break
            day = random.randint(day + 1, days - 1)
        for _ in range(10):
            as_of = on(random.randint(-3, days + 5))
            assert schedule.recognized_by(as_of).amount == naive.recognized_by(as_of), (amount, days, schedule, as_of)
