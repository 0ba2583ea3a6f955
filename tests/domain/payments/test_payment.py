"""Specifications of payments: the intent first, then an attempt for a gateway to work on."""

import pytest

from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.customers.payment_method import (
    DetachPaymentMethod,
    NoPaymentMethod,
    PaymentMethodIsDetached,
    PaymentMethodNotFound,
)
from domain.invoicing.invoice import InvoiceNotFound, InvoiceNotOpen
from domain.invoicing.settlement import InvalidPaymentAmount
from domain.kernel.accounts import CUSTOMER_BALANCE, GATEWAY_CLEARING
from domain.kernel.stream import Command
from domain.payments.payment import (
    PAYMENT,
    InvoiceHasLivePayment,
    PaymentAlreadyExists,
    PaymentCanceled,
    PaymentNotCancelable,
    PaymentNotConfirmable,
    PaymentStatus,
)
from testing.examples.payments import (
    ASK_ABOUT_ACTION,
    ASK_WHAT_HAPPENED,
    CALL_DONE,
    CALL_DUE,
    CANCEL,
    LIVE,
    capture,
    confirm,
    create,
    decline,
    lose_sight,
    of_no_invoice,
    pay_invoice,
    require_action,
    under_way,
)
from testing.examples.streams import (
    CARD_ID,
    CLOCK_ID,
    CUSTOMER_ID,
    INVOICE_ID,
    OTHER_CARD_ID,
    OTHER_CUSTOMER_ID,
    OTHER_PAYMENT_ID,
    PAYMENT_ID,
    attach_card,
    attempt_requested,
    card_attached,
    create_customer,
    credit,
    customer_deleted,
    customer_with_card,
    debit,
    frozen_clock,
    invoice_finalized,
    invoice_paid,
    invoice_payment_started,
    invoice_voided,
    payment_captured,
    payment_created,
    usd,
)
from testing.moments import utc
from testing.specification import NOW, given

OTHER_CARD = attach_card(payment_method_id=OTHER_CARD_ID, token_reference="tok_other")

# --- intents of a customer's own ---------------------------------------------------------------------------------


def test_an_intent_without_a_payment_method_waits_for_one() -> None:
    (
        given(create_customer())
        .when(create(description="Deposit"))
        .then(of_no_invoice(description="Deposit"))
        .then_posts()
        .then_claims()
        .then_schedules()
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.REQUIRES_PAYMENT_METHOD, attempt=0)
    )


def test_an_intent_with_a_payment_method_waits_for_its_confirmation() -> None:
    (
        given(create_customer(), attach_card())
        .when(create(payment_method_id=CARD_ID))
        .then(of_no_invoice(payment_method_id=CARD_ID))
        .then_schedules()
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.REQUIRES_CONFIRMATION)
        .when(confirm())
        .then(attempt_requested())
        .then_posts()
        .then_claims()
        .then_schedules(CALL_DUE)
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.PROCESSING, attempt=1)
    )


def test_an_intent_confirmed_at_once_charges_the_default_payment_method() -> None:
    (
        given(*customer_with_card())
        .when(create(confirm=True))
        .then(of_no_invoice(payment_method_id=CARD_ID), attempt_requested())
        .then_schedules(CALL_DUE)
    )


def test_an_intent_may_be_confirmed_with_another_payment_method() -> None:
    (
        given(*customer_with_card(), OTHER_CARD, create())
        .when(confirm(OTHER_CARD_ID))
        .then(attempt_requested(payment_method_id=OTHER_CARD_ID, token_reference="tok_other"))
    )


def test_an_intent_needs_an_amount_a_customer_and_an_id_of_its_own() -> None:
    for amount in (0, -1):
        given(create_customer()).when(create(amount=usd(amount))).then_refused(InvalidPaymentAmount, amount=amount)
    given().when(create()).then_refused(CustomerNotFound, customer=CUSTOMER_ID)
    given(create_customer(), customer_deleted()).when(create()).then_refused(CustomerIsDeleted)
    given(create_customer(), create()).when(create()).then_refused(PaymentAlreadyExists, payment=PAYMENT_ID)


def test_only_a_payment_method_of_the_customer_can_be_charged() -> None:
    of_another = (create_customer(), card_attached(OTHER_CARD_ID, OTHER_CUSTOMER_ID), create())
    detached = (create_customer(), attach_card(), DetachPaymentMethod(payment_method_id=CARD_ID))
    given(create_customer()).when(create(confirm=True)).then_refused(NoPaymentMethod)
    given(create_customer(), create()).when(confirm()).then_refused(NoPaymentMethod)
    given(create_customer()).when(create(payment_method_id=CARD_ID)).then_refused(PaymentMethodNotFound)
    given(*of_another).when(confirm(OTHER_CARD_ID)).then_refused(PaymentMethodNotFound)
    given(*detached).when(create(payment_method_id=CARD_ID)).then_refused(PaymentMethodIsDetached)
    given(*detached, create()).when(confirm(CARD_ID)).then_refused(PaymentMethodIsDetached)


def test_an_intent_is_cancelled_once_while_no_gateway_works_on_it() -> None:
    cancelled = PaymentCanceled(payment_id=PAYMENT_ID, canceled_at=NOW)
    (
        given(create_customer(), create())
        .when(CANCEL)
        .then(cancelled)
        .then_frees()
        .then_shows(PAYMENT, PAYMENT_ID, status=PaymentStatus.CANCELED)
        .when(CANCEL)
        .then_nothing()
        .when(confirm())
        .then_refused(PaymentNotConfirmable, status="canceled")
    )
    given(create_customer(), attach_card(), create(payment_method_id=CARD_ID)).when(CANCEL).then(cancelled)
    under_way().and_then(decline()).when(CANCEL).then(cancelled)


