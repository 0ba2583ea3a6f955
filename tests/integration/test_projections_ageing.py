"""Ageing from the read model: any day, any zone, page by page, as the domain's mathematics has it, and the books."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import pytest

from api.http.reading import TenantReader
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.accounts import RECEIVABLE
from domain.kernel.billing_period import local_date_of, start_of_day
from domain.kernel.currency import CurrencyCode
from domain.reporting.ageing import Ageing, OpenAmount, age
from projections.models import account_balances, receivables
from projections.models.ledger_entries import AsOf
from projections.models.receivables import CROWD
from projections.reading import PageRequest
from schemas.codec import decode_event
from testing.api_client import projected
from testing.histories import History
from testing.random_histories import scramble
from testing.services import FreshDatabase

TENANT = "acme"
ZONES = ("UTC", "America/Los_Angeles", "Pacific/Auckland")
EVERYTHING = 2**62

Owed = Mapping[str | None, list[Ageing]]
"""Per customer, and under None altogether."""


@dataclass
class Scene:
    """A history with its read models, all its days, and what its invoices were on them."""

    history: History
    reader: TenantReader
    folded: dict[tuple[str, int], Invoice | None] = field(default_factory=dict)
    """By invoice and how many of its events had effect by then: as many are always the same ones."""

    @cached_property
    def events(self) -> dict[str, list[tuple[datetime, Any]]]:
        """The events of each of the tenant's invoices with when they had effect, in the log's order."""
        found: defaultdict[str, list[tuple[datetime, Any]]] = defaultdict(list)
        for event in self.history.events:
            if (event.tenant_id, event.stream_type) == (TENANT, INVOICE.name):
                found[event.stream_id].append((event.effective_at, decode_event(event.payload)))
        return dict(found)

    def invoice_of(self, stream_id: str, moment: datetime) -> Invoice | None:
        """What had effect before a moment, folded."""
        before = [event for effective_at, event in self.events[stream_id] if effective_at < moment]
        key = stream_id, len(before)
        if key not in self.folded:
            state: Invoice | None = None
            for event in before:
                state = INVOICE.evolve(state, event)
            self.folded[key] = state
        return self.folded[key]

    @property
    def days(self) -> list[date]:
        """From the day before the first event, every fourth one to long after the last."""
        first, last = (each(event.effective_at for event in self.history.events).date() for each in (min, max))
        return [first + timedelta(days=nth) for nth in range(-1, (last - first).days + 120, 4)]


@pytest.fixture(scope="module")
async def scene(shared_database: FreshDatabase) -> AsyncIterator[Scene]:
    history = scramble(History(11), (TENANT, "other"), 700)
    async with projected(shared_database, history) as reader:
        yield Scene(history, reader)


def open_before(scene: Scene, moment: datetime) -> list[Invoice]:
    """The tenant's invoices as they were then, those that were open."""
    found = (scene.invoice_of(stream_id, moment) for stream_id in scene.events)
    return [each for each in found if each and each.status is InvoiceStatus.OPEN and not each.amount_due.is_zero]


def aged(invoices: list[Invoice], as_of: date, time_zone: str) -> Owed:
    amounts: defaultdict[tuple[str | None, CurrencyCode], list[OpenAmount]] = defaultdict(list)
    for invoice in invoices:
        assert invoice.due_at is not None
        owed = OpenAmount(amount=invoice.amount_due, due_on=local_date_of(invoice.due_at, time_zone))
        for whose in (None, invoice.customer_id):
            amounts[whose, invoice.currency].append(owed)
    found: defaultdict[str | None, list[Ageing]] = defaultdict(list)
    for (whose, currency), each in sorted(amounts.items(), key=lambda item: item[0][1]):
        found[whose].append(age(each, as_of, currency))
    return dict(found)


async def reported(scene: Scene, as_of: date, time_zone: str, *, limit: int = 7, crowd: int = CROWD) -> Owed:
    """Page by page; each page has the same totals."""
    found: dict[str | None, list[Ageing]] = {}
    after: str | None = None
    async with scene.reader.of(TENANT) as connection:
        while True:
            request = PageRequest(limit=limit, starting_after=after)
            report = await receivables.ageing(
                connection, TENANT, as_of=as_of, time_zone=time_zone, request=request, crowd=crowd
            )
            totals = {None: list(report.totals)} if report.totals else {}
            assert after is None or found.items() >= totals.items()
            page, has_more = report.customers
            names = [each.customer_id for each in page]
            assert names == sorted(names)
            assert len(names) == limit if has_more else len(names) <= limit
            found |= totals | {each.customer_id: list(each.owed) for each in page}
            if not has_more:
                return found
            after = names[-1]


@pytest.mark.parametrize("time_zone", ZONES)
async def test_any_day_is_what_the_domain_makes_of_the_invoices_that_were_open_at_its_end(
    scene: Scene, time_zone: str
) -> None:
    buckets = set()
    for as_of in scene.days:
        expected = aged(open_before(scene, start_of_day(as_of + timedelta(days=1), time_zone)), as_of, time_zone)
        assert await reported(scene, as_of, time_zone) == expected, as_of
        assert await reported(scene, as_of, time_zone, crowd=0) == expected, "whichever way customers are found"
        buckets |= {
            name
            for each in expected.get(None, [])
            for name in ("current", "days_1_30", "days_31_60", "days_61_90", "over_90")
            if not getattr(each, name).is_zero
        }
    assert len(buckets) == 5, "the days see all ages"


async def test_the_totals_are_what_the_receivable_account_held_at_that_moment(scene: Scene) -> None:
    some = False
    for as_of in scene.days:
        end = start_of_day(as_of + timedelta(days=1), "UTC")
        async with scene.reader.of(TENANT) as connection:
            report = await receivables.ageing(connection, TENANT, as_of=as_of, time_zone="UTC")
            books = await account_balances.trial_balance(
                connection, TENANT, as_of=AsOf(position=EVERYTHING, effective_before=end)
            )
        held = {each.balance for currency in books for each in currency.accounts if each.account == RECEIVABLE}
        assert {each.total for each in report.totals} == {each for each in held if not each.is_zero}, as_of
        some = some or bool(held)
    assert some


async def test_it_is_narrowed_to_a_customer_and_to_a_currency(scene: Scene) -> None:
    as_of = scene.days[-1]
    everything = await reported(scene, as_of, "UTC", limit=100)
    customer = max(filter(None, everything))
    async with scene.reader.of(TENANT) as connection:
        theirs = await receivables.ageing(connection, TENANT, as_of=as_of, time_zone="UTC", customer_id=customer)
        usd, none = [
            await receivables.ageing(connection, TENANT, as_of=as_of, time_zone="UTC", currency=currency)
            for currency in ("USD", "JPY")
        ]
        nobodys = await receivables.ageing(connection, "other", as_of=as_of, time_zone="UTC")
    assert (theirs.totals, [*theirs.customers.items]) == (
        everything[customer],
        [receivables.CustomerAgeing(customer, everything[customer])],
    )
    assert usd.totals == [each for each in everything[None] if each.currency == "USD"]
    assert (none.totals, none.customers.items) == ([], [])
    assert (nobodys.totals, nobodys.customers.items) == ([], []), "another tenant's are not seen"
