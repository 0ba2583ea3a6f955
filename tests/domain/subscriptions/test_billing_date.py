"""Specifications of another billing date: the running period stays, a stub follows, and then whole periods."""

from typing import Any

from domain.catalog.price import CreatePrice
from domain.invoicing.finalization import InvoiceFinalized
from domain.kernel.billing_period import Interval, IntervalUnit
from domain.kernel.frozen import replace
from domain.subscriptions.billing_date import BillingDateNotMovable, SubscriptionAnchorChanged
from domain.subscriptions.billing_date_commands import ChangeBillingDate
from domain.subscriptions.cancel_commands import CancelSubscription
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.proration import AnchorMustBeReset
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    PLAN_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import FEBRUARY, MARCH, renew
from testing.moments import utc
from testing.specification import Given, Result, given

MID = utc("2026-02-10T00:00")
THE_TENTH = utc("2026-03-10T10:00")
TO_THE_TENTH = ChangeBillingDate(subscription_id=SUBSCRIPTION_ID, anchor_at=THE_TENTH)
"""The stub [28 February, 10 March) is 10 of the 28 days from 10 February on."""


def subscribed(*price_ids: str, **facts: Any) -> Given:
    prices = plan_on_sale(in_advance=flat(2_800), in_arrears=flat(5_600))
    return given(create_customer(), *prices).and_then(subscribe(*price_ids, **facts))


def totals(outcome: Result) -> list[list[int]]:
    events = (change.event for change in outcome.books.log)
    return [[line.amount.amount for line in each.lines] for each in events if isinstance(each, InvoiceFinalized)]


def test_the_running_period_stays_a_stub_is_billed_by_its_share_and_whole_periods_follow() -> None:
    outcome = subscribed().when(TO_THE_TENTH, at=MID)
    outcome.then(
        SubscriptionAnchorChanged(
            subscription_id=SUBSCRIPTION_ID, anchor_at=THE_TENTH, anchor_index=2, begins_short=True, changed_at=MID
        )
    )
    assert totals(outcome) == [[2_800]]
    stub = outcome.when(renew(), at=FEBRUARY)
    assert totals(stub) == [[2_800], [1_000]]
    whole = stub.when(renew(), at=THE_TENTH)
    assert totals(whole) == [[2_800], [1_000], [2_800]]
    assert SUBSCRIPTION.of(whole.books, SUBSCRIPTION_ID).period_end == utc("2026-04-10T10:00")


def test_in_arrears_the_stub_is_billed_at_its_end() -> None:
    outcome = subscribed(ARREARS_PRICE_ID).when(TO_THE_TENTH, at=MID).when(renew(), at=FEBRUARY)
    assert totals(outcome) == [[5_600]]
    assert totals(outcome.when(renew(), at=THE_TENTH)) == [[5_600], [2_000]]


def test_what_a_change_gives_back_of_a_stub_is_what_the_stub_cost() -> None:
    remove = ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=(ChangedItem(price_id=ARREARS_PRICE_ID),),
        remove=(PRICE_ID,),
        proration=Proration.INVOICE_NOW,
    )
    outcome = subscribed().when(TO_THE_TENTH, at=MID).when(renew(), at=FEBRUARY).when(remove, at=FEBRUARY)
    assert totals(outcome) == [[2_800], [1_000], [-1_000]]


def test_to_where_it_was_nothing_is_divided() -> None:
    outcome = subscribed().when(ChangeBillingDate(subscription_id=SUBSCRIPTION_ID, anchor_at=FEBRUARY), at=MID)
    assert totals(outcome.when(renew(), at=FEBRUARY).when(renew(), at=utc("2026-03-28T10:00"))) == [[2_800]] * 3


def test_it_moves_where_periods_of_one_interval_run() -> None:
    subscribed(trial_days=30).when(TO_THE_TENTH, at=MID).then_refused(
        BillingDateNotMovable, subscription=SUBSCRIPTION_ID, status="trialing"
    )
    year = CreatePrice(
        price_id=id_of("price_", 9), plan_id=PLAN_ID, price=flat(9), interval=Interval(IntervalUnit.YEAR)
    )
    both = given(create_customer(), *plan_on_sale(), year).and_then(subscribe(PRICE_ID, id_of("price_", 9)))
    both.when(TO_THE_TENTH, at=MID).then_refused(BillingDateNotMovable, subscription=SUBSCRIPTION_ID, status="active")


def test_an_end_with_its_period_is_the_end_of_the_stub() -> None:
    cancel = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=True)
    outcome = subscribed().when(TO_THE_TENTH, at=MID).when(renew(), at=FEBRUARY).when(cancel, at=FEBRUARY)
    assert SUBSCRIPTION.of(outcome.books, SUBSCRIPTION_ID).cancel_at == THE_TENTH
    assert totals(outcome.when(renew(), at=MARCH)) == [[2_800], [1_000]]


def test_the_running_period_is_divided_by_its_own_days_wherever_the_billing_date_was_moved() -> None:
    end = CancelSubscription(subscription_id=SUBSCRIPTION_ID, at_period_end=False, gives_back=True)
    moved = subscribed(PRICE_ID, ARREARS_PRICE_ID).when(TO_THE_TENTH, at=MID)
    assert totals(moved.when(end, at=utc("2026-02-21T00:00"))) == [[2_800], [4_200, -700]]


def test_once_it_was_moved_a_longer_interval_comes_with_the_next_period_or_a_reset_anchor() -> None:
    year = CreatePrice(
        price_id=id_of("price_", 9), plan_id=PLAN_ID, price=flat(9), interval=Interval(IntervalUnit.YEAR)
    )
    add = ChangeSubscription(subscription_id=SUBSCRIPTION_ID, items=(ChangedItem(price_id=id_of("price_", 9)),))
    moved = subscribed().and_then(year, TO_THE_TENTH, at=MID)
    for proration in Proration:
        moved.when(replace(add, proration=proration), at=MID).then_refused(
            AnchorMustBeReset, next_period="2026-02-28T10:00:00Z"
        ).then_tells("wait until the next period has begun")
    assert moved.and_then(renew(), at=FEBRUARY).when(add, at=FEBRUARY).done.events
