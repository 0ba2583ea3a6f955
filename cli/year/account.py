"""A customer's year reckoned by hand: periods, lines, coupons, taxes, balance; by nothing of what bills them.

Everything happens at noon, so days are enough. Amounts are whole minor units; what is between them is a fraction until
it is rounded, half away from zero. A part of a period is its days over the days of the whole; the day of a change, an
end or a pause is not the old terms' any more.
"""

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

from cli.year import bill as bills
from cli.year.acts import (
    Act,
    Bounce,
    Cancel,
    Change,
    Credit,
    Fee,
    Pause,
    Pay,
    Person,
    Rate,
    Resume,
    Reward,
    RewardEnds,
    StayAfterAll,
    Terms,
    TryAgain,
    VoidCredit,
    VoidInvoice,
    WriteOff,
)
from cli.year.bill import Bill, Coupon, Line, rounded, shared

Treated = tuple[str, str, str]
"""Jurisdiction, treatment and per cent, the last one empty where no tax is borne."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A credit note: what it credited, and where that went."""

    bill: Bill
    line: Line
    amount: int
    net: int
    taxes: tuple[int, ...]
    off_due: int
    to_balance: int


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
        self._fees: list[Line] = []
        self._notes: list[Note] = []
        self._leaves_with_period = False
        self._leaves_on: date | None = None
        self._pause: Pause | None = None
        self._coupons = [Coupon(offer=offer, left=offer.periods) for offer in person.offers]
        self._charges = 0

    @property
    def owed(self) -> int:
        """On open invoices."""
        return sum(bill.due for bill in self.bills if not bill.is_over)

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
            if self._leaves_on is not None and self._leaves_on <= min(on, self._end):
                self._leave(self._leaves_on, self._unused(self._leaves_on))
            elif change_on is not None and change_on <= min(on, self._end):
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
            case Bounce():
                self._bounce(act.on)
            case VoidCredit():
                self._void_credit(act.on)
            case VoidInvoice():
                self._void(act.on)
            case Fee():
                fee = Line(whole=Fraction(0), billed=act.amount, net=act.amount, counts=True, is_own=False)
                self._fees.append(fee)
            case Reward():
                self._coupons.append(Coupon(offer=act.offer, left=act.offer.periods, is_own=False))
            case RewardEnds():
                self._coupons = [coupon for coupon in self._coupons if coupon.is_own]
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
            case Cancel(ends_on=None):
                self._leaves_with_period = True
            case Cancel():
                self._leaves_on = act.ends_on
            case StayAfterAll():
                self._leaves_with_period = False
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
        return Line(whole=whole, billed=billed, net=billed, counts=on == self._start)

    def _rest(self, on: date) -> Fraction:
        return Fraction((self._end - on).days, (self._end - self._start).days)

    def _unused(self, on: date) -> list[Line]:
        """Credits for the rest of the period: at what was left to pay of each line, with its tax; never above that."""
        found: list[Line] = []
        for line in self._paid if on < self._end else ():
            if line.bill is not None and line.bill.is_over:
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
        bill = Bill(on=on, lines=[*lines, *self._fees])
        self._fees = []
        self.bills.append(bill)
        bills.discount(bill, self._coupons)
        bills.tax(bill, self.person)
        self._tell_taxes(on, bill, bill.bearing, bill.taxes, bill.untaxed, sign=1)
        bill.drawn = min(bill.total, self.balance)
        self._has(on, -bill.drawn)
        self._owe(on, bill, bill.total - bill.drawn)
        for what, amount in (("invoiced", bill.total), ("discounts", bill.discount), ("tax", bill.tax)):
            self._tell(on, what, amount)
        if bill.due and self.person.token is not None:
            self._charge(on, bill)

    def _tell_taxes(
        self, on: date, bill: Bill, nets: Mapping[Rate, int], taxes: Mapping[Rate, int], untaxed: int, *, sign: int
    ) -> None:
        for rate, amount in taxes.items():
            self._tell_tax(on, (rate.jurisdiction, "taxed", rate.percent), sign * nets[rate], sign * amount)
        if not bill.taxes:
            treated = (self.person.place.country, bills.why_untaxed(self.person), "")
            self._tell_tax(on, treated, sign * untaxed, 0)

    def _void(self, on: date) -> None:
        """As if it had not been; its period is not billed again, and its coupons stay used."""
        bill = self.bills[-1] if self.bills else None
        if bill is None or bill.is_over or bill.due <= 0 or bill.by_hand:
            return
        self._tell(on, "voided", bill.total)
        self._tell_taxes(on, bill, bill.bearing, bill.taxes, bill.untaxed, sign=-1)
        self._has(on, bill.drawn)
        self._tell(on, "open", -bill.due)
        bill.is_over = True

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
            amount = -(-amount // act.notes) * act.notes
            bill.by_hand += min(amount, bill.due)
            self._settle(act.on, bill, amount)

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
                bill.is_over = True
                self._tell(act.on, "written off", bill.due)
                self._tell(act.on, "open", -bill.due)

    def _open(self) -> list[Bill]:
        return [bill for bill in self.bills if bill.due > 0 and not bill.is_over]

    def _bounce(self, on: date) -> None:
        """What came by hand for the newest invoice is due again."""
        bill = self.bills[-1] if self.bills else None
        if bill is not None and bill.by_hand:
            self._tell(on, "bounced", bill.by_hand)
            self._owe(on, bill, bill.by_hand)
            bill.by_hand = 0

    def _credit(self, act: Credit) -> None:
        """Off what is due first; the rest goes back through what charged it, or to the balance."""
        bill = self.bills[-1]
        (line,) = bill.lines
        amount = int(bill.total * act.part)
        net = rounded(Fraction(bill.net * amount, bill.total))
        off_due = min(amount, bill.due)
        refund = min(amount - off_due, bill.charged) if act.refund else 0
        note = Note(
            bill=bill,
            line=line,
            amount=amount,
            net=net,
            taxes=tuple(shared(amount - net, list(bill.taxes.values()))) if bill.taxes else (),
            off_due=off_due,
            to_balance=amount - off_due - refund,
        )
        self._notes.append(note)
        self._tell(act.on, "refunded", refund)
        self._tell_note(act.on, note, sign=1)

    def _void_credit(self, on: date) -> None:
        self._tell_note(on, self._notes.pop(), sign=-1)

    def _tell_note(self, on: date, note: Note, *, sign: int) -> None:
        """What a credit note does, or what is undone when it is void."""
        nets = dict.fromkeys(note.bill.taxes, note.net)
        taxes = dict(zip(note.bill.taxes, note.taxes, strict=True))
        self._tell_taxes(on, note.bill, nets, taxes, note.net, sign=-sign)
        note.line.given_back += sign * note.net
        self._tell(on, "credited", sign * note.amount)
        self._owe(on, note.bill, -sign * note.off_due)
        self._has(on, sign * note.to_balance)
