"""Periods are half-open: what ends at the instant at which a period would begin does not begin it.

So an end at a boundary bills exactly the periods that end at or before it, in advance and in arrears.
"""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from domain.customers.customer import DeleteCustomer
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.stream import Command, Finish
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.cancellation import CancellationReason, SubscriptionCancellationScheduled
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionPeriodStarted
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    CUSTOMER_ID,
    IN_ADVANCE,
    IN_ARREARS,
    MONTH,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import (
    FEBRUARY,
    MARCH,
    RENEWAL,
    cancel_at_period_end,
    cancel_now,
    canceled,
    renew,
)
from testing.moments import utc
from testing.specification import NOW, Given, given
from tests.lengths import LENGTH

INSTANT = timedelta(microseconds=1)
TRIAL_ENDS = utc("2026-02-14T10:00")


def subscribed(interval: Interval = MONTH, *, trial_days: int = 0) -> Given:
    """To a price in advance and one in arrears."""
    catalogue = plan_on_sale(interval, in_advance=flat(1_000), in_arrears=flat(300), trial_days=trial_days)
    return given(create_customer(), *catalogue, subscribe(PRICE_ID, ARREARS_PRICE_ID))


def lines(history: Given) -> list[InvoiceLine]:
    """Everything billed so far."""
    finalized = [change.event for change in history.books.log if isinstance(change.event, InvoiceFinalized)]
    return [line for event in finalized for line in event.lines]


def billed(history: Given) -> list[tuple[str, datetime | None, datetime | None, int]]:
    """What was billed, of which period, and how much."""
    return [(line.timing.value, line.period_start, line.period_end, line.amount.amount) for line in lines(history)]


FIRST_MONTH = [("in_advance", NOW, FEBRUARY, 1_000), ("in_arrears", NOW, FEBRUARY, 300)]


def test_cancelling_now_at_the_instant_of_a_boundary_begins_no_further_period() -> None:
    outcome = subscribed().when(cancel_now(), at=FEBRUARY)
    assert outcome.done.events[0] == canceled(FEBRUARY, CancellationReason.REQUESTED, invoiced=True)
    assert billed(outcome) == FIRST_MONTH
    outcome.then_claims().then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))


def test_cancelling_an_instant_after_a_boundary_ends_the_period_that_began() -> None:
    outcome = subscribed().when(cancel_now(), at=FEBRUARY + INSTANT)
    assert billed(outcome)[1:] == [("in_advance", FEBRUARY, MARCH, 1_000), FIRST_MONTH[1]]


def test_cancelling_now_at_a_boundary_bills_the_overdue_periods_before_it() -> None:
    outcome = subscribed().when(cancel_now(), at=MARCH)
    assert billed(outcome) == [
        FIRST_MONTH[0],
        ("in_advance", FEBRUARY, MARCH, 1_000),
        FIRST_MONTH[1],
        ("in_arrears", FEBRUARY, MARCH, 300),
    ]


def test_an_end_with_the_period_begins_no_further_one_whoever_passes_its_boundary() -> None:
    ending = subscribed().and_then(cancel_at_period_end())
    outcome = ending.when(renew(FEBRUARY), at=FEBRUARY)
    assert outcome.done.events[0] == canceled(FEBRUARY, CancellationReason.PERIOD_END, invoiced=True)
    assert billed(outcome) == FIRST_MONTH


def test_an_end_with_its_period_may_be_asked_for_now_at_that_very_instant() -> None:
    outcome = subscribed().and_then(cancel_at_period_end()).when(cancel_now(), at=FEBRUARY)
    assert outcome.done.events[0] == canceled(FEBRUARY, CancellationReason.REQUESTED, invoiced=True)
    assert billed(outcome) == FIRST_MONTH


