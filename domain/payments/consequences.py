"""What becomes of an invoice, or its credit note, when something becomes of its payments, and of its payment once it is
settled."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.invoicing.collection import (
    CollectionMethod,
    CollectionStatus,
    InvoiceCollectionFailed,
    InvoicePaymentFailed,
    InvoicePaymentStarted,
)
from domain.invoicing.credit_note import CreditNoteRefunded, CreditNoteRefundFailed
from domain.invoicing.finalization import InvoiceVoided
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoiceMarkedUncollectible, InvoicePaid
from domain.invoicing.state import InvoiceStatus
from domain.kernel.consequences import Consequence
from domain.kernel.money import Money
from domain.kernel.stream import Change, Streams
from domain.payments.cancellation import CancelReason, PaymentAttemptCanceled, PaymentCancelRequested
from domain.payments.payment import (
    PAYMENT,
    Payment,
    PaymentActionRequired,
    PaymentAttemptRequested,
    PaymentCanceled,
    PaymentDeclined,
    collected_by,
)
from domain.payments.refund import RefundFailed, RefundSucceeded

AUTHENTICATION_REQUIRED: Final = "authentication_required"
AUTHENTICATION_TIMED_OUT: Final = "authentication_timed_out"
PAYMENT_CANCELED: Final = "payment_canceled"
METHOD_DETACHED: Final = "payment_method_detached"


def begun(event: PaymentAttemptRequested, streams: Streams, at: datetime) -> list[Change]:
    """The invoice shows the payment that is tried. That its collection has begun, it shows since it was finalized.

    The one that it showed until now is over: of an invoice's payments at most one may be tried.
    """
    invoice_id = PAYMENT.of(streams, event.payment_id).invoice_id
    if invoice_id is None:
        return []
    invoice = INVOICE.of(streams, invoice_id)
    shown = invoice.payment_id or collected_by(invoice_id)
    is_shown = invoice.collection_status is CollectionStatus.PENDING and event.payment_id == shown
    if not invoice.is_payable or is_shown:
        return []
    started = InvoicePaymentStarted(invoice_id=invoice_id, payment_id=event.payment_id, started_at=at)
    return [INVOICE.change(started), *_over(invoice.payment_id, streams, at)]


def declined(event: PaymentDeclined, streams: Streams, at: datetime) -> list[Change]:
    return _uncollected(event.payment_id, event.code, streams, at)


def waits_for_the_customer(event: PaymentActionRequired, streams: Streams, at: datetime) -> list[Change]:
    """We could not collect it without the customer. One that they pay themselves is still being paid."""
    return _uncollected(event.payment_id, AUTHENTICATION_REQUIRED, streams, at, by_hand=False)


def timed_out(event: PaymentAttemptCanceled, streams: Streams, at: datetime) -> list[Change]:
    if event.reason is not CancelReason.TIMED_OUT:
        return []
    return _uncollected(event.payment_id, AUTHENTICATION_TIMED_OUT, streams, at)


def canceled(event: PaymentCanceled, streams: Streams, at: datetime) -> list[Change]:
    """Only the payment that the invoice waits for leaves it unpaid, not one that another has replaced."""
    payment = PAYMENT.of(streams, event.payment_id)
    invoice = None if payment.invoice_id is None else INVOICE.of(streams, payment.invoice_id)
    if invoice is None or invoice.payment_id not in {None, event.payment_id}:
        return []
    return still_unpaid(payment, PAYMENT_CANCELED, streams, at)


def still_unpaid(payment: Payment, reason: str, streams: Streams, at: datetime) -> list[Change]:
    """The payment is not tried again, and its invoice waits for it no longer."""
    invoice = None if payment.invoice_id is None else INVOICE.of(streams, payment.invoice_id)
    if invoice is None or invoice.collection_status is not CollectionStatus.PENDING:
        return []
    return _uncollected(payment.payment_id, reason, streams, at)


def settled(
    event: InvoicePaid | InvoiceVoided | InvoiceMarkedUncollectible, streams: Streams, at: datetime
) -> list[Change]:
    """The payment that was tried last is needed no more: what is under way is given up, what may be tried is over.

    An invoice shows it, all but the collection that its finalization promised. That one is looked for even if it has
    not begun: then it begins before this is recorded, and this is decided again, or after it, and is refused.
    """
    payment_id = INVOICE.of(streams, event.invoice_id).payment_id or collected_by(event.invoice_id)
    payment = streams.get(PAYMENT, payment_id)
    if payment is None or not payment.is_under_way:
        return _over(payment_id, streams, at)
    wanted = payment.cancellation
    # A void or paid invoice lets nothing more be tried. One that was written off may be paid again, but only by whoever
    # asks for it from now on: what was to come in the attempt's place does not come any more.
    goes_on = isinstance(event, InvoiceMarkedUncollectible) and wanted is not None and not wanted.ends_payment
    return [give_up(payment, CancelReason.INVOICE_SETTLED, at)] if wanted is None or goes_on else []


def returned(event: RefundSucceeded | RefundFailed, streams: Streams, at: datetime) -> list[Change]:
    """The credit note that a refund was asked for with shows what became of it."""
    payment = PAYMENT.of(streams, event.payment_id)
    note_id = next(each.credit_note_id for each in payment.refunds if each.refund_id == event.refund_id)
    if note_id is None or payment.invoice_id is None:
        return []
    outcome: CreditNoteRefunded | CreditNoteRefundFailed
    if isinstance(event, RefundSucceeded):
        outcome = CreditNoteRefunded(
            invoice_id=payment.invoice_id, credit_note_id=note_id, refund_id=event.refund_id, refunded_at=at
        )
    else:
        outcome = CreditNoteRefundFailed(
            invoice_id=payment.invoice_id,
            credit_note_id=note_id,
            refund_id=event.refund_id,
            amount=event.amount,
            failed_at=at,
        )
    return [INVOICE.change(outcome)]


def is_unneeded(payment: Payment, streams: Streams) -> bool:
    """Whether its invoice has been settled without it."""
    return payment.invoice_id is not None and INVOICE.of(streams, payment.invoice_id).is_settled


def amount_to_charge(payment: Payment, streams: Streams) -> Money:
    """What its next attempt takes: what is due on its invoice by then, whatever it was made for."""
    return payment.amount if payment.invoice_id is None else INVOICE.of(streams, payment.invoice_id).amount_due


def give_up(
    payment: Payment,
    reason: CancelReason,
    at: datetime,
    *,
    replacement_method_id: str | None = None,
    replacement_payment_id: str | None = None,
) -> Change:
    """The gateway is asked to give the running attempt up."""
    return PAYMENT.change(
        PaymentCancelRequested(
            payment_id=payment.payment_id,
            attempt=payment.attempt,
            reason=reason,
            replacement_method_id=replacement_method_id,
            replacement_payment_id=replacement_payment_id,
            requested_at=at,
        )
    )


def _over(payment_id: str | None, streams: Streams, at: datetime) -> list[Change]:
    """A payment that might still be tried is cancelled."""
    payment = None if payment_id is None else streams.get(PAYMENT, payment_id)
    if payment is None or not payment.can_be_tried:
        return []
    return [PAYMENT.change(PaymentCanceled(payment_id=payment.payment_id, canceled_at=at))]


def _uncollected(payment_id: str, reason: str, streams: Streams, at: datetime, *, by_hand: bool = True) -> list[Change]:
    """The invoice stays as it is. What a customer tried on an invoice of theirs to pay, or on one that was written off,
    was no collection of ours."""
    invoice_id = PAYMENT.of(streams, payment_id).invoice_id
    invoice = None if invoice_id is None else INVOICE.of(streams, invoice_id)
    if invoice is None or not invoice.is_payable:
        return []
    event: InvoiceCollectionFailed | InvoicePaymentFailed
    if invoice.collection is CollectionMethod.CHARGE_AUTOMATICALLY and invoice.status is InvoiceStatus.OPEN:
        event = InvoiceCollectionFailed(
            invoice_id=invoice.invoice_id, payment_id=payment_id, reason=reason, failed_at=at
        )
    elif by_hand:
        event = InvoicePaymentFailed(invoice_id=invoice.invoice_id, payment_id=payment_id, reason=reason, failed_at=at)
    else:
        return []
    return [INVOICE.change(event)]


CONSEQUENCES: Final[Mapping[type, Consequence]] = {
    PaymentAttemptRequested: begun,
    PaymentDeclined: declined,
    PaymentActionRequired: waits_for_the_customer,
    PaymentAttemptCanceled: timed_out,
    PaymentCanceled: canceled,
    InvoicePaid: settled,
    InvoiceVoided: settled,
    InvoiceMarkedUncollectible: settled,
    RefundSucceeded: returned,
    RefundFailed: returned,
}
