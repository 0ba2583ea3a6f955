"""Specifications of transfers: the one customer's subscription ends, the other's goes on with its schedule, and each
day is billed to one of the two."""

from datetime import datetime
from typing import Any

import pytest

from domain.catalog.price import CreatePrice
from domain.customers.customer import CUSTOMER, CustomerIsDeleted, DeleteCustomer, NotCustomersCurrency
from domain.invoicing.finalization import InvoiceFinalized
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.stream import Finish, Schedule
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.cancellation import CancellationIsScheduled, SubscriptionIsCanceled
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.pause_commands import PauseSubscription, SuspendSubscription
from domain.subscriptions.proration_basis import ProrationBasis
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import TrialEnd
from domain.subscriptions.transfer import (
    ContradictoryTransfer,
    ScheduledTransfer,
    SubscriptionNotTransferable,
    SubscriptionTransferScheduled,
    TransferToOtherClock,
    TransferToSameCustomer,
)
from domain.subscriptions.transfer_commands import TransferSubscription
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    BY_CHARGE,
    CLOCK_ID,
    CUSTOMER_ID,
    OTHER_CUSTOMER_ID,
    PLAN_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    frozen_clock,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import FEBRUARY, MARCH, RENEWAL, renew, timer, undo_cancel
from testing.moments import utc
from testing.specification import NOW, Given, Result, given

TO = id_of("sub_", 2)
HALF = utc("2026-02-14T10:00")  # 14 of the 28 days from the 31st of January
OTHERS = ScheduledTransfer(customer_id=OTHER_CUSTOMER_ID, subscription_id=TO)


def transfer(**changes: Any) -> TransferSubscription:
    facts: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION_ID,
        "customer_id": OTHER_CUSTOMER_ID,
        "to_subscription_id": TO,
        "at_period_end": False,
    }
    return TransferSubscription(**facts | changes)


def other_renews(due_at: datetime) -> RenewSubscription:
    return RenewSubscription(subscription_id=TO, due_at=due_at)


def two_customers(*prices: str, **changes: Any) -> Given:
    """One has a subscription, at 10.00 in advance and 3.01 in arrears a month; the other has none."""
    people = (create_customer(), create_customer(customer_id=OTHER_CUSTOMER_ID))
    return given(*people, *plan_on_sale(in_advance=flat(), in_arrears=flat(301)), subscribe(*prices, **changes))


def billed(result: Result) -> list[tuple[str, list[int]]]:
    """Who is billed by what was done, and its lines."""
    return [
        (event.customer_id, [line.amount.amount for line in event.lines])
        for event in result.done.events
        if isinstance(event, InvoiceFinalized)
    ]


# --- now -----------------------------------------------------------------------------------------------------------


def test_what_was_paid_in_advance_stays_the_one_customers_and_the_other_is_billed_from_the_next_period_on() -> None:
    now = two_customers().when(transfer(), at=HALF)
    assert billed(now) == []
    (
        now.then_shows(
            SUBSCRIPTION,
            SUBSCRIPTION_ID,
            status=SubscriptionStatus.CANCELED,
            canceled_at=HALF,
            transferred_to=TO,
        )
        .then_shows(
            SUBSCRIPTION,
            TO,
            customer_id=OTHER_CUSTOMER_ID,
            status=SubscriptionStatus.ACTIVE,
            transferred_from=SUBSCRIPTION_ID,
            starts_at=HALF,
            period_start=NOW,
            period_end=FEBRUARY,
            latest_invoice_id=None,
        )
        .then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))
        .then_schedules(Schedule(RENEWAL, TO, due_at=FEBRUARY, clock_id=None))
    )
    renewed = now.when(other_renews(FEBRUARY), at=FEBRUARY)
    assert billed(renewed) == [(OTHER_CUSTOMER_ID, [1_000])]
    renewed.then_shows(SUBSCRIPTION, TO, period_start=FEBRUARY, period_end=MARCH)


