"""A renewal that gives back more than it bills: what is left is the customer's, and the subscription goes on."""

from domain.customers.customer import CUSTOMER
from domain.invoicing.collection import CollectionStatus
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import InvoiceStatus
from domain.kernel.accounts import CUSTOMER_BALANCE, DEFERRED_REVENUE
from domain.payments import charge_saga
from testing.examples.streams import (
    BY_CHARGE,
    CUSTOMER_ID,
    balance_credited,
    create_customer,
    credit,
    debit,
    flat,
    id_of,
    usd,
)
from testing.examples.subscriptions import FEBRUARY, MARCH, created, item, period_invoice, renew, timer
from testing.specification import NOW, given

DISCOUNT_ID = id_of("price_", 9)


def test_a_renewal_that_comes_to_less_than_nothing_becomes_the_customers_balance() -> None:
    discount = item(DISCOUNT_ID, flat(-1_500))
    renewed = (
        given(create_customer(), created(item(price=flat(1_000)), discount, collection=BY_CHARGE))
        .when(renew(), at=NOW)
        .then_posts(credit(CUSTOMER_BALANCE, usd(500)), debit(DEFERRED_REVENUE, usd(500)))
        .then_schedules(timer(FEBRUARY))
        .then_shows(
            INVOICE,
            period_invoice(0),
            status=InvoiceStatus.PAID,
            collection_status=CollectionStatus.NOT_APPLICABLE,
            total=usd(-500),
            amount_due=usd(0),
            amount_paid=usd(0),
        )
    )
    (issued,) = (event for event in renewed.done.events if isinstance(event, InvoiceFinalized))
    assert charge_saga.react(id_of("evt_"), issued) == [], "there is nothing to charge"
    renewed.then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(500))
    renewed.when(renew(FEBRUARY), at=FEBRUARY).then_schedules(timer(MARCH)).then_shows(
        CUSTOMER, CUSTOMER_ID, balance=usd(1_000)
    )


def test_periods_that_are_caught_up_with_at_once_draw_on_the_balance_one_after_the_other() -> None:
    (
        given(create_customer(), created(item(price=flat(1_000))), balance_credited(1_500))
        .when(renew(), at=FEBRUARY)
        .then_shows(INVOICE, period_invoice(0), status=InvoiceStatus.PAID, amount_applied=usd(1_000))
        .then_shows(INVOICE, period_invoice(1), amount_applied=usd(500), amount_due=usd(500))
        .then_shows(CUSTOMER, CUSTOMER_ID, balance=usd(0))
    )
