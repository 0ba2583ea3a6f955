"""Specifications of how subscriptions end: now, with their period, or because their customer is gone."""

from decimal import Decimal
from fractions import Fraction

import pytest

from domain.customers.customer import CUSTOMER
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.kernel.accounts import RECEIVABLE, REVENUE
from domain.kernel.stream import Finish
from domain.pricing.models import PerUnit
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.cancellation import (
    CancellationReason,
    SubscriptionCancellationScheduled,
    SubscriptionIsCanceled,
)
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    CUSTOMER_ID,
    IN_ARREARS,
    PRICE_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    credit,
    customer_deleted,
    debit,
    flat,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import (
    FEBRUARY,
    LAST_INVOICE,
    RENEWAL,
    cancel_at_period_end,
    cancel_now,
    canceled,
    invoice_line,
    invoiced,
    renew,
    timer,
)
from testing.moments import utc
from testing.specification import NOW, given


def test_cancelling_at_the_period_end_schedules_the_end_and_bills_nothing() -> None:
    scheduled = SubscriptionCancellationScheduled(subscription_id=SUBSCRIPTION_ID, cancel_at=FEBRUARY, with_period=True)
    (
        given(create_customer(), *plan_on_sale(), subscribe())
        .when(cancel_at_period_end())
        .then(scheduled)
        .then_posts()
        .then_schedules(timer(FEBRUARY))
        .then_finishes()
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, cancel_at=FEBRUARY)
        .when(cancel_at_period_end())
        .then_nothing()
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then(canceled(FEBRUARY, CancellationReason.PERIOD_END))
        .then_posts()
        .then_claims()
        .then_schedules()
        .then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.CANCELED, canceled_at=FEBRUARY)
    )


def test_the_end_bills_the_whole_last_period_in_arrears() -> None:
    (
        given(create_customer(), *plan_on_sale(in_arrears=flat(300)))
        .and_then(subscribe(ARREARS_PRICE_ID), cancel_at_period_end())
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then(
            canceled(FEBRUARY, CancellationReason.PERIOD_END, invoiced=True),
            *invoiced(
                1,
                FEBRUARY,
                invoice_line(LAST_INVOICE, 300, NOW, FEBRUARY, IN_ARREARS),
                invoice_id=LAST_INVOICE,
                due_at=utc("2026-03-30T10:00"),
            ),
        )
        .then_posts(debit(RECEIVABLE, usd(300)), credit(REVENUE, usd(300)))
    )


def test_cancelling_now_ends_at_once_and_bills_nothing_in_advance() -> None:
    at = utc("2026-02-10T00:00")
    (
        given(create_customer(), *plan_on_sale(), subscribe())
        .when(cancel_now(), at=at)
        .then(canceled(at, CancellationReason.REQUESTED))
        .then_posts()
        .then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, next_boundary=None)
    )


def test_cancelling_now_bills_the_days_used_in_arrears() -> None:
    at = utc("2026-02-14T23:59")  # 14 of 28 days; the day of the cancellation is not used
    (
        given(create_customer(), *plan_on_sale(in_arrears=flat(301)))
        .and_then(subscribe(ARREARS_PRICE_ID))
        .when(cancel_now(), at=at)
        .then(
            canceled(at, CancellationReason.REQUESTED, invoiced=True),
            *invoiced(
                1,
                at,
                invoice_line(
                    LAST_INVOICE,
                    151,
                    NOW,
                    at,
                    IN_ARREARS,
                    InvoiceLineKind.PRORATED,
                    price=flat(301),
                    share=Fraction(1, 2),
                ),
                invoice_id=LAST_INVOICE,
                due_at=utc("2026-03-16T23:59"),
            ),
        )
        .then_posts(debit(RECEIVABLE, usd(151)), credit(REVENUE, usd(151)))
    )


@pytest.mark.parametrize(
    ("unit_amount", "seats", "billed"),
    [("0.5", "1", 0), ("0.9", "1", 0), ("1", "1", 1), ("0.7", "3", 1), ("150.5", "2", 151)],
)
def test_half_a_period_in_arrears_is_rounded_once(unit_amount: str, seats: str, billed: int) -> None:
    price = PerUnit(currency=USD, unit_amount=Decimal(unit_amount))
    subscribed = given(create_customer(), *plan_on_sale(in_arrears=price)).and_then(
        subscribe(items=(RequestedItem(price_id=ARREARS_PRICE_ID, quantity=Decimal(seats)),))
    )
    outcome = subscribed.when(cancel_now(), at=utc("2026-02-14T10:00"))
    invoice = outcome.books.states["invoice", LAST_INVOICE]
    assert [line.amount for line in invoice.lines] == [usd(billed)]