def test_an_end_with_the_period_asked_for_at_a_boundary_is_that_of_the_period_that_begins_there() -> None:
    outcome = subscribed().when(cancel_at_period_end(), at=FEBRUARY)
    assert outcome.done.events[-1] == SubscriptionCancellationScheduled(
        subscription_id=SUBSCRIPTION_ID, cancel_at=MARCH, with_period=True
    )


@pytest.mark.parametrize(("deleted_at", "ends_at"), [(FEBRUARY, FEBRUARY), (FEBRUARY + INSTANT, MARCH)])
def test_a_customer_who_is_deleted_at_the_instant_of_a_boundary_begins_no_further_period(
    deleted_at: datetime, ends_at: datetime
) -> None:
    outcome = (
        subscribed()
        .and_then(DeleteCustomer(customer_id=CUSTOMER_ID), at=deleted_at)
        .when(renew(FEBRUARY), at=MARCH)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, canceled_at=ends_at)
    )
    assert max(line.period_end for line in lines(outcome) if line.period_end) == ends_at


@pytest.mark.parametrize("by", [cancel_now(), DeleteCustomer(customer_id=CUSTOMER_ID)])
def test_what_ends_at_the_instant_of_its_trials_end_bills_nothing(by: Command) -> None:
    history = subscribed(trial_days=14).and_then(by, at=TRIAL_ENDS)
    if not isinstance(by, CancelSubscription):
        history = history.when(renew(TRIAL_ENDS), at=TRIAL_ENDS)
    assert history.books.states["subscription", SUBSCRIPTION_ID].canceled_at == TRIAL_ENDS
    assert lines(history) == []


def test_a_period_that_was_begun_before_the_end_was_asked_for_stays_billed() -> None:
    outcome = subscribed().and_then(renew(FEBRUARY), at=FEBRUARY).when(cancel_now(), at=FEBRUARY)
    outcome.then(canceled(FEBRUARY, CancellationReason.REQUESTED))
    assert billed(outcome)[1:] == [("in_advance", FEBRUARY, MARCH, 1_000), FIRST_MONTH[1]]


@settings(max_examples=LENGTH.scaled(100))
@examples(
    interval=st.builds(Interval, st.sampled_from([IntervalUnit.DAY, IntervalUnit.WEEK, MONTH.unit]), st.integers(1, 3)),
    periods=st.integers(1, 12),
    renewed=st.integers(0, 11),
    by=st.sampled_from(["cancel now", "at period end", "deletion"]),
)
def test_an_end_at_a_boundary_bills_exactly_the_periods_that_end_by_then(
    interval: Interval, periods: int, renewed: int, by: str
) -> None:
    until = given(create_customer(), *plan_on_sale(interval), subscribe())
    boundaries = [NOW]
    for _ in range(periods):  # where each period ends, by a subscription that goes on
        boundaries.append(until.books.states["subscription", SUBSCRIPTION_ID].period_end)
        until.and_then(renew(), at=boundaries[-1])
    history = subscribed(interval)
    for boundary in boundaries[1 : 1 + min(renewed, periods - 1)]:  # some timers ran, the others are late
        history.and_then(renew(boundary), at=boundary)
    end = boundaries[-1]
    if by == "cancel now":
        history.and_then(cancel_now(), at=end)
    elif by == "deletion":
        history.and_then(DeleteCustomer(customer_id=CUSTOMER_ID), at=end).and_then(renew(), at=end)
    else:
        history.and_then(cancel_at_period_end(), at=boundaries[-2]).and_then(renew(), at=end)
    assert history.books.states["subscription", SUBSCRIPTION_ID].canceled_at == end
    whole = list(pairwise(boundaries))
    for timing in (IN_ADVANCE, IN_ARREARS):
        assert [(line.period_start, line.period_end) for line in lines(history) if line.timing is timing] == whole
    started = [change.event for change in history.books.log if isinstance(change.event, SubscriptionPeriodStarted)]
    assert [(event.period_start, event.period_end) for event in started] == whole
