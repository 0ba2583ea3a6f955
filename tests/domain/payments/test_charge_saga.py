"""Specifications of the charge saga: what it asks for, and what collecting an invoice comes to."""

from domain.invoicing.collection import CollectionStatus, InvoiceCollectionFailed
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.state import InvoiceStatus
from domain.kernel.identifiers import is_id
from domain.kernel.stream import Finish, Schedule, WorkKind
from domain.payments import charge_saga
from domain.payments.commands import (
    CollectInvoice,
    PayInvoice,
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
)
from domain.payments.decline import DeclineCode
from domain.payments.payment import InvoiceHasLivePayment, PaymentAlreadyExists, attempt_reference
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.collection import SubscriptionPastDue, SubscriptionRecovered
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.payments import COLLECTION, of_the_collection
from testing.examples.streams import (
    BY_CHARGE,
    BY_HAND,
    INVOICE_ID,
    OTHER_PAYMENT_ID,
    SUBSCRIPTION_ID,
    attempt_requested,
    create_customer,
    customer_deleted,
    customer_with_card,
    draft,
    id_of,
    invoice_finalized,
    invoice_paid,
    invoice_payment_failed,
    invoice_voided,
    line,
    payment_captured,
    payment_created,
    payment_declined,
    plan_on_sale,
    subscribe,
)
from testing.specification import NOW, Given, given

EVENT_ID = id_of("evt_")
COLLECT = CollectInvoice(invoice_id=INVOICE_ID, payment_id=COLLECTION)
CAPTURE = RecordPaymentCaptured(payment_id=COLLECTION, attempt=1, gateway_payment_id="gw_1")
DECLINE = RecordPaymentDeclined(
    payment_id=COLLECTION, attempt=1, decline_code=DeclineCode.INSUFFICIENT_FUNDS, retryable=True
)
REQUIRE_ACTION = RecordPaymentActionRequired(payment_id=COLLECTION, attempt=1, gateway_payment_id="gw_1")
PAST_DUE = SubscriptionPastDue(subscription_id=SUBSCRIPTION_ID, invoice_id=INVOICE_ID)
RECOVERED = SubscriptionRecovered(subscription_id=SUBSCRIPTION_ID, invoice_id=INVOICE_ID)
DEADLINE = Schedule(WorkKind.SAGA_DEADLINE, f"charge:{INVOICE_ID}", after_ms=charge_saga.DEADLINE_MS)
DEADLINE_MET = Finish(WorkKind.SAGA_DEADLINE, f"charge:{INVOICE_ID}")
CALL_DONE = Finish(WorkKind.PAYMENT_GATEWAY_CALL, attempt_reference(COLLECTION, 1))


def collection_failed(reason: str, payment_id: str | None = COLLECTION) -> InvoiceCollectionFailed:
    return InvoiceCollectionFailed(invoice_id=INVOICE_ID, payment_id=payment_id, reason=reason, failed_at=NOW)


def finalized() -> Given:
    """An automatic invoice of a customer with a card."""
    return given(*customer_with_card(), draft(collection=BY_CHARGE), FinalizeInvoice(invoice_id=INVOICE_ID))


def renewed() -> Given:
    """An automatic invoice of a subscription of a customer with a card."""
    return given(
        *customer_with_card(),
        *plan_on_sale(),
        subscribe(trial_days=30),
        invoice_finalized(subscription_id=SUBSCRIPTION_ID),
    )


# --- what it asks for --------------------------------------------------------------------------------------------


def test_an_automatic_invoice_is_collected_under_an_id_that_its_own_names() -> None:
    collect = CollectInvoice(invoice_id=INVOICE_ID, payment_id=COLLECTION)
    assert charge_saga.react(EVENT_ID, invoice_finalized()) == [("collect", collect)]
    assert charge_saga.react(id_of("evt_", 2), invoice_finalized()) == [("collect", collect)]
    other = charge_saga.react(EVENT_ID, invoice_finalized(invoice_id=id_of("in_", 2)))
    assert other != [("collect", collect)]
    assert is_id(collect.payment_id, "pay_")


def test_nothing_else_is_collected() -> None:
    for event in (
        invoice_finalized(collection=BY_HAND),
        invoice_finalized(line(0)),
    ):
        assert charge_saga.react(EVENT_ID, event) == []


# --- what it comes to --------------------------------------------------------------------------------------------


def test_collecting_charges_the_default_payment_method_and_the_capture_ends_it() -> None:
    (
        finalized()
        .when(COLLECT)
        .then(of_the_collection(payment_created()), of_the_collection(attempt_requested()))
        .then_finishes()
        .when(CAPTURE)
        .then(of_the_collection(payment_captured()), invoice_paid(COLLECTION))
        .then_finishes(CALL_DONE, DEADLINE_MET)
    )


