"""Prices of different intervals in one subscription: a year's fee beside what is billed by the month."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from domain.catalog.plan import ChangePlanTerms
from domain.catalog.price import BillingTiming, CreatePrice
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.subscriptions.cancellation import CancellationReason, SubscriptionCancellationScheduled
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.running import LongerPeriod
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import IntervalsDoNotNest
from testing.examples.pricing import per_unit
from testing.examples.streams import (
    IN_ADVANCE,
    IN_ARREARS,
    PLAN_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import cancel_at_period_end, cancel_now, canceled, renew, timer
from testing.moments import utc
from testing.specification import NOW, Given, given

MONTH, YEAR = Interval(IntervalUnit.MONTH), Interval(IntervalUnit.YEAR)
QUARTER, HALF_YEAR = Interval(IntervalUnit.QUARTER), Interval(IntervalUnit.MONTH, 6)
SEATS = id_of("price_", 20)
DAY, WEEK, FORTNIGHT = Interval(IntervalUnit.DAY), Interval(IntervalUnit.WEEK), Interval(IntervalUnit.WEEK, 2)
START, FEBRUARY, MARCH, NEXT_YEAR = NOW, utc("2026-02-28T10:00"), utc("2026-03-31T10:00"), utc("2027-01-31T10:00")


class Sold(NamedTuple):
    """A price of 10.00 and a cent for each sold before it, billed for an interval."""

    interval: Interval | None
    timing: BillingTiming


FEE, CALLS = Sold(YEAR, IN_ADVANCE), Sold(None, IN_ARREARS)


def subscribed(
    *sold: Sold, of_plan: Interval = MONTH, at: datetime = START, time_zone: str = "UTC", trial_days: int = 0
) -> Given:
    """To all of these, in one subscription."""
    return catalogue(*sold, of_plan=of_plan, time_zone=time_zone, trial_days=trial_days).and_then(
        subscribe(*(price_id(nth) for nth in range(len(sold)))), at=at
    )


def catalogue(*sold: Sold, of_plan: Interval = MONTH, time_zone: str = "UTC", trial_days: int = 0) -> Given:
    prices = [
        CreatePrice(
            price_id=price_id(nth),
            plan_id=PLAN_ID,
            price=flat(1_000 + nth),
            interval=each.interval,
            timing=each.timing,
        )
        for nth, each in enumerate(sold)
    ]
    return given(create_customer(time_zone=time_zone), *plan_on_sale(of_plan, trial_days=trial_days), *prices)


def price_id(nth: int) -> str:
    return id_of("price_", 10 + nth)


def change(**facts: Any) -> ChangeSubscription:
    return ChangeSubscription(subscription_id=SUBSCRIPTION_ID, **facts)


def invoices(history: Given) -> list[InvoiceFinalized]:
    return [change.event for change in history.books.log if isinstance(change.event, InvoiceFinalized)]


def lines(history: Given) -> list[InvoiceLine]:
    return [line for invoice in invoices(history) for line in invoice.lines]


def shown(invoice: InvoiceFinalized) -> list[tuple[int, datetime | None, datetime | None]]:
    return [(line.amount.amount, line.period_start, line.period_end) for line in invoice.lines]


def test_a_years_fee_is_billed_with_the_first_month_and_every_twelfth_after_it() -> None:
    history = subscribed(FEE, CALLS)
    (first,) = invoices(history)
    assert shown(first) == [(1_000, START, NEXT_YEAR)]
    history.when(renew(), at=FEBRUARY).then_schedules(timer(MARCH)).then_shows(
        SUBSCRIPTION,
        SUBSCRIPTION_ID,
        period_index=1,
        longer=(LongerPeriod(interval=YEAR, start=START, end=NEXT_YEAR),),
    )
    assert shown(invoices(history)[1]) == [(1_001, START, FEBRUARY)]
    history.when(renew(), at=NEXT_YEAR)
    assert len(invoices(history)) == 13
    december, last = utc("2026-12-31T10:00"), utc("2028-01-31T10:00")
    assert shown(invoices(history)[-1]) == [(1_000, NEXT_YEAR, last), (1_001, december, NEXT_YEAR)]


def test_a_price_of_its_plans_interval_or_one_as_long_is_billed_with_the_others() -> None:
    history = subscribed(Sold(None, IN_ADVANCE), Sold(Interval(IntervalUnit.MONTH, 3), IN_ADVANCE), of_plan=QUARTER)
    (first,) = invoices(history)
    assert [(start, end) for _, start, end in shown(first)] == [(START, utc("2026-04-30T10:00"))] * 2
    state = history.books.states["subscription", SUBSCRIPTION_ID]
    assert (state.terms.interval, state.longer) == (QUARTER, ())


def test_a_shorter_interval_than_the_plans_is_the_one_that_renews() -> None:
    history = subscribed(Sold(None, IN_ADVANCE), Sold(MONTH, IN_ADVANCE), of_plan=YEAR)
    state = history.books.states["subscription", SUBSCRIPTION_ID]
    assert (state.terms.interval, state.next_boundary) == (MONTH, FEBRUARY)
    assert [item.interval for item in state.terms.items] == [YEAR, None]


@pytest.mark.parametrize(
    ("intervals", "param", "interval", "beside"),
    [
        ((None, WEEK), "items.1.price", "1 week", "1 month"),
        ((DAY, None), "items.0.price", "1 day", "1 month"),
        ((Interval(IntervalUnit.MONTH, 2), QUARTER), "items.1.price", "1 quarter", "2 month"),
        ((HALF_YEAR, Interval(IntervalUnit.MONTH, 4), None), "items.0.price", "6 month", "4 month"),
        ((Interval(IntervalUnit.DAY, 3), WEEK), "items.1.price", "1 week", "3 day"),
    ],
)
def test_intervals_that_are_no_whole_number_of_the_shorter_are_not_billed_together(
    intervals: tuple[Interval | None, ...], param: str, interval: str, beside: str
) -> None:
    sold = [Sold(each, IN_ADVANCE) for each in intervals]
    (
        catalogue(*sold)
        .when(subscribe(*(price_id(nth) for nth in range(len(sold)))))
        .then_refused(IntervalsDoNotNest, interval=interval, beside=beside)
        .then_is_about(param)
    )


def test_cancelled_with_its_period_it_goes_on_to_the_end_of_what_is_paid() -> None:
    history = subscribed(FEE, CALLS)
    history.when(cancel_at_period_end()).then(
        SubscriptionCancellationScheduled(subscription_id=SUBSCRIPTION_ID, cancel_at=NEXT_YEAR, with_period=True)
    )
    ended = history.when(renew(), at=NEXT_YEAR)
    assert canceled(NEXT_YEAR, CancellationReason.PERIOD_END, invoiced=True) in ended.done.events
    assert [line.amount.amount for line in lines(history)] == [1_000, *[1_001] * 12]
    assert lines(history)[-1].period_end == NEXT_YEAR


def test_cancelled_in_its_trial_it_ends_with_it() -> None:
    trial_ends = START + timedelta(days=14)
    history = subscribed(FEE, CALLS, trial_days=14).and_then(cancel_at_period_end())
    history.when(renew(), at=trial_ends).then(canceled(trial_ends, CancellationReason.PERIOD_END))


def test_cancelled_at_once_each_interval_bills_what_was_used_of_its_own_period() -> None:
    history = subscribed(Sold(YEAR, IN_ARREARS), CALLS)
    history.when(cancel_now(), at=utc("2026-03-14T10:00"))  # 42 of 365 days, and 14 of the second month's 31
    used = [(line.amount.amount, line.period_start, line.kind) for line in invoices(history)[-1].lines]
    assert used == [(115, START, "prorated"), (452, FEBRUARY, "prorated")]


@pytest.mark.parametrize("timing", BillingTiming)
@pytest.mark.parametrize("quantity", [None, Decimal(3)])
@pytest.mark.parametrize(("before", "after"), [(MONTH, YEAR), (YEAR, MONTH), (QUARTER, YEAR)])
def test_a_price_sold_anew_by_another_interval_bills_what_taking_it_away_and_adding_it_does(
    before: Interval, after: Interval, quantity: Decimal | None, timing: BillingTiming
) -> None:
    """Its plan's interval was changed, and the one beside it goes on being counted by the month."""
    seats = CreatePrice(price_id=SEATS, plan_id=PLAN_ID, price=per_unit(500), timing=timing)
    again = (ChangedItem(price_id=SEATS, quantity=quantity),)

    def billed(*changes: ChangeSubscription) -> list[tuple[int, datetime | None, datetime | None]]:
        history = catalogue(Sold(MONTH, IN_ADVANCE), of_plan=before)
        history.and_then(seats, subscribe(SEATS, price_id(0)), ChangePlanTerms(plan_id=PLAN_ID, interval=after))
        history.and_then(*changes, at=utc("2026-02-14T10:00")).and_then(renew(), at=utc("2028-02-28T10:00"))
        return sorted(each for invoice in invoices(history) for each in shown(invoice))

    at_once = change(items=again, remove=(SEATS,))
    assert billed(at_once) == billed(change(remove=(SEATS,)), change(items=again))


