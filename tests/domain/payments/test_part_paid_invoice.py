"""What a charge takes, and what becomes of what it took, of an invoice that is paid in part or was written off."""

from dataclasses import replace
from typing import Any

from domain.customers.customer import CUSTOMER
from domain.invoicing.collection import CollectionStatus
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import MarkInvoiceUncollectible, PayInvoiceOutOfBand
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import (
    ALLOWANCES,
    BAD_DEBT,
    CUSTOMER_BALANCE,
    GATEWAY_CLEARING,
    RECEIVABLE,
    REFUNDS_PAYABLE,
)
from domain.payments.cancel_commands import ExpirePaymentAttempt, RecordPaymentCanceled
from domain.payments.cancellation import CancelReason, PaymentCancelRequested
from domain.payments.commands import CollectInvoice
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT, PaymentCanceled, PaymentStatus
from domain.payments.refund import RefundFailed, RefundRequested
from domain.payments.refund_commands import RecordRefundFailed, RequestRefund
from testing.examples.payments import (
    COLLECTION,
    capture,
    confirm,
    decline,
    of_the_collection,
    pay_invoice,
    require_action,
    under_way,
)
from testing.examples.streams import (
    BY_HAND,
    CUSTOMER_ID,
    INVOICE_ID,
    OTHER_CARD_ID,
    OTHER_PAYMENT_ID,
    PAYMENT_ID,
    REFUND_ID,
    attach_card,
    attempt_requested,
    balance_credited,
    balance_drawn,
    credit,
    customer_with_card,
    debit,
    id_of,
    invoice_finalized,
    invoice_paid,
    invoice_payment_failed,
    invoice_payment_started,
    invoice_recovered,
    invoice_uncollectible,
    payment_captured,
    payment_created,
    payment_declined,
    usd,
)
from testing.specification import NOW, Given, given

A_PART = PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(300))
WRITE_OFF = MarkInvoiceUncollectible(invoice_id=INVOICE_ID)
OTHER_CARD = attach_card(payment_method_id=OTHER_CARD_ID, token_reference="tok_other")
GIVEN_UP = RecordPaymentCanceled(payment_id=PAYMENT_ID, attempt=1)


def attempt_of(amount: int, attempt: int = 1, **changes: Any) -> Any:
    return replace(attempt_requested(attempt), amount=usd(amount), **changes)


# --- what is charged ---------------------------------------------------------------------------------------------


def test_a_collection_charges_what_is_due_when_it_begins() -> None:
    (
        given(*customer_with_card(), invoice_finalized(), A_PART)
        .when(CollectInvoice(invoice_id=INVOICE_ID, payment_id=COLLECTION))
        .then(of_the_collection(payment_created(amount=usd(700))), of_the_collection(attempt_of(700)))
    )


def test_what_is_tried_again_charges_what_is_due_by_then_not_what_it_was_made_for() -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(decline(), A_PART)
        .when(confirm())
        .then(attempt_of(700, attempt=2), invoice_payment_started())
        .then_shows(PAYMENT, PAYMENT_ID, amount=usd(700))
    )


def test_what_is_tried_in_anothers_place_charges_what_is_due_by_then() -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(OTHER_CARD, require_action(), pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID), A_PART)
        .when(GIVEN_UP)
        .then_shows(PAYMENT, OTHER_PAYMENT_ID, amount=usd(700), status=PaymentStatus.PROCESSING)
    )


# --- what a charge took ------------------------------------------------------------------------------------------


def overpaid() -> Given:
    """An invoice of 10.00 of which 3.00 came otherwise while all of it was being charged."""
    return under_way(collection=BY_HAND).and_then(A_PART)


def test_a_charge_goes_on_when_a_part_comes_otherwise_and_what_is_above_is_the_customers_balance() -> None:
    (
        overpaid()
        .when(capture())
        .then(payment_captured(surplus=300), invoice_paid(amount=700, surplus=300), balance_credited(300))
        .then_posts(
            debit(GATEWAY_CLEARING, usd(1_000)), credit(RECEIVABLE, usd(700)), credit(CUSTOMER_BALANCE, usd(300))
        )
        .then_shows(INVOICE, INVOICE_ID, amount_paid=usd(1_000), amount_overpaid=usd(300), amount_due=usd(0))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(300))
    )


