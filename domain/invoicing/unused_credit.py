"""What is credited for the unused time of a line: on which line it rests, and how much of that is gone by then.

The credit is a line below zero of a later invoice. The line that it gives back is told so by an event in its own
invoice's stream: whoever would credit it once more, be it by a credit note, comes after that or before.
"""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from domain.kernel.money import Money
from domain.tax.computation import TaxRate, TaxTreatment


@dataclass(frozen=True, slots=True, kw_only=True)
class GivesBack:
    """The line that a credit gives back, of which discounts had left `paid_part` to be paid; the credit bears the tax
    that the line was billed with, whatever holds today. `treatment` is None where no tax was spoken of.

    `invoice_id` is None as long as the line waits for an invoice itself; they leave for the same one. `gross` is what
    is given back before discounts, where no quantity and share say so.
    """

    invoice_id: str | None
    line_id: str
    paid_part: Fraction
    treatment: TaxTreatment | None = None
    rates: tuple[TaxRate, ...] = ()
    gross: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedCredit:
    """So much of what a line came to after discounts; below zero where a credit was taken back."""

    line_id: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceUnusedCredited:
    """A part of what these lines billed is given back by another invoice, or will be by the next."""

    invoice_id: str
    lines: tuple[UnusedCredit, ...]
    credited_at: datetime


def together(known: tuple[UnusedCredit, ...], more: tuple[UnusedCredit, ...]) -> tuple[UnusedCredit, ...]:
    """What is credited of each line by both."""
    amounts: dict[str, Money] = {}
    for credit in (*known, *more):
        before = amounts.get(credit.line_id)
        amounts[credit.line_id] = credit.amount if before is None else before + credit.amount
    return tuple(
        UnusedCredit(line_id=line_id, amount=amount) for line_id, amount in amounts.items() if not amount.is_zero
    )
