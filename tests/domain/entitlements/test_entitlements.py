"""Specifications of limits that are reached and counters that are reset."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from domain.catalog.feature import LimitKind
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound, DeleteCustomer
from domain.entitlements.entitlement import (
    ENTITLEMENT,
    REMEMBERED,
    Entitlement,
    EntitlementLimitReached,
    EntitlementNotResettable,
    EntitlementReset,
    ReachLimit,
    ResetEntitlement,
    entitlement_id_of,
    since_of,
    used_after,
)
from domain.entitlements.triggered_alert import Counted
from domain.metering.aggregation import Aggregation
from testing.examples.streams import CUSTOMER_ID, create_customer
from testing.examples.usage import METER_ID, create_meter
from testing.specification import NOW, Given, Result, given

START, END = NOW - timedelta(days=10), NOW + timedelta(days=21)
ENTITLEMENT_ID = entitlement_id_of(CUSTOMER_ID, "calls")
COUNTED = Counted(
    customer_id=CUSTOMER_ID,
    meter_id=METER_ID,
    feature="calls",
    period_start=START,
    period_end=END,
    since=START,
    limit=1_000,
    used=Fraction(1_000),
)
REACH = ReachLimit(counted=COUNTED, limit_kind=LimitKind.SOFT)
REACHED = EntitlementLimitReached(
    entitlement_id=ENTITLEMENT_ID,
    customer_id=CUSTOMER_ID,
    feature="calls",
    meter_id=METER_ID,
    limit=1_000,
    limit_kind=LimitKind.SOFT,
    used=Decimal(1_000),
    period_start=START,
    period_end=END,
    since=START,
    reached_at=NOW,
)
RESET = ResetEntitlement(
    customer_id=CUSTOMER_ID,
    feature="calls",
    meter_id=METER_ID,
    aggregation=Aggregation.SUM,
    period_start=START,
    period_end=END,
    used=Fraction(1_200),
    counted_to=77,
)
WAS_RESET = EntitlementReset(
    entitlement_id=ENTITLEMENT_ID,
    customer_id=CUSTOMER_ID,
    feature="calls",
    meter_id=METER_ID,
    period_start=START,
    period_end=END,
    used_before=Fraction(1_200),
    counted_to=77,
    reset_at=NOW,
)


def there() -> Given:
    return given(create_customer(), create_meter())


def reach(**facts: object) -> ReachLimit:
    return replace(REACH, counted=replace(COUNTED, **facts))  # type: ignore[arg-type]


def state_of(told: Result) -> Entitlement:
    found = told.books.states[ENTITLEMENT.name, ENTITLEMENT_ID]
    assert isinstance(found, Entitlement)
    return found


def test_a_limit_that_is_reached_is_told_of_once_in_a_period() -> None:
    there().when(reach(used=Fraction(999))).then_nothing()
    told = there().when(REACH).then(REACHED)
    told.when(reach(used=Fraction(5_000))).then_nothing()
    assert state_of(told).reached_at(METER_ID, START, 1_000) == NOW
    assert state_of(told).reached_at(METER_ID, START, 2_000) is None
    later = {"period_start": END, "since": END, "period_end": END + timedelta(days=30)}
    told.when(reach(**later)).then(replace(REACHED, **later))  # type: ignore[arg-type]


def test_a_limit_that_was_raised_is_told_of_again() -> None:
    raised = {"limit": 2_000, "used": Fraction(2_500)}
    told = there().when(REACH).when(reach(**raised)).then(replace(REACHED, limit=2_000, used=Decimal(2_500)))
    told.when(REACH).then_nothing()


def test_nothing_is_told_of_a_deleted_customer() -> None:
    there().and_then(DeleteCustomer(customer_id=CUSTOMER_ID)).when(REACH).then_nothing()


def test_a_reset_begins_the_counter_anew_and_what_was_seen_before_it_is_not_told() -> None:
    reset = there().when(REACH).when(RESET).then(WAS_RESET)
    state = state_of(reset)
    assert since_of(state, METER_ID, START) == NOW
    counter = state.reset_in(METER_ID, START)
    assert counter is not None
    assert used_after(counter, Fraction(1_500), Decimal(0)) == 300
    assert used_after(counter, Fraction(1_100), Decimal(400)) == 300, "of what was used by then"
    assert used_after(counter, Fraction(1_100), Decimal(0)) == 0
    reset.when(reach(used=Fraction(3_000))).then_nothing()
    again = reset.when(reach(since=NOW)).then(replace(REACHED, since=NOW))
    assert state_of(again).reached_at(METER_ID, NOW, 1_000) == NOW


def test_a_reset_is_of_its_period_and_its_meter() -> None:
    state = state_of(there().when(RESET))
    for meter_id, start in ((METER_ID, END), ("mtr_other", START)):
        assert since_of(state, meter_id, start) == start
        assert state.reset_in(meter_id, start) is None
    assert since_of(None, METER_ID, START) == START


def test_a_reset_stays_known_when_another_period_has_one() -> None:
    following = replace(RESET, period_start=END, period_end=END + timedelta(days=31))
    both = state_of(there().when(RESET).when(RESET).when(following))
    assert [each.period_start for each in both.resets] == [START, END]
    assert since_of(both, METER_ID, START) == NOW + timedelta(microseconds=1), "what comes late for it is counted so"


def test_counters_that_are_reset_at_one_instant_as_a_test_clock_stands_still_are_told_apart() -> None:
    begun = replace(RESET, period_start=NOW)
    first = there().when(begun)
    at = [since_of(state_of(first), METER_ID, NOW)]
    second = first.when(begun)
    at += [since_of(state_of(second), METER_ID, NOW)]
    assert NOW < at[0] < at[1] < NOW + timedelta(seconds=1)
    counted = {"period_start": NOW, "since": at[1]}
    second.when(reach(**counted)).then(replace(REACHED, **counted))  # type: ignore[arg-type]


@pytest.mark.parametrize("aggregation", [Aggregation.MAX, Aggregation.LATEST, Aggregation.UNIQUE])
def test_what_does_not_add_up_is_not_reset(aggregation: Aggregation) -> None:
    there().when(replace(RESET, aggregation=aggregation)).then_refused(EntitlementNotResettable)


def test_a_reset_is_of_a_customer_that_is_there() -> None:
    given(create_meter()).when(RESET).then_refused(CustomerNotFound)
    there().and_then(DeleteCustomer(customer_id=CUSTOMER_ID)).when(RESET).then_refused(CustomerIsDeleted)


def test_what_was_reached_long_ago_is_forgotten() -> None:
    told = there().when(REACH)
    later = START + REMEMBERED + timedelta(seconds=1)
    told = told.when(reach(period_start=later, since=later, period_end=later + timedelta(days=30)))
    assert [each.since for each in state_of(told).reached] == [START, later], "it was not over"
    later = END + REMEMBERED + timedelta(seconds=1)
    told = told.when(reach(period_start=later, since=later, period_end=later + timedelta(days=30)))
    assert [each.since for each in state_of(told).reached][-1] == later
    assert START not in [each.since for each in state_of(told).reached]


def test_what_comes_late_for_a_year_does_not_tell_its_limit_again() -> None:
    year = {"period_end": START + timedelta(days=365)}
    told = there().when(reach(**year)).then(replace(REACHED, **year))  # type: ignore[arg-type]
    following = {"period_start": year["period_end"], "since": year["period_end"]}
    told = told.when(reach(**following, period_end=year["period_end"] + timedelta(days=365)))
    told.when(reach(**year)).then_nothing()
