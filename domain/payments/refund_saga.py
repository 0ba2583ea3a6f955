"""The refund saga: a capture that nobody needs any more goes back.

payment.captured (unneeded) -> RequestRefund -> (the gateway call, due work) -> succeeded; failed: asked for again, by
due work of its own, then held for a person. So a failed refund does not end it.
"""

from typing import Final

from domain.kernel.identifiers import REFUND, derived_id
from domain.kernel.saga import Deadline, Saga, SagaState
from domain.kernel.stream import Command
from domain.payments.payment import PAYMENT, Payment, PaymentCaptured
from domain.payments.refund import RefundFailed, RefundOutcomeUnknown, RefundRequested, RefundSucceeded
from domain.payments.refund_commands import RequestRefund

REASON: Final = "invoice_settled_otherwise"

DEADLINE_MS: Final = 15_000
"""How long the stream processors have to ask for the refund before the sweeper does it (ms)."""


def begins(event: PaymentCaptured) -> SagaState | None:
    """What was captured and is not needed goes back."""
    return SagaState.WAITING if event.unneeded else None


def react(event_id: str, event: PaymentCaptured) -> list[tuple[str, Command]]:
    """Refund it: all that has not been refunded by hand."""
    if begins(event) is None:
        return []
    refund_id = derived_id(REFUND, event_id, "refund")
    return [("refund", RequestRefund(refund_id=refund_id, payment_id=event.payment_id, reason=REASON))]


def _must_go_on(payment: Payment) -> bool | None:
    return not payment.refundable.is_zero if payment.unneeded else None


REFUND_SAGA: Final = Saga(
    name="refund",
    streams=(PAYMENT,),
    starts=PaymentCaptured,
    begins=begins,
    moves={
        RefundRequested: SagaState.WAITING,
        RefundOutcomeUnknown: SagaState.UNKNOWN,
        RefundFailed: SagaState.WAITING,
        RefundSucceeded: SagaState.SUCCEEDED,
    },
    subject=lambda event: event.payment_id,
    react=react,
    deadline=Deadline(after_ms=DEADLINE_MS, must_go_on=_must_go_on),
)
