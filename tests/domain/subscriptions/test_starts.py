"""Specifications of subscriptions that begin later, or began in the past."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.customers.customer import DeleteCustomer
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import MAX_INVOICE_TOTAL
from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE, REVENUE
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.stream import Finish
from domain.subscriptions.backdating import MAX_BACKDATED_PERIODS, StartTooFarBack
from domain.subscriptions.cancellation import CancellationReason
from domain.subscriptions.selling import RequestedItem
from domain.subscriptions.state import SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION, RenewalNotDue, SubscriptionPeriodStarted
from domain.subscriptions.trial import SubscriptionNotTrialing, SubscriptionTrialStarted
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    CUSTOMER_ID,
    IN_ARREARS,
    MONTH,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    credit,
    debit,
    flat,
    plan_on_sale,
    subscribe,
    usd,
)
from testing.examples.subscriptions import (
    DAY,
    FEBRUARY,
    MARCH,
    PLAN_CLAIM,
    RENEWAL,
    cancel_at_period_end,
    cancel_now,
    canceled,
    created,
    end_trial,
    invoice_line,
    invoiced,
    period_claim,
    period_invoice,
    period_started,
    price_used,
    renew,
    timer,
)
from testing.moments import utc
from testing.specification import NOW, Given, Result, given

BOTH = (RequestedItem(price_id=PRICE_ID), RequestedItem(price_id=ARREARS_PRICE_ID))
YEAR = Interval(IntervalUnit.YEAR)


def on_sale(interval: Interval = MONTH, **prices: Any) -> Given:
    return given(create_customer(), *plan_on_sale(interval, **prices))


def starts_at(at: datetime, **terms: Any) -> Any:
    return subscribe(starts_at=at, **terms)


# --- later -------------------------------------------------------------------------------------------------------


def test_what_begins_later_bills_nothing_until_then() -> None:
    april = utc("2026-04-30T10:00")  # one that begins on the 31st comes back to it
    whole = invoice_line(period_invoice(0), 1_000, MARCH, april)
    (
        on_sale()
        .when(starts_at(MARCH))
        .then(created(starts_at=MARCH, anchor_at=MARCH), price_used())
        .then_posts()
        .then_claims(PLAN_CLAIM)
        .then_schedules(timer(MARCH))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.INCOMPLETE, period_start=None)
        .when(renew(), at=MARCH - timedelta(microseconds=1))
        .then_refused(RenewalNotDue)
        .when(renew(MARCH), at=MARCH)
        .then(
            period_started(0, MARCH, april),
            *invoiced(1, MARCH, whole, invoice_id=period_invoice(0), due_at=MARCH + timedelta(days=30)),
        )
        .then_claims(period_claim(0))
        .then_schedules(timer(april))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE)
    )


def test_a_trial_that_begins_later_runs_before_the_first_period() -> None:
    trial_end = MARCH + timedelta(days=7)
    (
        on_sale()
        .when(starts_at(MARCH, trial_days=7))
        .then(created(starts_at=MARCH, anchor_at=trial_end, trial_end=trial_end), price_used())
        .then_schedules(timer(MARCH))
        .when(end_trial())
        .then_refused(SubscriptionNotTrialing, status="incomplete")
        .when(renew(MARCH), at=MARCH)
        .then(SubscriptionTrialStarted(subscription_id=SUBSCRIPTION_ID, started_at=MARCH))
        .then_posts()
        .then_schedules(timer(trial_end))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.TRIALING)
        .when(renew(trial_end), at=trial_end)
        .then_claims(period_claim(0))
    )


def test_a_machine_that_was_off_for_forty_days_starts_the_trial_and_the_period_each_at_its_own_time() -> None:
    outcome = on_sale().and_then(starts_at(FEBRUARY, trial_days=7)).when(renew(FEBRUARY), at=FEBRUARY + timedelta(40))
    ends = FEBRUARY + timedelta(7)
    at = [FEBRUARY, *[ends] * 3, *[utc("2026-04-07T10:00")] * 3]
    assert [change.effective_at for change in outcome.done.changes] == at


@pytest.mark.parametrize("trial_days", [0, 7])
def test_what_is_cancelled_before_it_begins_never_does(trial_days: int) -> None:
    later = starts_at(MARCH, trial_days=trial_days)
    (
        on_sale()
        .and_then(later)
        .when(cancel_now(), at=FEBRUARY)
        .then(canceled(FEBRUARY, CancellationReason.REQUESTED))
        .then_posts()
        .then_finishes(Finish(RENEWAL, SUBSCRIPTION_ID))
    )
    (
        on_sale()
        .and_then(later, cancel_at_period_end())
        .when(renew(MARCH), at=MARCH)
        .then(canceled(MARCH, CancellationReason.PERIOD_END))
        .then_posts()
    )


def test_what_would_begin_for_a_customer_who_is_gone_does_not() -> None:
    (
        on_sale()
        .and_then(starts_at(MARCH), DeleteCustomer(customer_id=CUSTOMER_ID))
        .when(renew(MARCH), at=MARCH)
        .then(canceled(MARCH, CancellationReason.CUSTOMER_DELETED))
    )


# --- in the past -------------------------------------------------------------------------------------------------


def test_what_began_in_the_past_bills_what_has_elapsed_on_one_invoice() -> None:
    november, december = utc("2025-11-30T12:00"), utc("2025-12-30T12:00")
    january, february = utc("2026-01-30T12:00"), utc("2026-02-28T12:00")
    bounds = (november, december, january, february)
    last = period_invoice(2)
    lines = [invoice_line(period_invoice(n), 1_000, bounds[n], bounds[n + 1]) for n in range(3)]
    used = [invoice_line(period_invoice(n + 1), 300, bounds[n], bounds[n + 1], IN_ARREARS) for n in range(2)]
    shown = [lines[0], lines[1], used[0], lines[2], used[1]]
    outcome = on_sale(in_advance=flat(), in_arrears=flat(300)).when(starts_at(november, items=BOTH))
    started = [event for event in outcome.done.events if isinstance(event, SubscriptionPeriodStarted)]
    assert [(each.index, each.period_start, each.period_end) for each in started] == [
        (n, bounds[n], bounds[n + 1]) for n in range(3)
    ]
    assert {each.invoice_id for each in started} == {last}
    assert outcome.done.events[-2:] == list(invoiced(1, NOW, *shown, invoice_id=last, due_at=NOW + timedelta(days=30)))
    (
        outcome.then_posts(
            debit(RECEIVABLE, usd(3_600)), credit(DEFERRED_REVENUE, usd(3_000)), credit(REVENUE, usd(600))
        )
        .then_claims(PLAN_CLAIM, *map(period_claim, range(3)))
        .then_schedules(timer(february))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE, latest_invoice_id=last)
        .when(renew(february), at=february)
        .then_claims(period_claim(3))
    )


def test_fourteen_months_back_are_fifteen_lines_of_one_invoice_from_the_31st_to_the_31st() -> None:
    invoice = the_invoice(on_sale().when(starts_at(utc("2024-11-30T09:00"))))
    assert len(invoice.lines) == 15
    assert invoice.total == usd(15_000)
    assert [str(line.period_start)[:10] for line in invoice.lines][3:6] == ["2025-02-28", "2025-03-30", "2025-04-30"]


def test_a_yearly_start_on_a_leap_day_comes_back_to_it() -> None:
    invoice = the_invoice(on_sale(YEAR).when(starts_at(utc("2020-02-29T09:00"))))
    assert [str(line.period_end)[:10] for line in invoice.lines] == [
        "2021-02-28",
        "2022-02-28",
        "2023-02-28",
        "2024-02-29",
        "2025-02-28",
        "2026-02-28",
    ]


def test_days_that_a_zone_skipped_are_not_billed() -> None:
    """Pacific/Apia had no 30 December 2011 (vector 31)."""
    given_then = given(create_customer(time_zone="Pacific/Apia"), *plan_on_sale(DAY))
    invoice = the_invoice(given_then.when(starts_at(utc("2011-12-28T10:00")), at=utc("2012-01-01T09:00")))
    assert [line.period_start for line in invoice.lines] == [
        utc(at) for at in ("2011-12-28T10:00", "2011-12-29T10:00", "2011-12-30T10:00", "2011-12-31T10:00")
    ]


def test_a_trial_in_the_past_is_over_and_one_that_runs_goes_on() -> None:
    ten_days_ago = NOW - timedelta(days=10)
    over = on_sale().when(starts_at(ten_days_ago, trial_days=7))
    assert the_invoice(over).lines[0].period_start == NOW - timedelta(days=3)
    over.then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.ACTIVE)
    end = NOW + timedelta(days=4)
    (
        on_sale()
        .when(starts_at(ten_days_ago, trial_days=14))
        .then(created(starts_at=ten_days_ago, anchor_at=end, trial_end=end), price_used())
        .then_schedules(timer(end))
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, status=SubscriptionStatus.TRIALING)
    )


def test_a_first_period_in_arrears_that_still_runs_bills_nothing_yet() -> None:
    (
        on_sale(in_arrears=flat(300))
        .when(starts_at(NOW - timedelta(days=3), items=BOTH[1:]))
        .then_posts()
        .then_claims(PLAN_CLAIM, period_claim(0))
    )


def test_what_begins_now_begins_now_whether_it_says_so_or_not() -> None:
    said, unsaid = on_sale().when(starts_at(NOW)), on_sale().when(subscribe())
    assert said.done == unsaid.done


def test_how_far_back_is_bounded_by_periods_and_by_what_an_invoice_holds() -> None:
    most = NOW - timedelta(days=MAX_BACKDATED_PERIODS - 1)
    assert len(the_invoice(on_sale(DAY).when(starts_at(most))).lines) == MAX_BACKDATED_PERIODS
    too_far = starts_at(most - timedelta(days=1))
    on_sale(DAY).when(too_far).then_refused(StartTooFarBack, most_periods=MAX_BACKDATED_PERIODS)
    dear = on_sale(in_advance=flat(MAX_INVOICE_TOTAL))
    dear.when(starts_at(utc("2025-12-31T10:00"))).then_refused(StartTooFarBack, most_amount=MAX_INVOICE_TOTAL)


def the_invoice(outcome: Result) -> InvoiceFinalized:
    """The only one."""
    (found,) = (event for event in outcome.done.events if isinstance(event, InvoiceFinalized))
    return found