def test_the_first_of_a_refund_is_what_was_overpaid() -> None:
    refunded = RefundRequested(
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        amount=usd(400),
        from_balance=usd(300),
        reason=None,
        requested_at=NOW,
    )
    asked = RequestRefund(refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(400))
    failed = RefundFailed(
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        code=DeclineCode.ACCOUNT_CLOSED,
        amount=usd(400),
        failed_at=NOW,
        evidence=None,
    )
    (
        overpaid()
        .and_then(capture())
        .when(asked)
        .then(refunded, balance_drawn(300, refund_id=REFUND_ID))
        .then_posts(debit(ALLOWANCES, usd(100)), debit(CUSTOMER_BALANCE, usd(300)), credit(REFUNDS_PAYABLE, usd(400)))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
        .when(RecordRefundFailed(refund_id=REFUND_ID, payment_id=PAYMENT_ID, failure_code=DeclineCode.ACCOUNT_CLOSED))
        .then(failed, balance_credited(300, refund_id=REFUND_ID))
        .then_posts(debit(REFUNDS_PAYABLE, usd(400)), credit(ALLOWANCES, usd(100)), credit(CUSTOMER_BALANCE, usd(300)))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(300))
        .then_shows(PAYMENT, PAYMENT_ID, taken_from_balance=usd(0))
    )


def test_what_was_overpaid_and_has_paid_another_invoice_since_is_refunded_as_an_allowance() -> None:
    """All that the payment captured has paid invoices by then, and they stay paid."""
    (
        overpaid()
        .and_then(capture(), replace(balance_drawn(250), invoice_id=id_of("in_", 2)))
        .when(RequestRefund(refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(300)))
        .then_posts(debit(ALLOWANCES, usd(250)), debit(CUSTOMER_BALANCE, usd(50)), credit(REFUNDS_PAYABLE, usd(300)))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


# --- written off -------------------------------------------------------------------------------------------------


def give_up(**changes: Any) -> PaymentCancelRequested:
    facts: dict[str, Any] = {
        "payment_id": PAYMENT_ID,
        "attempt": 1,
        "reason": CancelReason.INVOICE_SETTLED,
        "replacement_method_id": None,
        "replacement_payment_id": None,
        "requested_at": NOW,
    }
    return PaymentCancelRequested(**facts | changes)


def canceled(payment_id: str = PAYMENT_ID) -> PaymentCanceled:
    return PaymentCanceled(payment_id=payment_id, canceled_at=NOW)


def test_writing_off_gives_up_the_payment_that_is_under_way() -> None:
    (
        under_way(collection=BY_HAND)
        .when(WRITE_OFF)
        .then(invoice_uncollectible(), give_up())
        .when(GIVEN_UP)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
        .then_shows(INVOICE, INVOICE_ID, collection_status=CollectionStatus.NOT_APPLICABLE)
    )
    under_way().and_then(decline()).when(WRITE_OFF).then(invoice_uncollectible(), canceled())


def test_another_method_is_not_tried_instead_once_the_invoice_is_written_off() -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(OTHER_CARD, require_action(), confirm(OTHER_CARD_ID))
        .when(WRITE_OFF)
        .then(invoice_uncollectible(), give_up())
        .when(GIVEN_UP)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
    )


def test_another_payment_is_not_tried_instead_once_the_invoice_is_written_off() -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(OTHER_CARD, require_action(), pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID))
        .when(WRITE_OFF)
        .then(invoice_uncollectible(), canceled(OTHER_PAYMENT_ID))
        .when(GIVEN_UP)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
        .then_shows(PAYMENT, OTHER_PAYMENT_ID, status=PaymentStatus.CANCELED)
    )


def test_what_was_to_be_given_up_for_want_of_its_customer_ends_with_the_write_off() -> None:
    (
        under_way()
        .and_then(require_action(), ExpirePaymentAttempt(payment_id=PAYMENT_ID, attempt=1))
        .when(WRITE_OFF)
        .then(invoice_uncollectible(), give_up())
    )


def test_what_was_captured_before_it_was_given_up_is_recovered() -> None:
    (
        under_way()
        .and_then(WRITE_OFF)
        .when(capture())
        .then(payment_captured(), invoice_recovered(1_000), invoice_paid())
        .then_posts(
            debit(GATEWAY_CLEARING, usd(1_000)),
            credit(RECEIVABLE, usd(1_000)),
            debit(RECEIVABLE, usd(1_000)),
            credit(BAD_DEBT, usd(1_000)),
        )
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0))
    )


def test_what_was_written_off_may_be_charged_when_somebody_asks_for_it() -> None:
    tried = given(*customer_with_card(), invoice_finalized(), A_PART, WRITE_OFF).when(pay_invoice())
    tried.then(payment_created(amount=usd(700)), attempt_of(700), invoice_payment_started())
    tried.then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.UNCOLLECTIBLE, collection_status="pending")
    (
        tried.when(decline())
        .then(payment_declined(), invoice_payment_failed())
        .then_shows(INVOICE, INVOICE_ID, collection_status=CollectionStatus.FAILED)
        .when(confirm())
        .then(attempt_of(700, attempt=2), invoice_payment_started())
    )
