"""Proration: lines that cancel out, changes that net out."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel.billing_period import Interval, IntervalUnit, Period, Schedule
from domain.kernel.currency import currency_code
from domain.kernel.money import Money, sum_money
from domain.kernel.rounding import Rounding
from domain.subscriptions.proration import (
    AnchorMustBeReset,
    ChangeTiming,
    LineKind,
    OutsidePeriod,
    PriceFrom,
    ProrationLine,
    ProrationPolicy,
    arrears_charges,
    cancellation_credit,
    changes_in_period,
    pause_credit,
    plan_change,
    quantity_change,
    resume_charge,
    split_period,
    start_charge,
)
from domain.subscriptions.proration_basis import (
    ProrationBasis,
    ServicePeriod,
)
from testing.moments import local, utc
from testing.oracles import money as oracle_money
from testing.oracles import proration as oracle_proration
from tests.domain.random_cases import CASES, seeded
from tests.domain.strategies import bases, bases_that_tile, divided_periods, minor_units

USD = currency_code("USD")
MONTHLY = Interval(IntervalUnit.MONTH)
APRIL = ServicePeriod.of(Schedule(anchor_local=local("2025-04-01"), time_zone="UTC", interval=MONTHLY), 0)
DAY = ProrationPolicy(basis=ProrationBasis.DAY)
SECOND = ProrationPolicy(basis=ProrationBasis.SECOND)
INCLUSIVE = ProrationPolicy(basis=ProrationBasis.DAY_INCLUSIVE)
FIXED_30 = ProrationPolicy(basis=ProrationBasis.FIXED_30)
NONE = ProrationPolicy(basis=ProrationBasis.NONE)
NO_CREDIT = ProrationPolicy(basis=ProrationBasis.DAY, credit_unused=False)
AT_END = ProrationPolicy(basis=ProrationBasis.DAY, timing=ChangeTiming.AT_PERIOD_END)


def usd(amount: int) -> Money:
    return Money(amount, USD)


def cents(lines: tuple[ProrationLine, ...]) -> list[int]:
    return [line.amount.amount for line in lines]


# --- lines in advance ------------------------------------------------------------------------------------------------


def test_a_line_explains_itself() -> None:
    credit, charge = plan_change(usd(10000), usd(30000), utc("2025-04-16"), APRIL, DAY).lines
    rest = Period(utc("2025-04-16"), utc("2025-05-01"))
    assert credit == ProrationLine(
        kind=LineKind.CREDIT, amount=usd(-5000), price=usd(10000), share=Fraction(1, 2), period=rest
    )
    assert charge == ProrationLine(
        kind=LineKind.CHARGE, amount=usd(15000), price=usd(30000), share=Fraction(1, 2), period=rest
    )


def test_timing_says_when_a_change_counts_and_on_which_invoice() -> None:
    at = utc("2025-04-16")
    now = plan_change(usd(100), usd(300), at, APRIL, DAY)
    assert (now.effective_at, now.invoice_now, now.new_schedule) == (at, True, None)
    next_invoice = ProrationPolicy(basis=ProrationBasis.DAY, timing=ChangeTiming.NOW_NEXT_INVOICE)
    later = plan_change(usd(100), usd(300), at, APRIL, next_invoice)
    assert (later.effective_at, later.invoice_now, later.lines) == (at, False, now.lines)
    end = plan_change(usd(100), usd(300), at, APRIL, AT_END)
    assert (end.effective_at, end.invoice_now, end.lines, end.new_schedule) == (APRIL.period.end, False, (), None)
    assert cancellation_credit(usd(100), at, APRIL, AT_END) == ()
    assert pause_credit(usd(100), at, APRIL, AT_END) == ()
    assert quantity_change(usd(100), 1, 2, at, APRIL, AT_END) == end


def test_without_credit_only_the_new_price_is_charged() -> None:
    assert cents(plan_change(usd(100), usd(300), utc("2025-04-16"), APRIL, NO_CREDIT).lines) == [150]
    assert cancellation_credit(usd(100), utc("2025-04-16"), APRIL, NO_CREDIT) == ()
    assert pause_credit(usd(100), utc("2025-04-16"), APRIL, NO_CREDIT) == ()


def test_without_proration_nothing_moves_but_a_whole_period() -> None:
    middle, start = utc("2025-04-16"), APRIL.period.start
    assert plan_change(usd(100), usd(300), middle, APRIL, NONE).lines == ()
    assert cents(plan_change(usd(100), usd(300), start, APRIL, NONE).lines) == [-100, 300]
    assert start_charge(usd(100), middle, APRIL, NONE) == ()
    assert cents(start_charge(usd(100), start, APRIL, NONE)) == [100]
    assert cents(arrears_charges([PriceFrom(at=start, price=usd(100))], APRIL, NONE, canceled_at=middle)) == [100]


def test_a_reset_anchor_begins_a_whole_period_now_whatever_the_timing() -> None:
    policy = ProrationPolicy(basis=ProrationBasis.DAY, timing=ChangeTiming.NOW_NEXT_INVOICE, reset_anchor=True)
    at = utc("2025-04-16T10:00")
    change = plan_change(usd(100), usd(100), at, APRIL, policy)
    assert cents(change.lines) == [-50, 100]
    assert change.invoice_now
    assert change.effective_at == at
    assert change.new_schedule == Schedule.anniversary(at, "UTC", MONTHLY)
    assert [line.period for line in change.lines] == [
        Period(at, APRIL.period.end),
        Period(at, utc("2025-05-16T10:00")),
    ]


def test_a_reset_in_the_second_run_of_an_hour_is_billed_from_itself() -> None:
    november = ServicePeriod.of(
        Schedule(anchor_local=local("2025-11-01"), time_zone="America/New_York", interval=MONTHLY), 0
    )
    at = utc("2025-11-02T06:30")
    policy = ProrationPolicy(basis=ProrationBasis.DAY, reset_anchor=True)
    assert plan_change(usd(1), usd(100), at, november, policy).lines[-1].period == Period(at, utc("2025-12-02T06:30"))


def test_another_interval_needs_a_new_anchor() -> None:
    year = Interval(IntervalUnit.YEAR, 2)
    with pytest.raises(AnchorMustBeReset) as refused:
        plan_change(usd(100), usd(300), utc("2025-04-16"), APRIL, DAY, new_interval=year)
    assert refused.value.details == {"interval": "year", "count": 2}
    assert plan_change(usd(100), usd(300), utc("2025-04-16"), APRIL, AT_END, new_interval=year).lines == ()
    same = plan_change(usd(100), usd(300), utc("2025-04-16"), APRIL, DAY, new_interval=MONTHLY)
    assert cents(same.lines) == [-50, 150]


def test_a_quantity_change_credits_and_charges_or_charges_what_was_added() -> None:
    at = utc("2025-04-16")
    assert cents(quantity_change(usd(1000), 3, 5, at, APRIL, DAY).lines) == [-1500, 2500]
    assert cents(quantity_change(usd(1000), 5, 3, at, APRIL, DAY).lines) == [-2500, 1500]
    assert cents(quantity_change(usd(1000), 3, 5, at, APRIL, NO_CREDIT).lines) == [1000]
    assert cents(quantity_change(usd(1000), 5, 3, at, APRIL, NO_CREDIT).lines) == []
    assert cents(quantity_change(usd(1000), 0, 3, at, APRIL, DAY).lines) == [1500]
    assert cents(quantity_change(usd(1000), Decimal("1.5"), Decimal("2.25"), at, APRIL, DAY).lines) == [-750, 1125]


def test_quantities_and_lines_are_rounded_by_the_policys_rule() -> None:
    even = ProrationPolicy(basis=ProrationBasis.DAY, rounding=Rounding.HALF_EVEN)
    at = utc("2025-04-16")
    assert cents(plan_change(usd(1), usd(5), at, APRIL, DAY).lines) == [-1, 3]
    assert cents(plan_change(usd(1), usd(5), at, APRIL, even).lines) == [0, 2]
    quantity = Decimal("0.5")
    assert [line.price for line in quantity_change(usd(5), quantity, 1, at, APRIL, DAY).lines] == [usd(3), usd(5)]
    assert [line.price for line in quantity_change(usd(5), quantity, 1, at, APRIL, even).lines] == [usd(2), usd(5)]
    assert [line.price for line in quantity_change(usd(5), 1, quantity, at, APRIL, even).lines] == [usd(5), usd(2)]


def test_what_is_outside_the_period_is_refused() -> None:
    policy = DAY
    for at in (utc("2025-03-31"), APRIL.period.end):
        for outside in (
            lambda at: start_charge(usd(1), at, APRIL, policy),
            lambda at: plan_change(usd(1), usd(2), at, APRIL, policy),
            lambda at: plan_change(usd(1), usd(2), at, APRIL, AT_END),
            lambda at: cancellation_credit(usd(1), at, APRIL, policy),
            lambda at: pause_credit(usd(1), at, APRIL, policy),
            lambda at: resume_charge(usd(1), utc("2025-03-01"), at, APRIL, policy),
            lambda at: split_period(usd(1), [at], APRIL, ProrationBasis.DAY),
            lambda at: arrears_charges([], APRIL, policy, canceled_at=at),
        ):
            with pytest.raises(OutsidePeriod) as refused:
                outside(at)
            assert refused.value.details == {
                "at": at.isoformat(),
                "start": "2025-04-01T00:00:00+00:00",
                "end": "2025-05-01T00:00:00+00:00",
            }


def test_several_changes_do_not_reset_the_anchor() -> None:
    policy = ProrationPolicy(basis=ProrationBasis.DAY, reset_anchor=True)
    with pytest.raises(ValueError, match="begins another period"):
        changes_in_period(usd(100), [PriceFrom(at=utc("2025-04-16"), price=usd(200))], APRIL, policy)


def test_changes_net_out_as_far_as_the_basis_can_tell_them_apart() -> None:
    morning, evening = utc("2025-04-16T06:00"), utc("2025-04-16T18:00")
    changes = [PriceFrom(at=morning, price=usd(30000)), PriceFrom(at=evening, price=usd(20000))]
    for policy in (DAY, INCLUSIVE, FIXED_30):
        assert cents(changes_in_period(usd(10000), changes, APRIL, policy)) == [-5000, 10000]
    assert len(changes_in_period(usd(10000), changes, APRIL, SECOND)) == 4
    twice = [PriceFrom(at=morning, price=usd(30000)), PriceFrom(at=morning, price=usd(20000))]
    assert len(changes_in_period(usd(10000), twice, APRIL, SECOND)) == 2
    assert changes_in_period(usd(10000), twice, APRIL, SECOND)[1].price == usd(20000)
    back = [PriceFrom(at=morning, price=usd(30000)), PriceFrom(at=evening, price=usd(10000))]
    assert changes_in_period(usd(10000), back, APRIL, DAY) == ()


def test_changes_are_taken_in_order_of_time() -> None:
    changes = [PriceFrom(at=utc("2025-04-21"), price=usd(20000)), PriceFrom(at=utc("2025-04-11"), price=usd(30000))]
    assert cents(changes_in_period(usd(10000), changes, APRIL, DAY)) == [-6667, 20000, -10000, 6667]


def test_resuming_in_a_period_that_is_still_paid_for_costs_nothing() -> None:
    paused, resumed = utc("2025-04-10"), utc("2025-04-20")
    assert resume_charge(usd(3000), paused, resumed, APRIL, NO_CREDIT) == ()
    assert cents(resume_charge(usd(3000), paused, resumed, APRIL, DAY)) == [1100]
    assert cents(resume_charge(usd(3000), utc("2025-03-10"), resumed, APRIL, NO_CREDIT)) == [1100]


@given(divided_periods(), bases, minor_units)
def test_a_change_to_the_same_price_costs_nothing(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, price: int
) -> None:
    service, cuts = divided
    policy = ProrationPolicy(basis=basis)
    assert plan_change(usd(price), usd(price), cuts[0], service, policy).lines == ()
    credit = pause_credit(usd(price), cuts[0], service, policy)
    charge = resume_charge(usd(price), cuts[0], cuts[0], service, policy)
    assert sum_money((line.amount for line in (*credit, *charge)), USD).is_zero


@given(divided_periods(), bases, st.lists(minor_units, min_size=2, max_size=4))
def test_several_changes_at_one_instant_cost_what_the_last_of_them_costs(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, prices: list[int]
) -> None:
    service, cuts = divided
    policy = ProrationPolicy(basis=basis)
    at = cuts[0]
    one_by_one = [
        line.amount.amount
        for old, new in pairwise(prices)
        for line in plan_change(usd(old), usd(new), at, service, policy).lines
    ]
    net = changes_in_period(
        usd(prices[0]), [PriceFrom(at=at, price=usd(price)) for price in prices[1:]], service, policy
    )
    assert sum(cents(net)) == sum(one_by_one)
    assert len(net) <= 2


@given(divided_periods(), bases, st.integers(0, 10**9))
def test_a_credit_is_never_more_than_was_paid(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, price: int
) -> None:
    service, cuts = divided
    policy = ProrationPolicy(basis=basis)
    started, canceled = cuts[0], cuts[-1]
    paid = sum(cents(start_charge(usd(price), started, service, policy)))
    credit = sum(cents(cancellation_credit(usd(price), canceled, service, policy)))
    assert 0 <= -credit <= paid <= price


@given(divided_periods(), bases, minor_units)
def test_splitting_a_period_conserves_its_price(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, price: int
) -> None:
    service, cuts = divided
    parts = split_period(usd(price), cuts, service, basis)
    assert sum_money(parts, USD) == usd(price)
    assert len(parts) == len(cuts) + 1


# --- lines in arrears ------------------------------------------------------------------------------------------------


def test_arrears_bill_each_price_for_its_piece() -> None:
    prices = [
        PriceFrom(at=utc("2025-04-11"), price=usd(3000)),
        PriceFrom(at=utc("2025-04-16"), price=usd(0)),
        PriceFrom(at=utc("2025-04-21"), price=usd(6000)),
    ]
    lines = arrears_charges(prices, APRIL, DAY)
    assert cents(lines) == [500, 2000]
    assert [line.period for line in lines] == [
        Period(utc("2025-04-11"), utc("2025-04-16")),
        Period(utc("2025-04-21"), utc("2025-05-01")),
    ]
    assert all(line.kind is LineKind.CHARGE for line in lines)
    assert arrears_charges([], APRIL, DAY) == ()


def test_arrears_of_prices_from_before_the_period_and_from_after_it() -> None:
    prices = [
        PriceFrom(at=utc("2025-01-01"), price=usd(1000)),
        PriceFrom(at=utc("2025-02-01"), price=usd(3000)),
        PriceFrom(at=utc("2025-06-01"), price=usd(9000)),
    ]
    for policy in (DAY, SECOND, NONE):
        (line,) = arrears_charges(prices, APRIL, policy)
        assert (line.amount, line.period) == (usd(3000), APRIL.period)


def test_arrears_until_a_cancellation() -> None:
    prices = [PriceFrom(at=utc("2025-01-01"), price=usd(3000)), PriceFrom(at=utc("2025-04-11T06:00"), price=usd(6000))]
    canceled_at = utc("2025-04-20T12:00")
    assert cents(arrears_charges(prices, APRIL, DAY, canceled_at=canceled_at)) == [1000, 1800]
    lines = arrears_charges(prices, APRIL, INCLUSIVE, canceled_at=canceled_at)
    assert cents(lines) == [1000, 2000]
    assert lines[-1].period == Period(utc("2025-04-11T06:00"), canceled_at)
    early = utc("2025-04-05T12:00")
    assert cents(arrears_charges(prices, APRIL, INCLUSIVE, canceled_at=early)) == [500]
    same_day = utc("2025-04-11T05:00")
    assert cents(arrears_charges(prices, APRIL, INCLUSIVE, canceled_at=same_day)) == [1100]
    at_the_change = utc("2025-04-11T06:00")
    assert cents(arrears_charges(prices, APRIL, INCLUSIVE, canceled_at=at_the_change)) == [1000, 200]


@given(divided_periods(), bases_that_tile, minor_units)
def test_arrears_of_one_price_cost_the_whole_period_however_it_is_cut(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, price: int
) -> None:
    service, cuts = divided
    prices = [PriceFrom(at=at, price=usd(price)) for at in [service.period.start, *cuts]]
    lines = arrears_charges(prices, service, ProrationPolicy(basis=basis))
    if price:
        assert sum(line.share for line in lines) == 1
    assert 2 * abs(sum(cents(lines)) - price) <= len(lines)


# --- the oracle ------------------------------------------------------------------------------------------------------


def test_credits_agree_with_the_oracle_under_every_basis() -> None:
    random = seeded()
    for _ in range(CASES):
        anchor = local("2020-01-01") + timedelta(hours=random.randrange(5 * 365 * 24))
        schedule = Schedule(
            anchor_local=anchor, time_zone="UTC", interval=Interval(IntervalUnit.MONTH, random.randint(1, 3))
        )
        service = ServicePeriod.of(schedule, random.randint(0, 12))
        start, end = service.period.start, service.period.end
        at = start + timedelta(seconds=random.randrange(int((end - start).total_seconds())))
        price = random.randint(0, 10**7)
        first, day, last = start.date(), at.date(), end.date()
        days = oracle_proration.days_between(first, last)
        months = service.interval.months
        expected = {
            ProrationBasis.SECOND: oracle_proration.second_share(at, end, (start, end)),
            ProrationBasis.DAY: Fraction(oracle_proration.days_between(day, last), days),
            ProrationBasis.DAY_INCLUSIVE: Fraction(oracle_proration.days_between(day + timedelta(days=1), last), days),
            ProrationBasis.FIXED_30: Fraction(1)
            if day == first
            else min(
                Fraction(oracle_proration.thirties(last) - oracle_proration.thirties(day), 30 * months), Fraction(1)
            ),
            ProrationBasis.NONE: Fraction(1 if at == start else 0),
        }
        for basis, share in expected.items():
            lines = cancellation_credit(usd(price), at, service, ProrationPolicy(basis=basis))
            assert sum(cents(lines)) == oracle_proration.credit(price, share), (basis, anchor, at, price)
            if basis is not ProrationBasis.DAY_INCLUSIVE:
                used = usd(price)
                charge = start_charge(used, at, service, ProrationPolicy(basis=basis))
                assert sum(cents(charge)) == oracle_money.half_up(price * share), (basis, anchor, at, price)


def test_instants_of_service_are_utc() -> None:
    assert APRIL.period.start.tzinfo is UTC
