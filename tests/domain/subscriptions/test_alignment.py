"""Specifications of schedules that do not begin with the subscription: an anchor of its own, and the calendar."""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from domain.catalog.price import BillingTiming, CreatePrice
from domain.invoicing.finalization import InvoiceFinalized
from domain.kernel.billing_period import BillingCycle, Interval, IntervalUnit
from domain.subscriptions.alignment import ContradictoryAnchor, PeriodAlignment, StubPeriod, counted_from
from domain.subscriptions.billing_date import SubscriptionAnchorChanged
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.pause_commands import PauseSubscription, ResumeSubscription
from domain.subscriptions.preview_commands import RehearseNextInvoice
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    MONTH,
    PLAN_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import end_trial, extend_trial, renew
from testing.moments import utc
from testing.specification import NOW, Given, Result, given

CALENDAR = PeriodAlignment.CALENDAR
FIRST = utc("2026-02-01T00:00")
"""NOW is 31 January, 10:00: by days the first period of a calendar month is 1 of 31."""

YEAR = Interval(IntervalUnit.YEAR)
YEARLY_ID, YEARLY_ARREARS_ID = id_of("price_", 8), id_of("price_", 9)


def subscribed(*price_ids: str, **facts: Any) -> Given:
    yearly = (
        CreatePrice(price_id=YEARLY_ID, plan_id=PLAN_ID, name="Fee", price=flat(36_500), interval=YEAR),
        CreatePrice(
            price_id=YEARLY_ARREARS_ID,
            plan_id=PLAN_ID,
            name="Support",
            price=flat(73_000),
            interval=YEAR,
            timing=BillingTiming.IN_ARREARS,
        ),
    )
    prices = plan_on_sale(in_advance=flat(3_100), in_arrears=flat(6_200))
    return given(create_customer(), *prices, *yearly).and_then(subscribe(*price_ids, **{"alignment": CALENDAR} | facts))


def totals(outcome: Result) -> list[list[int]]:
    events = (change.event for change in outcome.books.log)
    return [[line.amount.amount for line in each.lines] for each in events if isinstance(each, InvoiceFinalized)]


def period(outcome: Result) -> tuple[datetime | None, datetime | None]:
    subscription = SUBSCRIPTION.of(outcome.books, SUBSCRIPTION_ID)
    return subscription.period_start, subscription.period_end


def test_the_first_calendar_month_is_a_stub_and_whole_months_follow() -> None:
    outcome = subscribed().when(renew(), at=FIRST)
    assert totals(outcome) == [[100], [3_100]]
    assert period(outcome) == (FIRST, utc("2026-03-01T00:00"))


def test_of_several_intervals_each_has_a_stub_to_its_own_calendar() -> None:
    """335 days of 2026 are left on 31 January."""
    outcome = subscribed(PRICE_ID, YEARLY_ID)
    assert totals(outcome.when(renew(), at=FIRST)) == [[100, 33_500], [3_100]]
    new_year = outcome.when(renew(), at=utc("2027-01-01T00:00"))
    assert totals(new_year)[-1] == [3_100, 36_500]


def test_the_stub_of_a_longer_interval_in_arrears_is_billed_at_its_end() -> None:
    outcome = subscribed(PRICE_ID, YEARLY_ARREARS_ID).when(renew(), at=utc("2027-01-01T00:00"))
    assert totals(outcome)[-1] == [3_100, 67_000]


def test_a_stub_is_free_where_that_was_agreed_and_what_follows_is_not() -> None:
    for price_ids, whole in (((PRICE_ID,), [3_100]), ((ARREARS_PRICE_ID,), [6_200])):
        outcome = subscribed(*price_ids, stub=StubPeriod.FREE)
        assert totals(outcome.when(renew(), at=FIRST)) == ([whole] if PRICE_ID in price_ids else [])
        assert totals(outcome.when(renew(), at=utc("2026-03-01T00:00")))[-1] == whole


