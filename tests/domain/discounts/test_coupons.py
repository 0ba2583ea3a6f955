"""Coupons: what they take off which line, when they end, and which are refused."""

from datetime import timedelta
from decimal import Decimal

import pytest

from domain.discounts.computation import (
    AmountOff,
    Coupon,
    CouponDuration,
    CouponExhausted,
    CouponExpired,
    CouponInOtherCurrency,
    DiscountableLine,
    InvalidCoupon,
    PercentOff,
    check_coupon,
    check_redeemable,
    is_used_up,
)
from domain.kernel.allocation import split_over_lines
from domain.kernel.money import Money
from domain.kernel.percent import factor_of
from domain.kernel.refusal import RefusalKind
from domain.kernel.rounding import Rounding
from testing.examples.half_up import discounts_on
from testing.examples.pricing import JPY, NEW_YEAR, USD, amount_off, percent_off, usd


def taken_off(
    amounts: list[tuple[str, int]], *coupons: Coupon, rounding: Rounding = Rounding.HALF_UP
) -> list[tuple[str, int, list[int]]]:
    lines = [DiscountableLine(product, usd(amount), discountable=True) for product, amount in amounts]
    return [
        (applied.coupon_id, applied.amount.amount, [part.amount for part in applied.by_line])
        for applied in discounts_on(lines, coupons, USD, rounding)
    ]


def test_percentages_come_first_then_fixed_amounts_each_in_the_order_given() -> None:
    coupons = [amount_off(10, "f1"), percent_off(50, "p1"), amount_off(20, "f2"), percent_off(10, "p2")]
    assert taken_off([("a", 1000)], *coupons) == [
        ("p1", 500, [500]),
        ("p2", 50, [50]),
        ("f1", 10, [10]),
        ("f2", 20, [20]),
    ]


def test_a_restricted_coupon_takes_off_its_products_only() -> None:
    lines = [("a", 1000), ("b", 500), ("c", 300)]
    assert taken_off(lines, percent_off(10, products=("a", "c"))) == [("percent", 130, [100, 0, 30])]
    assert taken_off(lines, amount_off(900, products=("b",))) == [("fixed", 500, [0, 500, 0])]
    assert taken_off(lines, amount_off(900, products=("z",))) == [("fixed", 0, [0, 0, 0])]


def test_a_percentage_is_rounded_once_on_the_sum_by_the_chosen_rule() -> None:
    assert taken_off([("a", 5), ("b", 0)], percent_off(50)) == [("percent", 3, [3, 0])]
    assert taken_off([("a", 5), ("b", 0)], percent_off(50), rounding=Rounding.HALF_EVEN) == [("percent", 2, [2, 0])]
    assert taken_off([("a", 5), ("b", 5)], percent_off(50)) == [("percent", 5, [3, 2])]


def test_a_credit_is_not_discounted_and_leaves_the_discount_of_the_charges_alone() -> None:
    assert taken_off([("a", 1500), ("b", -500)], percent_off(10)) == [("percent", 150, [150, 0])]
    assert taken_off([("a", 1500), ("b", -500)], amount_off(2000)) == [("fixed", 1500, [1500, 0])]
    assert taken_off([("a", -500), ("b", 500)], amount_off(2000)) == [("fixed", 500, [0, 500])]
    assert taken_off([("a", -500)], percent_off(50), amount_off(5)) == [("percent", 0, [0]), ("fixed", 0, [0])]


def test_a_line_that_is_not_discountable_keeps_its_amount() -> None:
    lines = [DiscountableLine("a", usd(1000), discountable=True), DiscountableLine("a", usd(500), discountable=False)]
    applied = discounts_on(lines, [percent_off(10), amount_off(2000)], USD)
    assert [one.by_line for one in applied] == [(usd(100), usd(0)), (usd(900), usd(0))]


def test_a_fixed_coupon_does_nothing_on_an_invoice_in_another_currency() -> None:
    lines = [DiscountableLine("a", Money(1000, JPY), discountable=True)]
    (applied,) = discounts_on(lines, [amount_off(500)], JPY)
    assert (applied.amount, applied.by_line) == (Money(0, JPY), (Money(0, JPY),))
    (applied,) = discounts_on(lines, [percent_off(5)], JPY)
    assert applied.amount == Money(50, JPY)


@pytest.mark.parametrize(
    ("coupon", "used_up_after"),
    [
        (Coupon(coupon_id="c", discount=PercentOff(percent=Decimal(5))), 1),
        (
            Coupon(
                coupon_id="c",
                discount=PercentOff(percent=Decimal(5)),
                duration=CouponDuration.REPEATING,
                periods=3,
            ),
            3,
        ),
    ],
)
def test_a_coupon_ends_after_its_periods(coupon: Coupon, used_up_after: int) -> None:
    check_coupon(coupon)
    assert [is_used_up(coupon, periods) for periods in range(5)] == [periods >= used_up_after for periods in range(5)]


