"""Specifications of when a subscription's periods begin and end: short months, leap days, time zones."""

import pytest

from domain.kernel.accounts import DEFERRED_REVENUE, RECEIVABLE
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    IN_ARREARS,
    MONTH,
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
    MARCH,
    created,
    invoice_line,
    invoiced,
    item,
    period_claim,
    period_invoice,
    period_started,
    renew,
)
from testing.moments import utc
from testing.specification import NOW, given


@pytest.mark.parametrize(
    ("zone", "interval", "start", "boundaries"),
    [
        ("UTC", MONTH, "2024-01-31T10:00", ["2024-02-29T10:00", "2024-03-31T10:00", "2024-04-30T10:00"]),
        ("UTC", Interval(IntervalUnit.YEAR), "2024-02-29T00:00", ["2025-02-28T00:00", "2026-02-28T00:00"]),
        ("UTC", Interval(IntervalUnit.QUARTER), "2025-11-30T00:00", ["2026-02-28T00:00", "2026-05-30T00:00"]),
        # noon in New York; daylight saving begins on 8 March and ends on 1 November
        ("America/New_York", MONTH, "2026-02-10T17:00", ["2026-03-10T16:00", "2026-04-10T16:00"]),
        ("America/New_York", MONTH, "2026-10-10T16:00", ["2026-11-10T17:00", "2026-12-10T17:00"]),
        # 02:30 in Berlin does not exist on 29 March: the offset before the gap holds
        ("Europe/Berlin", DAY, "2026-03-28T01:30", ["2026-03-29T01:30", "2026-03-30T00:30"]),
        # Apia had no 30 December 2011: its period is empty and is not billed
        ("Pacific/Apia", DAY, "2011-12-28T22:00", ["2011-12-29T22:00", "2011-12-30T22:00", "2011-12-31T22:00"]),
    ],
)
def test_boundaries_keep_to_the_calendar_of_the_zone(
    zone: str, interval: Interval, start: str, boundaries: list[str]
) -> None:
    subscribed = given(create_customer(time_zone=zone), *plan_on_sale(interval)).and_then(subscribe(), at=utc(start))
    state = subscribed.books.states
    begins_at = utc(start)
    for boundary in boundaries:
        subscription = state["subscription", SUBSCRIPTION_ID]
        assert (subscription.period_start, subscription.period_end) == (begins_at, utc(boundary))
        begins_at = utc(boundary)
        state = subscribed.and_then(renew(begins_at), at=begins_at).books.states


def test_a_skipped_day_is_passed_over_and_its_index_with_it() -> None:
    start = utc("2011-12-29T09:00")  # 23:00 on the 28th in Apia; its 30th never was
    subscribed = given(create_customer(time_zone="Pacific/Apia"), *plan_on_sale(DAY)).and_then(subscribe(), at=start)
    taken = []
    for boundary in ("2011-12-30T09:00", "2011-12-31T09:00"):
        outcome = subscribed.when(renew(utc(boundary)), at=utc(boundary))
        taken += outcome.done.taken
        assert outcome.done.postings == [debit(RECEIVABLE, usd(1_000)), credit(DEFERRED_REVENUE, usd(1_000))]
    assert taken == [period_claim(1), period_claim(3)]


def test_a_start_in_the_second_run_of_a_repeated_hour_begins_then_and_not_an_hour_before() -> None:
    second_run = utc("2026-11-01T06:30")  # 01:30 in New York for the second time
    (
        given(create_customer(time_zone="America/New_York"), *plan_on_sale())
        .when(subscribe(), at=second_run)
        .then_shows(SUBSCRIPTION, SUBSCRIPTION_ID, period_start=second_run, period_end=utc("2026-12-01T06:30"))
    )


def test_a_period_is_billed_as_it_was_recorded_though_its_zone_was_redefined_since() -> None:
    ended_at = utc("2026-02-27T10:00")  # by today's calendar it would end a day later
    (
        given(create_customer(), *plan_on_sale(in_arrears=flat(300)))
        .and_then(
            created(item(ARREARS_PRICE_ID, flat(300), IN_ARREARS)), period_started(0, NOW, ended_at, invoiced=False)
        )
        .when(renew(ended_at), at=ended_at)
        .then(
            period_started(1, ended_at, MARCH),
            *invoiced(
                1,
                ended_at,
                invoice_line(period_invoice(1), 300, NOW, ended_at, IN_ARREARS),
                invoice_id=period_invoice(1),
                due_at=utc("2026-03-29T10:00"),
            ),
        )
    )
