"""Proration: lines that cancel out, changes that net out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.invoicing.computation import InvoiceLine
from domain.kernel.billing_period import BillingCycle, Interval, IntervalUnit, Period
from domain.kernel.currency import currency_code
from domain.kernel.money import CurrencyMismatch, ExactAmount, Money, sum_money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import exact_amount_of
from domain.subscriptions.paid_charge import PaidCharge
from domain.subscriptions.proration import (
    AnchorMustBeReset,
    ChangeTiming,
    LineKind,
    OutsidePeriod,
    PriceFrom,
    ProrationLine,
    ProrationPolicy,
    after_credit,
    amount_line,
    arrears_charges,
    cancellation_credit,
    changes_in_period,
    charge_paid,
    pause_credit,
    plan_change,
    resume_charge,
    split_period,
    start_charge,
)
from domain.subscriptions.proration_basis import (
    ProrationBasis,
    ServicePeriod,
)
from domain.tax.computation import TaxRate
from testing.examples.half_up import HALF_UP, compute_invoice, times
from testing.examples.paid import paid
from testing.examples.pricing import per_unit, percent_off, tax_rate
from testing.moments import local, utc
from testing.oracles import money as oracle_money
from testing.oracles import proration as oracle_proration
from tests.domain.random_cases import CASES, seeded
from tests.domain.strategies import bases, bases_that_tile, divided_periods

USD = currency_code("USD")
MONTHLY = Interval(IntervalUnit.MONTH)
APRIL = ServicePeriod.of(BillingCycle(anchor_local=local("2025-04-01"), time_zone="UTC", interval=MONTHLY), 0)
DAY = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY)
SECOND = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.SECOND)
INCLUSIVE = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY_INCLUSIVE)
FIXED_30 = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.FIXED_30)
NONE = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.NONE)
NO_CREDIT = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY, credit_unused=False)
AT_END = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY, timing=ChangeTiming.AT_PERIOD_END)

period_prices = st.integers(0, 10**12)


def usd(amount: int) -> Money:
    return Money(amount, USD)


def cents(lines: tuple[ProrationLine, ...]) -> list[int]:
    return [line.amount.amount for line in lines]


# --- lines in advance ------------------------------------------------------------------------------------------------


def test_a_line_explains_itself() -> None:
    credit, charge = plan_change(paid(10000), usd(30000), utc("2025-04-16"), APRIL, DAY).lines
    rest = Period(utc("2025-04-16"), utc("2025-05-01"))
    assert credit == ProrationLine(
        kind=LineKind.CREDIT,
        amount=usd(-5000),
        price=usd(10000),
        share=Fraction(1, 2),
        period=rest,
        gives_back=paid(10000)[0],
    )
    assert charge == ProrationLine(
        kind=LineKind.CHARGE, amount=usd(15000), price=usd(30000), share=Fraction(1, 2), period=rest
    )


def test_timing_says_when_a_change_counts_and_on_which_invoice() -> None:
    at = utc("2025-04-16")
    now = plan_change(paid(100), usd(300), at, APRIL, DAY)
    assert (now.effective_at, now.invoice_now, now.new_schedule) == (at, True, None)
    next_invoice = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY, timing=ChangeTiming.NOW_NEXT_INVOICE)
    later = plan_change(paid(100), usd(300), at, APRIL, next_invoice)
    assert (later.effective_at, later.invoice_now, later.lines) == (at, False, now.lines)
    end = plan_change(paid(100), usd(300), at, APRIL, AT_END)
    assert (end.effective_at, end.invoice_now, end.lines, end.new_schedule) == (APRIL.period.end, False, (), None)
    assert cancellation_credit(paid(100), at, APRIL, AT_END) == ()
    assert pause_credit(paid(100), at, APRIL, AT_END) == ()
    assert (now.still_paid, later.still_paid, end.still_paid) == ((), (), paid(100))


def test_without_credit_an_upgrade_costs_the_difference_and_a_downgrade_nothing_more() -> None:
    at = utc("2025-04-16")
    up = plan_change(paid(100), usd(300), at, APRIL, NO_CREDIT)
    assert cents(up.lines) == [100]
    assert (up.lines[0].price, up.still_paid) == (ExactAmount(Fraction(200), USD), paid(100))
    down = plan_change(paid(10000), usd(5000), at, APRIL, NO_CREDIT)
    assert (down.lines, down.still_paid) == ((), paid(10000))
    assert cancellation_credit(paid(100), at, APRIL, NO_CREDIT) == ()
    assert pause_credit(paid(100), at, APRIL, NO_CREDIT) == ()


def test_without_credit_going_down_and_up_again_costs_nothing_more() -> None:
    prices = [5000, 10000, 2000, 20000, 10000, 20000]
    changes = [PriceFrom(at=utc(f"2025-04-{10 + day}"), price=usd(price)) for day, price in enumerate(prices)]
    lines = changes_in_period(paid(10000), changes, APRIL, NO_CREDIT)
    assert cents(lines) == [6000]  # 100.00 more for the 18 of 30 days from the 13th on
    assert lines[0].period == Period(utc("2025-04-13"), APRIL.period.end)


def test_without_proration_nothing_moves_but_a_whole_period() -> None:
    middle, start = utc("2025-04-16"), APRIL.period.start
    assert plan_change(paid(100), usd(300), middle, APRIL, NONE).lines == ()
    assert cents(plan_change(paid(100), usd(300), start, APRIL, NONE).lines) == [-100, 300]
    assert start_charge(usd(100), middle, APRIL, NONE) == ()
    assert cents(start_charge(usd(100), start, APRIL, NONE)) == [100]
    assert cents(arrears_charges([PriceFrom(at=start, price=usd(100))], APRIL, NONE, canceled_at=middle)) == [100]


def test_a_reset_anchor_begins_a_whole_period_now_whatever_the_timing() -> None:
    policy = ProrationPolicy(
        rounding=HALF_UP, basis=ProrationBasis.DAY, timing=ChangeTiming.NOW_NEXT_INVOICE, reset_anchor=True
    )
    at = utc("2025-04-16T10:00")
    change = plan_change(paid(100), usd(100), at, APRIL, policy)
    assert cents(change.lines) == [-50, 100]
    assert change.invoice_now
    assert change.effective_at == at
    assert change.new_schedule == BillingCycle.anniversary(at, "UTC", MONTHLY)
    assert [line.period for line in change.lines] == [
        Period(at, APRIL.period.end),
        Period(at, utc("2025-05-16T10:00")),
    ]


def test_a_reset_in_the_second_run_of_an_hour_is_billed_from_itself() -> None:
    november = ServicePeriod.of(
        BillingCycle(anchor_local=local("2025-11-01"), time_zone="America/New_York", interval=MONTHLY), 0
    )
    at = utc("2025-11-02T06:30")
    policy = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY, reset_anchor=True)
    assert plan_change(paid(1), usd(100), at, november, policy).lines[-1].period == Period(at, utc("2025-12-02T06:30"))


def test_another_interval_needs_a_new_anchor() -> None:
    year = Interval(IntervalUnit.YEAR, 2)
    with pytest.raises(AnchorMustBeReset) as refused:
        plan_change(paid(100), usd(300), utc("2025-04-16"), APRIL, DAY, new_interval=year)
    assert refused.value.details == {"interval": "year", "count": 2}
    assert plan_change(paid(100), usd(300), utc("2025-04-16"), APRIL, AT_END, new_interval=year).lines == ()
    same = plan_change(paid(100), usd(300), utc("2025-04-16"), APRIL, DAY, new_interval=MONTHLY)
    assert cents(same.lines) == [-50, 150]


def seats(quantity: str | int, unit_amount: str | int = 1000) -> ExactAmount:
    return exact_amount_of(per_unit(unit_amount), Decimal(quantity), HALF_UP)


@pytest.mark.parametrize(
    ("old", "new", "policy", "billed"),
    [
        (3000, 5, DAY, [-1500, 2500]),
        (5000, 3, DAY, [-2500, 1500]),
        (3000, 5, NO_CREDIT, [1000]),
        (5000, 3, NO_CREDIT, []),
        (0, 3, DAY, [1500]),
        (1500, "2.25", DAY, [-750, 1125]),
    ],
)
def test_a_change_of_seats_follows_the_rule_of_every_change(
    old: int, new: str | int, policy: ProrationPolicy, billed: list[int]
) -> None:
    assert cents(plan_change(paid(old), seats(new), utc("2025-04-16"), APRIL, policy).lines) == billed


@pytest.mark.parametrize(("old", "new", "billed"), [(10, 12, 12_000), (12, 10, 10_000), (10, 10, 10_000)])
def test_seats_changed_with_a_reset_anchor_and_no_credit_pay_the_new_period_whole(
    old: int, new: int, billed: int
) -> None:
    policy = replace(NO_CREDIT, reset_anchor=True)
    at = utc("2025-04-16")
    change = plan_change(paid(old * 1000), seats(new), at, APRIL, policy)
    assert cents(change.lines) == [billed]
    assert change.lines[0].period == Period(at, utc("2025-05-16"))
    assert change.still_paid == ()


def test_a_fraction_of_a_cent_a_month_is_rounded_once_for_the_share() -> None:
    at = utc("2025-04-16")
    assert cents(start_charge(seats(1, "0.5"), at, APRIL, DAY)) == [0]
    assert cents(start_charge(seats(3, "0.5"), at, APRIL, DAY)) == [1]
    held = [PriceFrom(at=APRIL.period.start, price=seats(1, "0.5"))]
    assert cents(arrears_charges(held, APRIL, DAY, canceled_at=at)) == [0]


def test_lines_are_rounded_by_the_policys_rule() -> None:
    even = replace(DAY, rounding=Rounding.HALF_EVEN)
    at = utc("2025-04-16")
    assert cents(plan_change(paid(1), usd(5), at, APRIL, DAY).lines) == [-1, 3]
    assert cents(plan_change(paid(1), usd(5), at, APRIL, even).lines) == [0, 2]


def test_a_credit_gives_back_what_was_paid_and_not_what_the_price_was() -> None:
    at = utc("2025-04-16")
    halved = paid(10000, discounted=5000)
    assert cents(plan_change(halved, usd(20000), at, APRIL, DAY).lines) == [-2500, 10000]
    assert cents(cancellation_credit(halved, at, APRIL, DAY)) == [-2500]
    assert cents(pause_credit(paid(10000, discounted=0), at, APRIL, DAY)) == []
    assert cents(cancellation_credit(paid(10000, given_back=9000), at, APRIL, DAY)) == [-1000]
    free = plan_change(paid(10000, discounted=0), usd(20000), at, APRIL, DAY)
    assert (cents(free.lines), free.still_paid) == ([10000], ())


def test_a_coupon_of_today_does_not_shrink_what_an_upgrade_gives_back() -> None:
    """Paid 100.00, then half price and 200.00 at half of the period: 50.00 back, 100.00 at half price, nothing due."""
    lines = plan_change(paid(10000), usd(20000), utc("2025-04-16"), APRIL, DAY).lines
    computed = compute_invoice(invoiced(lines), USD, coupons=[percent_off(50)])
    assert [(one.amount.amount, one.discount.amount) for one in computed.lines] == [(-5000, 0), (10000, 5000)]
    assert computed.due == usd(0)


def test_a_credit_bears_the_tax_of_the_invoice_that_charged_it() -> None:
    old, new = tax_rate(19, "vat"), tax_rate(20, "vat")
    lines = plan_change(paid(10000, old), usd(20000), utc("2025-04-16"), APRIL, DAY).lines
    computed = compute_invoice(invoiced(lines, new), USD)
    assert [one.tax.amount for one in computed.lines] == [-950, 2000]


def test_each_charge_that_paid_the_period_is_given_back_for_itself() -> None:
    """100.00 at half price, then 50.00 more without credit from the 11th on; both end with credit on the 16th."""
    first = paid(10000, discounted=5000)
    more = plan_change(first, usd(15000), utc("2025-04-11"), APRIL, NO_CREDIT)
    assert cents(more.lines) == [3333]
    both = (*more.still_paid, charge_paid(more.lines[0], line_id="line_2"))
    credits_given = cancellation_credit(both, utc("2025-04-16"), APRIL, DAY)
    assert cents(credits_given) == [-2500, -2500]
    assert [line.gives_back for line in credits_given] == list(both)
    assert after_credit(both[1], credits_given[1]).left == usd(833)


def test_prices_of_two_currencies_are_refused_in_one_change() -> None:
    euros = Money(20000, currency_code("EUR"))
    at = utc("2025-04-16")
    for policy in (DAY, NO_CREDIT, AT_END, replace(DAY, reset_anchor=True)):
        with pytest.raises(CurrencyMismatch):
            plan_change(paid(10000), euros, at, APRIL, policy)
    with pytest.raises(CurrencyMismatch):
        changes_in_period(paid(10000), [PriceFrom(at=at, price=euros)], APRIL, DAY)
    with pytest.raises(CurrencyMismatch):
        arrears_charges([PriceFrom(at=at, price=usd(1)), PriceFrom(at=at, price=euros)], APRIL, DAY)


def invoiced(lines: tuple[ProrationLine, ...], *tax_rates: TaxRate) -> list[InvoiceLine]:
    return [
        amount_line(
            line,
            line_id=f"l{index}",
            product_id="product",
            discountable=True,
            tax_rates=tax_rates,
            tax_inclusive=False,
        )
        for index, line in enumerate(lines)
    ]


def test_what_is_outside_the_period_is_refused() -> None:
    policy = DAY
    for at in (utc("2025-03-31"), APRIL.period.end):
        for outside in (
            lambda at: start_charge(usd(1), at, APRIL, policy),
            lambda at: plan_change(paid(1), usd(2), at, APRIL, policy),
            lambda at: plan_change(paid(1), usd(2), at, APRIL, AT_END),
            lambda at: cancellation_credit(paid(1), at, APRIL, policy),
            lambda at: pause_credit(paid(1), at, APRIL, policy),
            lambda at: resume_charge(usd(1), utc("2025-03-01"), at, APRIL, policy),
            lambda at: split_period(usd(1), [at], APRIL, ProrationBasis.DAY),
            lambda at: arrears_charges([], APRIL, policy, canceled_at=at),
        ):
            with pytest.raises(OutsidePeriod) as refused:
                outside(at)
            assert refused.value.details == {
                "at": at.isoformat().replace("+00:00", "Z"),
                "start": "2025-04-01T00:00:00Z",
                "end": "2025-05-01T00:00:00Z",
            }


def test_several_changes_do_not_reset_the_anchor() -> None:
    policy = ProrationPolicy(rounding=HALF_UP, basis=ProrationBasis.DAY, reset_anchor=True)
    with pytest.raises(ValueError, match="begins another period"):
        changes_in_period(paid(100), [PriceFrom(at=utc("2025-04-16"), price=usd(200))], APRIL, policy)


def test_changes_net_out_as_far_as_the_basis_can_tell_them_apart() -> None:
    morning, evening = utc("2025-04-16T06:00"), utc("2025-04-16T18:00")
    changes = [PriceFrom(at=morning, price=usd(30000)), PriceFrom(at=evening, price=usd(20000))]
    for policy in (DAY, INCLUSIVE, FIXED_30):
        assert cents(changes_in_period(paid(10000), changes, APRIL, policy)) == [-5000, 10000]
    assert len(changes_in_period(paid(10000), changes, APRIL, SECOND)) == 4
    twice = [PriceFrom(at=morning, price=usd(30000)), PriceFrom(at=morning, price=usd(20000))]
    assert len(changes_in_period(paid(10000), twice, APRIL, SECOND)) == 2
    assert changes_in_period(paid(10000), twice, APRIL, SECOND)[1].price == usd(20000)
    back = [PriceFrom(at=morning, price=usd(30000)), PriceFrom(at=evening, price=usd(10000))]
    assert changes_in_period(paid(10000), back, APRIL, DAY) == ()


def test_changes_are_taken_in_order_of_time() -> None:
    changes = [PriceFrom(at=utc("2025-04-21"), price=usd(20000)), PriceFrom(at=utc("2025-04-11"), price=usd(30000))]
    assert cents(changes_in_period(paid(10000), changes, APRIL, DAY)) == [-6667, 20000, -10000, 6667]


def test_resuming_in_a_period_that_is_still_paid_for_costs_nothing() -> None:
    paused, resumed = utc("2025-04-10"), utc("2025-04-20")
    assert resume_charge(usd(3000), paused, resumed, APRIL, NO_CREDIT) == ()
    assert cents(resume_charge(usd(3000), paused, resumed, APRIL, DAY)) == [1100]
    assert cents(resume_charge(usd(3000), utc("2025-03-10"), resumed, APRIL, NO_CREDIT)) == [1100]


@given(divided_periods(), bases, period_prices)
def test_a_change_to_the_same_price_costs_nothing(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, price: int
) -> None:
    service, cuts = divided
    policy = ProrationPolicy(rounding=HALF_UP, basis=basis)
    assert plan_change(paid(price), usd(price), cuts[0], service, policy).lines == ()
    credit = pause_credit(paid(price), cuts[0], service, policy)
    charge = resume_charge(usd(price), cuts[0], cuts[0], service, policy)
    assert sum_money((line.amount for line in (*credit, *charge)), USD).is_zero


@given(divided_periods(), bases, st.lists(period_prices, min_size=2, max_size=4))
def test_several_changes_at_one_instant_cost_what_the_last_of_them_costs(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, prices: list[int]
) -> None:
    service, cuts = divided
    policy = ProrationPolicy(rounding=HALF_UP, basis=basis)
    at = cuts[0]
    one_by_one = [
        line.amount.amount
        for old, new in pairwise(prices)
        for line in plan_change(paid(old), usd(new), at, service, policy).lines
    ]
    net = changes_in_period(
        paid(prices[0]), [PriceFrom(at=at, price=usd(price)) for price in prices[1:]], service, policy
    )
    assert sum(cents(net)) == sum(one_by_one)
    assert len(net) <= 2


@given(divided_periods(), bases, st.integers(0, 10**9), st.integers(0, 100))
def test_a_credit_is_never_more_than_was_paid(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, price: int, percent_off: int
) -> None:
    service, cuts = divided
    policy = ProrationPolicy(rounding=HALF_UP, basis=basis)
    charges = start_charge(usd(price), cuts[0], service, policy)
    charged = [charge_paid(line, discounted=times(line.amount, Fraction(percent_off, 100))) for line in charges]
    credit = sum(cents(cancellation_credit(charged, cuts[-1], service, policy)))
    assert 0 <= -credit <= sum(charge.discounted.amount for charge in charged) <= price


@given(divided_periods(), bases, st.lists(period_prices, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_series_of_changes_never_gives_back_more_than_each_charge_was_paid(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, prices: list[int], random: Random
) -> None:
    """With discounts on some invoices and without credit now and then."""
    service, cuts = divided
    at_once = [service.period.start, *cuts]
    charged: tuple[PaidCharge, ...] = paid(prices[0], discounted=random.randint(0, prices[0]))
    total = charged[0].discounted.amount
    for at, price in zip(at_once, prices[1:], strict=False):
        policy = ProrationPolicy(rounding=HALF_UP, basis=basis, credit_unused=random.random() < 0.7)
        change = plan_change(charged, usd(price), at, service, policy)
        for line in change.lines:
            if line.gives_back is not None:
                assert -line.amount <= line.gives_back.discounted
        new = [
            charge_paid(line, discounted=usd(random.randint(0, line.amount.amount)))
            for line in change.lines
            if line.kind is LineKind.CHARGE
        ]
        charged = (*change.still_paid, *new)
        total += sum(line.amount.amount for line in change.lines if line.kind is LineKind.CREDIT)
        total += sum(charge.discounted.amount for charge in new)
        assert total >= 0


@given(divided_periods(), bases, st.lists(period_prices, min_size=2, max_size=6))
def test_without_credit_nothing_is_ever_charged_twice(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, prices: list[int]
) -> None:
    """Whatever the ups and downs, the period costs at most its highest price: each line is rounded by half a cent."""
    service, cuts = divided
    policy = ProrationPolicy(rounding=HALF_UP, basis=basis, credit_unused=False)
    changes = [PriceFrom(at=at, price=usd(price)) for at, price in zip(cuts * 6, prices[1:], strict=False)]
    lines = changes_in_period(paid(prices[0]), changes, service, policy)
    in_order = [change.price.amount for change in sorted(changes, key=lambda change: change.at)]
    assert all(line.amount.amount >= 0 for line in lines)
    assert prices[0] + sum(cents(lines)) <= max(prices[0], *in_order) + Fraction(len(lines), 2)


@given(divided_periods(), bases, period_prices)
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


@given(divided_periods(), bases_that_tile, period_prices)
def test_arrears_of_one_price_cost_the_whole_period_however_it_is_cut(
    divided: tuple[ServicePeriod, list[datetime]], basis: ProrationBasis, price: int
) -> None:
    service, cuts = divided
    prices = [PriceFrom(at=at, price=usd(price)) for at in [service.period.start, *cuts]]
    lines = arrears_charges(prices, service, ProrationPolicy(rounding=HALF_UP, basis=basis))
    if price:
        assert sum(line.share for line in lines) == 1
    assert 2 * abs(sum(cents(lines)) - price) <= len(lines)


# --- the oracle ------------------------------------------------------------------------------------------------------


def test_credits_agree_with_the_oracle_under_every_basis() -> None:
    random = seeded()
    for _ in range(CASES):
        anchor = local("2020-01-01") + timedelta(hours=random.randrange(5 * 365 * 24))
        schedule = BillingCycle(
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
            lines = cancellation_credit(paid(price), at, service, ProrationPolicy(rounding=HALF_UP, basis=basis))
            assert sum(cents(lines)) == oracle_proration.credit(price, share), (basis, anchor, at, price)
            if basis is not ProrationBasis.DAY_INCLUSIVE:
                charge = start_charge(usd(price), at, service, ProrationPolicy(rounding=HALF_UP, basis=basis))
                assert sum(cents(charge)) == oracle_money.half_up(price * share), (basis, anchor, at, price)


def test_instants_of_service_are_utc() -> None:
    assert APRIL.period.start.tzinfo is UTC
