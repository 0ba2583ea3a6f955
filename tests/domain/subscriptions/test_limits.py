"""What a customer's subscriptions say together of a metered feature, and over which period they count a meter."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from domain.catalog.feature import Feature, LimitKind
from domain.metering.aggregation import Window
from domain.subscriptions.limits import MeteredLimit, metered_features, metered_limit, metered_period
from domain.subscriptions.state import Subscription, SubscriptionStatus
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import MONTH_LATER, SUBSCRIPTION_ID, create_customer, plan_on_sale, subscribe
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


def test_who_bills_a_meter_says_its_period_before_who_limits_it() -> None:
    later: dict[str, Any] = {"period_start": NOW + timedelta(days=3), "period_end": MONTH_LATER + timedelta(days=3)}
    limiting = subscription(CALLS, **later)
    billing = subscription(meter="mtr_calls", since=NOW + timedelta(days=1))
    assert metered_period([limiting, billing], "mtr_calls") == RUNNING
    assert metered_period([limiting], "mtr_calls") == Window(start=later["period_start"], end=later["period_end"])
    ended = replace(billing, status=SubscriptionStatus.CANCELED)
    assert metered_period([ended], "mtr_calls") is None
    assert metered_period([limiting], "mtr_other") is None
    assert metered_features([limiting, billing], "mtr_calls") == {"calls"}
