"""A customer's year reckoned by hand: periods, lines, coupons, taxes, balance; by nothing of what bills them.

Everything happens at noon, so days are enough. Amounts are whole minor units; what is between them is a fraction until
it is rounded, half away from zero. A part of a period is its days over the days of the whole; the day of a change, an
end or a pause is not the old terms' any more.
"""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

from cli.year.story import (
    SELLER_COUNTRY,
    Act,
    Cancel,
    Change,
    Credit,
    Offer,
    Pause,
    Pay,
    Person,
    Rate,
    Resume,
    Terms,
    TryAgain,
    WriteOff,
)

Treated = tuple[str, str, str]
"""Jurisdiction, treatment and per cent, the last one empty where no tax is borne."""


@dataclass(slots=True, kw_only=True)
class Line:
    """What an invoice bills. `whole` is what a whole period costs, `net` what coupons leave of `billed`.

    `given_back` of the net amount is credited since. A credit names the line `of` which it gives back.
    """

    whole: Fraction
    billed: int
    net: int
    rates: tuple[Rate, ...] = ()
    is_whole: bool = False
    given_back: int = 0
    of: "Line | None" = None
    bill: "Bill | None" = None


@dataclass(slots=True, kw_only=True)
class Bill:
    """An invoice, and what came for it."""

    on: date
    lines: list[Line]
    discount: int = 0
    taxes: dict[Rate, int] = field(default_factory=dict)
    net: int = 0
    total: int = 0
    due: int = 0
    charged: int = 0
    is_declined: bool = False
    is_given_up: bool = False

    @property
    def tax(self) -> int:
        return sum(self.taxes.values())


@dataclass(slots=True, kw_only=True)
class Coupon:
    offer: Offer
    left: int | None


Tell = Callable[[date, str, int], None]
"""What happened on a day, and by how much."""
TellTax = Callable[[date, Treated, int, int], None]


