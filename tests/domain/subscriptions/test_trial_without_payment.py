"""Specifications of the end of a trial where nothing is there to be charged: invoiced, paused, or ended."""

from typing import Any

from domain.customers.customer import SetDefaultPaymentMethod
from domain.invoicing.finalization import InvoiceFinalized
from domain.subscriptions.cancellation import CancellationReason
from domain.subscriptions.pause import SubscriptionPaused
from domain.subscriptions.pause_commands import ResumeSubscription
from domain.subscriptions.state import NEVER, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import TrialEnd
from testing.examples.streams import (
    BY_CHARGE,
    BY_HAND,
    CARD_ID,
    CUSTOMER_ID,
    SUBSCRIPTION_ID,
    attach_card,
    create_customer,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import canceled, renew, timer
from testing.moments import utc
from testing.specification import Given, Result, given

ENDS = utc("2026-02-14T10:00")
LATER = utc("2026-02-20T10:00")


def on_trial(trial_end: TrialEnd, **facts: Any) -> Given:
    bought = subscribe(trial_days=14, trial_end=trial_end, **{"collection": BY_CHARGE} | facts)
    return given(create_customer(), *plan_on_sale()).and_then(bought)


def invoices(outcome: Result) -> int:
    return sum(isinstance(change.event, InvoiceFinalized) for change in outcome.books.log)


def test_it_is_invoiced_all_the_same_unless_something_else_is_agreed() -> None:
    assert invoices(on_trial(TrialEnd.INVOICE).when(renew(), at=ENDS)) == 1


def test_it_ends() -> None:
    outcome = on_trial(TrialEnd.CANCEL).when(renew(), at=ENDS)
    outcome.then(canceled(ENDS, CancellationReason.NO_PAYMENT_METHOD))


def test_it_waits_and_begins_where_it_is_resumed() -> None:
    outcome = on_trial(TrialEnd.PAUSE).when(renew(), at=ENDS)
    outcome.then(
        SubscriptionPaused(subscription_id=SUBSCRIPTION_ID, paused_at=ENDS, resumes_at=None, invoice_id=None)
    ).then_schedules(timer(NEVER))
    resumed = outcome.when(ResumeSubscription(subscription_id=SUBSCRIPTION_ID), at=LATER)
    subscription = SUBSCRIPTION.of(resumed.books, SUBSCRIPTION_ID)
    assert (subscription.status, subscription.period_start, subscription.period_end) == (
        SubscriptionStatus.ACTIVE,
        LATER,
        utc("2026-03-20T10:00"),
    )
    assert invoices(resumed) == 1


def test_with_a_payment_method_or_by_hand_it_is_invoiced() -> None:
    default = SetDefaultPaymentMethod(customer_id=CUSTOMER_ID, payment_method_id=CARD_ID)
    assert invoices(on_trial(TrialEnd.CANCEL).and_then(attach_card(), default).when(renew(), at=ENDS)) == 1
    assert invoices(on_trial(TrialEnd.CANCEL, collection=BY_HAND).when(renew(), at=ENDS)) == 1
