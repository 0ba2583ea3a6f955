"""Specifications of pauses, which are not billed, and of suspensions, which are."""

from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from domain.catalog.price import CreatePrice
from domain.customers.customer import CustomerIsDeleted, DeleteCustomer
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.stream import Command, Finish
from domain.payments.commands import CollectInvoice
from domain.pricing.models import PerUnit
from domain.subscriptions.cancellation import CancellationIsScheduled, CancellationReason, SubscriptionIsCanceled
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.pause import (
    ResumptionNotAhead,
    SubscriptionNotPausable,
    SubscriptionNotPaused,
    SubscriptionNotSuspendable,
    SubscriptionNotSuspended,
    SubscriptionPaused,
    SubscriptionReactivated,
    SubscriptionResumed,
    SubscriptionSuspended,
)
from domain.subscriptions.pause_commands import (
    PauseSubscription,
    ReactivateSubscription,
    ResumeSubscription,
    SuspendSubscription,
)
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import NEVER, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, RenewalNotDue
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    BY_CHARGE,
    CUSTOMER_ID,
    IN_ARREARS,
    PLAN_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    USD,
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
    APRIL,
    FEBRUARY,
    MARCH,
    RENEWAL,
    cancel_at_period_end,
    cancel_now,
    cancel_on,
    canceled,
    end_trial,
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
from testing.specification import NOW, Given, Result, given

DURING = utc("2026-02-14T12:00")
LATER_IN_FEBRUARY = utc("2026-02-20T12:00")
MID_MARCH = utc("2026-03-16T12:00")  # 15 of the 31 days from 28 February to 31 March are left
MID_APRIL = utc("2026-04-15T12:00")
RESUME = ResumeSubscription(subscription_id=SUBSCRIPTION_ID)
SUSPEND = SuspendSubscription(subscription_id=SUBSCRIPTION_ID)
REACTIVATE = ReactivateSubscription(subscription_id=SUBSCRIPTION_ID)
PAUSE_INVOICE = derived_id(INVOICE, SUBSCRIPTION_ID, "pause/0")


def pause(until: datetime | None = None) -> PauseSubscription:
    return PauseSubscription(subscription_id=SUBSCRIPTION_ID, resumes_at=until)


def paused(until: datetime | None = None, *, invoice_id: str | None = None, at: datetime = DURING) -> Any:
    return SubscriptionPaused(subscription_id=SUBSCRIPTION_ID, paused_at=at, resumes_at=until, invoice_id=invoice_id)


def resumed(at: datetime) -> SubscriptionResumed:
    return SubscriptionResumed(subscription_id=SUBSCRIPTION_ID, resumed_at=at)


def subscribed(**prices: Any) -> Given:
    return given(create_customer(), *plan_on_sale(**prices or {"in_advance": flat(3_100)})).and_then(
        subscribe(ARREARS_PRICE_ID if "in_arrears" in prices else PRICE_ID)
    )


def totals(outcome: Result) -> list[int]:
    return [change.event.total.amount for change in outcome.books.log if isinstance(change.event, InvoiceFinalized)]


# --- pausing -----------------------------------------------------------------------------------------------------


def test_a_pause_gives_nothing_back_and_no_period_begins_in_it() -> None:
    (
        subscribed()
        .when(pause(), at=DURING)
        .then(paused())
        .then_posts()
        .then_schedules(timer(NEVER))
        .then_shows(
            SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.PAUSED, paused_at=DURING, period_end=FEBRUARY
        )
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then_refused(RenewalNotDue)
        .when(renew(), at=APRIL)
        .then_refused(RenewalNotDue)
    )


def test_what_was_used_in_arrears_is_billed_by_the_pause() -> None:
    half = invoice_line(
        PAUSE_INVOICE, 151, NOW, DURING, IN_ARREARS, InvoiceLineKind.PRORATED, price=flat(301), share=Fraction(1, 2)
    )
    (
        subscribed(in_arrears=flat(301))
        .when(pause(), at=DURING)
        .then(
            paused(invoice_id=PAUSE_INVOICE),
            *invoiced(1, DURING, half, invoice_id=PAUSE_INVOICE, due_at=DURING + timedelta(days=30)),
        )
        .when(cancel_now(), at=MID_MARCH)
        .then(canceled(MID_MARCH, CancellationReason.REQUESTED))
    )


def test_what_is_overdue_is_billed_before_the_pause() -> None:
    outcome = subscribed().when(pause(), at=MID_MARCH)
    assert totals(outcome) == [3_100, 3_100]
    assert outcome.done.events[-1] == paused(at=MID_MARCH)


@pytest.mark.parametrize("until", [DURING, NOW])
def test_a_pause_ends_at_a_time_that_is_still_to_come(until: datetime) -> None:
    subscribed().when(pause(until), at=DURING).then_refused(ResumptionNotAhead).then_is_about("resumes_at")


