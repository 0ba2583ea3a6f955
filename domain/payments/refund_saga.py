"""The refund saga: a capture that nobody needs any more goes back.

payment.captured (unneeded) -> RequestRefund -> (the gateway call, due work) -> succeeded or failed.
"""

from domain.kernel.identifiers import REFUND, derived_id
from domain.kernel.stream import Command, Event
from domain.payments.payment import PaymentCaptured
from domain.payments.refund_commands import RequestRefund

NAME = "refund"
REASON = "invoice_settled_otherwise"


def react(event_id: str, event: Event) -> list[tuple[str, Command]]:
    """The saga's next commands, each with its step's name. The same event always asks for the same."""
    if not isinstance(event, PaymentCaptured) or not event.unneeded:
        return []
    refund_id = derived_id(REFUND, event_id, "refund")
    return [("refund", RequestRefund(refund_id=refund_id, payment_id=event.payment_id, reason=REASON))]
