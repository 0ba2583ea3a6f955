"""What an invoice says of its discounts: facts that its event carries, whatever has become of the coupons since."""

from dataclasses import dataclass
from datetime import datetime

from domain.discounts.coupon import CouponTerms
from domain.kernel.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDiscount:
    """A subscription's discount, and the lines of its own that it may touch: from `start` to before `end`."""

    discount_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Discountable:
    """By what an invoice is discounted once it is finalized: by what its customer has at that instant, and by the
    discounts of its subscriptions. `of_customer` are the customer's as they were when it was drafted, so that nothing
    which came at the same instant, but later, counts; None: those that they have.

    `bills` says how many of its lines, in order, would have been on an invoice of their own each: of periods that are
    billed late; what follows belongs to the last. Empty: one invoice of all.
    """

    at: datetime
    own: tuple[OwnDiscount, ...] = ()
    bills: tuple[int, ...] = ()
    of_customer: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDiscount:
    """What one discount took off a line; above zero."""

    discount_id: str
    coupon_id: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDiscount:
    """What one discount took off the whole invoice, by which terms; `periods` of it are used by that."""

    discount_id: str
    coupon_id: str
    terms: CouponTerms
    periods: int
    amount: Money
