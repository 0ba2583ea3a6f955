"""Specifications of trials that are extended or ended early; of a timer and a command that meet at a trial's end."""

from contextlib import nullcontext
from datetime import datetime, timedelta

import pytest

from domain.catalog.plan import TrialTooLong
from domain.customers.customer import CustomerIsDeleted, DeleteCustomer
from domain.kernel.stream import Command
from domain.subscriptions.cancellation import CancellationIsScheduled, SubscriptionIsCanceled
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, RenewalNotDue
from domain.subscriptions.trial import (
    SubscriptionNotTrialing,
    SubscriptionTrialEnded,
    SubscriptionTrialExtended,
    TrialNotExtended,
)
from testing.examples.streams import CUSTOMER_ID, SUBSCRIPTION_ID, create_customer, plan_on_sale, subscribe
from testing.examples.subscriptions import (
    cancel_at_period_end,
    cancel_now,
    cancel_on,
    end_trial,
    extend_trial,
    invoice_line,
    invoiced,
    period_claim,
    period_invoice,
    period_started,
    renew,
    timer,
    undo_cancel,
)
from testing.moments import utc
from testing.specification import NOW, Books, Given, given

TRIAL_END = utc("2026-02-14T10:00")  # 14 days from NOW, the 31st of January
LATER = utc("2026-03-31T01:30")
DURING = utc("2026-02-03T04:05")


def trialing(**terms: object) -> Given:
    return given(create_customer(), *plan_on_sale(), subscribe(trial_days=14, **terms))


def test_an_extended_trial_ends_later_and_bills_nothing_until_then() -> None:
    end = utc("2026-05-01T01:30")
    (
        trialing()
        .when(extend_trial(LATER), at=DURING)
        .then(SubscriptionTrialExtended(subscription_id=SUBSCRIPTION_ID, trial_end=LATER))
        .then_posts()
        .then_schedules(timer(LATER))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.TRIALING, trial_end=LATER, anchor_at=LATER)
        .when(renew(TRIAL_END), at=TRIAL_END)
        .then_refused(RenewalNotDue)
        .when(renew(LATER), at=LATER)
        .then_schedules(timer(utc("2026-04-30T01:30")))  # the 31st, where there is one
        .when(renew(), at=end)
        .then_schedules(timer(utc("2026-05-31T01:30")))
    )


def test_a_trial_that_is_ended_starts_the_first_period_at_that_instant() -> None:
    march = utc("2026-03-03T04:05")
    whole = invoice_line(period_invoice(0), 1_000, DURING, march)
    (
        trialing()
        .when(end_trial(), at=DURING)
        .then(
            SubscriptionTrialEnded(subscription_id=SUBSCRIPTION_ID, trial_end=DURING),
            period_started(0, DURING, march),
            *invoiced(1, DURING, whole, invoice_id=period_invoice(0), due_at=DURING + timedelta(days=30)),
        )
        .then_claims(period_claim(0))
        .then_schedules(timer(march))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, trial_end=DURING, anchor_at=DURING)
        .when(renew(TRIAL_END), at=TRIAL_END)
        .then_refused(RenewalNotDue)
    )


def test_a_trial_may_be_ended_the_instant_it_began() -> None:
    trialing().when(end_trial()).then_schedules(timer(utc("2026-02-28T10:00")))


@pytest.mark.parametrize("command", [extend_trial(LATER), end_trial()])
def test_the_timer_and_a_command_at_the_very_end_of_a_trial_tell_the_same_story(command: Command) -> None:
    """Whoever comes first: the trial is over, and the first period has begun."""
    logs = []
    for order in ((renew(TRIAL_END), command), (command, renew(TRIAL_END))):
        books = Books()
        for each in (create_customer(), *plan_on_sale(), subscribe(trial_days=14)):
            books.do(each, NOW)
        for each in order:
            with pytest.raises(SubscriptionNotTrialing) if each is command else nullcontext():
                books.do(each, TRIAL_END)
        logs.append(books.log)
    assert logs[0] == logs[1]


@pytest.mark.parametrize("trial_end", [NOW, DURING, TRIAL_END])
def test_a_trial_is_extended_to_a_later_end(trial_end: datetime) -> None:
    trialing().when(extend_trial(trial_end), at=DURING).then_refused(TrialNotExtended).then_is_about("trial_end")


def test_a_trial_has_a_longest_length() -> None:
    longest = NOW + timedelta(days=730)
    trialing().when(extend_trial(longest)).then_schedules(timer(longest))
    beyond = longest + timedelta(microseconds=1)
    trialing().when(extend_trial(beyond)).then_refused(TrialTooLong, trial_days=731).then_is_about("trial_end")


@pytest.mark.parametrize("command", [extend_trial(LATER), end_trial()])
def test_what_is_in_no_trial_has_none_to_change(command: Command) -> None:
    active = given(create_customer(), *plan_on_sale(), subscribe())
    active.when(command).then_refused(SubscriptionNotTrialing, status="active")
    trialing().and_then(end_trial()).when(command).then_refused(SubscriptionNotTrialing)
    trialing().when(command, at=utc("2026-02-14T10:01")).then_refused(SubscriptionNotTrialing)
    trialing().and_then(cancel_now()).when(command).then_refused(SubscriptionIsCanceled)


@pytest.mark.parametrize("command", [extend_trial(LATER), end_trial()])
def test_a_trial_stays_as_it_is_while_an_end_is_scheduled(command: Command) -> None:
    for ending in (cancel_at_period_end(), cancel_on(LATER)):
        trialing().and_then(ending).when(command, at=DURING).then_refused(CancellationIsScheduled)
    undone = trialing().and_then(cancel_at_period_end(), undo_cancel()).when(command, at=DURING)
    assert undone.done.events


@pytest.mark.parametrize("command", [extend_trial(LATER), end_trial()])
def test_nobody_bills_a_customer_who_is_gone(command: Command) -> None:
    gone = DeleteCustomer(customer_id=CUSTOMER_ID)
    trialing().and_then(gone).when(command, at=DURING).then_refused(CustomerIsDeleted)


def test_periods_after_a_trial_keep_its_ends_time_of_day_through_a_gap() -> None:
    """New York: 02:30 on 8 March 2026 does not exist, and is read with the offset before the gap; 8 April has it."""
    ended, gap = utc("2026-02-08T07:30"), utc("2026-03-08T07:30")
    (
        trialing(time_zone="America/New_York")
        .when(end_trial(), at=ended)
        .then_schedules(timer(gap))
        .when(renew(gap), at=gap)
        .then_schedules(timer(utc("2026-04-08T06:30")))
    )
