"""Changes against a reference that knows only days and quantities: whatever is changed when, each day is billed once.

A whole period costs what 28, 29, 30 and 31 days divide, so nothing is rounded and the sums are equal to the cent.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given as drawn
from hypothesis import strategies as st

from domain.catalog.price import BillingTiming, CreatePrice
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal
from domain.pricing.models import PerUnit
from domain.subscriptions.change import Proration
from domain.subscriptions.change_commands import ChangedItem, ChangeSubscription
from domain.subscriptions.subscription import SUBSCRIPTION
from testing.examples.streams import (
    PLAN_ID,
    SUBSCRIPTION_ID,
    USD,
    create_customer,
    id_of,
    plan_on_sale,
    subscribe,
)
from testing.examples.subscriptions import APRIL, FEBRUARY, MARCH, cancel_now, renew
from testing.specification import NOW, Books, Given, given

A_PERIOD = 377_580
PRICES = tuple(id_of("price_", 20 + n) for n in range(4))
TIMINGS = (BillingTiming.IN_ADVANCE, BillingTiming.IN_ARREARS, BillingTiming.IN_ADVANCE, BillingTiming.IN_ARREARS)
BOUNDARIES = (NOW, FEBRUARY, MARCH, APRIL)


class Step(NamedTuple):
    """So many hours after the step before, so many of a price (0: none any more)."""

    hours: int
    nth: int
    quantity: int
    proration: Proration


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from((0, 0, 1, 7, 30, 100, 300)),
        st.integers(0, len(PRICES) - 1),
        st.integers(0, 3),
        st.sampled_from((Proration.INVOICE_NOW, Proration.NEXT_INVOICE)),
    ),
    max_size=12,
)


def subscribed() -> Given:
    prices = (
        CreatePrice(
            price_id=price_id,
            plan_id=PLAN_ID,
            name=price_id[-3:],
            price=PerUnit(currency=USD, unit_amount=Decimal(A_PERIOD)),
            timing=timing,
        )
        for price_id, timing in zip(PRICES, TIMINGS, strict=True)
    )
    return given(create_customer(), *plan_on_sale(), *prices).and_then(subscribe(*PRICES))


def change(step: Step) -> ChangeSubscription:
    price_id = PRICES[step.nth]
    items = (ChangedItem(price_id=price_id, quantity=Decimal(step.quantity)),) if step.quantity else ()
    return ChangeSubscription(
        subscription_id=SUBSCRIPTION_ID,
        items=items,
        remove=() if step.quantity else (price_id,),
        proration=step.proration,
    )


@drawn(STEPS)
def test_each_day_is_billed_once_by_what_held_at_its_end(steps: list[Step]) -> None:
    books = subscribed().books
    quantities = dict.fromkeys(range(len(PRICES)), 1)
    held: dict[date, dict[int, int]] = {NOW.date(): dict(quantities)}
    at = NOW
    for step in steps:
        at += timedelta(hours=step.hours)
        if at >= APRIL:
            break
        try:
            books.do(change(step), at)
        except Refusal:
            continue
        quantities[step.nth] = step.quantity
        held[at.date()] = dict(quantities)
    for boundary in BOUNDARIES[1:-1]:
        if next_boundary(books) == boundary:
            books.do(renew(), boundary)
    books.do(cancel_now(), APRIL)
    assert sum(invoice.total.amount for invoice in invoices(books)) == expected(held)
    assert nothing_is_given_back_twice(books)


def next_boundary(books: Books) -> datetime | None:
    return SUBSCRIPTION.of(books, SUBSCRIPTION_ID).next_boundary


def expected(held: dict[date, dict[int, int]]) -> Fraction:
    total = Fraction(0)
    quantities: dict[int, int] = {}
    for start, end in pairwise(BOUNDARIES):
        days = (end.date() - start.date()).days
        for nth_day in range(days):
            quantities = held.get(start.date() + timedelta(days=nth_day), quantities)
            total += Fraction(A_PERIOD * sum(quantities.values()), days)
    return total


def invoices(books: Books) -> list[InvoiceFinalized]:
    return [each.event for each in books.log if isinstance(each.event, InvoiceFinalized)]


def nothing_is_given_back_twice(books: Books) -> bool:
    """What each invoice says others gave back of its lines is what credits say, and all is no more than they billed."""
    billed = {line.line_id: line for invoice in invoices(books) for line in invoice.lines}
    on = {line.line_id: invoice.invoice_id for invoice in invoices(books) for line in invoice.lines}
    credited: dict[str, Money] = {}
    elsewhere: dict[str, Money] = {}
    for line in billed.values():
        if line.gives_back is not None:
            of = line.gives_back.line_id
            credited[of] = credited.get(of, Money.zero(USD)) - line.amount
            if on[line.line_id] != on[of]:
                elsewhere[of] = elsewhere.get(of, Money.zero(USD)) - line.amount
    told = {
        each.line_id: each.amount
        for invoice in invoices(books)
        for each in INVOICE.of(books, invoice.invoice_id).unused_credits
    }
    return told == elsewhere and all(amount <= billed[line_id].amount for line_id, amount in credited.items())
