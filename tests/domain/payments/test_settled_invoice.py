"""An invoice that is settled gives up the payment that is under way for it: nobody is charged for nothing."""

import pytest

from domain.customers.customer import SetDefaultPaymentMethod
from domain.invoicing.collection import CollectionMethod, CollectionStatus
from domain.invoicing.finalization import InvoiceVoided, VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.settlement import InvoicePaid, PayInvoiceOutOfBand
from domain.invoicing.state import InvoiceStatus
from domain.kernel.stream import Command, Schedule
from domain.payments.cancel_commands import ExpirePaymentAttempt, RecordPaymentCanceled
from domain.payments.cancellation import CancelReason, PaymentAttemptCanceled, PaymentCancelRequested
from domain.payments.commands import CollectInvoice
from domain.payments.payment import (
    PAYMENT,
    PaymentCanceled,
    PaymentNotConfirmable,
    PaymentStatus,
    attempt_reference,
)
from testing.examples.payments import (
    CALL,
    CALL_DONE,
    CANCEL,
    COLLECTION,
    LIVE,
    action_required,
    capture,
    confirm,
    decline,
    lose_sight,
    of_the_collection,
    pay_invoice,
    require_action,
    under_way,
)
from testing.examples.streams import (
    CUSTOMER_ID,
    INVOICE_ID,
    OTHER_CARD_ID,
    OTHER_PAYMENT_ID,
    PAYMENT_ID,
    attach_card,
    customer_with_card,
    invoice_finalized,
    invoice_paid,
    invoice_voided,
    payment_captured,
    payment_declined,
)
from testing.specification import NOW, Given, given

BY_HAND = CollectionMethod.SEND_INVOICE
VOID, PAID_OTHERWISE = VoidInvoice(invoice_id=INVOICE_ID), PayInvoiceOutOfBand(invoice_id=INVOICE_ID)
SETTLING: list[tuple[Command, InvoiceVoided | InvoicePaid]] = [
    (VOID, invoice_voided()),
    (PAID_OTHERWISE, invoice_paid(payment_id=None)),
]
GIVE_UP = PaymentCancelRequested(
    payment_id=PAYMENT_ID,
    attempt=1,
    reason=CancelReason.INVOICE_SETTLED,
    replacement_method_id=None,
    replacement_payment_id=None,
    requested_at=NOW,
)
GIVE_UP_DUE = Schedule(CALL, attempt_reference(PAYMENT_ID, 1), after_ms=0)
GIVEN_UP = RecordPaymentCanceled(payment_id=PAYMENT_ID, attempt=1)
ATTEMPT_CANCELED = PaymentAttemptCanceled(
    payment_id=PAYMENT_ID, attempt=1, reason=CancelReason.INVOICE_SETTLED, canceled_at=NOW
)
COLLECT = CollectInvoice(invoice_id=INVOICE_ID, payment_id=COLLECTION)
NO_DEFAULT = SetDefaultPaymentMethod(customer_id=CUSTOMER_ID, payment_method_id=None)
OTHER_CARD = attach_card(payment_method_id=OTHER_CARD_ID, token_reference="tok_other")


def canceled(payment_id: str = PAYMENT_ID) -> PaymentCanceled:
    return PaymentCanceled(payment_id=payment_id, canceled_at=NOW)


