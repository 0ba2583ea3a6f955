"""What a subscription will bill of the usage of its running period is known while that runs: the boundary's line."""

import pytest

from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.stream import Command
from domain.pricing.models import BoundedPrice
from domain.subscriptions.pause_commands import PauseSubscription
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.usage_so_far import running_usage_line
from testing.examples.streams import SUBSCRIPTION_ID, create_customer, id_of, plan_on_sale, subscribe, usd
from testing.examples.subscriptions import FEBRUARY, LAST_INVOICE, cancel_now, cancel_on, period_invoice, renew
from testing.examples.usage import (
    METER_ID,
    TIERS,
    USAGE_PRICE_ID,
    create_meter,
    invoice_of,
    usage_price,
)
from testing.moments import utc
from testing.specification import Given, Result, given

MID_FEBRUARY = utc("2026-02-14T10:00")


def subscribed(**facts: object) -> Given:
    price = usage_price(price=BoundedPrice(model=TIERS, minimum=usd(900)))
    on_sale = (create_meter(), *plan_on_sale(**facts), price)  # type: ignore[arg-type]  # what a plan has
    return given(create_customer(), *on_sale).and_then(subscribe(USAGE_PRICE_ID))


def running(told: Given | Result, meter_id: str = METER_ID) -> InvoiceLine | None:
    return running_usage_line(told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID], meter_id)


def test_it_is_the_line_that_bills_the_period_when_that_is_over() -> None:
    foreseen = running(subscribed())
    (billed,) = invoice_of(subscribed().when(renew(FEBRUARY), at=FEBRUARY), period_invoice(1)).lines
    assert foreseen == billed
    assert running(subscribed(), id_of("mtr_", 99)) is None


def test_it_is_cut_short_by_an_end_that_is_scheduled() -> None:
    scheduled = subscribed().and_then(cancel_on(MID_FEBRUARY))
    foreseen = running(scheduled)
    (billed,) = invoice_of(scheduled.when(renew(MID_FEBRUARY), at=MID_FEBRUARY), LAST_INVOICE).lines
    assert foreseen is not None
    assert foreseen.period_end == MID_FEBRUARY
    assert (foreseen.period_start, foreseen.period_end, foreseen.pricing) == (
        billed.period_start, billed.period_end, billed.pricing,
    )  # fmt: skip


@pytest.mark.parametrize("command", [cancel_now(), PauseSubscription(subscription_id=SUBSCRIPTION_ID)])
def test_nothing_is_billed_of_the_running_time_after_the_end_and_in_a_pause(command: Command) -> None:
    assert running(subscribed().when(command, at=MID_FEBRUARY)) is None


def test_nothing_is_billed_of_a_trial() -> None:
    assert running(subscribed(trial_days=14)) is None
