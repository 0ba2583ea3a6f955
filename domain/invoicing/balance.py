"""What is still owed on an invoice, from what was billed, credited, captured, refunded and disputed."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.kernel.money import Money


class DisputeOutcome(StrEnum):
    """What a dispute did to its payment."""

    NONE = "none"
    OPEN = "open"
    WON = "won"
    LOST_REOPENED = "lost_reopened"
    LOST_AS_LOSS = "lost_as_loss"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFigures:
    """One payment of the invoice: captured and refunded minor units, and its dispute."""

    captured: Money
    refunded: Money
    dispute: DisputeOutcome = DisputeOutcome.NONE


def balance_of(total: Money, credit_notes: Money, applied: Money, payments: Sequence[PaymentFigures]) -> Money:
    """total - credit notes - applied - (captured - refunded), in minor units; below zero the customer is owed.

    `applied` is what prepaid credits and the customer's balance paid of it.

    A refund without a credit note is owed again, one with a credit note is not (vector 26). A payment whose dispute was
    lost counts as never captured under the policy "reopen", and as captured when the loss is booked as such; an open,
    won or reversed one changes nothing (vector 27). Both vectors are from another engine's suite.
    """
    balance = total - credit_notes - applied
    for payment in payments:
        if payment.dispute is not DisputeOutcome.LOST_REOPENED:
            balance -= payment.captured - payment.refunded
    return balance
