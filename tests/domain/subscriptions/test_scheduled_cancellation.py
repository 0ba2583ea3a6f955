"""Specifications of an end that is scheduled: on a date, moved, taken back; and whatever comes first."""

from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from domain.catalog.price import CreatePrice
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.kernel.accounts import RECEIVABLE, REVENUE
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.stream import Finish
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.cancellation import (
    CancellationNotAhead,
    CancellationReason,
    ContradictoryCancellation,
    NoCancellationScheduled,
    SubscriptionCancellationScheduled,
    SubscriptionCancellationUndone,
    SubscriptionIsCanceled,
)
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.pause_commands import PauseSubscription
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    IN_ARREARS,
    PLAN_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    credit,
    debit,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import (
    FEBRUARY,
    LAST_INVOICE,
    MARCH,
    RENEWAL,
    cancel_at_period_end,
    cancel_now,
    cancel_on,
    canceled,
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
from testing.specification import NOW, Given, given

YEAR = Interval(IntervalUnit.YEAR)
HALF = Fraction(1, 2)
MID_FEBRUARY = utc("2026-02-14T23:59")
MID_MARCH = utc("2026-03-15T12:00")


def subscribed() -> Given:
    return given(create_customer(), *plan_on_sale(), subscribe())


def ends_at(at: datetime, *, with_period: bool = False) -> SubscriptionCancellationScheduled:
    return SubscriptionCancellationScheduled(subscription_id=SUBSCRIPTION_ID, cancel_at=at, with_period=with_period)


def test_a_date_within_the_period_ends_it_there_and_the_period_stays_billed_whole() -> None:
    (
        subscribed()
        .when(cancel_on(MID_FEBRUARY))
        .then(ends_at(MID_FEBRUARY))
        .then_schedules(timer(MID_FEBRUARY))
        .then_posts()
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, cancel_at=MID_FEBRUARY)
        .when(renew(MID_FEBRUARY), at=MID_FEBRUARY)
        .then(canceled(MID_FEBRUARY, CancellationReason.ON_DATE))
        .then_posts()
        .then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))
    )


def test_a_date_within_the_period_bills_the_days_used_in_arrears() -> None:
    half = invoice_line(
        LAST_INVOICE, 151, NOW, MID_FEBRUARY, IN_ARREARS, InvoiceLineKind.PRORATED, price=flat(301), share=HALF
    )
    (
        given(create_customer(), *plan_on_sale(in_arrears=flat(301)), subscribe(ARREARS_PRICE_ID))
        .and_then(cancel_on(MID_FEBRUARY))
        .when(renew(MID_FEBRUARY), at=MID_FEBRUARY)
        .then(
            canceled(MID_FEBRUARY, CancellationReason.ON_DATE, invoiced=True),
            *invoiced(1, MID_FEBRUARY, half, invoice_id=LAST_INVOICE, due_at=MID_FEBRUARY + timedelta(days=30)),
        )
    )


def test_periods_before_the_date_go_on_and_the_last_is_billed_whole() -> None:
    whole = invoice_line(period_invoice(1), 1_000, FEBRUARY, MARCH)
    (
        subscribed()
        .when(cancel_on(MID_MARCH))
        .then_schedules(timer(FEBRUARY))
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then(
            period_started(1, FEBRUARY, MARCH),
            *invoiced(2, FEBRUARY, whole, invoice_id=period_invoice(1), due_at=FEBRUARY + timedelta(days=30)),
        )
        .then_schedules(timer(MID_MARCH))
        .when(renew(MID_MARCH), at=MID_MARCH)
        .then(canceled(MID_MARCH, CancellationReason.ON_DATE))
    )


def test_a_date_at_a_boundary_begins_no_period() -> None:
    (
        subscribed()
        .and_then(cancel_on(FEBRUARY))
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then(canceled(FEBRUARY, CancellationReason.ON_DATE))
    )


def test_a_date_ends_what_is_billed_by_the_month_and_by_the_year_alike() -> None:
    """The year in arrears bills its used days: 43 of 365, from the 31st of January."""
    yearly = CreatePrice(
        price_id=id_of("price_", 7), plan_id=PLAN_ID, price=flat(36_500), interval=YEAR, timing=IN_ARREARS
    )
    items = (RequestedItem(price_id=PRICE_ID), RequestedItem(price_id=yearly.price_id))
    outcome = (
        given(create_customer(), *plan_on_sale(), yearly, subscribe(items=items))
        .and_then(cancel_on(MID_MARCH))
        .and_then(renew(FEBRUARY), at=FEBRUARY)
        .when(renew(MID_MARCH), at=MID_MARCH)
        .then_posts(debit(RECEIVABLE, usd(4_300)), credit(REVENUE, usd(4_300)))
    )
    assert outcome.done.events[0] == canceled(MID_MARCH, CancellationReason.ON_DATE, invoiced=True)


def test_whatever_was_missed_happens_before_the_end_on_a_date_each_at_its_own_time() -> None:
    """A machine that was off for 80 days."""
    outcome = subscribed().and_then(cancel_on(MID_MARCH)).when(renew(FEBRUARY), at=utc("2026-04-20T00:00"))
    assert [change.effective_at for change in outcome.done.changes] == [FEBRUARY] * 3 + [MID_MARCH]
    assert outcome.done.events[-1] == canceled(MID_MARCH, CancellationReason.ON_DATE)


