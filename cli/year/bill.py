"""An invoice reckoned by hand: its lines, what coupons take off them, and the tax on what they leave."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

from cli.year.acts import SELLER_COUNTRY, Offer, Person, Rate


@dataclass(slots=True, kw_only=True)
class Line:
    """What an invoice bills. `whole` is what a whole period costs, `net` what coupons leave of `billed`.

    `given_back` of the net amount is credited since. A credit names the line `of` which it gives back. `counts`: it
    bills a whole period, or something by itself, as coupons for some periods count them. A fee is not the
    subscription's `own`.
    """

    whole: Fraction
    billed: int
    net: int
    rates: tuple[Rate, ...] = ()
    counts: bool = False
    is_own: bool = True
    given_back: int = 0
    of: "Line | None" = None
    bill: "Bill | None" = None


@dataclass(slots=True, kw_only=True)
class Bill:
    """An invoice, and what came for it. One that `is_over` is written off, or void."""

    on: date
    lines: list[Line]
    discount: int = 0
    taxes: dict[Rate, int] = field(default_factory=dict)
    bearing: dict[Rate, int] = field(default_factory=dict)
    untaxed: int = 0
    drawn: int = 0
    due: int = 0
    charged: int = 0
    by_hand: int = 0
    is_declined: bool = False
    is_over: bool = False

    @property
    def net(self) -> int:
        return sum(line.net for line in self.lines)

    @property
    def tax(self) -> int:
        return sum(self.taxes.values())

    @property
    def total(self) -> int:
        return self.net + self.tax


@dataclass(slots=True, kw_only=True)
class Coupon:
    """`left` periods of it; None has no end. One that is the subscription's own touches what that bills alone."""

    offer: Offer
    left: int | None
    is_own: bool = True


def discount(bill: Bill, coupons: Iterable[Coupon]) -> None:
    """Percentages one after the other on what is left, then amounts. One for some periods covers those that count.

    Nobody pays what a credit beside a charge gives back of it, so nothing is taken off that.
    """
    beside: defaultdict[int, int] = defaultdict(int)
    for line in bill.lines:
        if line.of is not None:
            beside[id(line.of)] -= line.net
    for coupon in sorted(coupons, key=lambda each: each.offer.amount is not None):
        charges = [line for line in bill.lines if line.of is None and (line.is_own or not coupon.is_own)]
        counts = any(line.counts for line in charges)
        if coupon.left == 0 or (coupon.left is not None and not counts):
            continue
        left = [line.net - beside[id(line)] for line in charges]
        percent, amount = coupon.offer.percent, coupon.offer.amount
        off = rounded(Fraction(sum(left) * percent, 100)) if percent is not None else min(amount or 0, sum(left))
        if not off:
            continue
        for line, part in zip(charges, shared(off, left), strict=True):
            line.net -= part
        bill.discount += off
        if coupon.left is not None:
            coupon.left -= 1


def tax(bill: Bill, person: Person) -> None:
    """Each rate once on all that bears it. A credit bears what its line bore."""
    bearing: defaultdict[Rate, int] = defaultdict(int)
    for line in bill.lines:
        line.bill = bill
        line.rates = rates(person, bill.on) if line.of is None else line.of.rates
        for rate in line.rates:
            bearing[rate] += line.net
        bill.untaxed += 0 if line.rates else line.net
    bill.bearing = dict(bearing)
    bill.taxes = {rate: rounded(Fraction(net) * Fraction(rate.percent) / 100) for rate, net in bearing.items()}


def rates(person: Person, on: date) -> tuple[Rate, ...]:
    """What they bear on a day: the newest of each kind where they live."""
    if person.is_exempt or (person.vat_id is not None and person.place.country != SELLER_COUNTRY):
        return ()
    return tuple({rate.kind: rate for rate in person.place.rates if rate.since <= on}.values())


def why_untaxed(person: Person) -> str:
    """As the tax report names it."""
    return "exempt" if person.is_exempt else "reverse_charge" if person.vat_id else "not_registered"


def rounded(exact: Fraction) -> int:
    """The nearest whole number, half away from zero."""
    nearest = int(abs(exact) + Fraction(1, 2))
    return nearest if exact >= 0 else -nearest


def shared(amount: int, weights: Sequence[int]) -> list[int]:
    """Parts that add up to the amount: each its share rounded down; what is left goes to the largest rests."""
    exact = [Fraction(amount * weight, sum(weights)) for weight in weights]
    parts = [int(each) for each in exact]
    by_rest = sorted(range(len(parts)), key=lambda nth: parts[nth] - exact[nth])
    for nth in by_rest[: amount - sum(parts)]:
        parts[nth] += 1
    return parts
