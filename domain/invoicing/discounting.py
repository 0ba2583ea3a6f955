"""The discounts of an invoice that is finalized: which take something off which lines, and what that uses of them.

A coupon covers invoices of whole periods, and those that bill something by itself: each uses one of its periods where
it takes something off. What prorates a period (the rest of one after a pause, the used days of a last one) is
discounted by coupons without an end alone, and uses nothing. Periods billed late on one invoice count one by one, each
as if it had been billed in time.

Usage that is billed while its period runs is discounted, and uses nothing: the line that bills the rest does, once for
all of them, also where nothing is left to bill or the period ended early. Together they are discounted as one line of
the whole period would be: a fixed amount takes off each what those before it have left of it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from domain.customers.customer import Customer
from domain.discounts.computation import AmountOff, CouponOnLines, DiscountableLine, discounts_on
from domain.discounts.coupon import computable
from domain.discounts.discount import DISCOUNT, AttachedDiscount, DiscountApplied, DiscountEnd, DiscountEnded
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_discount import Discountable, InvoiceDiscount
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money, sum_money, sums_by
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Change, Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountUse:
    """A discount on some lines, by their places, and whether that uses one of its periods; `ends_period`: one of which
    it took something off before (`off_before`), by lines that billed a part of it.
    """

    discount: AttachedDiscount
    lines: tuple[int, ...]
    is_period: bool
    ends_period: bool
    off_before: tuple[Money, ...]

    @property
    def coupon(self) -> CouponOnLines:
        """As the computation knows it: of a fixed amount what is left of it for the period."""
        terms = self.discount.terms
        if isinstance(terms.off, AmountOff) and self.off_before:
            whole = terms.off.amount
            left = max(whole - sum_money(self.off_before, whole.currency), Money.zero(whole.currency))
            terms = replace(terms, off=AmountOff(amount=left))
        return CouponOnLines(coupon=computable(self.discount.coupon_id, terms), lines=self.lines)


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
    streams: Streams,
    cut_short: Collection[str] = (),
) -> list[DiscountUse]:
    """Where the discounts take something off, or end a period that they took something off before, in their order.
    `cut_short`: lines of usage so far that end their periods, as what was to bill the rest is void.
    """
    if not discounts:
        return []
    left = {each.discount_id: each.periods_left for each in discounts}
    stands_at = _places(lines)
    own = {each.discount_id: range(each.start, each.end) for each in by.own}
    given_back = given_back_beside(lines)
    before = [off_before(line, streams) for line in lines]
    ends = [_ends_period(line, cut_short) for line in lines]
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
            places = [n for n in range(start, end) if stands_at[n] in allowed]
            use = _use_of(each, left[each.discount_id], places, lines, before, ends)
            if use is not None:
                tried.append(use)
        taken = discounts_on(billed, [use.coupon for use in tried], currency, rounding)
        for use, applied in zip(tried, taken, strict=True):
            if applied.amount.is_zero and not use.ends_period:
                continue
            uses.append(use)
            known = left[use.discount.discount_id]
            if known is not None:
                left[use.discount.discount_id] = known - use.is_period
    # The computation applies them in this order, in which they are told what they took off.
    return sorted(uses, key=lambda use: isinstance(use.discount.terms.off, AmountOff))


def _use_of(
    discount: AttachedDiscount,
    left: int | None,
    places: Sequence[int],
    lines: Sequence[InvoiceLine],
    before: Sequence[Mapping[str, Money]],
    ends: Sequence[bool],
) -> DiscountUse | None:
    """A discount on lines of one bill; None where it does not touch it. `left`: how many periods are, if they end;
    `before`: what each discount took off each line's period before it; `ends`: which lines end such a period.
    """
    goes_on = [n for n in places if discount.discount_id in before[n]]
    ended = [n for n in goes_on if ends[n]]
    is_whole = any(lines[n].bills_whole_period or (lines[n].bills_so_far and ends[n]) for n in places)
    if left is not None and not is_whole and not any(lines[n].bills_so_far for n in places):
        places = ended
    if left == 0 or not places:
        return None
    return DiscountUse(
        discount=discount,
        lines=tuple(places),
        is_period=is_whole or bool(ended),
        ends_period=bool(ended),
        off_before=tuple(before[n][discount.discount_id] for n in goes_on),
    )


def _ends_period(line: InvoiceLine, cut_short: Collection[str]) -> bool:
    """Whether it is the last of several lines that bill a period, which came to something."""
    progress = line.progress
    if progress is None or progress.charge is None or progress.charge.amount <= 0:
        return False
    return progress.is_last or line.line_id in cut_short


def invoices_before(lines: Iterable[InvoiceLine]) -> Iterator[str]:
    """The invoices that bill parts of these lines' periods before them, the first one first."""
    for line in lines:
        if line.progress is not None:
            yield from (each.invoice_id for each in line.progress.before)


def off_before(line: InvoiceLine, streams: Streams) -> Mapping[str, Money]:
    """What each discount took off the lines that billed a line's period before it, without invoices that are void."""
    before = () if line.progress is None else line.progress.before
    billed = (INVOICE.of(streams, each.invoice_id).valid_line(each.line_id) for each in before)
    return sums_by((taken.discount_id, taken.amount) for one in billed if one is not None for taken in one.discounts)


def given_back_beside(lines: Iterable[InvoiceLine]) -> dict[str, Money]:
    """What credits among these lines give back of others among them, by the other's id: nobody pays that, so discounts
    take nothing off it.
    """
    return sums_by((line.gives_back.line_id, -line.amount) for line in lines if line.gives_back is not None)


def told(uses: Sequence[DiscountUse], taken: Sequence[Money]) -> tuple[InvoiceDiscount, ...]:
    """What each discount took off in all, in the order of the uses."""
    discounts = {use.discount.discount_id: use.discount for use in uses}
    periods = Counter(use.discount.discount_id for use in uses if use.is_period)
    amounts = sums_by((use.discount.discount_id, amount) for use, amount in zip(uses, taken, strict=True))
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


def used_by_end(invoice_id: str, discount_ids: Iterable[str], streams: Streams, at: datetime) -> list[Change]:
    """That these discounts use a period which ends with what an invoice billed of it: nothing more is taken off."""
    held = [DISCOUNT.of(streams, discount_id) for discount_id in discount_ids]
    ended = [
        InvoiceDiscount(
            discount_id=each.discount_id,
            coupon_id=each.coupon_id,
            terms=each.terms,
            periods=1,
            amount=Money.zero(each.currency),
        )
        for each in held
    ]
    return used(invoice_id, ended, held, at)


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
    return [n if line.late is None else by_id.get(line.late.closed_with, n) for n, line in enumerate(lines)]


def _bounds(bills: Sequence[int], lines: int) -> list[int]:
    """Where each of the bills begins, and where the last ends: with the lines."""
    bounds = [0]
    for length in bills[:-1]:
        bounds.append(bounds[-1] + length)
    return [*bounds, lines]