def test_cancelling_on_the_first_day_bills_nothing_in_arrears() -> None:
    (
        given(create_customer(), *plan_on_sale(in_arrears=flat(300)))
        .and_then(subscribe(ARREARS_PRICE_ID))
        .when(cancel_now(), at=utc("2026-01-31T23:59"))
        .then(canceled(utc("2026-01-31T23:59"), CancellationReason.REQUESTED))
    )


def test_a_trial_that_is_cancelled_costs_nothing() -> None:
    on_trial = (create_customer(), *plan_on_sale(in_arrears=flat(), trial_days=14), subscribe(ARREARS_PRICE_ID))
    ends_at = utc("2026-02-14T10:00")
    given(*on_trial).when(cancel_now()).then(canceled(NOW, CancellationReason.REQUESTED)).then_finishes(
        Finish(RENEWAL, SUBSCRIPTION_ID)
    )
    (
        given(*on_trial, cancel_at_period_end())
        .when(renew(ends_at), at=ends_at)
        .then(canceled(ends_at, CancellationReason.PERIOD_END))
    )


def test_a_cancellation_at_the_period_end_may_be_brought_forward() -> None:
    (
        given(create_customer(), *plan_on_sale(), subscribe(), cancel_at_period_end())
        .when(cancel_now())
        .then(canceled(NOW, CancellationReason.REQUESTED))
    )


def test_a_deleted_customers_subscription_ends_at_its_renewal_with_what_is_left_in_arrears() -> None:
    (
        given(create_customer(), *plan_on_sale(in_advance=flat(), in_arrears=flat(300)))
        .and_then(subscribe(PRICE_ID, ARREARS_PRICE_ID), customer_deleted())
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then(
            canceled(FEBRUARY, CancellationReason.CUSTOMER_DELETED, invoiced=True),
            *invoiced(
                2,
                FEBRUARY,
                invoice_line(LAST_INVOICE, 300, NOW, FEBRUARY, IN_ARREARS),
                invoice_id=LAST_INVOICE,
                due_at=utc("2026-03-30T10:00"),
            ),
        )
        .then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))
    )


def test_a_deleted_customers_trial_ends_without_an_invoice() -> None:
    ends_at = utc("2026-02-14T10:00")
    (
        given(create_customer(), *plan_on_sale(trial_days=14), subscribe(), customer_deleted())
        .when(renew(ends_at), at=ends_at)
        .then(canceled(ends_at, CancellationReason.CUSTOMER_DELETED))
    )


@pytest.mark.parametrize("command", [renew(), renew(FEBRUARY), cancel_now(), cancel_at_period_end()])
def test_a_cancelled_subscription_is_over(command: RenewSubscription | CancelSubscription) -> None:
    (
        given(create_customer(), *plan_on_sale(), subscribe(), cancel_now())
        .when(command, at=FEBRUARY)
        .then_refused(SubscriptionIsCanceled)
    )


def test_an_end_with_credit_gives_back_what_is_unused_once_and_bills_what_waits() -> None:
    cancel = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False, gives_back=True)
    outcome = given(create_customer(), *plan_on_sale(in_advance=flat(2_800))).and_then(subscribe())
    ended = outcome.when(cancel, at=utc("2026-02-14T10:00"))
    (invoice,) = [each.event for each in ended.done.changes if isinstance(each.event, InvoiceFinalized)]
    (credit_line,) = invoice.lines
    assert (credit_line.amount, credit_line.kind) == (usd(-1_400), InvoiceLineKind.CREDIT)
    assert CUSTOMER.of(ended.books, CUSTOMER_ID).balance == usd(1_400)


def test_an_end_on_a_date_with_credit_gives_back_then() -> None:
    cancel = CancelSubscription(
        subscription_id=SUBSCRIPTION_ID, at_period_end=False, cancel_at=utc("2026-02-14T10:00"), gives_back=True
    )
    outcome = given(create_customer(), *plan_on_sale(in_advance=flat(2_800))).and_then(subscribe()).when(cancel)
    ended = outcome.when(renew(), at=utc("2026-02-14T10:00"))
    invoices = [change.event for change in ended.done.changes if isinstance(change.event, InvoiceFinalized)]
    assert [invoice.total for invoice in invoices] == [usd(-1_400)]
