"""What a customer's subscriptions say together of a metered feature, and over which period they count a meter."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.catalog.feature import Feature, LimitKind
from domain.metering.aggregation import Window
from domain.subscriptions.limits import MeteredLimit, metered_features, metered_limit, metered_period
from domain.subscriptions.running import MeterBilled
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import MONTH_LATER, SUBSCRIPTION_ID, create_customer, plan_on_sale, subscribe
from testing.moments import utc
from testing.specification import NOW, given

CALLS = Feature(key="calls", limit=100, meter_id="mtr_calls", limit_kind=LimitKind.SOFT)
RUNNING = Window(start=NOW, end=MONTH_LATER)
books = given(create_customer(), *plan_on_sale(), subscribe()).books
PLAIN: Subscription = books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]


def subscription(*features: Feature, since: datetime = NOW, meter: str | None = None, **facts: Any) -> Subscription:
    items = tuple(replace(item, meter_id=meter) for item in PLAIN.terms.items)
    return replace(PLAIN, terms=replace(PLAIN.terms, features=features, items=items), created_at=since, **facts)


def test_limits_of_what_runs_add_up_over_the_period_of_the_oldest_that_names_a_meter() -> None:
    plain = subscription(Feature(key="calls", limit=5), since=NOW - timedelta(days=9))
    longer: dict[str, Any] = {"period_end": MONTH_LATER + timedelta(days=1)}
    younger = subscription(CALLS, since=NOW + timedelta(days=1), **longer)
    other = subscription(Feature(key="seats", limit=7))
    assert metered_limit([subscription(CALLS)], "calls") == MeteredLimit(
        limit=100, limit_kind=LimitKind.SOFT, meter_id="mtr_calls", period=RUNNING
    )
    together = metered_limit([younger, other, subscription(CALLS), plain], "calls")
    assert together == MeteredLimit(limit=205, limit_kind=LimitKind.HARD, meter_id="mtr_calls", period=RUNNING)
    endless = metered_limit([subscription(CALLS), subscription(replace(CALLS, limit=None))], "calls")
    assert endless is not None
    assert endless.limit is None


def test_what_does_not_run_or_is_not_counted_has_no_limit() -> None:
    for status in set(SubscriptionStatus) - {SubscriptionStatus.ACTIVE}:
        granted = metered_limit([subscription(CALLS, status=status)], "calls") is not None
        assert granted is (status in {SubscriptionStatus.TRIALING, SubscriptionStatus.PAST_DUE})
    assert metered_limit([subscription(Feature(key="calls", limit=5))], "calls") is None
    assert metered_limit([], "calls") is None


def test_a_trial_is_the_period_while_it_runs() -> None:
    trial: dict[str, Any] = {"status": SubscriptionStatus.TRIALING, "period_start": None, "period_end": None}
    found = metered_limit([subscription(CALLS, trial_end=NOW + timedelta(days=14), **trial)], "calls")
    assert found is not None
    assert found.period == Window(start=NOW, end=NOW + timedelta(days=14))
    assert metered_limit([subscription(CALLS, **trial)], "calls") is None, "it has no end"


def period_at(at: datetime, *subscriptions: Subscription) -> Window | datetime | None:
    """The period that an instant is in, or else when the last one before it ended."""
    found = metered_period(subscriptions, "mtr_calls", at)
    return found.ended_at if found.period is None else found.period


DAY = timedelta(days=1)


def running(day: int, until: int) -> dict[str, Any]:
    """Facts of a period between two days from now."""
    start = NOW + day * DAY
    return {"period_start": start, "period_end": NOW + until * DAY, "since": start, "starts_at": start}


def test_who_bills_a_meter_says_its_period_before_who_limits_it() -> None:
    limiting = subscription(CALLS, **running(3, 33))
    billing = subscription(meter="mtr_calls", since=NOW + timedelta(days=1))
    assert period_at(NOW + 4 * DAY, limiting, billing) == RUNNING
    assert period_at(NOW + 4 * DAY, limiting) == Window(start=NOW + 3 * DAY, end=NOW + 33 * DAY)
    assert period_at(NOW + 2 * DAY, limiting) is None, "it is still to begin"
    assert metered_period([limiting], "mtr_other", NOW + 4 * DAY) == (None, None)
    assert metered_features([limiting, billing], "mtr_calls") == {"calls"}


@pytest.mark.parametrize(
    "status", [SubscriptionStatus.CANCELED, SubscriptionStatus.PAUSED, SubscriptionStatus.SUSPENDED]
)
def test_a_period_that_has_begun_goes_on_whatever_becomes_of_its_subscription(status: SubscriptionStatus) -> None:
    for ended in (subscription(meter="mtr_calls", status=status), subscription(CALLS, status=status)):
        assert period_at(NOW + DAY, ended) == RUNNING
        following = period_at(MONTH_LATER + DAY, ended)
        start = following.start if isinstance(following, Window) else following
        assert start == MONTH_LATER, "what follows begins there"
        assert isinstance(following, Window) is (status is SubscriptionStatus.SUSPENDED), "that one is renewed"


def test_a_renewal_that_is_late_begins_no_other_period_than_it_will() -> None:
    overdue, end = subscription(meter="mtr_calls"), utc("2026-03-31T10:00")
    for late in (overdue, subscription(CALLS)):
        assert period_at(MONTH_LATER, late) == Window(start=MONTH_LATER, end=end)
        assert period_at(end, late) == Window(start=end, end=utc("2026-04-30T10:00"))
    over = subscription(meter="mtr_calls", cancel_at=MONTH_LATER, ends_with_period=True)
    assert period_at(MONTH_LATER, over) == MONTH_LATER, "it is to end then"


def test_the_period_of_one_that_ended_is_cut_where_anothers_begins_and_cuts_what_began_before_it() -> None:
    ended = subscription(meter="mtr_calls", status=SubscriptionStatus.CANCELED)
    following = subscription(meter="mtr_calls", **running(5, 35))
    assert period_at(NOW + 6 * DAY, ended, following) == Window(start=NOW + 5 * DAY, end=NOW + 35 * DAY)
    longer = subscription(CALLS, **running(-5, 55))
    assert period_at(NOW + DAY, ended, longer) == RUNNING
    assert period_at(MONTH_LATER, ended, longer) == Window(start=MONTH_LATER, end=NOW + 55 * DAY)


def test_one_that_no_longer_bills_a_meter_goes_on_with_its_periods() -> None:
    changed = subscription(metered=(MeterBilled(meter_id="mtr_calls"),))
    assert period_at(NOW + DAY, changed) == RUNNING
    assert period_at(NOW + DAY, changed, subscription(CALLS, **running(1, 31))) == Window(
        start=NOW + DAY, end=NOW + 31 * DAY
    )


def test_what_was_taken_over_within_a_period_is_counted_from_then_on() -> None:
    taken_over = subscription(meter="mtr_calls", starts_at=NOW + 5 * DAY, transferred_from="sub_other")
    assert period_at(NOW + 6 * DAY, taken_over) == Window(start=NOW + 5 * DAY, end=MONTH_LATER)
    assert period_at(NOW + DAY, taken_over) is None


@st.composite
def drawn(draw: st.DrawFn) -> Subscription:
    """A subscription that bills the meter, limits it, or did so, with a period of some days."""
    first = draw(st.integers(-40, 20))
    facts = running(first, first + draw(st.integers(1, 40)))
    features = draw(st.sampled_from([(), (CALLS,)]))
    meter = draw(st.sampled_from([None, "mtr_calls"]))
    ended = draw(st.sampled_from([SubscriptionStatus.CANCELED, SubscriptionStatus.PAUSED]))
    metered = draw(st.sampled_from([(), (MeterBilled(meter_id="mtr_calls"),)]))
    return subscription(*features, meter=meter, status=ended, metered=metered, **facts)


@for_all(st.lists(drawn(), max_size=4), st.integers(-50, 70), st.integers(0, 40))
def test_an_instant_after_the_beginning_of_a_period_is_in_it(ended: list[Subscription], day: int, earlier: int) -> None:
    """So one begins where another ends, or cuts it: nothing is counted in two."""
    at = NOW + day * DAY
    found = metered_period(ended, "mtr_calls", at)
    if found.period is None:
        assert found.ended_at is None or found.ended_at <= at
        return
    assert found.period.start <= at < found.period.end
    before = at - earlier * DAY
    if found.period.start <= before:
        same = metered_period(ended, "mtr_calls", before).period
        assert same is not None
        assert same.start == found.period.start