@pytest.mark.parametrize("facts", [(), (capture(),)])
def test_a_payment_that_runs_or_ran_is_not_confirmed(facts: tuple[Command, ...]) -> None:
    given(*customer_with_card(), create(confirm=True), *facts).when(confirm()).then_refused(PaymentNotConfirmable)


def test_a_payment_that_captured_is_not_cancelled() -> None:
    under_way().and_then(capture()).when(CANCEL).then_refused(PaymentNotCancelable, payment=PAYMENT_ID)


def test_a_capture_without_an_invoice_is_the_customers_balance() -> None:
    (
        given(*customer_with_card(), create(confirm=True))
        .when(capture())
        .then(payment_captured())
        .then_posts(debit(GATEWAY_CLEARING, usd(1_000)), credit(CUSTOMER_BALANCE, usd(1_000)))
        .then_finishes(CALL_DONE)
    )


# --- paying an invoice -------------------------------------------------------------------------------------------


def test_paying_an_invoice_charges_the_default_payment_method_and_claims_the_invoice() -> None:
    (
        given(*customer_with_card(), invoice_finalized())
        .when(pay_invoice())
        .then(payment_created(), attempt_requested(), invoice_payment_started())
        .then_posts()
        .then_claims(LIVE)
        .then_schedules(CALL_DUE)
    )


def test_an_invoice_may_be_paid_with_another_payment_method() -> None:
    (
        given(*customer_with_card(), attach_card(payment_method_id=OTHER_CARD_ID), invoice_finalized())
        .when(pay_invoice(payment_method_id=OTHER_CARD_ID))
        .then(
            payment_created(payment_method_id=OTHER_CARD_ID),
            attempt_requested(payment_method_id=OTHER_CARD_ID),
            invoice_payment_started(),
        )
    )


def test_a_payment_that_pays_no_invoice_is_not_confirmed_for_a_deleted_customer_and_may_be_cancelled() -> None:
    made = given(*customer_with_card(), create(), customer_deleted())
    made.when(confirm()).then_refused(CustomerIsDeleted, customer=CUSTOMER_ID)
    made.when(confirm(CARD_ID)).then_refused(CustomerIsDeleted)
    made.when(CANCEL).then(PaymentCanceled(payment_id=PAYMENT_ID, canceled_at=NOW))
    waiting = given(*customer_with_card(), create(confirm=True), require_action(), customer_deleted())
    waiting.when(confirm(CARD_ID)).then_refused(CustomerIsDeleted)


def test_a_deleted_customer_tries_the_payment_of_an_open_invoice_again() -> None:
    under_way().and_then(decline(), customer_deleted()).when(confirm()).then(
        attempt_requested(2), invoice_payment_started()
    )


def test_a_deleted_customer_can_still_pay() -> None:
    facts = (*customer_with_card(), invoice_finalized(), customer_deleted())
    given(*facts).when(pay_invoice()).then(payment_created(), attempt_requested(), invoice_payment_started())


def test_paying_needs_an_open_invoice_and_a_payment_method() -> None:
    given(*customer_with_card()).when(pay_invoice()).then_refused(InvoiceNotFound, invoice=INVOICE_ID)
    for settled in (invoice_voided(), invoice_paid(payment_id=None)):
        given(*customer_with_card(), invoice_finalized(), settled).when(pay_invoice()).then_refused(InvoiceNotOpen)
    given(create_customer(), invoice_finalized()).when(pay_invoice()).then_refused(NoPaymentMethod)
    given(*customer_with_card(), create(), invoice_finalized()).when(pay_invoice()).then_refused(PaymentAlreadyExists)


@pytest.mark.parametrize("facts", [(), (lose_sight(),)])
def test_while_one_payment_of_an_invoice_runs_no_other_starts(facts: tuple[Command, ...]) -> None:
    (
        under_way()
        .and_then(*facts)
        .when(pay_invoice(OTHER_PAYMENT_ID))
        .then_refused(InvoiceHasLivePayment, invoice=INVOICE_ID)
    )


def test_on_a_test_clock_the_clock_waits_for_the_gateway() -> None:
    frozen_at = utc("2031-02-03")
    on_clock = (frozen_clock(frozen_at), create_customer(test_clock_id=CLOCK_ID), attach_card(make_default=True))
    (
        given(*on_clock)
        .when(create(confirm=True))
        .then_at(frozen_at)
        .then_schedules(CALL_DUE._replace(clock_id=CLOCK_ID))
        .when(lose_sight())
        .then_schedules(ASK_WHAT_HAPPENED._replace(clock_id=CLOCK_ID))
    )


def test_a_test_clock_does_not_wait_for_a_customer_to_authenticate() -> None:
    on_clock = (frozen_clock(), create_customer(test_clock_id=CLOCK_ID), attach_card(make_default=True))
    (
        given(*on_clock, create(confirm=True))
        .when(require_action())
        .then_schedules(ASK_ABOUT_ACTION)
        .when(lose_sight())
        .then_schedules(ASK_WHAT_HAPPENED)
    )