@pytest.mark.parametrize("proration", [Proration.INVOICE_NOW, Proration.NEXT_INVOICE, Proration.NONE])
@pytest.mark.parametrize(("was", "will_be"), [(PRICE_ID, ARREARS_PRICE_ID), (ARREARS_PRICE_ID, PRICE_ID)])
def test_a_change_in_a_free_stub_bills_nothing_of_it(was: str, will_be: str, proration: Proration) -> None:
    change = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=will_be),),
        remove=(was,),
        proration=proration,
    )
    start = utc("2026-01-31T10:00")
    free = subscribed(was, stub=StubPeriod.FREE).when(change, at=start + timedelta(hours=2))
    after = free.when(renew(), at=utc("2026-03-01T00:00"))
    assert [sum(each) for each in totals(after)] == [3_100, 3_100] if will_be == PRICE_ID else [[6_200]]


def test_a_pause_in_a_free_stub_gives_nothing_back_and_resuming_charges_nothing() -> None:
    outcome = subscribed(stub=StubPeriod.FREE, anchor_at=utc("2026-02-28T00:00"), alignment=PeriodAlignment.ANCHOR)
    paused = outcome.when(
        PauseSubscription(subscription_id=SUBSCRIPTION_ID, gives_back=True), at=utc("2026-02-03T00:00")
    )
    resumed = paused.when(ResumeSubscription(subscription_id=SUBSCRIPTION_ID), at=utc("2026-02-09T00:00"))
    assert totals(resumed) == []
    assert totals(resumed.when(renew(), at=utc("2026-02-28T00:00"))) == [[3_100]]


def test_what_an_end_gives_back_of_a_stub_is_its_unused_days() -> None:
    cancel = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False, gives_back=True)
    outcome = subscribed(starts_at=utc("2026-01-11T00:00")).when(cancel, at=utc("2026-01-31T12:00"))
    assert totals(outcome) == [[2_100], [-100]]


def test_a_named_anchor_may_be_ahead_or_past() -> None:
    for anchor in ("2026-03-10T10:00", "2025-12-10T10:00"):
        outcome = subscribed(alignment=PeriodAlignment.ANCHOR, anchor_at=utc(anchor)).when(
            renew(), at=utc("2026-02-10T10:00")
        )
        assert totals(outcome) == [[1_000], [3_100]]
        assert period(outcome) == (utc("2026-02-10T10:00"), utc("2026-03-10T10:00"))


def test_an_anchor_at_the_start_makes_no_stub() -> None:
    outcome = subscribed(alignment=PeriodAlignment.ANCHOR, anchor_at=NOW)
    assert totals(outcome.when(renew(), at=utc("2026-02-28T10:00"))) == [[3_100], [3_100]]


@pytest.mark.parametrize(
    ("alignment", "anchor_at"),
    [(PeriodAlignment.START, NOW), (PeriodAlignment.CALENDAR, NOW), (PeriodAlignment.ANCHOR, None)],
)
def test_an_anchor_goes_with_its_alignment_alone(alignment: PeriodAlignment, anchor_at: datetime | None) -> None:
    given(create_customer(), *plan_on_sale()).when(subscribe(alignment=alignment, anchor_at=anchor_at)).then_refused(
        ContradictoryAnchor, alignment=alignment.value
    )


def test_after_a_trial_the_first_period_is_what_is_left_of_the_schedules() -> None:
    outcome = subscribed(trial_days=10).when(renew(), at=utc("2026-02-10T10:00"))
    assert period(outcome) == (utc("2026-02-10T10:00"), utc("2026-03-01T00:00"))
    assert totals(outcome) == [[round(3_100 * Fraction(19, 28))]]


def test_a_trial_that_ends_at_another_time_leaves_the_calendar_where_it_is() -> None:
    ended = subscribed(trial_days=10).when(end_trial(), at=utc("2026-02-05T00:00"))
    assert period(ended) == (utc("2026-02-05T00:00"), utc("2026-03-01T00:00"))
    assert totals(ended) == [[round(3_100 * Fraction(24, 28))]]
    extended = subscribed(trial_days=10).when(extend_trial(utc("2026-03-21T00:00")))
    assert SubscriptionAnchorChanged(
        subscription_id=SUBSCRIPTION_ID,
        alignment=CALENDAR,
        anchor_at=utc("2026-01-01T00:00"),
        anchor_index=-2,
        begins_short=True,
        changed_at=NOW,
    ) in [change.event for change in extended.books.log]
    begun = extended.when(renew(), at=utc("2026-03-21T00:00"))
    assert period(begun) == (utc("2026-03-21T00:00"), utc("2026-04-01T00:00"))
    assert totals(begun) == [[1_100]]


