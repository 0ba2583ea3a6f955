"""Late usage: what comes, or is taken back, for a period that is billed already, as lines of a later invoice.

The period is rated again with all that is known of it, by the price as it was sold, its minimum included; what that
comes to more is billed, what it comes to less is given back of what billed it, the last first. The invoice that billed
the period says, by an event of its stream, what later ones billed of it: so nothing is billed or given back twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from domain.kernel.money import Money


class LateReason(StrEnum):
    """Why a period is rated again: more events came, some were taken back, or as many of each."""

    LATE = "late"
    VOIDED = "voided"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True, kw_only=True)
class LateUsage:
    """The line that billed the period, of an earlier invoice, and why that is rated again: `quantity` is how much more
    there is, and `amount` what that comes to before discounts, on top of what was `billed_before`; below zero it is
    given back. `closed_with` is the line with whose closing it came. `is_cut_short`: that line billed its period so
    far, and what was to bill the rest is void; so nothing is raised to what the period promises at least.
    """

    invoice_id: str
    line_id: str
    closed_with: str
    reason: LateReason
    quantity: Fraction
    billed_before: Money
    amount: Money
    is_cut_short: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerated:
    """What a later invoice billed of a line's period, before discounts; below zero what it gave back of the line `of`,
    which had billed it. `quantity` and `events` are those of the period as it then stood.
    """

    line_id: str
    by_invoice_id: str
    by_line_id: str
    amount: Money
    quantity: Fraction
    events: int
    of_invoice_id: str | None = None
    of_line_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceUsageRerated:
    """A later invoice bills, or gives back, what came late for the periods of these lines; one that was voided does no
    more.
    """

    invoice_id: str
    rerated: tuple[Rerated, ...]
    rerated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceUsageCutShort:
    """What was to bill the rest of these lines' periods is void: they are the last that bill them, and end them. So
    does each of these discounts use a period, which took something off before and of which the void one used none.
    """

    invoice_id: str
    line_ids: tuple[str, ...]
    voided_invoice_id: str
    discount_ids: tuple[str, ...] = ()
    cut_short_at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """What of a period's amount a line of an invoice has billed and nothing has given back so far."""

    invoice_id: str
    line_id: str
    amount: Money


def parts_of(first: Sequence[Part], rerated: Iterable[Rerated]) -> list[Part]:
    """The lines that bill a period by now, those of its own time `first`, each less what credits gave back of it. What
    was voided is as if it had never been.
    """
    left = {(part.invoice_id, part.line_id): part.amount for part in first}
    for each in rerated:
        place = each.of_invoice_id or each.by_invoice_id, each.of_line_id or each.by_line_id
        left[place] = left[place] + each.amount if place in left else each.amount
    return [Part(*place, amount) for place, amount in left.items() if amount.amount > 0]


def given_back(parts: Sequence[Part], amount: Money) -> list[Part]:
    """How an amount is given back of these lines, the last one first; no more than they billed."""
    found: list[Part] = []
    for part in reversed(parts):
        taken = min(part.amount, amount)
        amount -= taken
        if not taken.is_zero:
            found.append(Part(part.invoice_id, part.line_id, taken))
    return found


def less(parts: Iterable[Part], taken: Iterable[Part]) -> list[Part]:
    """What is left of these lines once so much is given back of them."""
    left = {(part.invoice_id, part.line_id): part.amount for part in parts}
    for part in taken:
        place = part.invoice_id, part.line_id
        if place in left:
            left[place] -= part.amount
    return [Part(*place, amount) for place, amount in left.items() if amount.amount > 0]