def test_a_decline_ends_the_collection_and_leaves_the_invoice_open() -> None:
    (
        finalized()
        .and_then(COLLECT)
        .when(DECLINE)
        .then(of_the_collection(payment_declined()), collection_failed("insufficient_funds"))
        .then_posts()
        .then_finishes(CALL_DONE, DEADLINE_MET)
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.OPEN, collection_status=CollectionStatus.FAILED)
    )


def test_a_customer_without_a_payment_method_cannot_be_collected_from() -> None:
    (
        given(create_customer(), draft(collection=BY_CHARGE), FinalizeInvoice(invoice_id=INVOICE_ID))
        .when(COLLECT)
        .then(collection_failed("no_payment_method", payment_id=None))
        .then_claims()
        .then_schedules()
        .then_finishes(DEADLINE_MET)
    )


def test_a_deleted_customers_invoice_is_still_collected() -> None:
    finalized().and_then(customer_deleted()).when(COLLECT).then(
        of_the_collection(payment_created()), of_the_collection(attempt_requested())
    )


def test_collecting_twice_charges_once() -> None:
    finalized().and_then(COLLECT).when(COLLECT).then_refused(PaymentAlreadyExists, payment=COLLECTION)
    again = CollectInvoice(invoice_id=INVOICE_ID, payment_id=OTHER_PAYMENT_ID)
    finalized().and_then(COLLECT).when(again).then_refused(InvoiceHasLivePayment, invoice=INVOICE_ID)


def test_an_invoice_that_was_settled_before_is_not_collected() -> None:
    for settled in (invoice_voided(), invoice_paid(payment_id=None)):
        finalized().and_then(settled).when(COLLECT).then_refused(InvoiceNotOpen, invoice=INVOICE_ID)


# --- the subscription behind it ----------------------------------------------------------------------------------


def test_a_decline_makes_the_subscription_past_due_until_a_capture() -> None:
    pay = PayInvoice(invoice_id=INVOICE_ID, payment_id=OTHER_PAYMENT_ID)
    (
        renewed()
        .and_then(COLLECT)
        .when(DECLINE)
        .then(of_the_collection(payment_declined()), collection_failed("insufficient_funds"), PAST_DUE)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.PAST_DUE)
        .and_then(pay)
        .when(RecordPaymentCaptured(payment_id=OTHER_PAYMENT_ID, attempt=1, gateway_payment_id="gw_2"))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, past_due_invoice_ids=())
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, payment_id=OTHER_PAYMENT_ID)
    )


def test_a_capture_recovers_the_subscription_in_its_own_batch() -> None:
    (
        renewed()
        .and_then(COLLECT, REQUIRE_ACTION)
        .when(CAPTURE)
        .then(of_the_collection(payment_captured()), invoice_paid(COLLECTION), RECOVERED)
    )


def test_a_second_decline_does_not_say_past_due_again() -> None:
    pay = PayInvoice(invoice_id=INVOICE_ID, payment_id=OTHER_PAYMENT_ID)
    second = RecordPaymentDeclined(
        payment_id=OTHER_PAYMENT_ID, attempt=1, decline_code=DeclineCode.EXPIRED_CARD, retryable=False
    )
    outcome = renewed().and_then(COLLECT, DECLINE, pay).when(second)
    assert outcome.done.events[1:] == [collection_failed("expired_card", OTHER_PAYMENT_ID)]


def test_an_authentication_that_is_required_makes_it_past_due_and_ends_the_deadline() -> None:
    outcome = renewed().and_then(COLLECT).when(REQUIRE_ACTION)
    assert outcome.done.events[1:] == [collection_failed("authentication_required"), PAST_DUE]


def test_no_payment_method_makes_it_past_due() -> None:
    (
        given(create_customer(), *plan_on_sale(), subscribe(trial_days=30))
        .and_then(invoice_finalized(subscription_id=SUBSCRIPTION_ID))
        .when(COLLECT)
        .then(collection_failed("no_payment_method", payment_id=None), PAST_DUE)
    )


def test_a_cancelled_subscription_does_not_become_past_due() -> None:
    cancel = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False)
    (
        renewed()
        .and_then(COLLECT, cancel)
        .when(DECLINE)
        .then(of_the_collection(payment_declined()), collection_failed("insufficient_funds"))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.CANCELED)
    )


def test_an_attempt_of_the_customers_own_on_an_invoice_paid_by_hand_is_no_failed_collection() -> None:
    pay = PayInvoice(invoice_id=INVOICE_ID, payment_id=COLLECTION)
    by_hand = (
        *customer_with_card(),
        *plan_on_sale(),
        subscribe(trial_days=30),
        invoice_finalized(subscription_id=SUBSCRIPTION_ID, collection=BY_HAND),
    )
    (
        given(*by_hand, pay)
        .when(DECLINE)
        .then(of_the_collection(payment_declined()), of_the_collection(invoice_payment_failed()))
        .then_shows(INVOICE, INVOICE_ID, collection_failure="insufficient_funds")
    )
    given(*by_hand, pay).when(REQUIRE_ACTION).then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.OPEN)
