"""Specifications of what an invoice owes: paid in parts, overpaid, drawn on the customer's balance, written off."""

import pytest

from domain.customers.customer import CUSTOMER, NotCustomersCurrency
from domain.invoicing.collection import CollectionStatus
from domain.invoicing.commands import FinalizeInvoice
from domain.invoicing.finalization import InvoiceCannotBeVoided, VoidInvoice
from domain.invoicing.invoice import INVOICE, InvoiceNotOpen
from domain.invoicing.settlement import (
    InvalidPaymentAmount,
    InvoiceIsPartlyPaid,
    InvoiceNotCollectible,
    MarkInvoiceUncollectible,
    PayInvoiceOutOfBand,
)
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import (
    BAD_DEBT,
    CASH,
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    RECEIVABLE,
)
from domain.kernel.money import Money
from domain.kernel.stream import Command, Event, Finish, WorkKind
from domain.payments import charge_saga
from domain.payments.commands import CollectInvoice
from domain.subscriptions.collection import SubscriptionPastDue, SubscriptionRecovered
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    BY_CHARGE,
    CUSTOMER_ID,
    EUR,
    INVOICE_ID,
    OTHER_PAYMENT_ID,
    SUBSCRIPTION_ID,
    balance_credited,
    balance_drawn,
    create_customer,
    credit,
    debit,
    draft,
    id_of,
    invoice_finalized,
    invoice_paid,
    invoice_partly_paid,
    invoice_recovered,
    invoice_uncollectible,
    invoice_voided,
    number_taken,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.specification import Given, given

FINALIZE = FinalizeInvoice(invoice_id=INVOICE_ID)
VOID = VoidInvoice(invoice_id=INVOICE_ID)
GIVE_UP = MarkInvoiceUncollectible(invoice_id=INVOICE_ID)
PAY_ALL = PayInvoiceOutOfBand(invoice_id=INVOICE_ID)
NEXT_INVOICE = id_of("in_", 2)


def pay(amount: int) -> PayInvoiceOutOfBand:
    return PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=usd(amount))


def opened(*facts: Event | Command) -> Given:
    """An open invoice of 10.00 of a customer."""
    return given(create_customer(), number_taken(), invoice_finalized(), *facts)


# --- in parts ----------------------------------------------------------------------------------------------------


def test_a_part_that_came_leaves_the_invoice_open_with_what_is_left_due() -> None:
    (
        opened()
        .when(pay(300))
        .then(invoice_partly_paid(300))
        .then_posts(debit(CASH, usd(300)), credit(RECEIVABLE, usd(300)))
        .then_finishes()
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.OPEN,
            amount_paid=usd(300),
            amount_due=usd(700),
            collection_status=CollectionStatus.PENDING,
        )
    )


def test_the_part_with_which_nothing_is_due_any_more_pays_the_invoice() -> None:
    (
        opened(pay(300), pay(200))
        .when(pay(500))
        .then(invoice_paid(payment_id=None, amount=500))
        .then_posts(debit(CASH, usd(500)), credit(RECEIVABLE, usd(500)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_paid=usd(1_000), amount_due=usd(0))
    )


def test_without_an_amount_all_that_is_due_came() -> None:
    opened(pay(300)).when(PAY_ALL).then(invoice_paid(payment_id=None, amount=700))


@pytest.mark.parametrize(
    ("amount", "refusal"),
    [(usd(0), InvalidPaymentAmount), (usd(-1), InvalidPaymentAmount), (Money(300, EUR), NotCustomersCurrency)],
)
def test_what_came_is_more_than_nothing_and_in_the_invoices_currency(
    amount: Money, refusal: type[InvalidPaymentAmount | NotCustomersCurrency]
) -> None:
    opened().when(PayInvoiceOutOfBand(invoice_id=INVOICE_ID, amount=amount)).then_refused(refusal)


def test_an_invoice_on_which_something_was_paid_is_not_voided() -> None:
    opened(pay(1)).when(VOID).then_refused(InvoiceIsPartlyPaid, invoice=INVOICE_ID, paid=1)
    opened(pay(1)).when(VOID).then_tells("credit note")
    opened(PAY_ALL).when(VOID).then_refused(InvoiceCannotBeVoided)


# --- overpaid ----------------------------------------------------------------------------------------------------


def test_what_came_above_what_is_due_is_the_customers_balance() -> None:
    (
        opened(pay(300))
        .when(pay(800))
        .then(invoice_paid(payment_id=None, amount=700, surplus=100), balance_credited(100))
        .then_posts(debit(CASH, usd(800)), credit(RECEIVABLE, usd(700)), credit(CUSTOMER_BALANCE, usd(100)))
        .then_shows(
            INVOICE, INVOICE_ID, amount_paid=usd(1_000), amount_overpaid=usd(100), amount_due=usd(0), payment_id=None
        )
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(100))
    )


def with_balance(amount: int) -> Given:
    """A draft of 10.00 of a customer with a balance."""
    return given(create_customer(), balance_credited(amount), draft(collection=BY_CHARGE))