def test_in_arrears_each_is_billed_the_days_that_were_theirs() -> None:
    now = two_customers(ARREARS_PRICE_ID).when(transfer(), at=HALF)
    assert billed(now) == [(CUSTOMER_ID, [151])]
    assert billed(now.when(other_renews(FEBRUARY), at=FEBRUARY)) == [(OTHER_CUSTOMER_ID, [151])]


@pytest.mark.parametrize("basis", [*ProrationBasis])
def test_what_is_unused_is_credited_to_the_one_and_charged_to_the_other(basis: ProrationBasis) -> None:
    story = two_customers(PRICE_ID, ARREARS_PRICE_ID, proration_basis=basis)
    now = story.when(transfer(gives_back=True), at=HALF)
    (one, ended), *more = billed(now)
    assert one == CUSTOMER_ID
    if basis is ProrationBasis.NONE:
        return
    ((other, charged),) = more
    assert other == OTHER_CUSTOMER_ID
    assert charged[0] == -ended[-1] > 0, "what the one gets, the other pays"
    now.then_shows(SUBSCRIPTION, TO, period_end=FEBRUARY)
    last = billed(now.when(other_renews(FEBRUARY), at=FEBRUARY))
    assert last[0][0] == OTHER_CUSTOMER_ID
    assert last[0][1][0] == 1_000
    if basis is not ProrationBasis.FIXED_30:  # of which February has 27
        assert abs(ended[0] + last[0][1][1] - 301) <= 1, "two roundings of one price"


def test_what_was_charged_of_the_rest_is_given_back_when_the_other_customers_ends() -> None:
    now = two_customers().when(transfer(gives_back=True), at=HALF)
    at = utc("2026-02-21T10:00")
    ends = CancelSubscription(subscription_id=TO, at_period_end=False, gives_back=True)
    assert billed(now.when(ends, at=at)) == [(OTHER_CUSTOMER_ID, [-250])]


def test_what_the_other_customer_did_not_pay_is_not_given_back_to_them() -> None:
    now = two_customers().when(transfer(), at=HALF)
    ends = CancelSubscription(subscription_id=TO, at_period_end=False, gives_back=True)
    assert billed(now.when(ends, at=utc("2026-02-21T10:00"))) == []


def test_at_the_very_instant_at_which_a_period_would_begin_the_other_one_begins_it() -> None:
    now = two_customers().when(transfer(), at=FEBRUARY)
    assert billed(now) == [(OTHER_CUSTOMER_ID, [1_000])]
    now.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, period_end=FEBRUARY, canceled_at=FEBRUARY)
    now.then_shows(SUBSCRIPTION, TO, period_start=FEBRUARY, period_end=MARCH)


def test_what_was_due_before_is_billed_to_the_one_first_however_late() -> None:
    now = two_customers().when(transfer(), at=utc("2026-04-02"))
    assert billed(now) == [(CUSTOMER_ID, [1_000]), (CUSTOMER_ID, [1_000])]
    assert billed(now.when(other_renews(utc("2026-04-30T10:00")), at=utc("2026-05-01"))) == [
        (OTHER_CUSTOMER_ID, [1_000])
    ]


def test_a_years_fee_stays_paid_until_its_year_is_over() -> None:
    yearly = CreatePrice(
        price_id=id_of("price_", 5), plan_id=PLAN_ID, name="Y", price=flat(36_500), interval=Interval(IntervalUnit.YEAR)
    )
    people = (create_customer(), create_customer(customer_id=OTHER_CUSTOMER_ID))
    story = given(*people, *plan_on_sale(), yearly, subscribe(PRICE_ID, yearly.price_id))
    now = story.when(transfer(), at=HALF)
    assert billed(now) == []
    year_over = utc("2027-01-31T10:00")
    story = now
    assert billed(story.when(other_renews(FEBRUARY), at=FEBRUARY)) == [(OTHER_CUSTOMER_ID, [1_000])]
    story.when(other_renews(MARCH), at=utc("2027-01-30"))
    last = billed(story.when(other_renews(year_over), at=year_over))
    assert last == [(OTHER_CUSTOMER_ID, [1_000, 36_500])]


