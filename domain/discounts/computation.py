"""Coupons: what they take off an invoice's lines, in which order, and how long they last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money, allocate, sum_money, times
from domain.kernel.percent import factor_of
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding

HUNDRED_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PercentOff:
    """Per cent of what is left of the lines: above 0, at most 100."""

    percent: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountOff:
    """A fixed amount, at most what is left of the lines; it only works in its own currency."""

    amount: Money


Discount: TypeAlias = PercentOff | AmountOff


class CouponDuration(StrEnum):
    """For how many billed periods of a customer a coupon lasts."""

    ONCE = "once"
    REPEATING = "repeating"
    FOREVER = "forever"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A discount and its limits. `periods`: how many, for REPEATING only. `product_ids`: empty means all products."""

    coupon_id: str
    discount: Discount
    duration: CouponDuration = CouponDuration.ONCE
    periods: int | None = None
    product_ids: tuple[str, ...] = ()
    max_redemptions: int | None = None
    redeem_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponOnLines:
    """A coupon that may touch some lines alone, by their places: what it is billed with, or has periods left for."""

    coupon: Coupon
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DiscountableLine:
    """A line before coupons. One that is not `discountable` keeps its amount, as every credit does."""

    product_id: str
    amount: Money
    discountable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedDiscount:
    """What one coupon took off: `amount` in all, `by_line` in the order of the lines; all of it zero or more."""

    coupon_id: str
    amount: Money
    by_line: tuple[Money, ...]


class InvalidCoupon(Refusal):
    """The coupon cannot be offered as it stands."""

    code = "invalid_coupon"
    kind = RefusalKind.INVALID
    param = "coupon"


class CouponExhausted(Refusal):
    """The coupon was redeemed as often as it may be."""

    code = "coupon_exhausted"
    param = "coupon"


class CouponExpired(Refusal):
    """The coupon can no longer be redeemed."""

    code = "coupon_expired"
    param = "coupon"


class CouponInOtherCurrency(Refusal):
    """The coupon takes off a fixed amount in another currency than the customer's."""

    code = "coupon_in_other_currency"
    param = "coupon"


def check_coupon(coupon: Coupon) -> None:
    """Refuse a coupon that takes off nothing or more than everything, or whose limits make no sense."""
    match coupon.discount:
        case PercentOff(percent=percent):
            if not percent.is_finite() or not 0 < percent <= HUNDRED_PERCENT:
                raise InvalidCoupon(field="percent", reason="must be above 0 and at most 100").at("percent_off")
        case AmountOff(amount=amount):
            if amount.amount <= 0:
                raise InvalidCoupon(field="amount", reason="must be above zero").at("amount_off")
    if (coupon.duration is CouponDuration.REPEATING) != (coupon.periods is not None):
        raise InvalidCoupon(field="periods", reason="goes with a repeating coupon, and only with one").at("periods")
    if coupon.periods is not None and coupon.periods < 1:
        raise InvalidCoupon(field="periods", reason="must be at least 1").at("periods")
    if coupon.max_redemptions is not None and coupon.max_redemptions < 1:
        raise InvalidCoupon(field="max_redemptions", reason="must be at least 1").at("max_redemptions")


def check_redeemable(coupon: Coupon, redemptions: int, currency: CurrencyCode, now: datetime) -> None:
    """Refuse to attach a coupon: `redemptions` is how often it was attached before, `currency` the customer's.

    Raises CouponExhausted, CouponExpired (at `redeem_before` it is too late), CouponInOtherCurrency.
    """
    if coupon.max_redemptions is not None and redemptions >= coupon.max_redemptions:
        raise CouponExhausted(coupon_id=coupon.coupon_id, max_redemptions=coupon.max_redemptions)
    if coupon.redeem_before is not None and now >= coupon.redeem_before:
        raise CouponExpired(coupon_id=coupon.coupon_id, redeem_before=coupon.redeem_before)
    if isinstance(coupon.discount, AmountOff) and coupon.discount.amount.currency != currency:
        raise CouponInOtherCurrency(coupon_id=coupon.coupon_id, currency=coupon.discount.amount.currency)


def is_used_up(coupon: Coupon, periods_discounted: int) -> bool:
    """Whether a coupon that has discounted so many periods of a customer has ended.

    A period counts even if less than the coupon's fixed amount was left to discount; the rest is not carried over (this
    project's policy).
    """
    match coupon.duration:
        case CouponDuration.ONCE:
            return periods_discounted >= 1
        case CouponDuration.REPEATING:
            return periods_discounted >= (coupon.periods or 0)
        case CouponDuration.FOREVER:
            return False


def discounts_on(
    lines: Sequence[DiscountableLine],
    coupons: Sequence[Coupon | CouponOnLines],
    currency: CurrencyCode,
    rounding: Rounding,
) -> tuple[AppliedDiscount, ...]:
    """What each coupon takes off, in the order of application: percentages first, then fixed amounts, else as given.

    A coupon is computed once, on the sum of what is left of the discountable lines of its products (and of those that
    it may touch, where it names them), rounded to minor
    units by `rounding` (percent), and capped at that sum (fixed). It is split over those lines in proportion, so none
    is discounted below zero. A credit is never discounted, whatever its line says: it gives back what was paid for it,
    and a discount of today would take away from that. A sum of zero gets no discount; nor does an invoice in another
    currency than a fixed coupon's. The order and the split are vectors 22 to 24, from other engines' suites.
    """
    left = [line.amount for line in lines]
    applied: list[AppliedDiscount] = []
    every_line = range(len(lines))
    named = [(one.coupon, one.lines) if isinstance(one, CouponOnLines) else (one, every_line) for one in coupons]
    in_order = sorted(named, key=lambda one: isinstance(one[0].discount, AmountOff))  # stable
    for coupon, touched in in_order:
        chosen = [
            index
            for index in touched
            if (line := lines[index]).discountable
            and line.amount.amount > 0
            and (not coupon.product_ids or line.product_id in coupon.product_ids)
        ]
        parts = _discount_parts(coupon.discount, [left[index] for index in chosen], currency, rounding)
        by_line = [Money.zero(currency) for _ in lines]
        for index, part in zip(chosen, parts, strict=True):
            by_line[index] = part
            left[index] -= part
        applied.append(
            AppliedDiscount(coupon_id=coupon.coupon_id, amount=sum_money(by_line, currency), by_line=tuple(by_line))
        )
    return tuple(applied)


def _discount_parts(
    discount: Discount, left: Sequence[Money], currency: CurrencyCode, rounding: Rounding
) -> list[Money]:
    base = sum_money(left, currency)
    nothing = [Money.zero(currency) for _ in left]
    if base.is_zero:
        return nothing
    match discount:
        case PercentOff(percent=percent):
            return allocate(times(base, factor_of(percent), rounding), [line.amount for line in left])
        case AmountOff(amount=amount):
            if amount.currency != currency:
                return nothing
            return allocate(min(amount, base), [line.amount for line in left])
