"""Specifications of what a gateway answers: captured, declined, to be authenticated; unknown until it is known."""

import pytest

from domain.invoicing.collection import CollectionStatus
from domain.invoicing.finalization import VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.settlement import PayInvoiceOutOfBand
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import CUSTOMER_BALANCE, GATEWAY_CLEARING, RECEIVABLE
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.payments import refund_saga
from domain.payments.cancel_commands import RecordPaymentCanceled
from domain.payments.payment import (
    PAYMENT,
    PaymentAttemptIsOver,
    PaymentCanceled,
    PaymentNotConfirmable,
    PaymentNotFound,
    PaymentStatus,
    attempt_reference,
)
from testing.examples.payments import (
    ASK_ABOUT_ACTION,
    ASK_WHAT_HAPPENED,
    CALL_DONE,
    CALL_DUE,
    CANCEL,
    LIVE,
    OUTCOMES,
    action_required,
    capture,
    confirm,
    create,
    decline,
    lose_sight,
    outcome_unknown,
    pay_invoice,
    require_action,
    under_way,
)
from testing.examples.streams import (
    BY_HAND,
    INVOICE_ID,
    OTHER_PAYMENT_ID,
    PAYMENT_ID,
    attempt_requested,
    create_customer,
    credit,
    customer_with_card,
    debit,
    invoice_finalized,
    invoice_paid,
    invoice_payment_failed,
    invoice_payment_started,
    payment_captured,
    payment_declined,
    usd,
)
from testing.specification import NOW, given

# --- what the gateway answers ------------------------------------------------------------------------------------


def test_a_capture_pays_the_invoice_and_frees_its_claim() -> None:
    (
        under_way()
        .when(capture())
        .then(payment_captured(), invoice_paid())
        .then_posts(debit(GATEWAY_CLEARING, usd(1_000)), credit(RECEIVABLE, usd(1_000)))
        .then_frees(LIVE)
        .then_finishes(CALL_DONE, Finish(WorkKind.SAGA_DEADLINE, f"charge:{INVOICE_ID}"))
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.PAID,
            payment_id=PAYMENT_ID,
            collection_status=CollectionStatus.SUCCEEDED,
        )
        .when(pay_invoice(OTHER_PAYMENT_ID))
        .then_refused(InvoiceNotOpen)
    )


def test_a_decline_frees_the_invoice_for_another_payment() -> None:
    (
        under_way(collection=BY_HAND)
        .when(decline())
        .then(payment_declined(), invoice_payment_failed())
        .then_posts()
        .then_frees(LIVE)
        .then_finishes(CALL_DONE)
        .then_shows(
            PAYMENT,
            PAYMENT_ID,
            status=PaymentStatus.REQUIRES_PAYMENT_METHOD,
            decline_code="insufficient_funds",
        )
        .when(pay_invoice(OTHER_PAYMENT_ID))
        .then_claims(LIVE._replace(owner=OTHER_PAYMENT_ID))
    )


def test_a_declined_payment_is_tried_again_under_a_new_attempt() -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(decline())
        .when(confirm())
        .then(attempt_requested(2), invoice_payment_started())
        .then_claims(LIVE)
        .then_schedules(CALL_DUE._replace(subject=attempt_reference(PAYMENT_ID, 2)))
        .then_shows(PAYMENT, PAYMENT_ID, decline_code=None)
        .when(capture(2))
        .then(payment_captured(2), invoice_paid())
    )


def test_a_declined_payment_is_not_tried_again_beside_another_or_once_the_invoice_is_settled() -> None:
    declined = (*customer_with_card(), invoice_finalized(collection=BY_HAND), pay_invoice(), decline())
    for over in (pay_invoice(OTHER_PAYMENT_ID), VoidInvoice(invoice_id=INVOICE_ID)):
        given(*declined, over).when(confirm()).then_refused(PaymentNotConfirmable, status="canceled")


