"""An attempt that waits for its customer can be replaced, cancelled, or times out; the gateway says what it came to."""

import pytest

from domain.customers.payment_method import DetachPaymentMethod
from domain.invoicing.collection import CollectionMethod, CollectionStatus
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import InvoiceStatus
from domain.kernel.stream import Command, Event, Schedule
from domain.payments.cancel_commands import ExpirePaymentAttempt, RecordPaymentCanceled
from domain.payments.cancellation import (
    Cancellation,
    CancelReason,
    PaymentAttemptCanceled,
    PaymentCancelRequested,
)
from domain.payments.payment import (
    PAYMENT,
    InvoiceHasLivePayment,
    PaymentAttemptIsOver,
    PaymentCanceled,
    PaymentNotConfirmable,
    PaymentStatus,
    attempt_reference,
)
from testing.examples.payments import (
    CALL,
    CALL_DONE,
    CANCEL,
    LIVE,
    capture,
    confirm,
    create,
    decline,
    lose_sight,
    pay_invoice,
    require_action,
    under_way,
)
from testing.examples.streams import (
    INVOICE_ID,
    OTHER_CARD_ID,
    OTHER_PAYMENT_ID,
    PAYMENT_ID,
    attach_card,
    attempt_requested,
    customer_deleted,
    customer_with_card,
    invoice_paid,
    invoice_payment_failed,
    invoice_payment_started,
    invoice_voided,
    payment_captured,
    payment_created,
    payment_declined,
)
from testing.specification import NOW, Claimed, Given, given

BY_HAND = CollectionMethod.SEND_INVOICE
GIVE_UP_DUE = Schedule(CALL, attempt_reference(PAYMENT_ID, 1), after_ms=0)
GIVEN_UP = RecordPaymentCanceled(payment_id=PAYMENT_ID, attempt=1)
EXPIRE = ExpirePaymentAttempt(payment_id=PAYMENT_ID, attempt=1)
OTHER_CARD = attach_card(payment_method_id=OTHER_CARD_ID, token_reference="tok_other")
DETACH = DetachPaymentMethod(payment_method_id=OTHER_CARD_ID)
CANCELED = PaymentCanceled(payment_id=PAYMENT_ID, canceled_at=NOW)


def wanted(reason: CancelReason, method_id: str | None = None, payment_id: str | None = None) -> PaymentCancelRequested:
    return PaymentCancelRequested(
        payment_id=PAYMENT_ID,
        attempt=1,
        reason=reason,
        replacement_method_id=method_id,
        replacement_payment_id=payment_id,
        requested_at=NOW,
    )


def attempt_canceled(reason: CancelReason) -> PaymentAttemptCanceled:
    return PaymentAttemptCanceled(payment_id=PAYMENT_ID, attempt=1, reason=reason, canceled_at=NOW)


def waiting() -> Given:
    """A payment of no invoice that waits for its customer to authenticate."""
    return given(*customer_with_card(), OTHER_CARD, create(confirm=True), require_action())


def waiting_for_invoice() -> Given:
    """The same for an invoice that its customer pays by hand."""
    return under_way(collection=BY_HAND).and_then(OTHER_CARD, require_action())


def test_it_is_cancelled_by_command_at_the_gateway_first() -> None:
    (
        waiting()
        .when(CANCEL)
        .then(wanted(CancelReason.REQUESTED))
        .then_schedules(GIVE_UP_DUE)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.REQUIRES_ACTION)
        .when(CANCEL)
        .then_nothing()
        .when(GIVEN_UP)
        .then(attempt_canceled(CancelReason.REQUESTED), CANCELED)
        .then_finishes(CALL_DONE)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED, cancellation=None)
    )


@pytest.mark.parametrize("facts", [(), (lose_sight(),)])
def test_one_that_the_gateway_works_on_or_of_which_nobody_knows_is_cancelled_too(facts: tuple[Command, ...]) -> None:
    given(*customer_with_card(), create(confirm=True), *facts).when(CANCEL).then(wanted(CancelReason.REQUESTED))