def test_another_interval_before_the_first_period_is_counted_by_its_own_calendar() -> None:
    change = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID, items=(ChangedItem(price_id=YEARLY_ID),), remove=(PRICE_ID,)
    )
    outcome = subscribed(trial_days=10).when(change).when(renew(), at=utc("2026-02-10T10:00"))
    assert period(outcome) == (utc("2026-02-10T10:00"), utc("2027-01-01T00:00"))


def test_a_year_that_is_added_to_calendar_months_is_the_calendars() -> None:
    """On 11 March 296 days of 2026 are left."""
    add = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(ChangedItem(price_id=YEARLY_ID),))
    outcome = subscribed().when(renew(), at=FIRST).when(add, at=utc("2026-03-11T00:00"))
    assert totals(outcome)[-1] == [29_600]
    assert totals(outcome.when(renew(), at=utc("2027-01-01T00:00")))[-1] == [3_100, 36_500]


def test_a_start_in_the_past_bills_the_stub_and_each_period_since() -> None:
    assert totals(subscribed(starts_at=utc("2025-11-16T00:00")).when(renew(), at=FIRST)) == [
        [1_550, 3_100, 3_100],
        [3_100],
    ]


def test_a_preview_of_what_follows_a_stub_is_what_follows() -> None:
    rehearsed = subscribed().when(RehearseNextInvoice(subscription_id=SUBSCRIPTION_ID)).then_at(FIRST).done
    assert rehearsed.changes == subscribed().when(renew(), at=FIRST).done.changes


INTERVALS = st.builds(Interval, st.sampled_from(IntervalUnit), st.integers(1, 4))
INSTANTS = st.datetimes(NOW.replace(year=2009, tzinfo=None), NOW.replace(year=2039, tzinfo=None)).map(
    lambda at: utc(at.isoformat(timespec="minutes"))
)
ZONES = st.sampled_from(("UTC", "America/Sao_Paulo", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Amman"))


@drawn(interval=INTERVALS, first_at=INSTANTS, time_zone=ZONES)
def test_calendar_boundaries_are_the_calendars_whatever_midnight_is_missing(
    interval: Interval, first_at: datetime, time_zone: str
) -> None:
    counted = counted_from(CALENDAR, None, first_at, time_zone, [interval])
    cycle = BillingCycle.anniversary(counted.anchor_at, time_zone, interval)
    calendar = BillingCycle.calendar(first_at, time_zone, interval)
    for k in range(4):
        assert cycle.boundary(k - counted.anchor_index) == calendar.boundary(calendar.index_at(first_at) + k)
    assert counted.begins_short is (calendar.boundary(calendar.index_at(first_at)) < first_at)


@drawn(interval=INTERVALS, first_at=INSTANTS, anchor_at=INSTANTS, time_zone=ZONES)
def test_the_first_period_holds_the_start_whatever_the_anchor(
    interval: Interval, first_at: datetime, anchor_at: datetime, time_zone: str
) -> None:
    counted = counted_from(PeriodAlignment.ANCHOR, anchor_at, first_at, time_zone, [interval])
    whole = BillingCycle.anniversary(anchor_at, time_zone, interval).period(-counted.anchor_index)
    assert whole.contains(first_at)
    assert counted.begins_short is (whole.start < first_at and first_at != anchor_at)


def test_months_are_counted_from_the_longest_intervals_calendar() -> None:
    counted = counted_from(CALENDAR, None, NOW, "UTC", [MONTH, YEAR])
    assert (counted.anchor_at, counted.anchor_index) == (utc("2026-01-01T00:00"), 0)