def test_only_what_runs_is_paused() -> None:
    on_sale = given(create_customer(), *plan_on_sale())
    on_sale.and_then(subscribe(trial_days=14)).when(pause()).then_refused(SubscriptionNotPausable, status="trialing")
    subscribed().and_then(pause()).when(pause()).then_refused(SubscriptionNotPausable, status="paused")
    subscribed().and_then(SUSPEND).when(pause()).then_refused(SubscriptionNotPausable, status="suspended")
    subscribed().and_then(cancel_now()).when(pause()).then_refused(SubscriptionIsCanceled)
    subscribed().and_then(cancel_on(APRIL)).when(pause()).then_refused(CancellationIsScheduled)
    subscribed().and_then(cancel_on(APRIL), undo_cancel()).when(pause()).then(paused(at=NOW))


# --- resuming ----------------------------------------------------------------------------------------------------


def test_what_is_resumed_within_its_paid_period_goes_on_and_bills_nothing() -> None:
    (
        subscribed()
        .and_then(pause(), at=DURING)
        .when(RESUME, at=LATER_IN_FEBRUARY)
        .then(resumed(LATER_IN_FEBRUARY))
        .then_posts()
        .then_schedules(timer(FEBRUARY))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, paused_at=None)
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then_claims(period_claim(1))
    )


def test_what_is_resumed_later_bills_the_days_left_of_the_period_on_the_old_schedule() -> None:
    rest = invoice_line(
        period_invoice(1),
        1_500,
        MID_MARCH,
        MARCH,
        kind=InvoiceLineKind.PRORATED,
        price=flat(3_100),
        share=Fraction(15, 31),
    )
    (
        subscribed()
        .and_then(pause(), at=DURING)
        .when(RESUME, at=MID_MARCH)
        .then(
            resumed(MID_MARCH),
            period_started(1, MID_MARCH, MARCH),
            *invoiced(2, MID_MARCH, rest, invoice_id=period_invoice(1), due_at=MID_MARCH + timedelta(days=30)),
        )
        .then_posts(debit(RECEIVABLE, usd(1_500)), credit(DEFERRED_REVENUE, usd(1_500)))
        .then_claims(period_claim(1))
        .then_schedules(timer(MARCH))
        .when(renew(MARCH), at=MARCH)
        .then_claims(period_claim(2))
        .then_schedules(timer(APRIL))
    )


def test_vector_16_charges_27_of_30_days_and_keeps_the_billing_day() -> None:
    """The charge of resuming; without the credit, which a pause does not give."""
    start = utc("2012-03-02T00:00")
    on_sale = given(create_customer(), *plan_on_sale(in_advance=flat(24_995)))
    outcome = (
        on_sale.and_then(subscribe(), at=start)
        .and_then(pause(), at=utc("2012-03-04T00:00"))
        .when(RESUME, at=utc("2012-04-05T00:00"))
        .then_schedules(timer(utc("2012-05-02T00:00")))
    )
    assert totals(outcome) == [24_995, 22_496]


def test_days_in_arrears_are_billed_around_the_pause() -> None:
    """Of February's 28 days: 14 by the pause, and the 8 from the 20th on by the period's end."""
    outcome = (
        subscribed(in_arrears=flat(2_800))
        .and_then(pause(), at=DURING)
        .and_then(RESUME, at=LATER_IN_FEBRUARY)
        .when(renew(FEBRUARY), at=FEBRUARY)
    )
    assert totals(outcome) == [1_400, 800]
    outcome.when(renew(MARCH), at=MARCH)
    assert totals(outcome)[2:] == [2_800]


def test_a_stub_in_arrears_is_billed_when_it_ends() -> None:
    outcome = (
        subscribed(in_arrears=flat(3_100))
        .and_then(pause(), at=DURING)
        .and_then(RESUME, at=MID_MARCH)
        .when(renew(MARCH), at=MARCH)
    )
    assert totals(outcome) == [1_550, 1_500]


def test_a_pause_of_hours_costs_nothing_and_saves_nothing() -> None:
    evening = DURING + timedelta(hours=8)
    outcome = (
        subscribed(in_arrears=flat(2_800))
        .and_then(pause(), at=DURING)
        .and_then(RESUME, at=evening)
        .when(renew(FEBRUARY), at=FEBRUARY)
    )
    assert sum(totals(outcome)) == 2_800


def test_a_pause_ends_by_itself_at_its_time_however_late_the_timer_is() -> None:
    for late in (MID_MARCH, MID_MARCH + timedelta(days=40)):
        outcome = subscribed().and_then(pause(MID_MARCH), at=DURING).when(renew(MID_MARCH), at=late)
        assert outcome.done.events[:2] == [resumed(MID_MARCH), period_started(1, MID_MARCH, MARCH)]
        assert {change.effective_at for change in outcome.done.changes[:4]} == {MID_MARCH}
        assert totals(outcome)[:2] == [3_100, 1_500]


