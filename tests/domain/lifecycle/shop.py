"""What is sold in the lives of customers, and the coupons that there are."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from domain.catalog.plan import CreatePlan, PlanTerms
from domain.catalog.price import CreatePrice
from domain.discounts.computation import AmountOff, CouponDuration, Discount, PercentOff
from domain.discounts.coupon import CouponTerms, CreateCoupon
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.stream import Command
from domain.pricing.models import PerUnit
from testing.examples.pricing import graduated
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    IN_ARREARS,
    PLAN_ID,
    PRICE_ID,
    PRODUCT_ID,
    USD,
    flat,
    id_of,
    plan_on_sale,
    usd,
)

SEATS, TIERED, YEARLY, QUARTER, ADD_ON = (id_of("price_", n) for n in (3, 4, 5, 6, 7))
BIG_SEATS, BIG_CALLS = id_of("price_", 8), id_of("price_", 9)
BIG_PLAN, ADD_ON_PLAN = id_of("plan_", 2), id_of("plan_", 3)
YEAR = Interval(IntervalUnit.YEAR)
MONTH = Interval(IntervalUnit.MONTH)
BY_THE_UNIT: Final = frozenset({SEATS, TIERED, ARREARS_PRICE_ID, BIG_SEATS, BIG_CALLS})
OF_PLAN: Final[Mapping[str, tuple[str, ...]]] = {
    PLAN_ID: (PRICE_ID, SEATS, ARREARS_PRICE_ID, TIERED, YEARLY, QUARTER, ADD_ON),
    BIG_PLAN: (BIG_SEATS, BIG_CALLS, ADD_ON),
}


def per_unit(amount: str) -> PerUnit:
    return PerUnit(currency=USD, unit_amount=Decimal(amount))


def _coupon(n: int, off: Discount, duration: CouponDuration, periods: int | None = None) -> CreateCoupon:
    terms = CouponTerms(name=f"Coupon {n}", off=off, duration=duration, periods=periods)
    return CreateCoupon(coupon_id=id_of("coup_", n), terms=terms)


COUPONS: Final = (
    _coupon(1, PercentOff(percent=Decimal(25)), CouponDuration.FOREVER),
    _coupon(2, PercentOff(percent=Decimal("33.3")), CouponDuration.REPEATING, 3),
    _coupon(3, AmountOff(amount=usd(700)), CouponDuration.FOREVER),
    _coupon(4, PercentOff(percent=Decimal(40)), CouponDuration.ONCE),
)
CATALOGUE: Final[tuple[Command, ...]] = (
    *plan_on_sale(in_advance=flat(2_800), in_arrears=per_unit("1999.5")),
    CreatePrice(price_id=SEATS, plan_id=PLAN_ID, name="Seats", price=per_unit("1250.5")),
    CreatePrice(price_id=TIERED, plan_id=PLAN_ID, name="Tiers", price=graduated((2, "1010.5", 900), (None, 905, 950))),
    CreatePrice(price_id=YEARLY, plan_id=PLAN_ID, name="Yearly", price=flat(36_500), interval=YEAR),
    CreatePrice(
        price_id=QUARTER,
        plan_id=PLAN_ID,
        name="Quarterly",
        price=flat(9_001),
        interval=Interval(IntervalUnit.QUARTER),
        timing=IN_ARREARS,
    ),
    CreatePlan(plan_id=BIG_PLAN, product_id=PRODUCT_ID, terms=PlanTerms(name="Big", interval=MONTH)),
    CreatePrice(price_id=BIG_SEATS, plan_id=BIG_PLAN, name="Seats", price=per_unit("4200")),
    CreatePrice(price_id=BIG_CALLS, plan_id=BIG_PLAN, name="Calls", price=per_unit("3100"), timing=IN_ARREARS),
    CreatePlan(
        plan_id=ADD_ON_PLAN, product_id=PRODUCT_ID, is_add_on=True, terms=PlanTerms(name="More", interval=MONTH)
    ),
    CreatePrice(price_id=ADD_ON, plan_id=ADD_ON_PLAN, name="More", price=flat(1_400)),
    *COUPONS,
)