def test_the_next_invoice_draws_on_the_balance_and_the_rest_is_due() -> None:
    (
        with_balance(300)
        .when(FINALIZE)
        .then(number_taken(), invoice_finalized(applied=usd(300)), balance_drawn(300))
        .then_posts(
            debit(RECEIVABLE, usd(700)), debit(CUSTOMER_BALANCE, usd(300)), credit(DEFERRED_REVENUE, usd(1_000))
        )
        .then_shows(INVOICE, INVOICE_ID, amount_applied=usd(300), amount_paid=usd(0), amount_due=usd(700))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )


def test_an_invoice_that_the_balance_pays_is_paid_at_once_and_not_charged() -> None:
    finalized = invoice_finalized(applied=usd(1_000))
    (
        with_balance(1_200)
        .when(FINALIZE)
        .then(number_taken(), finalized, balance_drawn(1_000), invoice_paid(payment_id=None, amount=0))
        .then_posts(debit(CUSTOMER_BALANCE, usd(1_000)), credit(DEFERRED_REVENUE, usd(1_000)))
        .then_schedules()
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_due=usd(0), amount_paid=usd(0))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(200))
    )
    assert charge_saga.react(id_of("evt_"), finalized) == []


def test_a_void_invoice_gives_back_what_the_balance_paid_of_it() -> None:
    (
        with_balance(300)
        .and_then(FINALIZE)
        .when(VOID)
        .then(invoice_voided(), balance_credited(300))
        .then_posts(
            credit(RECEIVABLE, usd(700)), credit(CUSTOMER_BALANCE, usd(300)), debit(DEFERRED_REVENUE, usd(1_000))
        )
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(300))
    )


# --- written off -------------------------------------------------------------------------------------------------


def test_what_is_due_is_written_off_and_not_collected_any_more() -> None:
    (
        opened(pay(300))
        .when(GIVE_UP)
        .then(invoice_uncollectible(700))
        .then_posts(debit(BAD_DEBT, usd(700)), credit(RECEIVABLE, usd(700)))
        .then_shows(
            INVOICE,
            INVOICE_ID,
            status=InvoiceStatus.UNCOLLECTIBLE,
            amount_due=usd(700),
            collection_status=CollectionStatus.NOT_APPLICABLE,
        )
    )


def test_writing_off_ends_the_collection() -> None:
    deadline = Finish(WorkKind.SAGA_DEADLINE, f"charge:{INVOICE_ID}")
    given(create_customer(), draft(collection=BY_CHARGE), FINALIZE).when(GIVE_UP).then_finishes(deadline)
    collect = CollectInvoice(invoice_id=INVOICE_ID, payment_id=OTHER_PAYMENT_ID)
    opened(GIVE_UP).when(collect).then_refused(InvoiceNotOpen, status="uncollectible")


@pytest.mark.parametrize("fact", [VOID, PAY_ALL, GIVE_UP])
def test_only_an_open_invoice_is_written_off(fact: Command) -> None:
    opened(fact).when(GIVE_UP).then_refused(InvoiceNotCollectible, invoice=INVOICE_ID)
    given(create_customer(), draft()).when(GIVE_UP).then_refused(InvoiceNotCollectible, status="draft")


def test_what_comes_in_after_all_is_recovered() -> None:
    (
        opened(GIVE_UP)
        .when(pay(400))
        .then(invoice_recovered(400), invoice_partly_paid(400))
        .then_posts(
            debit(RECEIVABLE, usd(400)), credit(BAD_DEBT, usd(400)), debit(CASH, usd(400)), credit(RECEIVABLE, usd(400))
        )
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.UNCOLLECTIBLE, amount_due=usd(600))
        .when(pay(700))
        .then(invoice_recovered(600), invoice_paid(payment_id=None, amount=600, surplus=100), balance_credited(100))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.PAID, amount_paid=usd(1_000), amount_due=usd(0))
    )


def test_an_invoice_that_should_not_have_been_is_no_bad_debt_either() -> None:
    (
        opened(GIVE_UP)
        .when(VOID)
        .then(invoice_voided())
        .then_posts(credit(BAD_DEBT, usd(1_000)), debit(DEFERRED_REVENUE, usd(1_000)))
        .then_shows(INVOICE, INVOICE_ID, status=InvoiceStatus.VOID, amount_due=usd(0))
    )
    opened(pay(300), GIVE_UP).when(VOID).then_refused(InvoiceIsPartlyPaid)


def test_a_subscription_is_not_past_due_for_what_nobody_waits_for_any_more() -> None:
    past_due = SubscriptionPastDue(subscription_id=SUBSCRIPTION_ID, invoice_id=INVOICE_ID)
    invoice = invoice_finalized(subscription_id=SUBSCRIPTION_ID)
    (
        given(create_customer(), *plan_on_sale(), subscribe(trial_days=30), invoice, past_due)
        .when(GIVE_UP)
        .then(
            invoice_uncollectible(),
            SubscriptionRecovered(subscription_id=SUBSCRIPTION_ID, invoice_id=INVOICE_ID),
        )
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, past_due_invoice_ids=())
    )
