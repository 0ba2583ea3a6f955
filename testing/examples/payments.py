"""Facts and commands that the specifications of payments are told with: one payment and what its gateway says."""

from dataclasses import replace
from typing import Any

from domain.payments.decline import DeclineCode
from domain.payments.payment import (
    ASK_ABOUT_ACTION_AFTER_MS,
    RESOLVE_UNKNOWN_AFTER_MS,
    PaymentActionRequired,
    PaymentOutcomeUnknown,
    attempt_reference,
    collected_by,
)
from domain.payments.cancel_commands import CancelPayment
from domain.payments.commands import (
    ConfirmPayment,
    CreatePayment,
    PayInvoice,
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
)
from domain.kernel.stream import Command, Event, Finish, Schedule, WorkKind
from testing.specification import NOW, Claimed, Given, given
from testing.examples.streams import (
    CUSTOMER_ID,
    INVOICE_ID,
    PAYMENT_ID,
    customer_with_card,
    invoice_finalized,
    payment_created,
    usd,
)

CALL = WorkKind.PAYMENT_GATEWAY_CALL
CALL_DUE = Schedule(CALL, attempt_reference(PAYMENT_ID, 1), after_ms=0)
ASK_WHAT_HAPPENED = Schedule(CALL, attempt_reference(PAYMENT_ID, 1), after_ms=RESOLVE_UNKNOWN_AFTER_MS)
ASK_ABOUT_ACTION = Schedule(CALL, attempt_reference(PAYMENT_ID, 1), after_ms=ASK_ABOUT_ACTION_AFTER_MS)
CALL_DONE = Finish(CALL, attempt_reference(PAYMENT_ID, 1))
LIVE = Claimed("invoice.live_payment", INVOICE_ID, PAYMENT_ID)


COLLECTION = collected_by(INVOICE_ID)
"""The payment that collects the invoice as its finalization promised."""


def of_the_collection(said: Any) -> Any:
    """What is said of the payment of these examples, said of the collection."""
    return replace(said, payment_id=COLLECTION)


def create(**changes: Any) -> CreatePayment:
    facts: dict[str, Any] = {"payment_id": PAYMENT_ID, "customer_id": CUSTOMER_ID, "amount": usd(1_000)}
    return CreatePayment(**facts | changes)


def of_no_invoice(**changes: Any) -> Any:
    return payment_created(**{"invoice_id": None, "payment_method_id": None} | changes)


def confirm(payment_method_id: str | None = None) -> ConfirmPayment:
    return ConfirmPayment(payment_id=PAYMENT_ID, payment_method_id=payment_method_id)


CANCEL = CancelPayment(payment_id=PAYMENT_ID)


def pay_invoice(payment_id: str = PAYMENT_ID, payment_method_id: str | None = None) -> PayInvoice:
    return PayInvoice(invoice_id=INVOICE_ID, payment_id=payment_id, payment_method_id=payment_method_id)


def capture(attempt: int = 1) -> RecordPaymentCaptured:
    return RecordPaymentCaptured(payment_id=PAYMENT_ID, attempt=attempt, gateway_payment_id="gw_1")


def decline(attempt: int = 1) -> RecordPaymentDeclined:
    return RecordPaymentDeclined(
        payment_id=PAYMENT_ID, attempt=attempt, decline_code=DeclineCode.INSUFFICIENT_FUNDS, retryable=True
    )


def require_action(attempt: int = 1) -> RecordPaymentActionRequired:
    return RecordPaymentActionRequired(payment_id=PAYMENT_ID, attempt=attempt, gateway_payment_id="gw_1")


def lose_sight(attempt: int = 1) -> RecordPaymentOutcomeUnknown:
    return RecordPaymentOutcomeUnknown(payment_id=PAYMENT_ID, attempt=attempt, why="time-out")


def action_required() -> PaymentActionRequired:
    return PaymentActionRequired(payment_id=PAYMENT_ID, attempt=1, gateway_payment_id="gw_1", required_at=NOW)


def outcome_unknown(attempt: int = 1) -> PaymentOutcomeUnknown:
    return PaymentOutcomeUnknown(payment_id=PAYMENT_ID, attempt=attempt, why="time-out", noticed_at=NOW)


OUTCOMES: list[Command] = [capture(), decline(), require_action(), lose_sight()]


def under_way(**invoice: Any) -> Given:
    """An open invoice whose payment is being charged to its customer's card."""
    facts: tuple[Event | Command, ...] = (*customer_with_card(), invoice_finalized(**invoice), pay_invoice())
    return given(*facts)