@pytest.mark.parametrize(
    ("command", "order"), [(RESUME, "timer first"), (RESUME, "timer last"), (pause(), "timer last")]
)
def test_the_timer_and_a_command_at_the_end_of_a_pause_come_to_the_same(command: Command, order: str) -> None:
    """The pause has ended at that instant, whoever comes first: it is not resumed again, and may begin again."""
    timer_first = subscribed().and_then(pause(MID_MARCH), at=DURING).and_then(renew(MID_MARCH), at=MID_MARCH)
    if command is RESUME:
        history = timer_first if order == "timer first" else subscribed().and_then(pause(MID_MARCH), at=DURING)
        history.when(RESUME, at=MID_MARCH).then_refused(SubscriptionNotPaused, status="active")
    else:
        command_first = subscribed().and_then(pause(MID_MARCH), at=DURING).when(command, at=MID_MARCH)
        assert command_first.books.states == timer_first.when(command, at=MID_MARCH).books.states
        command_first.when(renew(MID_MARCH), at=MID_MARCH).then_refused(RenewalNotDue)


def test_an_earlier_resumption_leaves_nothing_to_the_timer() -> None:
    (
        subscribed()
        .and_then(pause(MID_APRIL), at=DURING)
        .and_then(RESUME, at=MID_MARCH)
        .when(renew(MID_APRIL), at=MID_APRIL)
        .then_refused(RenewalNotDue)
    )


def test_a_year_that_is_paid_runs_on_through_the_pause() -> None:
    yearly = CreatePrice(
        price_id=id_of("price_", 7), plan_id=PLAN_ID, price=flat(36_500), interval=Interval(IntervalUnit.YEAR)
    )
    items = (RequestedItem(price_id=PRICE_ID), RequestedItem(price_id=yearly.price_id))
    history = given(create_customer(), *plan_on_sale(in_advance=flat(3_100)), yearly, subscribe(items=items))
    outcome = history.and_then(pause(), at=DURING).when(RESUME, at=MID_MARCH)
    assert totals(outcome) == [39_600, 1_500]
    next_year = utc("2027-02-01T10:00")  # a day of 365 is gone of the second year, and of its first month of 28
    again = outcome.and_then(pause(), at=MID_APRIL).when(RESUME, at=next_year)
    assert totals(again)[-1] == 36_400 + 2_989


def test_what_is_not_paused_is_not_resumed() -> None:
    subscribed().when(RESUME).then_refused(SubscriptionNotPaused, status="active")
    subscribed().and_then(pause(), RESUME).when(RESUME).then_refused(SubscriptionNotPaused)
    subscribed().and_then(pause(), cancel_now()).when(RESUME).then_refused(SubscriptionIsCanceled)


def test_what_was_past_due_is_so_again() -> None:
    outcome = (
        given(create_customer(), *plan_on_sale(), subscribe(collection=BY_CHARGE), pause())
        .and_then(CollectInvoice(invoice_id=period_invoice(0), payment_id=id_of("pay_")))
        .when(RESUME)
    )
    outcome.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.PAST_DUE)


# --- ending, in a pause ------------------------------------------------------------------------------------------


def test_with_its_period_a_paused_subscription_ends_where_the_paid_one_does() -> None:
    (
        subscribed()
        .and_then(pause(), at=DURING)
        .and_then(cancel_at_period_end(), at=DURING)
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then(canceled(FEBRUARY, CancellationReason.ON_DATE))
        .then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))
    )
    long_over = subscribed().and_then(pause(), at=DURING)
    long_over.when(cancel_at_period_end(), at=MARCH).then(canceled(MARCH, CancellationReason.REQUESTED))


def test_an_end_on_a_date_comes_in_a_pause_and_before_its_end() -> None:
    (
        subscribed()
        .and_then(pause(MID_MARCH), cancel_on(MID_MARCH), at=DURING)
        .when(renew(MID_MARCH), at=MID_MARCH)
        .then(canceled(MID_MARCH, CancellationReason.ON_DATE))
    )


def test_a_customer_who_is_gone_is_not_resumed_for() -> None:
    gone = DeleteCustomer(customer_id=CUSTOMER_ID)
    subscribed().and_then(pause(), gone, at=DURING).when(RESUME, at=MID_MARCH).then_refused(CustomerIsDeleted)
    (
        subscribed()
        .and_then(pause(MID_MARCH), gone, at=DURING)
        .when(renew(MID_MARCH), at=MID_MARCH)
        .then(canceled(MID_MARCH, CancellationReason.CUSTOMER_DELETED))
    )