def test_a_trial_goes_on_and_a_start_ahead_is_still_ahead() -> None:
    trial_end = utc("2026-02-10T10:00")
    trial = two_customers(trial_days=10).when(transfer(), at=utc("2026-02-05"))
    trial.then_shows(SUBSCRIPTION, TO, status=SubscriptionStatus.TRIALING, trial_end=trial_end, period_start=None)
    assert billed(trial.when(other_renews(trial_end), at=trial_end)) == [(OTHER_CUSTOMER_ID, [1_000])]
    ahead = two_customers(starts_at=MARCH).when(transfer(), at=HALF)
    ahead.then_shows(SUBSCRIPTION, TO, status=SubscriptionStatus.INCOMPLETE, starts_at=MARCH)
    assert billed(ahead.when(other_renews(MARCH), at=MARCH)) == [(OTHER_CUSTOMER_ID, [1_000])]


def test_it_is_withheld_and_to_be_changed_as_it_was() -> None:
    more = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=ARREARS_PRICE_ID, quantity=None),),
        proration=Proration.PERIOD_END,
    )
    story = two_customers().and_then(more, SuspendSubscription(subscription_id=SUBSCRIPTION_ID))
    now = story.when(transfer(), at=HALF)
    now.then_shows(SUBSCRIPTION, TO, status=SubscriptionStatus.SUSPENDED)
    renewed = now.when(other_renews(FEBRUARY), at=FEBRUARY)
    assert billed(renewed) == [(OTHER_CUSTOMER_ID, [1_000])]
    assert len(renewed.books.states["subscription", TO].terms.items) == 2


def test_those_that_share_invoices_are_the_customers_own() -> None:
    story = two_customers(billed_together=True).when(transfer(), at=HALF)
    story.then_shows(CUSTOMER, CUSTOMER_ID, billed_together=())
    story.then_shows(CUSTOMER, OTHER_CUSTOMER_ID, billed_together=(TO,))


# --- with the period ----------------------------------------------------------------------------------------------


def test_with_the_period_it_waits_and_the_other_customer_is_billed_for_the_next() -> None:
    scheduled = SubscriptionTransferScheduled(subscription_id=SUBSCRIPTION_ID, to=OTHERS, transfer_at=FEBRUARY)
    story = (
        two_customers(ARREARS_PRICE_ID)
        .when(transfer(at_period_end=True), at=HALF)
        .then(scheduled)
        .then_posts()
        .then_schedules(timer(FEBRUARY))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, cancel_at=FEBRUARY, transfer=OTHERS)
    )
    due = story.when(renew(FEBRUARY), at=FEBRUARY)
    assert billed(due) == [(CUSTOMER_ID, [301])]
    due.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.CANCELED, transferred_to=TO, transfer=None)
    due.then_shows(SUBSCRIPTION, TO, period_start=FEBRUARY, period_end=MARCH, created_at=FEBRUARY)
    assert billed(due.when(other_renews(MARCH), at=MARCH)) == [(OTHER_CUSTOMER_ID, [301])]


@pytest.mark.parametrize("late", [FEBRUARY, utc("2026-06-20")])
def test_a_late_timer_transfers_it_at_its_time(late: datetime) -> None:
    """And what has come due of the other one meanwhile is its own timer's."""
    story = two_customers().and_then(transfer(at_period_end=True), at=HALF)
    due = story.when(renew(FEBRUARY), at=late)
    assert billed(due) == [(OTHER_CUSTOMER_ID, [1_000])]
    due.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, canceled_at=FEBRUARY)


def test_it_is_taken_back_with_the_end() -> None:
    story = two_customers().and_then(transfer(at_period_end=True), at=HALF)
    undone = story.when(undo_cancel(), at=HALF)
    undone.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, cancel_at=None, transfer=None)
    assert billed(undone.when(renew(FEBRUARY), at=FEBRUARY)) == [(CUSTOMER_ID, [1_000])]