def test_an_unknown_outcome_is_said_once_and_asked_about() -> None:
    (
        under_way()
        .when(lose_sight())
        .then(outcome_unknown())
        .then_posts()
        .then_frees()
        .then_schedules(ASK_WHAT_HAPPENED)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.PROCESSING, outcome_unknown=True)
        .when(lose_sight())
        .then_refused(PaymentAttemptIsOver, status="outcome_unknown")
    )


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (capture(), PaymentStatus.SUCCEEDED),
        (decline(), PaymentStatus.REQUIRES_PAYMENT_METHOD),
        (require_action(), PaymentStatus.REQUIRES_ACTION),
    ],
)
def test_what_was_unknown_comes_to_be_known(answer: Command, status: PaymentStatus) -> None:
    under_way().and_then(lose_sight()).when(answer).then_shows(
        PAYMENT, PAYMENT_ID, status=status, outcome_unknown=False
    )


def test_an_action_is_required_once_and_asked_about() -> None:
    (
        under_way(collection=BY_HAND)
        .when(require_action())
        .then(action_required())
        .then_posts()
        .then_frees()
        .then_schedules(ASK_ABOUT_ACTION)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.REQUIRES_ACTION, gateway_payment_id="gw_1")
        .when(require_action())
        .then_refused(PaymentAttemptIsOver, status="requires_action")
    )


def test_an_action_required_is_said_again_after_an_unknown_outcome() -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(require_action(), lose_sight())
        .when(require_action())
        .then(action_required())
        .then_schedules(ASK_ABOUT_ACTION)
        .then_shows(PAYMENT, PAYMENT_ID, outcome_unknown=False)
    )


def test_an_authenticated_payment_goes_on_to_its_outcome() -> None:
    authenticating = under_way(collection=BY_HAND).and_then(require_action())
    authenticating.when(capture()).then(payment_captured(), invoice_paid()).then_finishes(CALL_DONE)
    refused = under_way(collection=BY_HAND).and_then(require_action())
    refused.when(decline()).then(payment_declined(), invoice_payment_failed()).then_frees(LIVE).then_finishes(CALL_DONE)


@pytest.mark.parametrize("answer", OUTCOMES)
def test_an_answer_to_an_attempt_that_is_over_is_refused(answer: Command) -> None:
    under_way().and_then(capture()).when(answer).then_refused(PaymentAttemptIsOver, attempt=1, status="succeeded")
    under_way().and_then(decline()).when(answer).then_refused(PaymentAttemptIsOver, attempt=1)
    under_way().and_then(decline(), confirm()).when(answer).then_refused(PaymentAttemptIsOver, status="processing")
    given(*customer_with_card(), create()).when(answer).then_refused(PaymentAttemptIsOver)


@pytest.mark.parametrize("command", [*OUTCOMES, confirm(), CANCEL])
def test_an_unknown_payment_is_not_found(command: Command) -> None:
    given(create_customer()).when(command).then_refused(PaymentNotFound, payment=PAYMENT_ID)


# --- too late ----------------------------------------------------------------------------------------------------

SETTLING: list[Command] = [VoidInvoice(invoice_id=INVOICE_ID), PayInvoiceOutOfBand(invoice_id=INVOICE_ID)]


@pytest.mark.parametrize("settled", SETTLING)
def test_a_capture_after_the_invoice_was_settled_is_unneeded_and_to_be_refunded(settled: Command) -> None:
    (
        under_way()
        .and_then(settled)
        .when(capture())
        .then(payment_captured(unneeded=True))
        .then_posts(debit(GATEWAY_CLEARING, usd(1_000)), credit(CUSTOMER_BALANCE, usd(1_000)))
        .then_schedules(Schedule(WorkKind.SAGA_DEADLINE, f"refund:{PAYMENT_ID}", after_ms=refund_saga.DEADLINE_MS))
        .then_finishes(CALL_DONE)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.SUCCEEDED, unneeded=True, refundable=usd(1_000))
    )


@pytest.mark.parametrize("settled", SETTLING)
def test_other_answers_after_the_invoice_was_settled_end_the_payment_and_say_nothing_of_it(settled: Command) -> None:
    canceled = PaymentCanceled(payment_id=PAYMENT_ID, canceled_at=NOW)
    under_way().and_then(settled).when(decline()).then(payment_declined(), canceled).then_frees(LIVE)
    (
        under_way()
        .and_then(settled)
        .when(require_action())
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.REQUIRES_ACTION)
        .then_shows(INVOICE, INVOICE_ID, collection_failure=None)
        .when(RecordPaymentCanceled(payment_id=PAYMENT_ID, attempt=1))
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
    )