def test_a_price_sold_anew_by_a_longer_interval_with_the_periods_end_is_billed_from_there() -> None:
    history = subscribed(Sold(None, IN_ADVANCE), Sold(MONTH, IN_ADVANCE))
    history.and_then(ChangePlanTerms(plan_id=PLAN_ID, interval=YEAR))
    again = (ChangedItem(price_id=price_id(0)),)
    sold_anew = change(items=again, remove=(price_id(0),), proration=Proration.PERIOD_END)
    history.and_then(sold_anew).and_then(renew(), at=FEBRUARY)
    (rest, month) = sorted(shown(invoices(history)[-1]))
    assert (rest[1:], month) == ((FEBRUARY, NEXT_YEAR), (1_001, FEBRUARY, MARCH))
    history.and_then(renew(), at=NEXT_YEAR)
    assert (1_000, NEXT_YEAR, utc("2028-01-31T10:00")) in shown(invoices(history)[-1])


def test_a_week_that_begins_on_a_skipped_day_is_billed_with_the_day_after_it() -> None:
    """Pacific/Apia has no 30 December 2011: the second week's first day is the 31st, at the same instant."""
    start = utc("2011-12-23T10:00")
    history = subscribed(
        Sold(None, IN_ADVANCE), Sold(WEEK, IN_ADVANCE), of_plan=DAY, at=start, time_zone="Pacific/Apia"
    )
    history.when(renew(), at=utc("2012-01-05T09:59"))
    weeks = [(line.period_start, line.period_end) for line in lines(history) if line.amount.amount == 1_001]
    assert weeks == [(start, utc("2011-12-30T10:00")), (utc("2011-12-30T10:00"), utc("2012-01-05T10:00"))]
    assert len(lines(history)) == 13 + 2


