"""What stood on the receivable account for each invoice, at any moment: as the invoices say, and as the books say."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.invoicing import receivable as receivables
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.receivable import Receivable
from domain.invoicing.settlement import InvoicePartlyPaid
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.accounts import RECEIVABLE, Side
from domain.kernel.money import Money
from infra.event_store.port import Recorded
from projections.models.receivables import PRESENT, TABLE, Stretch, apply, within_days
from projections.read_model import Fact, Projection, Rows
from schemas.codec import decode_entry, decode_event
from testing.histories import START, USD, History
from testing.random_histories import scramble
from tests.contracts.test_read_models import TENANTS, facts_of
from tests.lengths import LENGTH

Owed = Counter[tuple[str, str, str]]
"""Minor units by tenant, customer and currency."""


def stretches_of(events: list[Recorded]) -> Rows[Stretch]:
    rows: Rows[Stretch] = {}
    for fact in facts_of(events, Projection.BILLING):
        if fact.event_type in TABLE.events:
            apply(rows, fact)
    return rows


def stood(rows: Rows[Stretch], before: datetime) -> Owed:
    found = Owed()
    for key, row in rows.items():
        if row.since < before and (row.until is None or row.until >= before):
            amount = row.state.amount
            found[str(key[0]), row.state.customer_id, amount.currency] += amount.amount
    return found


def posted(events: Iterable[Recorded], before: datetime) -> Owed:
    found = Owed()
    for event in events:
        if event.effective_at < before and event.postings is not None:
            for posting in decode_entry(event.postings).postings:
                if posting.account == RECEIVABLE.code:
                    sign = 1 if posting.side is Side.DEBIT else -1
                    key = event.tenant_id, str(posting.customer_id), posting.amount.currency
                    found[key] += sign * posting.amount.amount
    return found


def anything(owed: Owed) -> dict[tuple[str, str, str], int]:
    return {key: amount for key, amount in owed.items() if amount}


@settings(max_examples=LENGTH.scaled(8), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_stood_is_what_the_account_held_at_every_moment_of_any_history(seed: int) -> None:
    history = scramble(History(seed), TENANTS, 120)
    rows = stretches_of(history.events)
    moments = sorted({event.effective_at for event in history.events})
    for moment in (*moments, moments[-1] + timedelta(microseconds=1)):
        assert anything(stood(rows, moment)) == anything(posted(history.events, moment))


@settings(max_examples=LENGTH.scaled(8), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_invoice_stands_with_what_is_due_on_it_while_it_is_open_and_with_nothing_else(seed: int) -> None:
    history = scramble(History(seed), TENANTS, 200)
    folded: dict[tuple[str, str], Receivable | None] = {}
    invoices: dict[tuple[str, str], Invoice] = {}
    for event in history.events:
        if event.stream_type == INVOICE.name:
            key = event.tenant_id, event.stream_id
            happened: Any = decode_event(event.payload)
            invoice = invoices[key] = INVOICE.evolve(invoices.get(key), happened)
            if event.event_type in receivables.EVENTS:
                folded[key] = receivables.evolve(folded.get(key), happened)
            found = folded.get(key)
            due = invoice.amount_due if invoice.status is InvoiceStatus.OPEN else Money.zero(invoice.currency)
            assert (Money.zero(invoice.currency) if found is None else found.amount) == due, event.event_type
            assert (found is None) == (invoice.finalized_at is None)


def test_the_histories_move_it_in_every_way_and_have_much_that_ended() -> None:
    history = scramble(History(1), TENANTS, 2_500)
    assert {event.event_type for event in history.events} >= receivables.EVENTS
    rows = stretches_of(history.events)
    assert len({row.within_days for row in rows.values()}) > 4


@settings(max_examples=LENGTH.scaled(10), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_stretch_that_ended_says_how_long_it_lasted_at_most_and_the_present_one_counts_those_before(
    seed: int,
) -> None:
    rows = stretches_of(scramble(History(seed), TENANTS, 120).events)
    before = Counter(key[:2] for key in rows if key[2] != PRESENT)
    for key, row in rows.items():
        if key[2] == PRESENT:
            assert (row.until, row.within_days, row.stretches) == (None, None, before[key[:2]])
        else:
            assert row.until is not None
            assert row.within_days == within_days(row.until - row.since)
            assert not row.state.amount.is_zero


@given(st.timedeltas(timedelta(microseconds=1), timedelta(days=80_000)))
def test_days_are_the_least_power_of_two_that_is_no_shorter(lasted: timedelta) -> None:
    days = within_days(lasted)
    assert days.bit_count() == 1
    assert timedelta(days=days) >= lasted
    assert days == 1 or timedelta(days=days // 2) < lasted


@pytest.mark.parametrize("learned", list(permutations(((1, 300), (3, 100), (5, 200)))))
def test_what_counts_for_a_time_before_the_last_movement_stood_since_then(
    learned: Sequence[tuple[int, int]],
) -> None:
    """1,000 from day 0 on, paid in parts on later days; whichever of them the log learns of first."""
    rows: Rows[Stretch] = {}
    apply(rows, fact_on(0, FINALIZED, version=1))
    for version, (day, amount) in enumerate(learned, start=2):
        event = InvoicePartlyPaid(invoice_id="in_1", payment_id=None, amount=Money(amount, USD), paid_at=START)
        apply(rows, fact_on(day, event, version=version))
    owed = [stood(rows, START + timedelta(days=day)) for day in range(7)]
    assert [sum(each.values()) for each in owed] == [0, 1_000, 700, 700, 600, 600, 400]


FINALIZED = InvoiceFinalized(
    invoice_id="in_1",
    customer_id="cus_1",
    subscription_id=None,
    series="INV",
    number="INV-000001",
    collection=CollectionMethod.SEND_INVOICE,
    currency=USD,
    lines=(),
    total=Money(1_000, USD),
    applied=Money.zero(USD),
    test_clock_id=None,
    finalized_at=START,
    due_at=START,
)


def fact_on(day: int, event: InvoiceFinalized | InvoicePartlyPaid, *, version: int) -> Fact:
    name = "invoice.finalized" if isinstance(event, InvoiceFinalized) else "invoice.partly_paid"
    at = START + timedelta(days=day)
    return Fact(event, name, "acme", INVOICE.name, "in_1", version, version, "evt_1", at, at, None, "cus_1", 0)