def test_another_method_takes_its_place_once_it_is_given_up() -> None:
    (
        waiting()
        .when(confirm(OTHER_CARD_ID))
        .then(wanted(CancelReason.REPLACED, OTHER_CARD_ID))
        .then_schedules(GIVE_UP_DUE)
        .when(confirm())
        .then_refused(PaymentNotConfirmable)
        .when(GIVEN_UP)
        .then(
            attempt_canceled(CancelReason.REPLACED),
            attempt_requested(2, payment_method_id=OTHER_CARD_ID, token_reference="tok_other"),
        )
        .then_finishes(CALL_DONE)
        .then_schedules(GIVE_UP_DUE._replace(subject=attempt_reference(PAYMENT_ID, 2)))
    )


def test_an_invoice_is_paid_with_another_method_while_its_payment_waits() -> None:
    (
        waiting_for_invoice()
        .when(pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID))
        .then(
            payment_created(payment_id=OTHER_PAYMENT_ID, payment_method_id=OTHER_CARD_ID),
            wanted(CancelReason.REPLACED, OTHER_CARD_ID, OTHER_PAYMENT_ID),
            invoice_payment_started(OTHER_PAYMENT_ID),
        )
        .then_claims()
        .then_shows(INVOICE, INVOICE_ID, payment_id=OTHER_PAYMENT_ID, collection_status=CollectionStatus.PENDING)
        .when(GIVEN_UP)
        .then(
            attempt_canceled(CancelReason.REPLACED),
            CANCELED,
            attempt_requested(
                1, payment_id=OTHER_PAYMENT_ID, payment_method_id=OTHER_CARD_ID, token_reference="tok_other"
            ),
        )
        .then_frees(LIVE)
        .then_claims(Claimed("invoice.live_payment", INVOICE_ID, OTHER_PAYMENT_ID))
        .then_finishes(CALL_DONE)
    )


def test_a_cancel_of_what_is_being_replaced_keeps_what_takes_its_place() -> None:
    (
        waiting_for_invoice()
        .and_then(pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID))
        .when(CANCEL)
        .then_nothing()
        .when(GIVEN_UP)
        .then(
            attempt_canceled(CancelReason.REPLACED),
            CANCELED,
            attempt_requested(
                1, payment_id=OTHER_PAYMENT_ID, payment_method_id=OTHER_CARD_ID, token_reference="tok_other"
            ),
        )
    )


@pytest.mark.parametrize("collection", list(CollectionMethod))
def test_where_the_method_was_detached_what_was_to_take_its_place_ends_and_the_invoice_says_so(
    collection: CollectionMethod,
) -> None:
    (
        under_way(collection=collection)
        .and_then(OTHER_CARD, require_action(), pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID), DETACH)
        .when(GIVEN_UP)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
        .then_shows(PAYMENT, OTHER_PAYMENT_ID, status=PaymentStatus.CANCELED)
        .then_shows(
            INVOICE, INVOICE_ID, collection_status=CollectionStatus.FAILED, collection_failure="payment_canceled"
        )
        .when(pay_invoice("pay_third"))
        .then_shows(INVOICE, INVOICE_ID, collection_status=CollectionStatus.PENDING)
    )


@pytest.mark.parametrize("settled", [invoice_voided(), invoice_paid(payment_id=None)])
def test_on_an_invoice_settled_meanwhile_nothing_takes_its_place(settled: Event) -> None:
    (
        waiting_for_invoice()
        .and_then(pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID), settled)
        .when(GIVEN_UP)
        .then(
            attempt_canceled(CancelReason.REPLACED),
            CANCELED,
            PaymentCanceled(payment_id=OTHER_PAYMENT_ID, canceled_at=NOW),
        )
    )


def test_an_invoice_waits_no_longer_for_a_payment_whose_next_method_was_detached() -> None:
    (
        waiting_for_invoice()
        .and_then(confirm(OTHER_CARD_ID), DETACH)
        .when(GIVEN_UP)
        .then(attempt_canceled(CancelReason.REPLACED), invoice_payment_failed("payment_method_detached"))
    )
    (
        waiting_for_invoice()
        .and_then(confirm(OTHER_CARD_ID), DETACH)
        .when(decline())
        .then(payment_declined(), invoice_payment_failed())
    )


