"""Giving up an attempt that the gateway has begun: wanted first, then the gateway says whether it is given up.

Its customer may authenticate while we cancel. Which of the two came first is the gateway's to say: an attempt that
captured after all has captured, and what was to come in its place does not come.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CancelReason(StrEnum):
    """Why an attempt is to be given up."""

    REQUESTED = "requested"
    REPLACED = "replaced"
    TIMED_OUT = "timed_out"
    INVOICE_SETTLED = "invoice_settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCancelRequested:
    """With REPLACED, the method that is tried next, in this payment or in another of the same invoice."""

    payment_id: str
    attempt: int
    reason: CancelReason
    replacement_method_id: str | None
    replacement_payment_id: str | None
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentAttemptCanceled:
    """The gateway has given the attempt up, no money was taken; the payment may be tried again."""

    payment_id: str
    attempt: int
    reason: CancelReason
    canceled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """What is wanted of a running attempt until the gateway has said what became of it."""

    reason: CancelReason
    replacement_method_id: str | None
    replacement_payment_id: str | None

    @property
    def ends_payment(self) -> bool:
        """Whether the payment is over with its attempt: it is cancelled, or another payment takes its place."""
        wanted_no_more = self.reason in {CancelReason.REQUESTED, CancelReason.INVOICE_SETTLED}
        return wanted_no_more or self.replacement_payment_id is not None


def wanted(event: PaymentCancelRequested) -> Cancellation:
    """The state that the event leaves."""
    return Cancellation(
        reason=event.reason,
        replacement_method_id=event.replacement_method_id,
        replacement_payment_id=event.replacement_payment_id,
    )


EVENTS: dict[str, type] = {
    "payment.cancel_requested": PaymentCancelRequested,
    "payment.attempt_canceled": PaymentAttemptCanceled,
}