class Account:
    """One customer. `tell` hears of every movement, `tell_tax` of every net amount with its tax."""

    def __init__(self, person: Person, *, ends: date, tell: Tell, tell_tax: TellTax) -> None:
        self.person = person
        self.bills: list[Bill] = []
        self.balance = 0
        self.left_on: date | None = None
        self._ends = ends
        self._tell = tell
        self._tell_tax = tell_tax
        self._terms = person.terms
        self._anchor = person.joins + timedelta(days=person.trial_days)
        self._index = -1
        self._start = self._end = self._anchor
        self._paid: list[Line] = []
        self._waiting: list[Line] = []
        self._scheduled: tuple[date, Terms, str] | None = None
        self._leaves_with_period = False
        self._pause: Pause | None = None
        self._coupons = [Coupon(offer=offer, left=offer.periods) for offer in person.offers]
        self._charges = 0

    @property
    def owed(self) -> int:
        """On open invoices."""
        return sum(bill.due for bill in self.bills if not bill.is_given_up)

    def live(self) -> None:
        """The whole year, day by day that something happens."""
        self._until(self.person.joins)
        for act in self.person.acts:
            self._until(act.on)
            self._do(act)
        self._until(self._ends - timedelta(days=1))

    def _until(self, on: date) -> None:
        """What is due by that day, that day included."""
        while self.left_on is None and self._pause is None:
            change_on = self._scheduled[0] if self._scheduled else None
            if change_on is not None and change_on <= min(on, self._end):
                self._scheduled_change(change_on)
            elif self._end > on:
                return
            elif self._leaves_with_period:
                self._leave(self._end, [])
            else:
                self._begin(self._index + 1, self._end)

    def _do(self, act: Act) -> None:
        match act:
            case Pay():
                self._pay(act)
            case TryAgain():
                self._try_again(act.on)
            case WriteOff():
                self._write_off(act)
            case Credit():
                self._credit(act)
            case Change():
                self._change(act)
            case Cancel(at_once=True):
                self._leave(act.on, self._unused(act.on) if self._index >= 0 else [])
            case Cancel():
                self._leaves_with_period = True
            case Pause():
                self._pause = act
                self._bill(act.on, [*self._waiting, *(self._unused(act.on) if act.credited else [])])
            case Resume():
                self._resume(act.on)

    # --- periods ---------------------------------------------------------------------------------------------------

    def _boundary(self, index: int) -> date:
        """So many periods after the anchor, on its day of the month, or the last one where there is none."""
        months = self._anchor.month - 1 + index * self._terms.months
        year, month = self._anchor.year + months // 12, months % 12 + 1
        return date(year, month, min(self._anchor.day, monthrange(year, month)[1]))

    def _begin(self, index: int, on: date) -> None:
        """A period: whole, or what is left of it where a pause ended within it."""
        self._index, self._start, self._end = index, self._boundary(index), self._boundary(index + 1)
        line = self._line(on)
        self._paid = [line]
        self._bill(on, [line, *self._waiting])

    def _line(self, on: date) -> Line:
        """What the terms cost from that day on to the period's end."""
        whole = Fraction(self._terms.amount * (self._terms.lines or 1))
        billed = rounded(whole * self._rest(on))
        return Line(whole=whole, billed=billed, net=billed, is_whole=on == self._start)

    def _rest(self, on: date) -> Fraction:
        return Fraction((self._end - on).days, (self._end - self._start).days)

    def _unused(self, on: date) -> list[Line]:
        """Credits for the rest of the period: at what was left to pay of each line, with its tax; never above that."""
        found: list[Line] = []
        for line in self._paid if on < self._end else ():
            if line.bill is not None and line.bill.is_given_up:
                continue
            wanted = rounded(line.whole * self._rest(on) * Fraction(line.net, line.billed))
            amount = min(wanted, line.net - line.given_back)
            if amount:
                line.given_back += amount
                found.append(Line(whole=line.whole, billed=-amount, net=-amount, rates=line.rates, of=line))
        self._paid = []
        return found

    def _resume(self, on: date) -> None:
        pause = self._pause
        assert pause is not None, "it is paused"
        self._pause = None
        if on < self._end:
            if pause.credited:
                self._paid = [self._line(on)]
                self._bill(on, [*self._paid, *self._waiting])
            return
        index = self._index + 1
        while self._boundary(index + 1) <= on:
            index += 1
        self._begin(index, on)

    # --- changes and the end ---------------------------------------------------------------------------------------

    def _change(self, act: Change) -> None:
        if act.begins_anew:
            given_back = self._unused(act.on)
            self._terms, self._anchor, self._end = act.terms, act.on, act.on
            self._waiting += given_back
            self._begin(0, act.on)
        elif act.effective_on is not None or act.proration == "period_end":
            self._scheduled = (act.effective_on or self._end, act.terms, act.proration)
        else:
            self._prorate(act.on, act.terms, act.proration)

    def _scheduled_change(self, on: date) -> None:
        assert self._scheduled is not None, "it waits"
        _, terms, proration = self._scheduled
        self._scheduled = None
        if on == self._end:
            self._terms = terms
        else:
            self._prorate(on, terms, proration)

    def _prorate(self, on: date, terms: Terms, proration: str) -> None:
        lines = self._unused(on)
        self._terms = terms
        self._paid = [self._line(on)]
        lines += self._paid
        if proration == "next_invoice":
            self._waiting += lines
        else:
            self._bill(on, [*self._waiting, *lines])

    def _leave(self, on: date, given_back: list[Line]) -> None:
        self.left_on = on
        self._bill(on, [*self._waiting, *given_back])

    # --- invoices --------------------------------------------------------------------------------------------------

    def _bill(self, on: date, lines: list[Line]) -> None:
        """Coupons, then tax, then the balance; what is left is charged where there is a method."""
        self._waiting = []
        if not lines:
            return
        bill = Bill(on=on, lines=lines)
        self.bills.append(bill)
        self._discount(bill)
        self._tax(bill)
        bill.net = sum(line.net for line in lines)
        bill.total = bill.net + bill.tax
        drawn = min(bill.total, self.balance)
        self._has(on, -drawn)
        self._owe(on, bill, bill.total - drawn)
        for what, amount in (("invoiced", bill.total), ("discounts", bill.discount), ("tax", bill.tax)):
            self._tell(on, what, amount)
        if bill.due and self.person.token is not None:
            self._charge(on, bill)

    def _discount(self, bill: Bill) -> None:
        """Percentages one after the other on what is left, then amounts. One for some periods covers whole ones."""
        charges = [line for line in bill.lines if line.of is None]
        has_whole = any(line.is_whole for line in charges)
        for coupon in sorted(self._coupons, key=lambda each: each.offer.amount is not None):
            if coupon.left == 0 or (coupon.left is not None and not has_whole):
                continue
            left = sum(line.net for line in charges)
            percent, amount = coupon.offer.percent, coupon.offer.amount
            off = rounded(Fraction(left * percent, 100)) if percent is not None else min(amount or 0, left)
            if not off:
                continue
            for line, part in zip(charges, shared(off, [line.net for line in charges]), strict=True):
                line.net -= part
            bill.discount += off
            if coupon.left is not None:
                coupon.left -= 1

    def _tax(self, bill: Bill) -> None:
        """Each rate once on all that bears it. A credit bears what its line bore."""
        bearing: defaultdict[Rate, int] = defaultdict(int)
        untaxed = 0
        for line in bill.lines:
            line.bill = bill
            line.rates = self._rates(bill.on) if line.of is None else line.of.rates
            for rate in line.rates:
                bearing[rate] += line.net
            untaxed += 0 if line.rates else line.net
        for rate, net in bearing.items():
            bill.taxes[rate] = rounded(Fraction(net) * Fraction(rate.percent) / 100)
            self._tell_tax(bill.on, (rate.jurisdiction, "taxed", rate.percent), net, bill.taxes[rate])
        if not self._rates(bill.on):
            self._tell_tax(bill.on, (*self._why_untaxed(), ""), untaxed, 0)

    def _rates(self, on: date) -> tuple[Rate, ...]:
        if self.person.is_exempt or (self.person.vat_id is not None and self.person.place.country != SELLER_COUNTRY):
            return ()
        newest = {rate.kind: rate for rate in self.person.place.rates if rate.since <= on}
        return tuple(newest.values())

    def _why_untaxed(self) -> tuple[str, str]:
        person = self.person
        why = "exempt" if person.is_exempt else "reverse_charge" if person.vat_id else "not_registered"
        return person.place.country, why

    # --- money -----------------------------------------------------------------------------------------------------

    def _charge(self, on: date, bill: Bill) -> None:
        self._charges += 1
        bill.is_declined = self._charges == self.person.declines_at
        if not bill.is_declined:
            bill.charged += bill.due
            self._settle(on, bill, bill.due)

    def _try_again(self, on: date) -> None:
        for bill in self._open():
            if bill.is_declined:
                self._charge(on, bill)

    def _pay(self, act: Pay) -> None:
        for bill in self._open():
            amount = int(bill.due * act.part)
            self._settle(act.on, bill, -(-amount // act.notes) * act.notes)

    def _settle(self, on: date, bill: Bill, amount: int) -> None:
        """What comes above what is due is the customer's balance."""
        self._tell(on, "collected", amount)
        paid = min(amount, bill.due)
        self._owe(on, bill, -paid)
        self._has(on, amount - paid)

    def _owe(self, on: date, bill: Bill, more: int) -> None:
        bill.due += more
        self._tell(on, "open", more)

    def _has(self, on: date, more: int) -> None:
        self.balance += more
        self._tell(on, "balance", more)

    def _write_off(self, act: WriteOff) -> None:
        for bill in self._open():
            if bill.on < act.before:
                bill.is_given_up = True
                self._tell(act.on, "written off", bill.due)
                self._tell(act.on, "open", -bill.due)

    def _open(self) -> list[Bill]:
        return [bill for bill in self.bills if bill.due > 0 and not bill.is_given_up]

    def _credit(self, act: Credit) -> None:
        """Off what is due first; the rest goes back through what charged it, or to the balance."""
        bill = self.bills[-1]
        (line,) = bill.lines
        amount = int(bill.total * act.part)
        net = rounded(Fraction(bill.net * amount, bill.total))
        line.given_back += net
        parts = shared(amount - net, list(bill.taxes.values())) if bill.taxes else []
        self._tell(act.on, "credited", amount)
        for rate, part in zip(bill.taxes, parts, strict=True):
            self._tell_tax(act.on, (rate.jurisdiction, "taxed", rate.percent), -net, -part)
        if not bill.taxes:
            self._tell_tax(act.on, (*self._why_untaxed(), ""), -net, 0)
        off_due = min(amount, bill.due)
        self._owe(act.on, bill, -off_due)
        refund = min(amount - off_due, bill.charged) if act.refund else 0
        self._tell(act.on, "refunded", refund)
        self._has(act.on, amount - off_due - refund)


def rounded(exact: Fraction) -> int:
    """The nearest whole number, half away from zero."""
    nearest = int(abs(exact) + Fraction(1, 2))
    return nearest if exact >= 0 else -nearest


def shared(amount: int, weights: Sequence[int]) -> list[int]:
    """Parts that add up to the amount: each its share rounded down; what is left goes to the largest rests."""
    exact = [Fraction(amount * weight, sum(weights)) for weight in weights]
    parts = [int(each) for each in exact]
    by_rest: Iterable[int] = sorted(range(len(parts)), key=lambda nth: parts[nth] - exact[nth])
    for nth in list(by_rest)[: amount - sum(parts)]:
        parts[nth] += 1
    return parts