def test_the_end_moves_when_another_is_asked_for() -> None:
    (
        subscribed()
        .and_then(cancel_on(MID_MARCH))
        .when(cancel_on(MID_FEBRUARY))
        .then(ends_at(MID_FEBRUARY))
        .then_schedules(timer(MID_FEBRUARY))
        .when(cancel_at_period_end())
        .then(ends_at(FEBRUARY, with_period=True))
        .then_schedules(timer(FEBRUARY))
        .when(cancel_at_period_end())
        .then_nothing()
        .when(cancel_on(FEBRUARY))
        .then(ends_at(FEBRUARY))
        .when(cancel_on(FEBRUARY))
        .then_nothing()
    )


@pytest.mark.parametrize("at", [utc("2026-02-02T00:00"), MID_FEBRUARY])
def test_cancelling_at_once_comes_before_a_date(at: datetime) -> None:
    ending = subscribed().and_then(cancel_on(MID_FEBRUARY))
    ending.when(cancel_now(), at=at).then(canceled(at, CancellationReason.REQUESTED))


def test_cancelling_at_once_after_a_date_that_nothing_ran_for_is_too_late() -> None:
    subscribed().and_then(cancel_on(MID_FEBRUARY)).when(cancel_now(), at=FEBRUARY).then_refused(SubscriptionIsCanceled)


@pytest.mark.parametrize("date", [NOW, NOW - timedelta(days=1)])
def test_a_date_that_is_not_ahead_is_refused(date: datetime) -> None:
    subscribed().when(cancel_on(date)).then_refused(CancellationNotAhead, cancel_at=_told(date), now=_told(NOW))


def test_a_date_and_the_periods_end_at_once_are_refused() -> None:
    both = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=True, cancel_at=MARCH)
    subscribed().when(both).then_refused(ContradictoryCancellation, cancel_at=_told(MARCH))


def test_a_trial_ends_on_a_date_and_nothing_is_billed() -> None:
    (
        given(create_customer(), *plan_on_sale(), subscribe(trial_days=30))
        .and_then(cancel_on(MID_FEBRUARY))
        .when(renew(MID_FEBRUARY), at=MID_FEBRUARY)
        .then(canceled(MID_FEBRUARY, CancellationReason.ON_DATE))
        .then_posts()
    )


# --- taken back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [cancel_at_period_end(), cancel_on(MID_FEBRUARY), cancel_on(MID_MARCH)])
def test_an_end_that_is_taken_back_never_was(ending: CancelSubscription) -> None:
    (
        subscribed()
        .and_then(ending)
        .when(undo_cancel())
        .then(SubscriptionCancellationUndone(subscription_id=SUBSCRIPTION_ID))
        .then_schedules(timer(FEBRUARY))
        .then_posts()
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, cancel_at=None)
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then_schedules(timer(MARCH))
        .then_claims(period_claim(1))
    )


def test_an_end_is_taken_back_once() -> None:
    subscribed().when(undo_cancel()).then_refused(NoCancellationScheduled, subscription=SUBSCRIPTION_ID)
    undone = subscribed().and_then(cancel_at_period_end(), undo_cancel())
    undone.when(undo_cancel()).then_refused(NoCancellationScheduled, subscription=SUBSCRIPTION_ID)


def test_an_end_that_should_have_come_is_not_taken_back_however_late_its_timer() -> None:
    for ending, at in ((cancel_on(MID_FEBRUARY), MID_FEBRUARY), (cancel_at_period_end(), MARCH)):
        subscribed().and_then(ending).when(undo_cancel(), at=at).then_refused(SubscriptionIsCanceled)


def test_an_end_before_which_periods_are_overdue_is_taken_back_after_them() -> None:
    outcome = subscribed().and_then(cancel_on(MID_MARCH)).when(undo_cancel(), at=utc("2026-03-02T00:00"))
    assert [type(event).__name__ for event in outcome.done.events] == [
        "SubscriptionPeriodStarted",
        "InvoiceNumberTaken",
        "InvoiceFinalized",
        "SubscriptionCancellationUndone",
    ]
    outcome.then_schedules(timer(MARCH))


def test_an_unknown_or_ended_subscription_has_no_end_to_take_back() -> None:
    subscribed().and_then(cancel_now()).when(undo_cancel()).then_refused(SubscriptionIsCanceled)


def _told(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("ending", [cancel_at_period_end(), cancel_on(FEBRUARY + timedelta(hours=1)), cancel_now()])
@pytest.mark.parametrize("is_paused", [True, False])
def test_of_what_has_ended_nothing_is_to_come(ending: CancelSubscription, is_paused: bool) -> None:
    pause = PauseSubscription(subscription_id=SUBSCRIPTION_ID, resumes_at=MARCH)
    upgrade = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID, items=(ChangedItem(price_id=ARREARS_PRICE_ID),), effective_at=MARCH
    )
    offered = given(create_customer(), *plan_on_sale(in_advance=flat(), in_arrears=flat(300)))
    history = offered.and_then(subscribe(), upgrade, *([pause] if is_paused else []), ending)
    if SUBSCRIPTION.of(history.books, SUBSCRIPTION_ID).status is not SubscriptionStatus.CANCELED:
        history.and_then(renew(), at=MARCH)
    ended = SUBSCRIPTION.of(history.books, SUBSCRIPTION_ID)
    to_come = (ended.cancel_at, ended.ends_with_period, ended.end_gives_back, ended.resumes_at, ended.scheduled)
    assert (ended.status, to_come) == (SubscriptionStatus.CANCELED, (None, False, False, None, None))