families = st.sampled_from(((MONTH, QUARTER, HALF_YEAR, YEAR), (DAY, WEEK, FORTNIGHT)))
timings = st.sampled_from(BillingTiming)
offerings = families.flatmap(
    lambda family: st.lists(st.builds(Sold, st.sampled_from(family), timings), min_size=1, max_size=4)
)
zones = st.sampled_from(("UTC", "America/Sao_Paulo", "Australia/Lord_Howe", "Europe/Berlin"))


@examples(offerings, zones, st.integers(0, 500), st.integers(0, 80 * 24), st.sampled_from(("renew", "now", "at end")))
def test_several_intervals_bill_what_a_subscription_of_each_would(
    sold: list[Sold], time_zone: str, first_day: int, hours: int, ends: str
) -> None:
    """However it is renewed or ends; but at a period's end all go on to the end of the longest."""
    start = utc("2017-08-31T10:00") + timedelta(days=first_day)
    is_monthly = bool((sold[0].interval or MONTH).months)
    at = start + timedelta(hours=hours * (12 if is_monthly else 1))

    def history_of(*prices: int) -> Given:
        history = catalogue(*sold, time_zone=time_zone)
        history.and_then(subscribe(*(price_id(nth) for nth in prices)), at=start)
        if ends == "now":
            return history.and_then(cancel_now(), at=at)
        if ends == "at end":
            history.and_then(cancel_at_period_end(), at=at)
        boundary = history.books.states["subscription", SUBSCRIPTION_ID].next_boundary
        if ends == "renew" and boundary is not None and boundary <= at:
            history.and_then(renew(), at=at)
        return history

    together = history_of(*range(len(sold)))
    if ends == "at end":
        until = together.books.states["subscription", SUBSCRIPTION_ID].cancel_at
        together = together.and_then(renew(), at=until)
        assert together.books.states["subscription", SUBSCRIPTION_ID].canceled_at == until
        assert max(line.period_end for line in lines(together) if line.period_end) == until
        ends, at = "now", until
    alone = [line for nth in range(len(sold)) for line in lines(history_of(nth))]
    assert sorted(map(told, lines(together))) == sorted(map(told, alone))


def told(line: InvoiceLine) -> tuple[str, ...]:
    share = None if line.pricing is None else line.pricing.share
    facts = (line.price_id, line.period_start, line.period_end, line.amount.amount, line.kind, line.timing, share)
    return tuple(map(str, facts))