def test_a_coupon_for_ever_never_ends() -> None:
    coupon = Coupon(coupon_id="c", discount=AmountOff(amount=usd(1)), duration=CouponDuration.FOREVER)
    check_coupon(coupon)
    assert is_used_up(coupon, 10**6) is False


def limited(max_redemptions: int | None = None, before: int | None = None) -> Coupon:
    return Coupon(
        coupon_id="c",
        discount=AmountOff(amount=usd(1)),
        max_redemptions=max_redemptions,
        redeem_before=None if before is None else NEW_YEAR + timedelta(seconds=before),
    )


def test_a_coupon_is_redeemed_as_often_as_it_may_be() -> None:
    check_redeemable(limited(2), 1, USD, NEW_YEAR)
    check_redeemable(limited(), 10**6, USD, NEW_YEAR)
    with pytest.raises(CouponExhausted) as refused:
        check_redeemable(limited(2), 2, USD, NEW_YEAR)
    assert refused.value.details == {"coupon_id": "c", "max_redemptions": 2}


def test_a_coupon_is_redeemed_before_its_last_instant() -> None:
    check_redeemable(limited(before=1), 0, USD, NEW_YEAR)
    with pytest.raises(CouponExpired) as refused:
        check_redeemable(limited(before=0), 0, USD, NEW_YEAR)
    assert refused.value.details == {"coupon_id": "c", "redeem_before": "2026-01-01T00:00:00Z"}


def test_a_fixed_coupon_is_redeemed_in_its_own_currency() -> None:
    with pytest.raises(CouponInOtherCurrency) as refused:
        check_redeemable(limited(), 0, JPY, NEW_YEAR)
    assert refused.value.details == {"coupon_id": "c", "currency": "USD"}
    check_redeemable(percent_off(5), 0, JPY, NEW_YEAR)


@pytest.mark.parametrize("percent", ["0.001", "100"])
def test_a_sound_percentage_is_not_refused(percent: str) -> None:
    check_coupon(percent_off(percent))


REPEATING = CouponDuration.REPEATING


def lasting(duration: CouponDuration, periods: int | None) -> Coupon:
    return Coupon(coupon_id="c", discount=AmountOff(amount=usd(1)), duration=duration, periods=periods)


@pytest.mark.parametrize(
    ("coupon", "field", "reason"),
    [
        (percent_off(0), "percent", "must be above 0 and at most 100"),
        (percent_off(-1), "percent", "must be above 0 and at most 100"),
        (percent_off("100.001"), "percent", "must be above 0 and at most 100"),
        (percent_off("NaN"), "percent", "must be above 0 and at most 100"),
        (amount_off(0), "amount", "must be above zero"),
        (amount_off(-1), "amount", "must be above zero"),
        (limited(0), "max_redemptions", "must be at least 1"),
        (lasting(CouponDuration.ONCE, 2), "periods", "goes with a repeating coupon, and only with one"),
        (lasting(REPEATING, None), "periods", "goes with a repeating coupon, and only with one"),
        (lasting(REPEATING, 0), "periods", "must be at least 1"),
    ],
)
def test_an_unsound_coupon_is_refused(coupon: Coupon, field: str, reason: str) -> None:
    with pytest.raises(InvalidCoupon) as refused:
        check_coupon(coupon)
    assert refused.value.details == {"field": field, "reason": reason}
    assert refused.value.kind is RefusalKind.INVALID


def test_a_single_redemption_and_a_single_period_are_enough() -> None:
    check_coupon(limited(1))
    check_coupon(Coupon(coupon_id="c", discount=AmountOff(amount=usd(1)), duration=CouponDuration.REPEATING, periods=1))


def split(total: int, *lines: int, percent: str) -> list[int]:
    parts = split_over_lines(usd(total), [usd(line) for line in lines], factor_of(Decimal(percent)))
    return [part.amount for part in parts]


def test_a_split_over_lines_of_one_sign_is_in_proportion() -> None:
    assert split(100, 100, 200, percent="33.3") == [33, 67]
    assert split(-3, -5, -5, percent="30") == [-2, -1]
    assert split(2, 1, 5, percent="25") == [0, 2]
    assert split(0, 1, 1, percent="1") == [0, 0]
    assert split(0, 0, 0, percent="20") == [0, 0]


def test_a_split_over_charges_and_credits_starts_from_each_lines_own_share() -> None:
    assert split(1, 1000, -999, percent="50") == [500, -499]
    assert split(0, 1000, -1000, percent="20") == [200, -200]
    assert split(0, 3, 0, -3, percent="50") == [2, 0, -2]
    assert split(-1, 3, 0, -3, percent="50") == [1, 0, -2]
    assert split(-2, 3, 0, -3, percent="50") == [1, 0, -3]
    assert split(2, 3, 0, -3, percent="50") == [3, 0, -1]