# --- suspension --------------------------------------------------------------------------------------------------


def test_a_suspended_subscription_goes_on_being_billed() -> None:
    outcome = (
        subscribed()
        .when(SUSPEND, at=DURING)
        .then(SubscriptionSuspended(subscription_id=SUBSCRIPTION_ID, suspended_at=DURING))
        .then_posts()
        .then_schedules()
        .when(renew(FEBRUARY), at=FEBRUARY)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.SUSPENDED, period_index=1)
        .when(REACTIVATE, at=MID_MARCH)
        .then(SubscriptionReactivated(subscription_id=SUBSCRIPTION_ID, reactivated_at=MID_MARCH))
        .then_posts()
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE)
    )
    assert totals(outcome) == [3_100, 3_100]


def test_a_suspension_is_of_what_runs_and_is_taken_back_once() -> None:
    trial = given(create_customer(), *plan_on_sale(), subscribe(trial_days=14))
    trial.when(SUSPEND).then_refused(SubscriptionNotSuspendable, status="trialing")
    subscribed().and_then(SUSPEND).when(SUSPEND).then_refused(SubscriptionNotSuspendable)
    subscribed().and_then(pause()).when(SUSPEND).then_refused(SubscriptionNotSuspendable, status="paused")
    subscribed().when(REACTIVATE).then_refused(SubscriptionNotSuspended)
    subscribed().and_then(SUSPEND, REACTIVATE).when(REACTIVATE).then_refused(SubscriptionNotSuspended)


def test_a_suspended_subscription_ends_as_any_other() -> None:
    ending = subscribed().and_then(SUSPEND, cancel_at_period_end(), at=DURING)
    ending.when(renew(FEBRUARY), at=FEBRUARY).then(canceled(FEBRUARY, CancellationReason.PERIOD_END))


def test_a_suspension_ends_past_due_where_something_is_left_to_collect() -> None:
    (
        given(create_customer(), *plan_on_sale(), subscribe(collection=BY_CHARGE), SUSPEND)
        .and_then(CollectInvoice(invoice_id=period_invoice(0), payment_id=id_of("pay_")))
        .when(REACTIVATE)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.PAST_DUE)
    )


def test_a_trial_that_was_ended_may_be_paused_at_once() -> None:
    outcome = given(create_customer(), *plan_on_sale(), subscribe(trial_days=14), end_trial()).when(pause())
    assert outcome.done.events == [paused(at=NOW)]


# --- with credit -------------------------------------------------------------------------------------------------


def give_back(until: datetime | None = None) -> PauseSubscription:
    return PauseSubscription(subscription_id=SUBSCRIPTION_ID, resumes_at=until, gives_back=True)


def test_what_a_pause_gives_back_is_charged_again_from_where_it_is_resumed() -> None:
    paused_then = subscribed(in_advance=flat(2_800)).when(give_back(), at=DURING)
    assert totals(paused_then) == [2_800, -1_400]
    resumed_then = paused_then.when(RESUME, at=LATER_IN_FEBRUARY)
    assert totals(resumed_then) == [2_800, -1_400, 800]
    assert totals(resumed_then.when(renew(), at=FEBRUARY)) == [2_800, -1_400, 800, 2_800]


def test_what_was_charged_again_is_given_back_again_and_no_more() -> None:
    outcome = (
        subscribed(in_advance=flat(2_800))
        .when(give_back(), at=DURING)
        .when(RESUME, at=DURING)
        .when(give_back(), at=DURING)
        .when(RESUME, at=LATER_IN_FEBRUARY)
        .when(cancel_now(), at=LATER_IN_FEBRUARY)
    )
    assert totals(outcome) == [2_800, -1_400, 1_400, -1_400, 800]


def test_after_the_period_the_next_one_is_billed_from_the_day_on_which_it_is_resumed() -> None:
    outcome = subscribed(in_advance=flat(3_100)).when(give_back(), at=DURING).when(RESUME, at=MID_MARCH)
    assert totals(outcome) == [3_100, -1_550, 1_500]


def test_what_nothing_was_paid_for_is_not_charged_where_a_pause_ends() -> None:
    """Two more seats that nobody is billed in this period: a pause gives back the one that was paid, and so much is
    charged again.
    """
    seats = PerUnit(currency=USD, unit_amount=Decimal(2_800))
    more = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=PRICE_ID, quantity=Decimal(3)),),
        proration=Proration.NONE,
    )
    paused_then = subscribed(in_advance=seats).and_then(more, at=DURING).when(give_back(), at=DURING)
    resumed_then = paused_then.when(RESUME, at=DURING)
    assert totals(resumed_then) == [2_800, -1_400, 1_400]
    assert totals(resumed_then.when(renew(), at=FEBRUARY)) == [2_800, -1_400, 1_400, 8_400]
