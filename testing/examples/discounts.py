"""Facts and commands that the specifications of coupons and discounts are told with."""

from decimal import Decimal
from typing import Any

from domain.discounts.commands import ApplyCouponToCustomer
from domain.discounts.computation import AmountOff, CouponDuration, Discount, PercentOff
from domain.discounts.coupon import CouponTerms, CreateCoupon
from domain.discounts.discount import DiscountApplied, DiscountAttached, DiscountEnd, DiscountEnded
from domain.invoicing.invoice_discount import InvoiceDiscount, LineDiscount
from domain.subscriptions.commands import RequestedCoupon
from domain.subscriptions.discount_commands import ApplyCouponToSubscription
from testing.examples.streams import CUSTOMER_ID, SUBSCRIPTION_ID, USD, id_of, usd
from testing.specification import NOW

COUPON_ID = id_of("coup_")
DISCOUNT_ID = id_of("disc_")


def percent(of: str | int) -> PercentOff:
    return PercentOff(percent=Decimal(of))


def amount(minor: int) -> AmountOff:
    return AmountOff(amount=usd(minor))


def terms(off: Discount | None = None, **changes: Any) -> CouponTerms:
    """Ten per cent, once, unless said otherwise."""
    facts: dict[str, Any] = {"name": "Welcome", "off": off or percent(10), "duration": CouponDuration.ONCE}
    if "periods" in changes:
        facts["duration"] = CouponDuration.REPEATING
    return CouponTerms(**facts | changes)


def forever(off: Discount | None = None) -> CouponTerms:
    return terms(off, duration=CouponDuration.FOREVER)


def create_coupon(of: CouponTerms | None = None, n: int = 1, **changes: Any) -> CreateCoupon:
    return CreateCoupon(coupon_id=id_of("coup_", n), terms=of or terms(), **changes)


def apply_to_customer(n: int = 1, *, discount: int | None = None) -> ApplyCouponToCustomer:
    """The n-th coupon, as the n-th discount unless another is named."""
    return ApplyCouponToCustomer(
        discount_id=id_of("disc_", discount or n), coupon_id=id_of("coup_", n), customer_id=CUSTOMER_ID
    )


def apply_to_subscription(n: int = 1, *, discount: int | None = None) -> ApplyCouponToSubscription:
    """The n-th coupon, as the n-th discount unless another is named."""
    return ApplyCouponToSubscription(
        discount_id=id_of("disc_", discount or n), coupon_id=id_of("coup_", n), subscription_id=SUBSCRIPTION_ID
    )


def begins_with(*numbers: int) -> tuple[RequestedCoupon, ...]:
    return tuple(RequestedCoupon(coupon_id=id_of("coup_", n), discount_id=id_of("disc_", n)) for n in numbers)


def attached(of: CouponTerms | None = None, n: int = 1, **changes: Any) -> DiscountAttached:
    facts: dict[str, Any] = {
        "discount_id": id_of("disc_", n),
        "coupon_id": id_of("coup_", n),
        "customer_id": CUSTOMER_ID,
        "subscription_id": None,
        "terms": of or terms(),
        "currency": USD,
        "attached_at": NOW,
    }
    return DiscountAttached(**facts | changes)


def applied(invoice_id: str, off: int, at: Any, n: int = 1, *, periods: int = 1) -> DiscountApplied:
    return DiscountApplied(
        discount_id=id_of("disc_", n), invoice_id=invoice_id, amount=usd(off), periods=periods, applied_at=at
    )


def ended(reason: DiscountEnd, at: Any, n: int = 1, *, of_subscription: bool = False) -> DiscountEnded:
    return DiscountEnded(
        discount_id=id_of("disc_", n),
        customer_id=CUSTOMER_ID,
        subscription_id=SUBSCRIPTION_ID if of_subscription else None,
        reason=reason,
        ended_at=at,
    )


def line_discount(off: int, n: int = 1) -> LineDiscount:
    return LineDiscount(discount_id=id_of("disc_", n), coupon_id=id_of("coup_", n), amount=usd(off))


def invoice_discount(off: int, of: CouponTerms | None = None, n: int = 1, *, periods: int = 1) -> InvoiceDiscount:
    return InvoiceDiscount(
        discount_id=id_of("disc_", n), coupon_id=id_of("coup_", n), terms=of or terms(), periods=periods, amount=usd(off)
    )