def test_while_it_is_being_replaced_no_third_payment_starts() -> None:
    third = "pay_third"
    (
        waiting_for_invoice()
        .and_then(pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID))
        .when(pay_invoice(third))
        .then_refused(InvoiceHasLivePayment, invoice=INVOICE_ID)
    )


def test_a_customer_who_was_faster_has_paid_and_nothing_takes_the_payments_place() -> None:
    (
        waiting_for_invoice()
        .and_then(pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID))
        .when(capture())
        .then(
            payment_captured(),
            invoice_paid(),
            PaymentCanceled(payment_id=OTHER_PAYMENT_ID, canceled_at=NOW),
        )
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, payment_id=PAYMENT_ID)
        .when(GIVEN_UP)
        .then_refused(PaymentAttemptIsOver)
    )
    waiting().and_then(CANCEL).when(capture()).then(payment_captured()).then_finishes(CALL_DONE)


def test_a_decline_that_comes_while_it_is_given_up_ends_it_the_same_way() -> None:
    waiting().and_then(CANCEL).when(decline()).then(payment_declined(), CANCELED).then_finishes(CALL_DONE)
    (
        waiting()
        .and_then(confirm(OTHER_CARD_ID))
        .when(decline())
        .then(payment_declined(), attempt_requested(2, payment_method_id=OTHER_CARD_ID, token_reference="tok_other"))
    )


def test_it_times_out_and_leaves_the_payment_to_be_tried_again() -> None:
    (
        waiting_for_invoice()
        .when(EXPIRE)
        .then(wanted(CancelReason.TIMED_OUT))
        .when(EXPIRE)
        .then_refused(PaymentAttemptIsOver)
        .when(GIVEN_UP)
        .then(attempt_canceled(CancelReason.TIMED_OUT), invoice_payment_failed("authentication_timed_out"))
        .then_frees(LIVE)
        .then_finishes(CALL_DONE)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.REQUIRES_PAYMENT_METHOD, cancellation=None)
        .when(confirm())
        .then(attempt_requested(2), invoice_payment_started())
    )


def test_a_method_that_was_detached_meanwhile_is_not_tried() -> None:
    (waiting().and_then(confirm(OTHER_CARD_ID), DETACH).when(GIVEN_UP).then(attempt_canceled(CancelReason.REPLACED)))


def test_another_method_is_not_tried_for_a_customer_who_was_deleted_meanwhile_unless_an_invoice_is_owed() -> None:
    (
        waiting()
        .and_then(confirm(OTHER_CARD_ID), customer_deleted())
        .when(GIVEN_UP)
        .then(attempt_canceled(CancelReason.REPLACED))
    )
    (
        waiting_for_invoice()
        .and_then(confirm(OTHER_CARD_ID), customer_deleted())
        .when(GIVEN_UP)
        .then(
            attempt_canceled(CancelReason.REPLACED),
            attempt_requested(2, payment_method_id=OTHER_CARD_ID, token_reference="tok_other"),
        )
    )


def test_what_is_wanted_shows_until_the_gateway_has_said_what_became_of_it() -> None:
    (
        waiting()
        .when(confirm(OTHER_CARD_ID))
        .then_shows(
            PAYMENT,
            PAYMENT_ID,
            cancellation=Cancellation(
                reason=CancelReason.REPLACED, replacement_method_id=OTHER_CARD_ID, replacement_payment_id=None
            ),
        )
    )


@pytest.mark.parametrize("command", [GIVEN_UP, EXPIRE])
def test_what_does_not_run_is_neither_expired_nor_given_up(command: RecordPaymentCanceled) -> None:
    given(*customer_with_card(), create()).when(command).then_refused(PaymentAttemptIsOver)
    waiting().and_then(capture()).when(command).then_refused(PaymentAttemptIsOver)


def test_what_nobody_wanted_cancelled_is_not_recorded_as_cancelled() -> None:
    waiting().when(GIVEN_UP).then_refused(PaymentAttemptIsOver)
