"""Specifications of payment methods."""

import pytest

from domain.customers.customer import (
    CUSTOMER,
    CustomerIsErased,
    CustomerNotFound,
    DefaultPaymentMethodSet,
    EraseCustomer,
)
from domain.customers.payment_method import (
    PAYMENT_METHOD,
    ChangePaymentMethod,
    DetachPaymentMethod,
    PaymentMethodAlreadyExists,
    PaymentMethodChanged,
    PaymentMethodDetached,
    PaymentMethodForgotten,
    PaymentMethodIsDetached,
    PaymentMethodNotFound,
    RecordPaymentMethodForgotten,
)
from domain.kernel.stream import Finish, Schedule, WorkKind
from domain.payments.commands import PayInvoice
from testing.examples.streams import (
    CARD_ID,
    CLOCK_ID,
    CUSTOMER_ID,
    INVOICE_ID,
    OTHER_CARD_ID,
    PAYMENT_ID,
    attach_card,
    attempt_requested,
    card_attached,
    create_customer,
    customer_deleted,
    frozen_clock,
    invoice_finalized,
    invoice_payment_started,
    payment_created,
)
from testing.moments import utc
from testing.specification import NOW, given

CHANGE = ChangePaymentMethod(payment_method_id=CARD_ID, token_reference="tok_new")
DETACH = DetachPaymentMethod(payment_method_id=CARD_ID)
DETACHED = PaymentMethodDetached(payment_method_id=CARD_ID, detached_at=NOW)


def default_set(payment_method_id: str | None) -> DefaultPaymentMethodSet:
    return DefaultPaymentMethodSet(customer_id=CUSTOMER_ID, payment_method_id=payment_method_id)


def test_attaching_leaves_the_default_alone_unless_asked() -> None:
    given(create_customer()).when(attach_card()).then(card_attached()).then_claims().then_schedules().then_posts()


def test_attaching_as_the_default_says_so_of_the_customer() -> None:
    (
        given(create_customer(), attach_card(make_default=True))
        .when(attach_card(payment_method_id=OTHER_CARD_ID, make_default=True))
        .then(card_attached(OTHER_CARD_ID), default_set(OTHER_CARD_ID))
        .then_shows(CUSTOMER, CUSTOMER_ID, default_payment_method_id=OTHER_CARD_ID)
    )


def test_a_payment_method_is_attached_once() -> None:
    given(create_customer(), attach_card()).when(attach_card()).then_refused(PaymentMethodAlreadyExists)


def test_only_a_known_and_living_customer_gets_a_payment_method() -> None:
    given().when(attach_card()).then_refused(CustomerNotFound, customer=CUSTOMER_ID)
    erased = EraseCustomer(customer_id=CUSTOMER_ID)
    given(create_customer(), erased).when(attach_card()).then_refused(CustomerIsErased, customer=CUSTOMER_ID)


def test_a_deleted_customer_pays_what_is_open_with_a_new_card() -> None:
    (
        given(create_customer(), invoice_finalized(), customer_deleted(), attach_card())
        .when(PayInvoice(invoice_id=INVOICE_ID, payment_id=PAYMENT_ID, payment_method_id=CARD_ID))
        .then(payment_created(payment_method_id=CARD_ID), attempt_requested(), invoice_payment_started())
    )


def test_it_is_attached_at_the_customers_time() -> None:
    frozen_at = utc("2031-02-03")
    clock = (frozen_clock(frozen_at), create_customer(test_clock_id=CLOCK_ID))
    given(*clock).when(attach_card()).then_at(frozen_at).then_shows(PAYMENT_METHOD, CARD_ID, created_at=frozen_at)


def test_a_renewed_card_gets_its_new_token_once() -> None:
    (
        given(create_customer(), attach_card())
        .when(CHANGE)
        .then(PaymentMethodChanged(payment_method_id=CARD_ID, token_reference="tok_new", details=None))
        .when(CHANGE)
        .then_nothing()
    )


def test_detaching_the_default_leaves_the_customer_without_one() -> None:
    (
        given(create_customer(), attach_card(make_default=True))
        .when(DETACH)
        .then(DETACHED, default_set(None))
        .when(DETACH)
        .then_nothing()
    )


def test_detaching_another_leaves_the_default_alone() -> None:
    other = attach_card(payment_method_id=OTHER_CARD_ID, make_default=True)
    given(create_customer(), attach_card(), other).when(DETACH).then(DETACHED)


def test_its_gateway_is_to_forget_what_was_detached_until_it_says_so() -> None:
    work = WorkKind.PAYMENT_METHOD_DELETION
    (
        given(create_customer(), attach_card())
        .when(DETACH)
        .then(DETACHED)
        .then_schedules(Schedule(work, CARD_ID, after_ms=0))
        .when(RecordPaymentMethodForgotten(payment_method_id=CARD_ID))
        .then(PaymentMethodForgotten(payment_method_id=CARD_ID, forgotten_at=NOW))
        .then_finishes(Finish(work, CARD_ID))
    )


def test_a_deleted_customers_card_can_still_be_detached() -> None:
    given(create_customer(), attach_card(make_default=True), customer_deleted()).when(DETACH).then(
        DETACHED, default_set(None)
    )


def test_a_detached_payment_method_is_not_changed() -> None:
    given(create_customer(), attach_card(), DETACH).when(CHANGE).then_refused(PaymentMethodIsDetached)


@pytest.mark.parametrize("command", [CHANGE, DETACH])
def test_an_unknown_payment_method_is_not_found(command: ChangePaymentMethod | DetachPaymentMethod) -> None:
    given(create_customer()).when(command).then_refused(PaymentMethodNotFound, payment_method=CARD_ID)
