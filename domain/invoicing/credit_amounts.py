"""What a credit note credits: parts of lines with their share of tax, never more than a line has left."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from domain.kernel.frozen import replace
from domain.kernel.money import Money, allocate, sum_money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding, round_to_int
from domain.tax.computation import TaxShare


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditableLine:
    """An invoice line as it was billed, after coupons, and what was credited of it so far.

    `net` is without tax; `credited_taxes` follows the order of `taxes`. All amounts of a line have one sign.
    """

    line_id: str
    net: Money
    taxes: tuple[TaxShare, ...] = ()
    credited_net: Money
    credited_taxes: tuple[TaxShare, ...] = ()

    @property
    def left_net(self) -> Money:
        return self.net - self.credited_net

    @property
    def left_taxes(self) -> tuple[TaxShare, ...]:
        return tuple(
            TaxShare(tax.rate_id, tax.amount - credited.amount)
            for tax, credited in zip(self.taxes, self.credited_taxes, strict=True)
        )

    @property
    def left(self) -> Money:
        """Net and tax that may still be credited."""
        return self.left_net + sum_money((tax.amount for tax in self.left_taxes), self.net.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditedLine:
    """One credit of one line."""

    line_id: str
    net: Money
    taxes: tuple[TaxShare, ...]

    @property
    def tax(self) -> Money:
        return sum_money((tax.amount for tax in self.taxes), self.net.currency)

    @property
    def total(self) -> Money:
        return self.net + self.tax


class CreditExceedsLine(Refusal):
    """The line has less left to credit than that, or the amount has the wrong sign."""

    code = "credit_exceeds_line"
    param = "amount"


class NothingToCredit(Refusal):
    """A credit of zero credits nothing."""

    code = "nothing_to_credit"
    kind = RefusalKind.INVALID
    param = "amount"


def creditable(line_id: str, net: Money, taxes: Sequence[TaxShare] = ()) -> CreditableLine:
    """A billed line of which nothing was credited yet. `net`: after coupons, without tax."""
    zero = Money.zero(net.currency)
    return CreditableLine(
        line_id=line_id,
        net=net,
        taxes=tuple(taxes),
        credited_net=zero,
        credited_taxes=tuple(TaxShare(tax.rate_id, zero) for tax in taxes),
    )


def credit_net(line: CreditableLine, net: Money, rounding: Rounding) -> CreditedLine:
    """Credit `net` minor units of the line's discounted amount, with its share of each tax.

    Tax is credited up to round(tax × credited net / net) and less what was credited before; whoever credits the last of
    the line gets all tax that is left, so the parts sum to the line whatever their order and sizes (vector 25, from
    another engine's suite). Raises CreditExceedsLine, NothingToCredit, CurrencyMismatch.
    """
    if net.is_zero:
        raise NothingToCredit(line_id=line.line_id)
    _refuse_excess(line, net, line.left_net)
    credited_to = line.credited_net + net
    share = Fraction(credited_to.amount, line.net.amount)
    parts: list[TaxShare] = []
    for tax, before, left in zip(line.taxes, line.credited_taxes, line.left_taxes, strict=True):
        due_by_now = round_to_int(tax.amount.amount * share, rounding) - before.amount.amount
        parts.append(TaxShare(tax.rate_id, Money(_between(due_by_now, left.amount.amount), net.currency)))
    return CreditedLine(line_id=line.line_id, net=net, taxes=tuple(parts))


def credit_gross(line: CreditableLine, gross: Money, rounding: Rounding) -> CreditedLine:
    """Credit `gross` minor units, tax included, of the line: split into net and taxes as the line is.

    Net is credited up to round(net × credited gross / gross) and less what was credited before, the taxes take the
    rest in proportion to what is left of them. Mixes freely with `credit_net`. The billing domain's policy, that parts
    sum to the whole, is the same.
    Raises CreditExceedsLine, NothingToCredit, CurrencyMismatch.
    """
    if gross.is_zero:
        raise NothingToCredit(line_id=line.line_id)
    _refuse_excess(line, gross, line.left)
    whole = line.net + sum_money((tax.amount for tax in line.taxes), gross.currency)
    gross_to_date = whole - line.left + gross
    net_to_date = round_to_int(Fraction(line.net.amount * gross_to_date.amount, whole.amount), rounding)
    # the rest of the line after this credit has a net part between nothing and all of it, so neither can be overdrawn
    net = Money(_between(net_to_date - line.credited_net.amount, gross.amount), gross.currency)
    tax = gross - net
    if tax.is_zero:
        taxes = tuple(TaxShare(share.rate_id, tax) for share in line.taxes)
    else:
        parts = allocate(tax, [abs(share.amount.amount) for share in line.left_taxes])
        taxes = tuple(TaxShare(share.rate_id, part) for share, part in zip(line.taxes, parts, strict=True))
    return CreditedLine(line_id=line.line_id, net=net, taxes=taxes)


def after_credit(line: CreditableLine, credit: CreditedLine) -> CreditableLine:
    """The line once that credit was given."""
    return replace(
        line,
        credited_net=line.credited_net + credit.net,
        credited_taxes=tuple(
            TaxShare(before.rate_id, before.amount + more.amount)
            for before, more in zip(line.credited_taxes, credit.taxes, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledCredit:
    """`reduces_due` lowers what the customer owes; `to_give_back` becomes customer credit or a refund, by choice."""

    reduces_due: Money
    to_give_back: Money


def settle_credit(credit: Money, amount_due: Money) -> SettledCredit:
    """A credit note reduces the amount due first; what is beyond it is given back.

    Minor units, no rounding; the billing domain's policy.
    """
    zero = Money.zero(credit.currency)
    reduces_due = min(credit, max(amount_due, zero))
    return SettledCredit(reduces_due=reduces_due, to_give_back=credit - reduces_due)


def _refuse_excess(line: CreditableLine, wanted: Money, left: Money) -> None:
    negative = wanted.is_negative != left.is_negative
    if negative or abs(wanted) > abs(left):
        raise CreditExceedsLine(line_id=line.line_id, wanted=wanted.format(), left=left.format())


def _between(value: int, limit: int) -> int:
    """`value`, but never of the other sign than `limit` and never beyond it."""
    return max(limit, min(value, 0)) if limit < 0 else min(limit, max(value, 0))
