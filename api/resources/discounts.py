"""Discounts: coupons that customers have, for everything they are billed or for one subscription."""

from datetime import datetime
from typing import Final, Literal

from api.http.call import Call
from api.http.fields import CouponId, CustomerId, DiscountId, MoneyResource, New, NoBody, SubscriptionId, money
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.coupons import COUPONS, TERMS_EXAMPLE, CouponResource, TermsResource, terms_resource
from api.resources.customers import CUSTOMERS, CustomerResource
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.customers.test_clock import TestClockIsDeleted
from domain.discounts.commands import ApplyCouponToCustomer
from domain.discounts.computation import CouponExhausted, CouponExpired, CouponInOtherCurrency
from domain.discounts.coupon import CouponIsArchived, CouponIsDeleted, CouponNotFound
from domain.discounts.discount import (
    DISCOUNT,
    AmbiguousDiscount,
    AttachedDiscount,
    CouponAlreadyApplied,
    DiscountEnd,
    DiscountHasEnded,
    TooManyDiscounts,
)
from domain.identity.permissions import Permission
from domain.kernel.identifiers import DISCOUNT as PREFIX
from domain.subscriptions.cancellation import SubscriptionIsCanceled
from domain.subscriptions.discount_commands import ApplyCouponToSubscription, RemoveDiscount
from domain.subscriptions.subscription import SubscriptionIsOverdue, SubscriptionNotFound
from infra.ids import new_id
from projections.models import discounts as read

_ID: Final = "disc_01m7ywe9z7e398x54gfbrtqnk7"

NOT_REDEEMABLE: Final = (
    CouponNotFound,
    CouponIsArchived,
    CouponIsDeleted,
    CouponExhausted,
    CouponExpired,
    CouponInOtherCurrency,
    CouponAlreadyApplied,
    TooManyDiscounts,
)
"""Why a coupon is not applied, wherever somebody asks for it."""


class NewDiscount(New):
    """A coupon, and who has it: a customer, or one subscription."""

    coupon: CouponId
    customer: CustomerId | None = None
    subscription: SubscriptionId | None = None


class DiscountFilters(CreatedParameters):
    """Which discounts."""

    customer: CustomerId | None = None
    subscription: SubscriptionId | None = None
    coupon: CouponId | None = None


class DiscountResource(TermsResource):
    """A discount: the coupon's terms as they were when it was redeemed, and what is used of them.

    `subscription` is null where it is of everything that the customer is billed. `total_discount` is what it took off
    in all.
    """

    id: DiscountId
    object: Literal["discount"]
    coupon: str | CouponResource
    customer: str | CustomerResource
    subscription: str | None
    periods_used: int
    total_discount: MoneyResource
    active: bool
    ended_at: datetime | None
    end_reason: DiscountEnd | None
    metadata: dict[str, str]
    created: datetime


def discount_resource(discount: AttachedDiscount) -> DiscountResource:
    """A discount as it is answered."""
    return {
        "id": discount.discount_id,
        "object": "discount",
        "coupon": discount.coupon_id,
        "customer": discount.customer_id,
        "subscription": discount.subscription_id,
        **terms_resource(discount.terms),
        "periods_used": discount.periods_used,
        "total_discount": money(discount.discounted),
        "active": discount.ended_at is None,
        "ended_at": discount.ended_at,
        "end_reason": discount.end_reason,
        "metadata": dict(discount.metadata),
        "created": discount.created_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "discount",
    "coupon": "coup_01m7ywe9z7e398x54gfbrtqnk7",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "subscription": None,
    **TERMS_EXAMPLE,
    "periods_used": 1,
    "total_discount": {"amount": 980, "currency": "EUR"},
    "active": True,
    "ended_at": None,
    "end_reason": None,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
}

DISCOUNTS: Final = Resource(
    tag="discounts",
    about="Coupons that customers have.",
    stream=DISCOUNT,
    table=read.TABLE,
    path="/v1/discounts",
    prefix=PREFIX,
    seen_with=Permission.INVOICES_READ,
    changed_with=Permission.INVOICES_WRITE,
    shows=DiscountResource,
    render=discount_resource,
    example=EXAMPLE,
    filters=DiscountFilters,
    expands={"coupon": COUPONS, "customer": CUSTOMERS},
)


@DISCOUNTS.creates(
    body=NewDiscount,
    body_example={"coupon": "coup_01m7ywe9z7e398x54gfbrtqnk7", "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7"},
    refusals=(
        AmbiguousDiscount,
        CustomerNotFound,
        CustomerIsDeleted,
        TestClockIsDeleted,
        SubscriptionNotFound,
        SubscriptionIsCanceled,
        SubscriptionIsOverdue,
        *NOT_REDEEMABLE,
    ),
)
async def create_discount(_call: Call, body: NewDiscount) -> Intention:
    """Apply a coupon: to everything that a customer is billed from now on, or to one subscription.

    It is redeemed by that, once. Every invoice of a whole period, or of something by itself, uses one of its periods if
    it takes something off; what prorates a period is discounted by coupons that last forever alone, and uses none.
    """
    discount_id = new_id(PREFIX)
    match body.customer, body.subscription:
        case str(customer_id), None:
            return DISCOUNTS.created(
                discount_id,
                ApplyCouponToCustomer(
                    discount_id=discount_id, coupon_id=body.coupon, customer_id=customer_id, metadata=body.kept
                ),
            )
        case None, str(subscription_id):
            return DISCOUNTS.created(
                discount_id,
                ApplyCouponToSubscription(
                    discount_id=discount_id,
                    coupon_id=body.coupon,
                    subscription_id=subscription_id,
                    metadata=body.kept,
                ),
            )
        case _:
            raise AmbiguousDiscount


@DISCOUNTS.changes(
    "DELETE",
    body=NoBody,
    example={"active": False, "ended_at": "2026-02-01T00:00:00Z", "end_reason": "removed"},
    refusals=(DiscountHasEnded, SubscriptionIsOverdue),
)
async def remove_discount(call: Call, _body: NoBody) -> Intention:
    """Remove a discount: nothing more is taken off by it, and what was stays so. Its coupon stays redeemed."""
    discount_id = DISCOUNTS.id_of(call)
    return DISCOUNTS.changed(discount_id, RemoveDiscount(discount_id=discount_id))


DISCOUNTS.changes_metadata()
