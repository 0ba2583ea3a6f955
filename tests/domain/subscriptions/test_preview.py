"""What a subscription bills next, rehearsed: the same events as when its time comes."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from domain.kernel.stream import Command
from domain.subscriptions.cancellation import SubscriptionIsCanceled
from domain.subscriptions.preview_commands import NothingUpcoming, RehearseNextInvoice
from testing.examples.streams import (
    ARREARS_PRICE_ID,
    PRICE_ID,
    SUBSCRIPTION_ID,
    create_customer,
    flat,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import (
    FEBRUARY,
    MARCH,
    cancel_at_period_end,
    cancel_now,
    cancel_on,
    end_trial,
    renew,
)
from testing.specification import NOW, Given, given

NEXT_INVOICE = RehearseNextInvoice(subscription_id=SUBSCRIPTION_ID)


def on_sale() -> Given:
    return given(create_customer(), *plan_on_sale(in_advance=flat(), in_arrears=flat(300)))


def subscribed(price_id: str = PRICE_ID) -> Given:
    return on_sale().and_then(subscribe(price_id))


@pytest.mark.parametrize(
    ("history", "at"),
    [
        (lambda: subscribed(), FEBRUARY),
        (lambda: subscribed(ARREARS_PRICE_ID), FEBRUARY),
        (lambda: subscribed(ARREARS_PRICE_ID).and_then(cancel_at_period_end()), FEBRUARY),
        (lambda: subscribed(ARREARS_PRICE_ID).and_then(cancel_on(FEBRUARY - timedelta(9))), FEBRUARY - timedelta(9)),
        (lambda: on_sale().and_then(subscribe(trial_days=14)), NOW + timedelta(days=14)),
        (lambda: on_sale().and_then(subscribe(trial_days=14), end_trial()), FEBRUARY),
        (lambda: on_sale().and_then(subscribe(starts_at=MARCH)), MARCH),
        (lambda: on_sale().and_then(subscribe(starts_at=FEBRUARY, trial_days=14)), FEBRUARY + timedelta(days=14)),
    ],
)
def test_what_is_rehearsed_is_what_happens_then(history: Callable[[], Given], at: datetime) -> None:
    rehearsed = history().when(NEXT_INVOICE).then_at(at).done
    happened = history().when(renew(), at=at).done
    assert rehearsed.changes == happened.changes


def test_what_is_overdue_comes_first() -> None:
    subscribed().when(NEXT_INVOICE, at=MARCH + timedelta(days=3)).then_at(FEBRUARY)


@pytest.mark.parametrize("ending", [cancel_at_period_end(), cancel_on(FEBRUARY - timedelta(days=3))])
def test_what_ends_with_nothing_in_arrears_bills_nothing_more(ending: Command) -> None:
    subscribed().and_then(ending).when(NEXT_INVOICE).then_refused(NothingUpcoming)


def test_what_is_cancelled_bills_nothing_more() -> None:
    subscribed().and_then(cancel_now()).when(NEXT_INVOICE).then_refused(SubscriptionIsCanceled)
