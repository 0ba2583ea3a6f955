"""A percentage of single events that is invoiced while its period runs: which of them are free, later ones decide."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given as examples
from hypothesis import strategies as st

from domain.invoicing.explanation import explain_billed
from domain.invoicing.invoice_line import InvoiceLineKind
from domain.invoicing.state import Invoice
from domain.invoicing.usage_request import BillUsage, CountedUsage, RecountedUsage
from domain.kernel.identifiers import INVOICE, derived_id
from domain.kernel.money import sum_money
from domain.kernel.rounding import Rounding
from domain.metering.aggregation import Aggregation
from domain.pricing.amount import amount_of
from domain.pricing.measured import EventAmounts
from domain.pricing.models import BoundedPrice, Price
from domain.subscriptions.subscription import SUBSCRIPTION
from domain.subscriptions.terms import UsageThreshold
from domain.subscriptions.usage_threshold import BillUsageSoFar
from testing.examples.pricing import percentage
from testing.examples.streams import SUBSCRIPTION_ID, USD, create_customer, plan_on_sale, subscribe, usd
from testing.examples.subscriptions import FEBRUARY, MARCH, period_invoice, renew
from testing.examples.usage import USAGE_PRICE_ID, create_meter, invoice_of, invoices_of, snapshot, usage_price
from testing.specification import NOW, Given, given

FIRST, SECOND = period_invoice(1), period_invoice(2)
DAY = timedelta(days=1)


def subscribed(price: Price) -> Given:
    meter = replace(create_meter(), aggregation=Aggregation.AMOUNTS)
    told = given(create_customer(), meter, *plan_on_sale(), usage_price(price=price))
    return told.and_then(subscribe(USAGE_PRICE_ID, usage_threshold=UsageThreshold(amount=usd(1))))


def billed(told: Given, known: Sequence[int], at: datetime) -> Invoice:
    """What is known of the running period by then is invoiced: the events' amounts, in order of their times."""
    seen = told.books.states[SUBSCRIPTION.name, SUBSCRIPTION_ID]
    invoice_id = derived_id(INVOICE, SUBSCRIPTION_ID, f"usage/{seen.billings_so_far}")
    wanted = BillUsageSoFar(
        subscription_id=SUBSCRIPTION_ID,
        price_ids=(USAGE_PRICE_ID,),
        period_index=seen.period_index,
        changes=seen.changes,
        billings_so_far=seen.billings_so_far,
    )
    told.and_then(wanted, at=at)
    return counted(told, invoice_id, known, at)


def counted(
    told: Given, invoice_id: str, known: Sequence[int], at: datetime, *late: RecountedUsage, closing: int = 1
) -> Invoice:
    (line,) = (line for line in invoice_of(told, invoice_id).lines if line.lacks_usage)
    seen = snapshot(sum(known), closing, events=len(known))
    figure = CountedUsage(line_id=line.line_id, snapshot=seen, amounts=_decimals(known), late=late)
    told.and_then(BillUsage(invoice_id=invoice_id, counted=(figure,)), at=at)
    return invoice_of(told, invoice_id)


def _decimals(amounts: Sequence[int]) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, amounts))


def owed(price: Price, known: Sequence[int]) -> int:
    return amount_of(price, EventAmounts(_decimals(known)), Rounding.HALF_UP).amount


def invoiced(told: Given) -> int:
    return sum_money((each.total for each in invoices_of(told)), USD).amount


def test_each_invoice_bills_what_all_events_come_to_less_what_was_billed() -> None:
    """10 % and 0.05 each, the first one free; the second is known only when the first two were billed."""
    told = subscribed(percentage(10, 5, free_events=1))
    assert billed(told, [1_000, 2_000], NOW + DAY).total == usd(205)
    assert billed(told, [1_000, 400, 2_000], NOW + 2 * DAY).total == usd(45)
    told.and_then(renew(FEBRUARY), at=FEBRUARY)
    last = counted(told, FIRST, [1_000, 400, 2_000, 100], FEBRUARY)
    assert (last.total, last.lines[0].quantity) == (usd(15), Decimal(3_500))
    for invoice in invoices_of(told):
        for line, node in zip(invoice.lines, explain_billed(invoice.lines, USD).children, strict=True):
            assert sum(each.amount for each in node.children[0].children) == line.amount.amount


def test_an_earlier_event_that_comes_later_takes_the_free_place_and_the_end_gives_back() -> None:
    told = subscribed(percentage(10, free_events=1))
    assert billed(told, [1_000, 2_000], NOW + DAY).total == usd(200)
    assert billed(told, [5_000, 1_000, 2_000], NOW + 2 * DAY).total == usd(100)
    told.and_then(renew(FEBRUARY), at=FEBRUARY)
    last = counted(told, FIRST, [5_000, 1_000], FEBRUARY)
    assert [(line.kind, line.amount) for line in last.lines] == [
        (InvoiceLineKind.USAGE, usd(0)),
        (InvoiceLineKind.CREDIT, usd(-100)),
        (InvoiceLineKind.CREDIT, usd(-100)),
    ]
    assert invoiced(told) == 100


PRICES = (
    percentage(10),
    percentage("2.9", 30),
    percentage(10, 5, free_events=2),
    percentage(10, 0, event_minimum=20, event_maximum=90),
    BoundedPrice(model=percentage(5, 10), minimum=usd(150)),
    BoundedPrice(model=percentage(5, 10, free_events=1), maximum=usd(150)),
)
EVENTS = st.lists(st.integers(0, 1_500), max_size=5)
"""Amounts that become known together, each at some place among those that are known already."""


@examples(st.sampled_from(PRICES), st.lists(EVENTS, max_size=4), EVENTS, EVENTS, st.randoms(use_true_random=False))
def test_all_invoices_of_a_period_come_to_what_its_events_come_to(
    price: Price, arrivals: list[list[int]], rest: list[int], late: list[int], places: random.Random
) -> None:
    told, known, at = subscribed(price), list[int](), NOW

    def come(amounts: list[int]) -> None:
        for each in amounts:
            known.insert(places.randint(0, len(known)), each)

    for amounts in arrivals:
        come(amounts)
        at += DAY
        billed(told, known, at)
    come(rest)
    told.and_then(renew(FEBRUARY), at=FEBRUARY)
    line = counted(told, FIRST, known, FEBRUARY).lines[0]
    assert invoiced(told) == owed(price, known)

    come(late)
    told.and_then(renew(MARCH), at=MARCH)
    of = RecountedUsage(
        invoice_id=FIRST,
        line_id=line.line_id,
        quantity=snapshot(sum(known)).quantity,
        events=len(known),
        amounts=_decimals(known),
    )
    counted(told, SECOND, [], MARCH, of, closing=2)
    assert invoiced(told) - owed(price, []) == owed(price, known)
