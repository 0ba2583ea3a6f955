"""Coupons: what takes something off invoices, for how long, and how often it may be redeemed."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import (
    CouponId,
    Instant,
    Line,
    MoneyBody,
    MoneyResource,
    New,
    NoBody,
    Percent,
    ProductId,
    money,
    plain_decimal,
)
from api.http.operations import Intention
from api.http.resource import Resource
from domain.catalog.product import ProductNotFound
from domain.discounts.commands import MAX_COUPON_PRODUCTS
from domain.discounts.computation import AmountOff, CouponDuration, Discount, InvalidCoupon, PercentOff
from domain.discounts.coupon import (
    COUPON,
    ArchiveCoupon,
    CouponInUse,
    CouponTerms,
    CreateCoupon,
    DeleteCoupon,
    OfferedCoupon,
)
from domain.identity.permissions import Permission
from domain.kernel.identifiers import COUPON as PREFIX
from infra.ids import new_id
from projections.models import coupons as read

MAX_PERIODS: Final = 1_000
MAX_REDEMPTIONS: Final = 1_000_000_000
_ID: Final = "coup_01m7ywe9z7e398x54gfbrtqnk7"


class NewCoupon(New):
    """A coupon to be: either `percent_off` or `amount_off`. `periods` goes with a repeating one."""

    name: Line
    percent_off: Percent | None = Field(default=None, description="Above 0, at most 100")
    amount_off: MoneyBody | None = Field(default=None, description="Of customers who are billed in its currency alone")
    duration: CouponDuration = CouponDuration.ONCE
    periods: Annotated[int, Field(ge=1, le=MAX_PERIODS)] | None = None
    products: Annotated[tuple[ProductId, ...], Field(max_length=MAX_COUPON_PRODUCTS)] = ()
    max_redemptions: Annotated[int, Field(ge=1, le=MAX_REDEMPTIONS)] | None = None
    redeem_before: Instant | None = Field(default=None, description="By the customer's own time: a test clock's, too")


class TermsResource(TypedDict):
    """What a coupon gives: one of `percent_off` and `amount_off`; of all products, where none is named."""

    name: str
    percent_off: str | None
    amount_off: MoneyResource | None
    duration: CouponDuration
    periods: int | None
    products: list[str]


class CouponResource(TermsResource):
    """A coupon. An archived or deleted one is redeemed by nobody; discounts that were made of it go on."""

    id: CouponId
    object: Literal["coupon"]
    max_redemptions: int | None
    times_redeemed: int
    redeem_before: datetime | None
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None
    deleted_at: datetime | None


def terms_resource(terms: CouponTerms) -> TermsResource:
    """What a coupon gives, as it is answered."""
    off = terms.off
    return {
        "name": terms.name,
        "percent_off": plain_decimal(off.percent) if isinstance(off, PercentOff) else None,
        "amount_off": money(off.amount) if isinstance(off, AmountOff) else None,
        "duration": terms.duration,
        "periods": terms.periods,
        "products": list(terms.product_ids),
    }


def coupon_resource(coupon: OfferedCoupon) -> CouponResource:
    """A coupon as it is answered."""
    return {
        "id": coupon.coupon_id,
        "object": "coupon",
        **terms_resource(coupon.terms),
        "max_redemptions": coupon.max_redemptions,
        "times_redeemed": coupon.times_redeemed,
        "redeem_before": coupon.redeem_before,
        "active": coupon.archived_at is None and coupon.deleted_at is None,
        "metadata": dict(coupon.metadata),
        "created": coupon.created_at,
        "archived_at": coupon.archived_at,
        "deleted_at": coupon.deleted_at,
    }


TERMS_EXAMPLE: Final[dict[str, object]] = {
    "name": "Welcome",
    "percent_off": "20",
    "amount_off": None,
    "duration": "repeating",
    "periods": 3,
    "products": [],
}

EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "coupon",
    **TERMS_EXAMPLE,
    "max_redemptions": 500,
    "times_redeemed": 0,
    "redeem_before": None,
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
    "deleted_at": None,
}

COUPONS: Final = Resource(
    tag="coupons",
    about="What takes something off invoices.",
    stream=COUPON,
    table=read.TABLE,
    path="/v1/coupons",
    prefix=PREFIX,
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
    shows=CouponResource,
    render=coupon_resource,
    example=EXAMPLE,
)


def _off(body: NewCoupon) -> Discount:
    """Raises InvalidCoupon unless one of the two is named."""
    if (body.percent_off is None) == (body.amount_off is None):
        raise InvalidCoupon(reason="name either percent_off or amount_off").at("percent_off")
    if body.percent_off is not None:
        return PercentOff(percent=body.percent_off)
    assert body.amount_off is not None, "one of the two is named"
    return AmountOff(amount=body.amount_off.value)


@COUPONS.creates(
    body=NewCoupon,
    body_example={
        "name": "Welcome",
        "percent_off": "20",
        "duration": "repeating",
        "periods": 3,
        "max_redemptions": 500,
    },
    refusals=(InvalidCoupon, ProductNotFound),
)
async def create_coupon(_call: Call, body: NewCoupon) -> Intention:
    """Create a coupon.

    It takes a percentage or a fixed amount off the invoices of whoever redeems it: once, for a number of periods, or as
    long as its discount is not removed. With `products`, off what is sold of those alone. Of several, percentages come
    first, each of what the one before it left, and then fixed amounts; none takes off more than there is.
    """
    coupon_id = new_id(PREFIX)
    terms = CouponTerms(
        name=body.name,
        off=_off(body),
        duration=body.duration,
        periods=body.periods,
        product_ids=body.products,
    )
    return COUPONS.created(
        coupon_id,
        CreateCoupon(
            coupon_id=coupon_id,
            terms=terms,
            max_redemptions=body.max_redemptions,
            redeem_before=body.redeem_before,
            metadata=body.kept,
        ),
    )


@COUPONS.changes(
    "POST",
    "archive",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z"},
)
async def archive_coupon(call: Call, _body: NoBody) -> Intention:
    """Archive a coupon: nobody redeems it any more, and the discounts that were made of it go on."""
    coupon_id = COUPONS.id_of(call)
    return COUPONS.changed(coupon_id, ArchiveCoupon(coupon_id=coupon_id))


@COUPONS.changes(
    "DELETE",
    body=NoBody,
    example={"active": False, "deleted_at": "2026-02-01T00:00:00Z"},
    refusals=(CouponInUse,),
)
async def delete_coupon(call: Call, _body: NoBody) -> Intention:
    """Delete a coupon that nobody has redeemed. One that somebody has can be archived."""
    coupon_id = COUPONS.id_of(call)
    return COUPONS.changed(coupon_id, DeleteCoupon(coupon_id=coupon_id))


COUPONS.changes_metadata()
