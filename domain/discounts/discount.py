"""A discount: a coupon that a customer has, for everything they are billed or for one subscription.

It bears the coupon's terms as they were when it was redeemed, counts the periods that it took something off, and ends
once those are used up or somebody removes it. An invoice and what it uses of a discount are one decision, so no period
is counted twice, whatever is repeated.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.discounts.computation import CouponDuration, is_used_up
from domain.discounts.coupon import CouponTerms, computable
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic

MAX_DISCOUNTS = 20
"""Of a customer, and of a subscription: an invoice reads all of them."""


class DiscountEnd(StrEnum):
    """Why a discount ended: its periods are used up, somebody removed it, or its subscription ended."""

    USED_UP = "used_up"
    REMOVED = "removed"
    SUBSCRIPTION_CANCELED = "subscription_canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountAttached:
    """Of a subscription, or (None) of everything the customer is billed, from `attached_at` on."""

    discount_id: str
    coupon_id: str
    customer_id: str
    subscription_id: str | None
    terms: CouponTerms
    currency: CurrencyCode
    metadata: Metadata = ()
    attached_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountApplied:
    """It took `amount` off an invoice, which counts as so many of its periods: none of what prorates one."""

    discount_id: str
    invoice_id: str
    amount: Money
    periods: int
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountEnded:
    discount_id: str
    customer_id: str
    subscription_id: str | None
    reason: DiscountEnd
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountMetadataSet(MetadataSet):
    discount_id: str


DiscountEvent = DiscountAttached | DiscountApplied | DiscountEnded | DiscountMetadataSet


class DiscountNotFound(Refusal):
    """There is no such discount."""

    code = "discount_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "discount"


class DiscountAlreadyExists(Refusal):
    """A discount of this id exists already."""

    code = "discount_already_exists"


class DiscountHasEnded(Refusal):
    """The discount has ended already: it takes nothing off any more."""

    code = "discount_ended"


class CouponAlreadyApplied(Refusal):
    """The coupon is applied here already: wait until it ends, remove it, or apply another one."""

    code = "coupon_already_applied"
    param = "coupon"


class AmbiguousDiscount(Refusal):
    """A discount is of a customer or of a subscription: name one of the two."""

    code = "ambiguous_discount"
    kind = RefusalKind.INVALID
    param = "customer"


class TooManyDiscounts(Refusal):
    """A customer has at most 20 discounts at a time, and so has a subscription: remove one first."""

    code = "too_many_discounts"
    param = "coupon"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedDiscount:
    """`periods_used` of `terms.periods`; `discounted` is what it took off in all."""

    discount_id: str
    coupon_id: str
    customer_id: str
    subscription_id: str | None
    terms: CouponTerms
    currency: CurrencyCode
    periods_used: int
    discounted: Money
    metadata: Metadata
    created_at: datetime
    ended_at: datetime | None
    end_reason: DiscountEnd | None

    @property
    def periods_left(self) -> int | None:
        """How many periods it still takes something off; None: there is no end to them."""
        match self.terms.duration:
            case CouponDuration.FOREVER:
                return None
            case CouponDuration.ONCE:
                return max(0, 1 - self.periods_used)
            case CouponDuration.REPEATING:
                return max(0, (self.terms.periods or 0) - self.periods_used)

    def holds_at(self, at: datetime) -> bool:
        """Whether what is billed at that instant is discounted by it, as far as it has periods left and whoever is
        billed has it: what it ends with is billed first, and so is what was before its end in the same instant.
        """
        return self.created_at <= at and (self.ended_at is None or at <= self.ended_at)

    def used_up_after(self, periods: int) -> bool:
        """Whether it ends with so many further periods."""
        return is_used_up(computable(self.coupon_id, self.terms), self.periods_used + periods)


def evolve(discount: AttachedDiscount | None, event: DiscountEvent) -> AttachedDiscount:
    if isinstance(event, DiscountAttached):
        return AttachedDiscount(
            discount_id=event.discount_id,
            coupon_id=event.coupon_id,
            customer_id=event.customer_id,
            subscription_id=event.subscription_id,
            terms=event.terms,
            currency=event.currency,
            periods_used=0,
            discounted=Money.zero(event.currency),
            metadata=event.metadata,
            created_at=event.attached_at,
            ended_at=None,
            end_reason=None,
        )
    assert discount is not None, "the first event of a discount is discount.attached"
    match event:
        case DiscountApplied():
            return replace(
                discount,
                periods_used=discount.periods_used + event.periods,
                discounted=discount.discounted + event.amount,
            )
        case DiscountEnded():
            return replace(discount, ended_at=event.ended_at, end_reason=event.reason)
        case DiscountMetadataSet():
            return replace(discount, metadata=event.metadata)


EVENTS: dict[str, type] = {
    "discount.attached": DiscountAttached,
    "discount.applied": DiscountApplied,
    "discount.ended": DiscountEnded,
    "discount.metadata_set": DiscountMetadataSet,
}

DISCOUNT: Stream[AttachedDiscount] = Stream(
    name="discount",
    id_field="discount_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda discount: discount.customer_id,
    not_found=DiscountNotFound,
    already_exists=DiscountAlreadyExists,
    metadata_set=DiscountMetadataSet,
)
