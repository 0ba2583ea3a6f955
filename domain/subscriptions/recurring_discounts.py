"""A customer's discounts as they count for recurring revenue: until they end, and used up ones for what they bill."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.discounts.computation import Discount
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.frozen import replace
from domain.subscriptions.recurring import RecurringDiscount


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountedPrice:
    """The latest service period of a subscription's price that is billed with a discount."""

    subscription_id: str
    price_id: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDiscount:
    """A recurring discount; of the customer where `subscription_id` is None.

    One of several periods says with which it was billed, so that it still counts, once `is_used_up`, for what runs.
    """

    discount_id: str
    subscription_id: str | None
    off: Discount
    product_ids: tuple[str, ...]
    is_limited: bool
    is_used_up: bool
    billed: tuple[DiscountedPrice, ...]


def billed_with(
    held: HeldDiscount,
    lines: Iterable[InvoiceLine],
    items: Sequence[tuple[str, str]],
    over: Mapping[str, datetime],
) -> HeldDiscount:
    """The discount with the periods for which these lines take it off: of each of the `items`, subscription and price,
    the latest, in whichever order invoices are finalized. Those go that are over.
    """
    found = {(each.subscription_id, each.price_id): each for each in held.billed}
    for line in lines:
        if not any(each.discount_id == held.discount_id for each in line.discounts):
            continue
        for subscription_id, price_id in items:
            if line.price_id != price_id or line.period_start is None or line.period_end is None:
                continue
            known = found.get((subscription_id, price_id))
            if known is None or (line.period_start, line.period_end) > (known.since, known.until):
                found[subscription_id, price_id] = DiscountedPrice(
                    subscription_id=subscription_id, price_id=price_id, since=line.period_start, until=line.period_end
                )
    billed = not_over(found.values(), over)
    return held if billed == held.billed else replace(held, billed=billed)


def not_over(billed: Iterable[DiscountedPrice], over: Mapping[str, datetime]) -> tuple[DiscountedPrice, ...]:
    """Those of subscriptions that `over` knows whose period ends after what that says."""
    return tuple(each for each in billed if each.subscription_id in over and each.until > over[each.subscription_id])


def still_held(
    discounts: tuple[HeldDiscount, ...], subscription_id: str, at: datetime | None
) -> tuple[HeldDiscount, ...]:
    """Of those that are used up, what they still hold for: nothing that ended by `at` of this subscription (None: of
    this subscription nothing). The very same where that changes nothing.
    """
    if not any(held.is_used_up for held in discounts):
        return discounts
    kept: list[HeldDiscount] = []
    for held in discounts:
        if not held.is_used_up:
            kept.append(held)
            continue
        billed = tuple(
            each
            for each in held.billed
            if each.subscription_id != subscription_id or (at is not None and each.until > at)
        )
        if len(billed) == len(held.billed):
            kept.append(held)
        elif billed:
            kept.append(replace(held, billed=billed))
    unchanged = len(kept) == len(discounts) and all(one is other for one, other in zip(kept, discounts, strict=True))
    return discounts if unchanged else tuple(kept)


def discounts_of(held: Iterable[HeldDiscount], subscription_id: str) -> list[RecurringDiscount]:
    """What counts for a subscription."""
    found: list[RecurringDiscount] = []
    for each in held:
        if each.subscription_id not in {None, subscription_id}:
            continue
        prices = None
        if each.is_used_up:
            prices = frozenset(billed.price_id for billed in each.billed if billed.subscription_id == subscription_id)
        found.append(RecurringDiscount(off=each.off, product_ids=each.product_ids, price_ids=prices))
    return found
