"""Specifications of a test clock's deletion: what lives on it ends with it, and nothing of it is billed any more."""

import pytest

from domain.customers import test_clock as clocks
from domain.customers.customer import CUSTOMER, ON_CLOCK, CustomerIsDeleted, DeleteCustomer, UpdateCustomer
from domain.customers.test_clock import (
    TEST_CLOCK,
    AdvanceTestClock,
    CancelTestClockAdvance,
    CompleteTestClockAdvance,
    CompleteTestClockDeletion,
    DeleteTestClock,
    MoveTestClock,
)
from domain.kernel.stream import Command, Finish, Schedule, WorkKind
from domain.subscriptions.cancel_commands import EndWithTestClock
from domain.subscriptions.cancellation import CancellationReason, SubscriptionIsCanceled
from domain.subscriptions.pause_commands import PauseSubscription
from domain.subscriptions.state import NEVER
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    CLOCK_ID,
    CUSTOMER_ID,
    IN_ARREARS,
    SUBSCRIPTION_ID,
    create_customer,
    customer_created,
    frozen_clock,
)
from testing.examples.subscriptions import canceled, created, item, period_started, renew, timer
from testing.moments import utc
from testing.specification import NOW, Claimed, Given, given

DELETE = DeleteTestClock(clock_id=CLOCK_ID)
COMPLETE = CompleteTestClockDeletion(clock_id=CLOCK_ID)
END = EndWithTestClock(subscription_id=SUBSCRIPTION_ID)
DELETE_CUSTOMER = DeleteCustomer(customer_id=CUSTOMER_ID)
ADVANCE = AdvanceTestClock(clock_id=CLOCK_ID, to=utc("2026-06-01"))
PLACE = Claimed(ON_CLOCK, f"{CLOCK_ID}/{CUSTOMER_ID}", CUSTOMER_ID)


def on_clock() -> Given:
    """A clock with a customer, who has a subscription in its first period, billed in arrears."""
    return given(
        frozen_clock(),
        customer_created(test_clock_id=CLOCK_ID),
        created(item(timing=IN_ARREARS), test_clock_id=CLOCK_ID),
        period_started(0, NOW, utc("2026-02-28T10:00"), invoiced=False),
    )


def test_a_deletion_is_work_that_takes_the_place_of_an_advance() -> None:
    (
        given(frozen_clock(), ADVANCE)
        .when(DELETE)
        .then(clocks.TestClockDeletionStarted(clock_id=CLOCK_ID))
        .then_finishes(Finish(WorkKind.CLOCK_ADVANCE, CLOCK_ID))
        .then_schedules(Schedule(WorkKind.CLOCK_DELETION, CLOCK_ID, after_ms=0))
        .then_shows(TEST_CLOCK, CLOCK_ID, advancing_to=None, is_deleting=True, deleted_at=None)
        .when(DELETE)
        .then_nothing()
        .when(COMPLETE)
        .then(clocks.TestClockDeleted(clock_id=CLOCK_ID, deleted_at=NOW))
        .then_finishes(Finish(WorkKind.CLOCK_DELETION, CLOCK_ID))
        .when(COMPLETE)
        .then_nothing()
        .when(DELETE)
        .then_nothing()
    )


def test_a_clock_knows_its_customers_for_as_long_as_they_live() -> None:
    (
        given(frozen_clock())
        .when(create_customer(test_clock_id=CLOCK_ID))
        .then_claims(PLACE)
        .when(DELETE_CUSTOMER)
        .then_frees(PLACE)
    )


@pytest.mark.parametrize(
    "command",
    [
        create_customer(customer_id="cus_another", test_clock_id=CLOCK_ID),
        UpdateCustomer(customer_id=CUSTOMER_ID, time_zone="Asia/Tokyo"),
        ADVANCE,
        MoveTestClock(clock_id=CLOCK_ID, advance=1, to=utc("2026-02-10")),
        CompleteTestClockAdvance(clock_id=CLOCK_ID, advance=1),
        CancelTestClockAdvance(clock_id=CLOCK_ID),
    ],
)
def test_nothing_new_begins_on_a_clock_that_is_being_deleted(command: Command) -> None:
    on_clock().and_then(ADVANCE, DELETE).when(command).then_refused(clocks.TestClockIsDeleted, test_clock=CLOCK_ID)


def test_a_subscription_ends_with_its_clock_and_bills_neither_what_is_overdue_nor_what_was_used() -> None:
    """The clock stands past two boundaries of the subscription whose timers have not run."""
    far = MoveTestClock(clock_id=CLOCK_ID, advance=1, to=utc("2026-04-10"))
    (
        on_clock()
        .and_then(ADVANCE, far, DELETE)
        .when(END)
        .then(canceled(utc("2026-04-10"), CancellationReason.TEST_CLOCK_DELETED))
        .then_posts()
        .then_at(utc("2026-04-10"))
        .then_finishes(Finish(WorkKind.SUBSCRIPTION_RENEWAL, SUBSCRIPTION_ID))
        .when(END)
        .then_refused(SubscriptionIsCanceled)
        .when(renew())
        .then_refused(SubscriptionIsCanceled)
    )


def test_a_pause_until_further_notice_ends_with_its_clock() -> None:
    """Its due work, at the end of time, is how it is found on the clock."""
    paused = on_clock().when(PauseSubscription(subscription_id=SUBSCRIPTION_ID))
    paused.then_schedules(timer(NEVER, CLOCK_ID))
    (
        paused.and_then(DELETE)
        .when(END)
        .then(canceled(NOW, CancellationReason.TEST_CLOCK_DELETED))
        .then_finishes(Finish(WorkKind.SUBSCRIPTION_RENEWAL, SUBSCRIPTION_ID))
    )


def test_a_subscription_does_not_end_with_a_clock_that_goes_on() -> None:
    on_clock().when(END).then_refused(clocks.TestClockNotDeleting, test_clock=CLOCK_ID)
    given(customer_created(), created()).when(END).then_refused(clocks.TestClockNotDeleting)


def test_a_customer_is_deleted_with_their_clock_at_the_time_that_it_shows() -> None:
    (
        on_clock()
        .and_then(DELETE)
        .when(DELETE_CUSTOMER)
        .then_frees(PLACE)
        .then_shows(CUSTOMER, CUSTOMER_ID, deleted_at=NOW)
        .when(UpdateCustomer(customer_id=CUSTOMER_ID, time_zone="Asia/Tokyo"))
        .then_refused(CustomerIsDeleted)
    )


def test_a_deletion_that_was_not_begun_is_not_completed() -> None:
    given(frozen_clock()).when(COMPLETE).then_refused(clocks.TestClockNotDeleting, test_clock=CLOCK_ID)


@pytest.mark.parametrize("command", [DELETE, COMPLETE])
def test_an_unknown_clock_is_not_deleted(command: Command) -> None:
    given().when(command).then_refused(clocks.TestClockNotFound, test_clock=CLOCK_ID)


def test_what_ended_with_the_clock_stays_in_the_log() -> None:
    (
        on_clock()
        .and_then(DELETE, END, DELETE_CUSTOMER)
        .when(COMPLETE)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, canceled_at=NOW, latest_invoice_id=None)
        .then_shows(CUSTOMER, CUSTOMER_ID, deleted_at=NOW, test_clock_id=CLOCK_ID)
    )
