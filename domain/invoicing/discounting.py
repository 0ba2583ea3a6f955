"""The discounts of an invoice that is finalized: which take something off which lines, and what that uses of them.

A coupon covers invoices of whole periods, and those that bill something by itself: each uses one of its periods where
it takes something off. What prorates a period (the rest of one after a pause, the used days of a last one) is
discounted by coupons without an end alone, and uses nothing. Periods billed late on one invoice count one by one, each
as if it had been billed in time. What usage came to while its period runs is discounted by percentages, and uses
nothing: the rest does when the period is over, from which fixed amounts come off.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from domain.customers.customer import Customer
from domain.discounts.computation import AmountOff, CouponOnLines, DiscountableLine, discounts_on
from domain.discounts.coupon import computable
from domain.discounts.discount import DISCOUNT, AttachedDiscount, DiscountApplied, DiscountEnd, DiscountEnded
from domain.invoicing.invoice_discount import Discountable, InvoiceDiscount
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Change, Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountUse:
    """A discount on some lines, by their places, and whether that uses one of its periods."""

    discount: AttachedDiscount
    lines: tuple[int, ...]
    is_period: bool

    @property
    def coupon(self) -> CouponOnLines:
        """As the computation knows it."""
        return CouponOnLines(coupon=computable(self.discount.coupon_id, self.discount.terms), lines=self.lines)


def discounts_of(streams: Streams, customer: Customer, by: Discountable) -> list[AttachedDiscount]:
    """Those that hold at its instant and have periods left: percentages first, then fixed amounts, each in the order in
    which they were attached; of one instant the customer's first. Ids do not tell: of one request they are in no order.
    """
    at = by.at
    of_customer = borne_at(customer, at) if by.of_customer is None else by.of_customer
    if not of_customer and not by.own:
        return []
    held = [DISCOUNT.of(streams, discount_id) for discount_id in (*of_customer, *(each.discount_id for each in by.own))]
    return sorted(
        (each for each in held if each.holds_at(at) and each.periods_left != 0),
        key=lambda each: (isinstance(each.terms.off, AmountOff), each.created_at),
    )


def borne_at(customer: Customer, at: datetime) -> tuple[str, ...]:
    """The customer's own that had not been removed by then."""
    return tuple([each.discount_id for each in customer.discounts if each.removed_at is None or at < each.removed_at])


def uses_of(
    discounts: Sequence[AttachedDiscount],
    lines: Sequence[InvoiceLine],
    by: Discountable,
    currency: CurrencyCode,
    rounding: Rounding,
) -> list[DiscountUse]:
    """Where the discounts take something off, in their order."""
    if not discounts:
        return []
    left = {each.discount_id: each.periods_left for each in discounts}
    stands_at = _places(lines)
    own = {each.discount_id: range(each.start, each.end) for each in by.own}
    given_back = given_back_beside(lines)
    billed = [
        DiscountableLine(
            line.product_id or line.line_id,
            line.amount - given_back[line.line_id] if line.line_id in given_back else line.amount,
            discountable=True,
        )
        for line in lines
    ]
    uses: list[DiscountUse] = []
    for start, end in pairwise(_bounds(by.bills, len(lines))):
        tried: list[DiscountUse] = []
        for each in discounts:
            allowed = own.get(each.discount_id, range(start, end))
            waits = isinstance(each.terms.off, AmountOff)
            places = tuple(
                [n for n in range(start, end) if stands_at[n] in allowed and not (waits and lines[n].bills_so_far)]
            )
            is_period = any(lines[n].bills_whole_period for n in places)
            known = left[each.discount_id]
            is_due = is_period or any(lines[n].bills_so_far for n in places)
            if known is None or (is_due and known > 0):
                tried.append(DiscountUse(discount=each, lines=places, is_period=is_period))
        taken = discounts_on(billed, [use.coupon for use in tried], currency, rounding)
        for use, applied in zip(tried, taken, strict=True):
            if applied.amount.is_zero:
                continue
            uses.append(use)
            known = left[use.discount.discount_id]
            if known is not None:
                left[use.discount.discount_id] = known - use.is_period
    # The computation applies them in this order, in which they are told what they took off.
    return sorted(uses, key=lambda use: isinstance(use.discount.terms.off, AmountOff))


def given_back_beside(lines: Iterable[InvoiceLine]) -> dict[str, Money]:
    """What credits among these lines give back of others among them, by the other's id: nobody pays that, so discounts
    take nothing off it.
    """
    given_back: dict[str, Money] = {}
    for line in lines:
        if line.gives_back is not None:
            known = given_back.get(line.gives_back.line_id)
            given_back[line.gives_back.line_id] = -line.amount if known is None else known - line.amount
    return given_back


def told(uses: Sequence[DiscountUse], taken: Sequence[Money]) -> tuple[InvoiceDiscount, ...]:
    """What each discount took off in all, in the order of the uses."""
    discounts = {use.discount.discount_id: use.discount for use in uses}
    periods = Counter(use.discount.discount_id for use in uses if use.is_period)
    amounts: dict[str, Money] = {}
    for use, amount in zip(uses, taken, strict=True):
        known = amounts.get(use.discount.discount_id)
        amounts[use.discount.discount_id] = amount if known is None else known + amount
    return tuple(
        InvoiceDiscount(
            discount_id=discount_id,
            coupon_id=discount.coupon_id,
            terms=discount.terms,
            periods=periods[discount_id],
            amount=amounts[discount_id],
        )
        for discount_id, discount in discounts.items()
    )


def used(
    invoice_id: str, discounts: Iterable[InvoiceDiscount], held: Iterable[AttachedDiscount], at: datetime
) -> list[Change]:
    """What an invoice uses of the discounts that it names, and the end of those that it uses up."""
    attached = {each.discount_id: each for each in held}
    changes: list[Change] = []
    for each in discounts:
        discount = attached[each.discount_id]
        applied = DiscountApplied(
            discount_id=each.discount_id,
            invoice_id=invoice_id,
            amount=each.amount,
            periods=each.periods,
            applied_at=at,
        )
        changes.append(DISCOUNT.change(applied))
        if discount.ended_at is None and discount.used_up_after(each.periods):
            changes.append(DISCOUNT.change(_end(discount, DiscountEnd.USED_UP, at)))
    return changes


def ended_with_subscription(streams: Streams, discount_ids: Iterable[str], at: datetime) -> list[Change]:
    """The end of those of a subscription's discounts that have not ended before it."""
    held = [DISCOUNT.of(streams, discount_id) for discount_id in discount_ids]
    return [
        DISCOUNT.change(_end(each, DiscountEnd.SUBSCRIPTION_CANCELED, at)) for each in held if each.ended_at is None
    ]


def _end(discount: AttachedDiscount, reason: DiscountEnd, at: datetime) -> DiscountEnded:
    return DiscountEnded(
        discount_id=discount.discount_id,
        customer_id=discount.customer_id,
        subscription_id=discount.subscription_id,
        reason=reason,
        ended_at=at,
    )


def _places(lines: Sequence[InvoiceLine]) -> list[int]:
    """Where each line stands: one of late usage where the usage is with which it came."""
    by_id = {line.line_id: n for n, line in enumerate(lines)}
    return [
        n if line.usage is None or line.usage.late is None else by_id.get(line.usage.late.closed_with, n)
        for n, line in enumerate(lines)
    ]


def _bounds(bills: Sequence[int], lines: int) -> list[int]:
    """Where each of the bills begins, and where the last ends: with the lines."""
    bounds = [0]
    for length in bills[:-1]:
        bounds.append(bounds[-1] + length)
    return [*bounds, lines]
