"""A coupon: what it takes off, for how long, and how often it may be redeemed.

Whoever redeems one gets a discount, which bears the coupon's terms from then on; the coupon counts them. So an archived
one goes on for those who have it, and one that nobody has had may be deleted.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.discounts.computation import Coupon, CouponDuration, Discount
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Streams, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponTerms:
    """What a coupon gives. `periods`: how many, of a repeating one. `product_ids`: empty means all products."""

    name: str
    off: Discount
    duration: CouponDuration
    periods: int | None = None
    product_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCoupon:
    coupon_id: str
    terms: CouponTerms
    max_redemptions: int | None = None
    redeem_before: datetime | None = None
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCoupon:
    coupon_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteCoupon:
    coupon_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponCreated:
    """`redeem_before`: at that instant it is too late, by the customer's own time."""

    coupon_id: str
    terms: CouponTerms
    max_redemptions: int | None
    redeem_before: datetime | None
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRedeemed:
    """A discount was made of it. It stays redeemed when that one is removed."""

    coupon_id: str
    discount_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponArchived:
    coupon_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponDeleted:
    coupon_id: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponMetadataSet(MetadataSet):
    coupon_id: str


CouponEvent = CouponCreated | CouponRedeemed | CouponArchived | CouponDeleted | CouponMetadataSet


class CouponNotFound(Refusal):
    """There is no such coupon."""

    code = "coupon_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "coupon"


class CouponAlreadyExists(Refusal):
    """A coupon of this id exists already."""

    code = "coupon_already_exists"


class CouponIsArchived(Refusal):
    """The coupon is archived and cannot be redeemed any more."""

    code = "coupon_archived"
    param = "coupon"


class CouponIsDeleted(Refusal):
    """The coupon was deleted and cannot be redeemed."""

    code = "coupon_deleted"
    param = "coupon"


class CouponInUse(Refusal):
    """The coupon was redeemed, so invoices may rest on it: archive it, and nobody redeems it any more."""

    code = "coupon_in_use"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedCoupon:
    coupon_id: str
    terms: CouponTerms
    max_redemptions: int | None
    redeem_before: datetime | None
    times_redeemed: int
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None
    deleted_at: datetime | None


def computable(
    coupon_id: str, terms: CouponTerms, max_redemptions: int | None = None, redeem_before: datetime | None = None
) -> Coupon:
    """The same as the computation knows it."""
    return Coupon(
        coupon_id=coupon_id,
        discount=terms.off,
        duration=terms.duration,
        periods=terms.periods,
        product_ids=terms.product_ids,
        max_redemptions=max_redemptions,
        redeem_before=redeem_before,
    )


def on_offer(streams: Streams, coupon_id: str) -> OfferedCoupon:
    """The coupon, if it is still offered. Raises CouponNotFound, CouponIsArchived, CouponIsDeleted."""
    coupon = COUPON.of(streams, coupon_id)
    if coupon.deleted_at is not None:
        raise CouponIsDeleted(coupon=coupon_id)
    if coupon.archived_at is not None:
        raise CouponIsArchived(coupon=coupon_id)
    return coupon


def evolve(coupon: OfferedCoupon | None, event: CouponEvent) -> OfferedCoupon:
    if isinstance(event, CouponCreated):
        return OfferedCoupon(
            coupon_id=event.coupon_id,
            terms=event.terms,
            max_redemptions=event.max_redemptions,
            redeem_before=event.redeem_before,
            times_redeemed=0,
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
            deleted_at=None,
        )
    assert coupon is not None, "the first event of a coupon is coupon.created"
    match event:
        case CouponRedeemed():
            return replace(coupon, times_redeemed=coupon.times_redeemed + 1)
        case CouponArchived():
            return replace(coupon, archived_at=event.archived_at)
        case CouponDeleted():
            return replace(coupon, deleted_at=event.deleted_at)
        case CouponMetadataSet():
            return replace(coupon, metadata=event.metadata)


EVENTS: dict[str, type] = {
    "coupon.created": CouponCreated,
    "coupon.redeemed": CouponRedeemed,
    "coupon.archived": CouponArchived,
    "coupon.deleted": CouponDeleted,
    "coupon.metadata_set": CouponMetadataSet,
}

COUPON: Stream[OfferedCoupon] = Stream(
    name="coupon",
    id_field="coupon_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda coupon: None,
    not_found=CouponNotFound,
    already_exists=CouponAlreadyExists,
    metadata_set=CouponMetadataSet,
)
