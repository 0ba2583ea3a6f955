"""A metered price that goes from one subscription of a customer to another: both know the meter, each bills its own."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from domain.catalog.price import BillingTiming
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice
from domain.invoicing.usage_request import BillUsage, CountedUsage
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import sum_money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import amount_of
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.commands import RenewSubscription
from domain.subscriptions.metering import SubscriptionUsageBilled
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import BillUsageSoFar
from testing.examples.discounts import begins_with, create_coupon, forever, percent
from testing.examples.pricing import graduated
from testing.examples.streams import PRICE_ID, USD, create_customer, flat, id_of, plan_on_sale, subscribe, usd
from testing.examples.subscriptions import FEBRUARY, MARCH
from testing.examples.usage import (
    METER_ID,
    USAGE_PRICE_ID,
    create_meter,
    invoice_of,
    invoices_of,
    snapshot,
    usage_lines,
    usage_price,
)
from testing.specification import NOW, Given, given
from tests.lengths import LENGTH

A, B = id_of("sub_", 71), id_of("sub_", 72)
DAY = timedelta(days=1)
THRESHOLD = UsageThreshold(amount=usd(100))
TENS = graduated((5, 10, 100), (None, 20, 50))


def both() -> Given:
    """Two that share their invoices; the first one bills the meter, and everything at half price."""
    told = given(create_customer(), create_meter(), *plan_on_sale(in_advance=flat(1_000)), usage_price(price=TENS))
    told.and_then(create_coupon(forever(percent(50))))
    for subscription_id, prices, coupons in ((A, (PRICE_ID, USAGE_PRICE_ID), begins_with(1)), (B, (PRICE_ID,), ())):
        sharing = replace(subscribe(*prices, usage_threshold=THRESHOLD), subscription_id=subscription_id)
        told.and_then(replace(sharing, billed_together=True, coupons=coupons))
    return told


class Scene:
    """What is used when, and who bills it; every invoice bills what was used in the time of its lines."""

    def __init__(self) -> None:
        self.told = both()
        self.has_it, self.not_it = A, B
        self.used: list[tuple[datetime, int]] = []
        self.spans: list[tuple[str, datetime, datetime]] = []
        self.since, self.closings = NOW, 0

    def use(self, quantity: int, at: datetime) -> None:
        self.used.append((at, quantity))

    def within(self, since: datetime | None, until: datetime | None) -> int:
        assert since is not None
        assert until is not None
        return sum(quantity for at, quantity in self.used if since <= at < until)

    def bill_so_far(self, at: datetime) -> None:
        seen = self.told.books.states[SUBSCRIPTION.name, self.has_it]
        command = BillUsageSoFar(
            subscription_id=self.has_it,
            price_ids=(USAGE_PRICE_ID,),
            period_index=seen.period_index,
            changes=seen.changes,
            billings_so_far=seen.billings_so_far,
        )
        self.told.and_then(command, at=at)
        self.count(at)

    def move(self, at: datetime, proration: Proration) -> None:
        """The price goes to the other subscription."""
        taken = ChangeSubscription(subscription_id=self.has_it, remove=(USAGE_PRICE_ID,), proration=proration)
        given_to = ChangedItem(price_id=USAGE_PRICE_ID)
        self.told.and_then(taken, at=at)
        self.told.and_then(ChangeSubscription(subscription_id=self.not_it, items=(given_to,)), at=at)
        self.spans.append((self.has_it, self.since, at))
        self.has_it, self.not_it = self.not_it, self.has_it
        self.since = at
        self.count(at)

    def renew(self, at: datetime) -> None:
        self.told.and_then(RenewSubscription(subscription_id=A), at=at)
        self.spans.append((self.has_it, self.since, at))
        self.since = at
        self.count(at)

    def count(self, at: datetime) -> None:
        for invoice in invoices_of(self.told):
            waiting = sorted((line for line in invoice.lines if line.lacks_usage), key=_ends)
            if waiting:
                counted = tuple(self._counted(line) for line in waiting)
                self.told.and_then(BillUsage(invoice_id=invoice.invoice_id, counted=counted), at=at)

    def _counted(self, line: InvoiceLine) -> CountedUsage:
        self.closings += 1
        quantity = self.within(line.period_start, line.period_end)
        return CountedUsage(line_id=line.line_id, snapshot=snapshot(quantity, self.closings))

    def billed(self) -> int:
        """After discounts."""
        lines = (line for invoice in invoices_of(self.told) for line in _of_usage(invoice))
        return sum_money((line.discounted for line in lines), USD).amount

    def owed(self) -> int:
        """Each time in which one of them had the price is a charge of its own."""
        charges = ((by, amount_of(TENS, self.within(*span), Rounding.HALF_UP)) for by, *span in self.spans)
        return sum(charge.amount // 2 if by == A else charge.amount for by, charge in charges)


def _ends(line: InvoiceLine) -> str:
    return f"{line.period_end} {line.period_start}"


def _of_usage(invoice: Invoice) -> Iterable[InvoiceLine]:
    return (line for line in invoice.lines if line.timing is BillingTiming.IN_ARREARS)


def test_the_last_line_of_one_that_gave_the_price_away_knows_what_its_own_invoices_billed() -> None:
    scene = Scene()
    scene.use(4, NOW + DAY)
    scene.bill_so_far(NOW + 2 * DAY)
    scene.use(3, NOW + 3 * DAY)
    scene.move(NOW + 5 * DAY, Proration.NEXT_INVOICE)
    scene.use(1, NOW + 6 * DAY)
    scene.renew(FEBRUARY)
    shared = invoice_of(scene.told, derived_id(INVOICE, A, "period/1"))
    rest, own = sorted(usage_lines(shared), key=_ends)
    assert (rest.amount, rest.quantity, own.amount) == (usd(100), Decimal(7), usd(110))
    assert (rest.discounted, own.discounted) == (usd(50), usd(110))
    assert rest.usage is not None
    assert rest.usage.progress is not None
    assert (rest.usage.progress.is_last, rest.usage.progress.billed_before) == (True, usd(140))
    billed = [each.event for each in scene.told.books.log if isinstance(each.event, SubscriptionUsageBilled)]
    assert [(each.subscription_id, each.meter_ids) for each in billed[-2:]] == [(A, (METER_ID,)), (B, (METER_ID,))]
    assert scene.told.books.states[SUBSCRIPTION.name, A].billed_so_far == ()
    assert scene.billed() == scene.owed() == 240 // 2 + 110


def test_one_that_gets_the_price_back_bills_each_of_its_times() -> None:
    scene = Scene()
    for days, quantity in ((1, 4), (4, 2), (7, 9)):
        scene.use(quantity, NOW + days * DAY)
        scene.bill_so_far(NOW + (days + 1) * DAY)
        scene.move(NOW + (days + 2) * DAY, Proration.NEXT_INVOICE)
    scene.use(3, NOW + 11 * DAY)
    scene.renew(FEBRUARY)
    assert scene.billed() == scene.owed()


STEPS = st.lists(
    st.tuples(
        st.integers(0, 12), st.sampled_from(["bill", "bill", "move", "move at once", "nothing"]), st.integers(1, 4)
    ),
    max_size=6,
)
"""How much is used, what becomes of it, and how many days pass."""


@settings(max_examples=LENGTH.scaled(60))
@examples(STEPS, STEPS)
def test_whoever_has_the_price_when_all_that_is_used_is_billed_once(
    first: Sequence[tuple[int, str, int]], second: Sequence[tuple[int, str, int]]
) -> None:
    scene = Scene()
    for steps, begins, ends in ((first, NOW, FEBRUARY), (second, FEBRUARY, MARCH)):
        at = begins + timedelta(hours=1)
        for quantity, what, days in steps:
            scene.use(quantity, at)
            at += days * DAY
            if what == "bill":
                scene.bill_so_far(at)
            elif what != "nothing":
                scene.move(at, Proration.NEXT_INVOICE if what == "move" else Proration.INVOICE_NOW)
        scene.renew(ends)
    assert scene.billed() == scene.owed()
    for subscription_id in (A, B):
        assert scene.told.books.states[SUBSCRIPTION.name, subscription_id].billed_so_far == ()