def test_an_end_that_is_asked_for_instead_takes_its_place() -> None:
    story = two_customers().and_then(transfer(at_period_end=True), at=HALF)
    ends = story.when(CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=True), at=HALF)
    ends.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, cancel_at=FEBRUARY, transfer=None)
    due = ends.when(renew(FEBRUARY), at=FEBRUARY)
    assert billed(due) == []
    assert ("subscription", TO) not in due.books.states


def test_what_ends_before_is_not_transferred() -> None:
    story = two_customers().and_then(transfer(at_period_end=True), at=HALF)
    now = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False)
    ended = story.when(now, at=utc("2026-02-15")).then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, transferred_to=None)
    assert ("subscription", TO) not in ended.books.states


def test_one_whose_customer_is_deleted_meanwhile_is_transferred_all_the_same() -> None:
    story = two_customers().and_then(transfer(at_period_end=True), at=HALF)
    story.and_then(DeleteCustomer(customer_id=CUSTOMER_ID), at=utc("2026-02-15"))
    due = story.when(renew(FEBRUARY), at=FEBRUARY)
    assert billed(due) == [(OTHER_CUSTOMER_ID, [1_000])]


def test_where_the_other_customer_is_gone_by_then_it_ends() -> None:
    story = two_customers().and_then(transfer(at_period_end=True), at=HALF)
    story.and_then(DeleteCustomer(customer_id=OTHER_CUSTOMER_ID), at=utc("2026-02-15"))
    ended = story.when(renew(FEBRUARY), at=FEBRUARY)
    ended.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.CANCELED, transferred_to=None)
    assert ("subscription", TO) not in ended.books.states


def test_with_a_trial_the_other_customer_begins_as_is_agreed_for_its_end() -> None:
    trial_end = utc("2026-02-10T10:00")
    for agreed, status in ((TrialEnd.INVOICE, "active"), (TrialEnd.PAUSE, "paused"), (TrialEnd.CANCEL, "canceled")):
        story = two_customers(trial_days=10, trial_end=agreed, collection=BY_CHARGE)
        story.and_then(transfer(at_period_end=True), at=utc("2026-02-05"))
        story.when(renew(trial_end), at=trial_end).then_shows(SUBSCRIPTION, TO, status=status)


# --- refused ------------------------------------------------------------------------------------------------------


def test_to_whom_it_cannot_go() -> None:
    story = two_customers().and_then(
        create_customer(customer_id=id_of("cus_", 3), currency="EUR"),
        frozen_clock(),
        create_customer(customer_id=id_of("cus_", 4), test_clock_id=CLOCK_ID),
        create_customer(customer_id=id_of("cus_", 5)),
        DeleteCustomer(customer_id=id_of("cus_", 5)),
    )
    story.when(transfer(customer_id=CUSTOMER_ID)).then_refused(TransferToSameCustomer)
    story.when(transfer(customer_id=id_of("cus_", 3))).then_refused(NotCustomersCurrency)
    story.when(transfer(customer_id=id_of("cus_", 4))).then_refused(TransferToOtherClock, test_clock=CLOCK_ID)
    story.when(transfer(customer_id=id_of("cus_", 5))).then_refused(CustomerIsDeleted)
    story.when(transfer(at_period_end=True, gives_back=True)).then_refused(ContradictoryTransfer)


def test_when_it_cannot_go() -> None:
    paused = two_customers().and_then(PauseSubscription(subscription_id=SUBSCRIPTION_ID))
    paused.when(transfer()).then_refused(SubscriptionNotTransferable, status="paused")
    ending = two_customers().and_then(CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=True))
    ending.when(transfer()).then_refused(CancellationIsScheduled)
    twice = two_customers().and_then(transfer())
    twice.when(transfer(to_subscription_id=id_of("sub_", 3))).then_refused(SubscriptionIsCanceled)
    scheduled = two_customers().and_then(transfer(at_period_end=True))
    scheduled.when(transfer(to_subscription_id=id_of("sub_", 3))).then_refused(CancellationIsScheduled)
