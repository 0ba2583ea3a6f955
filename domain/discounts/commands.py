"""What is decided about coupons: making, redeeming for a customer, archiving, deleting."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.catalog.product import PRODUCT, ProductFreed, ProductNotFound, ProductUsed, living
from domain.customers.customer import CUSTOMER, Customer, customer_time, open_for_business
from domain.customers.discounts import CustomerDiscountAttached
from domain.discounts.computation import InvalidCoupon, check_coupon, check_redeemable
from domain.discounts.coupon import (
    COUPON,
    ArchiveCoupon,
    CouponArchived,
    CouponCreated,
    CouponDeleted,
    CouponInUse,
    CouponRedeemed,
    CreateCoupon,
    DeleteCoupon,
    computable,
    on_offer,
)
from domain.discounts.discount import (
    DISCOUNT,
    MAX_DISCOUNTS,
    CouponAlreadyApplied,
    DiscountAttached,
    TooManyDiscounts,
)
from domain.kernel.metadata import Metadata
from domain.kernel.stream import Change, Decision, Handler, Streams

MAX_COUPON_PRODUCTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyCouponToCustomer:
    """From now on, on whatever the customer is billed."""

    discount_id: str
    coupon_id: str
    customer_id: str
    metadata: Metadata = ()


def create_coupon(command: CreateCoupon, streams: Streams, now: datetime) -> Decision:
    """Raises InvalidCoupon, ProductNotFound."""
    COUPON.check_new(streams, command.coupon_id)
    terms = command.terms
    check_coupon(computable(command.coupon_id, terms, command.max_redemptions, command.redeem_before))
    if len(terms.product_ids) > MAX_COUPON_PRODUCTS:
        raise InvalidCoupon(products=len(terms.product_ids), most=MAX_COUPON_PRODUCTS).at("products")
    for nth, product_id in enumerate(terms.product_ids):
        if product_id in terms.product_ids[:nth]:
            raise InvalidCoupon(product=product_id, reason="named twice").at(f"products.{nth}")
        try:
            living(streams, product_id)
        except ProductNotFound as refused:
            raise refused.at(f"products.{nth}") from None
    created = CouponCreated(
        coupon_id=command.coupon_id,
        terms=terms,
        max_redemptions=command.max_redemptions,
        redeem_before=command.redeem_before,
        metadata=command.metadata,
        created_at=now,
    )
    used = [PRODUCT.change(ProductUsed(product_id=each, by=command.coupon_id)) for each in terms.product_ids]
    return Decision(now, [COUPON.change(created), *used])


def archive_coupon(command: ArchiveCoupon, streams: Streams, now: datetime) -> Decision:
    if COUPON.of(streams, command.coupon_id).archived_at is not None:
        return Decision(now, [])
    return Decision(now, [COUPON.change(CouponArchived(coupon_id=command.coupon_id, archived_at=now))])


def delete_coupon(command: DeleteCoupon, streams: Streams, now: datetime) -> Decision:
    """Raises CouponInUse for one that was ever redeemed."""
    coupon = COUPON.of(streams, command.coupon_id)
    if coupon.times_redeemed:
        raise CouponInUse(coupon=command.coupon_id, redemptions=coupon.times_redeemed)
    if coupon.deleted_at is not None:
        return Decision(now, [])
    freed = [PRODUCT.change(ProductFreed(product_id=each, by=coupon.coupon_id)) for each in coupon.terms.product_ids]
    return Decision(now, [COUPON.change(CouponDeleted(coupon_id=command.coupon_id, deleted_at=now)), *freed])


def apply_coupon_to_customer(command: ApplyCouponToCustomer, streams: Streams, now: datetime) -> Decision:
    customer = open_for_business(streams, command.customer_id)
    at = customer_time(streams, customer, now)
    held = [each.discount_id for each in customer.discounts if each.removed_at is None]
    redeemed = redeem(
        streams,
        coupon_id=command.coupon_id,
        discount_id=command.discount_id,
        customer=customer,
        held=held,
        metadata=command.metadata,
        at=at,
    )
    borne = CustomerDiscountAttached(customer_id=customer.customer_id, discount_id=command.discount_id)
    return Decision(at, [*redeemed, CUSTOMER.change(borne)])


def redeem(
    streams: Streams,
    *,
    coupon_id: str,
    discount_id: str,
    customer: Customer,
    subscription_id: str | None = None,
    held: Iterable[str],
    metadata: Metadata = (),
    at: datetime,
) -> list[Change]:
    """The coupon counts one more, and a discount bears its terms. `held` are the discounts that its bearer has.

    The coupon's stream is written by every redemption, so two that are decided at once see one another: no coupon is
    redeemed more often than it may be. Raises CouponNotFound, CouponIsArchived, CouponIsDeleted, CouponExhausted,
    CouponExpired, CouponInOtherCurrency, CouponAlreadyApplied, TooManyDiscounts.
    """
    DISCOUNT.check_new(streams, discount_id)
    coupon = on_offer(streams, coupon_id)
    stated = computable(coupon_id, coupon.terms, coupon.max_redemptions, coupon.redeem_before)
    check_redeemable(stated, coupon.times_redeemed, customer.currency, at)
    others = [DISCOUNT.of(streams, other) for other in held]
    if any(other.coupon_id == coupon_id for other in others):
        raise CouponAlreadyApplied(coupon=coupon_id)
    if len(others) >= MAX_DISCOUNTS:
        raise TooManyDiscounts(discounts=len(others), most=MAX_DISCOUNTS)
    attached = DiscountAttached(
        discount_id=discount_id,
        coupon_id=coupon_id,
        customer_id=customer.customer_id,
        subscription_id=subscription_id,
        terms=coupon.terms,
        currency=customer.currency,
        metadata=metadata,
        attached_at=at,
    )
    return [
        COUPON.change(CouponRedeemed(coupon_id=coupon_id, discount_id=discount_id)),
        DISCOUNT.change(attached),
    ]


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateCoupon: create_coupon,
    ArchiveCoupon: archive_coupon,
    DeleteCoupon: delete_coupon,
    ApplyCouponToCustomer: apply_coupon_to_customer,
}