def collecting() -> Given:
    """An invoice that is being collected as its finalization promised; it does not show the payment yet."""
    return given(*customer_with_card(), invoice_finalized(), COLLECT)


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
@pytest.mark.parametrize("facts", [(), (lose_sight(),), (require_action(),)])
def test_it_is_given_up_whatever_the_gateway_knows_of_it(
    facts: tuple[Command, ...], settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(*facts)
        .when(settle)
        .then(settled, GIVE_UP)
        .then_schedules(GIVE_UP_DUE)
        .when(GIVEN_UP)
        .then(ATTEMPT_CANCELED, canceled())
        .then_frees(LIVE)
        .then_finishes(CALL_DONE)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED, cancellation=None)
    )


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_an_invoice_that_was_settled_without_it_still_shows_the_payment_that_was_tried(
    settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    under_way(collection=BY_HAND).when(settle).then_shows(INVOICE, INVOICE_ID, payment_id=PAYMENT_ID)


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_what_has_not_begun_is_over_at_once_and_what_it_was_to_replace_is_given_up_as_before(
    settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    replaced = under_way(collection=BY_HAND).and_then(
        OTHER_CARD, require_action(), pay_invoice(OTHER_PAYMENT_ID, OTHER_CARD_ID)
    )
    (
        replaced.when(settle)
        .then(settled, canceled(OTHER_PAYMENT_ID))
        .when(GIVEN_UP)
        .then(
            PaymentAttemptCanceled(payment_id=PAYMENT_ID, attempt=1, reason=CancelReason.REPLACED, canceled_at=NOW),
            canceled(),
        )
    )


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
@pytest.mark.parametrize("collection", list(CollectionMethod))
def test_what_was_declined_is_over_since_it_can_never_be_tried_again(
    collection: CollectionMethod, settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    (
        under_way(collection=collection)
        .and_then(decline())
        .when(settle)
        .then(settled, canceled())
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
    )


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_what_is_over_stays_as_it_is(settle: Command, settled: InvoiceVoided | InvoicePaid) -> None:
    under_way(collection=BY_HAND).and_then(decline(), CANCEL).when(settle).then(settled)


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_another_method_of_the_same_payment_is_not_tried_any_more(
    settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    waiting = under_way(collection=BY_HAND).and_then(OTHER_CARD, require_action(), confirm(OTHER_CARD_ID))
    (
        waiting.when(settle)
        .then(settled)
        .when(GIVEN_UP)
        .then(
            PaymentAttemptCanceled(payment_id=PAYMENT_ID, attempt=1, reason=CancelReason.REPLACED, canceled_at=NOW),
            canceled(),
        )
    )


@pytest.mark.parametrize("settle", [VOID, PAID_OTHERWISE])
def test_a_decline_of_one_that_was_to_be_tried_with_another_method_ends_it(settle: Command) -> None:
    waiting = under_way(collection=BY_HAND).and_then(OTHER_CARD, require_action(), confirm(OTHER_CARD_ID))
    waiting.and_then(settle).when(decline()).then(payment_declined(), canceled())


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_one_that_timed_out_before_is_over_once_it_is_given_up(
    settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(require_action(), ExpirePaymentAttempt(payment_id=PAYMENT_ID, attempt=1))
        .when(settle)
        .then(settled)
        .when(GIVEN_UP)
        .then(
            PaymentAttemptCanceled(payment_id=PAYMENT_ID, attempt=1, reason=CancelReason.TIMED_OUT, canceled_at=NOW),
            canceled(),
        )
    )


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
@pytest.mark.parametrize("facts", [(), (lose_sight(),), (require_action(),), (require_action(), lose_sight())])
def test_a_promised_collection_is_given_up_though_the_invoice_does_not_show_it(
    facts: tuple[Command, ...], settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    (
        collecting()
        .and_then(*map(of_the_collection, facts))
        .when(settle)
        .then(settled, of_the_collection(GIVE_UP))
        .then_schedules(Schedule(CALL, attempt_reference(COLLECTION, 1), after_ms=0))
        .when(of_the_collection(GIVEN_UP))
        .then(of_the_collection(ATTEMPT_CANCELED), canceled(COLLECTION))
    )


@pytest.mark.parametrize("settle", [VOID, PAID_OTHERWISE])
def test_of_a_promised_collection_whose_invoice_was_settled_a_decline_ends_it_and_nobody_authenticates(
    settle: Command,
) -> None:
    declined, required = of_the_collection(decline()), of_the_collection(require_action())
    (collecting().and_then(settle).when(declined).then(of_the_collection(payment_declined()), canceled(COLLECTION)))
    collecting().and_then(settle).when(required).then(of_the_collection(action_required()))


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_a_promised_collection_that_has_not_begun_never_does(
    settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    not_begun = given(*customer_with_card(), invoice_finalized())
    not_begun.when(settle).then(settled).when(COLLECT).then_refused(InvoiceNotOpen)


def test_a_declined_payment_is_over_once_another_of_its_invoice_begins() -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(decline())
        .when(pay_invoice(OTHER_PAYMENT_ID))
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
        .then_shows(PAYMENT, OTHER_PAYMENT_ID, status=PaymentStatus.PROCESSING)
        .then_shows(INVOICE, INVOICE_ID, payment_id=OTHER_PAYMENT_ID, collection_status=CollectionStatus.PENDING)
        .when(confirm())
        .then_refused(PaymentNotConfirmable)
    )


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_what_the_gateway_did_before_it_heard_of_it_counts(
    settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    (
        under_way(collection=BY_HAND)
        .and_then(settle)
        .when(capture())
        .then(payment_captured(unneeded=True))
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.SUCCEEDED, cancellation=None)
    )
    under_way(collection=BY_HAND).and_then(settle).when(decline()).then(payment_declined(), canceled())


def test_a_payment_that_pays_its_invoice_is_not_given_up() -> None:
    (
        under_way(collection=BY_HAND)
        .when(capture())
        .then(payment_captured(), invoice_paid())
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, payment_id=PAYMENT_ID)
    )


def test_a_cancel_of_what_is_given_up_asks_for_nothing_more() -> None:
    under_way(collection=BY_HAND).and_then(VOID).when(CANCEL).then_nothing()


@pytest.mark.parametrize(("settle", "settled"), SETTLING)
def test_a_collection_that_found_no_method_forgets_no_payment_that_may_still_be_tried(
    settle: Command, settled: InvoiceVoided | InvoicePaid
) -> None:
    """The customer's own payment was declined, then their method was taken away, and then the collection came."""
    (
        given(*customer_with_card(), invoice_finalized(), pay_invoice(), decline(), NO_DEFAULT, COLLECT)
        .when(settle)
        .then(settled, canceled())
    )
    (
        given(*customer_with_card(), invoice_finalized(), pay_invoice(), require_action(), NO_DEFAULT, COLLECT)
        .when(settle)
        .then(settled, GIVE_UP)
    )
