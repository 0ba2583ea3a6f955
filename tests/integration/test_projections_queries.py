"""What queries answer: the domain's own states, lists page by page, balances in both times, figures that add up."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from api.http.reading import TenantReader
from domain.catalogue import STREAMS
from domain.customers.customer import CUSTOMER
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.accounts import CHART, Side
from domain.kernel.money import Money
from domain.payments.commands import CreatePayment, RecordPaymentCaptured
from domain.payments.payment import PAYMENT, Payment
from domain.payments.refund import RefundStatus
from domain.payments.refund_commands import RequestRefund
from infra.database import Role, server_settings
from infra.settings import DatabaseSettings
from projections.current import current
from projections.folding.live import Live
from projections.folding.worker import KEYPLAN
from projections.models import (
    account_balances,
    customers,
    invoices,
    journal_entries,
    ledger_entries,
    payment_methods,
    payments,
    plans,
    prices,
    products,
    refunds,
    sagas,
    stats,
    subscriptions,
    test_clocks,
)
from projections.models.account_balances import CustomerBalance
from projections.models.ledger_entries import AsOf
from projections.read_model import Projection
from projections.reading import ANY_TIME, Between, Page, PageRequest, Reader, UnknownCursor
from projections.reading import page as page_of_rows
from schemas.codec import decode_entry
from testing.histories import USD, History, write_log
from testing.published import Publisher
from testing.random_histories import scramble
from testing.services import FreshDatabase

TENANT = "acme"
TENANTS = (TENANT, "other")
RESOURCES: dict[str, Any] = {
    "customer": customers,
    "product": products,
    "plan": plans,
    "price": prices,
    "subscription": subscriptions,
    "invoice": invoices,
    "payment_method": payment_methods,
    "payment": payments,
    "journal_entry": journal_entries,
    "test_clock": test_clocks,
}


class NoGraves:
    """Nothing in these histories is poison."""

    async def bury(self, record: object, *, consumer: str, error: BaseException, attempts: int) -> None:
        raise error


async def page_of(
    connection: Reader, model: Any, request: PageRequest, *, created: Between = ANY_TIME, **where: object
) -> Page[Any]:
    """A page of the tenant's rows."""
    return await page_of_rows(connection, model, TENANT, where=where, created=created, request=request)


@dataclass
class Projected:
    """A history, and the readers of its read models."""

    history: History
    reader: TenantReader

    def ids(self, stream: str) -> list[str]:
        """Ids of the tenant's streams of a kind, oldest event first."""
        events = self.history.events
        return [e.stream_id for e in events if (e.tenant_id, e.stream_type, e.stream_version) == (TENANT, stream, 1)]


def owe_each_other(history: History) -> None:
    """A customer with an open invoice, and with a payment of their own, of which a part is on its way back."""
    customer_id, payment_id = history.customer(TENANT), history.new_id("pay_")
    _, plan_id, price_id = history.catalogue(TENANT)
    history.subscribe(TENANT, customer_id, plan_id, price_id)
    for command in (
        CreatePayment(payment_id=payment_id, customer_id=customer_id, amount=Money(5_000, USD), confirm=True),
        RecordPaymentCaptured(payment_id=payment_id, attempt=1, gateway_payment_id="gw_1"),
        RequestRefund(refund_id=history.new_id("re_"), payment_id=payment_id, amount=Money(3, USD)),
    ):
        assert history.do(TENANT, command)


@pytest.fixture(scope="module")
async def projected(shared_database: FreshDatabase) -> AsyncIterator[Projected]:
    history = scramble(History(26), TENANTS, 400)
    owe_each_other(history)
    connection = await asyncpg.connect(
        shared_database.dsn, server_settings=server_settings(Role.PROJECTOR, DatabaseSettings()) | KEYPLAN
    )
    await connection.execute("UPDATE read.projections SET incarnation = 1")
    publisher = Publisher()
    for projection in Projection:
        live = Live(projection, topic=projection.topic, dead_letters=NoGraves(), cached_rows=100)
        await live.load(connection)
        await live.open(connection, range(12))
        await live.project(connection, publisher.records(history.events, projection))
    await connection.close()
    admin = await asyncpg.connect(shared_database.dsn)
    await write_log(admin, history.events)
    await admin.close()
    reader = await TenantReader.open(shared_database.dsn, DatabaseSettings())
    yield Projected(history, reader)
    await reader.close()


@pytest.mark.parametrize("stream", RESOURCES)
async def test_a_resource_is_the_state_of_its_stream(projected: Projected, stream: str) -> None:
    ids = projected.ids(stream)
    assert ids
    async with projected.reader.of(TENANT) as connection:
        for row_id in ids:
            found: Any = await current(connection, RESOURCES[stream].TABLE, STREAMS[stream], TENANT, row_id)
            assert found.state == projected.history.state(TENANT, STREAMS[stream], row_id)
            events = [e for e in projected.history.events if (e.stream_type, e.stream_id) == (stream, row_id)]
            assert (found.stream_version, found.position) == (len(events), events[-1].position)
            assert found.updated_at == events[-1].effective_at
        assert await current(connection, RESOURCES[stream].TABLE, STREAMS[stream], TENANT, "nothing") is None


@pytest.mark.parametrize("stream", RESOURCES)
async def test_pages_show_everything_once_in_both_directions(projected: Projected, stream: str) -> None:
    module = RESOURCES[stream]
    key = module.TABLE.key[-1]
    async with projected.reader.of(TENANT) as connection:
        forwards: list[str] = []
        cursor = None
        while True:
            page = await page_of(connection, module.TABLE, PageRequest(limit=7, starting_after=cursor))
            forwards += [getattr(item.state, key) for item in page.items]
            if not page.has_more:
                break
            cursor = forwards[-1]
        assert sorted(forwards) == sorted(projected.ids(stream))
        whole = await page_of(connection, module.TABLE, PageRequest(limit=1000))
        order = [(getattr(item.state, module.TABLE.sorted_by), getattr(item.state, key)) for item in whole.items]
        assert order == sorted(order, reverse=True)
        backwards: list[str] = [forwards[-1]]
        while True:
            page = await page_of(connection, module.TABLE, PageRequest(limit=7, ending_before=backwards[0]))
            backwards = [getattr(item.state, key) for item in page.items] + backwards
            if not page.has_more:
                break
        assert backwards == forwards
        with pytest.raises(UnknownCursor):
            await page_of(connection, module.TABLE, PageRequest(starting_after="nothing"))


async def test_filters_keep_what_they_name_and_nothing_else(projected: Projected) -> None:
    history = projected.history
    states = [history.state(TENANT, STREAMS["invoice"], each) for each in projected.ids("invoice")]
    customer_id, created_at = states[len(states) // 2].customer_id, states[len(states) // 2].created_at
    everything = PageRequest(limit=1000)
    async with projected.reader.of(TENANT) as connection:

        async def found(created: Between = ANY_TIME, **where: Any) -> set[str]:
            page = await page_of(connection, invoices.TABLE, everything, created=created, **where)
            return {item.state.invoice_id for item in page.items}

        assert await found(customer_id=customer_id) == {s.invoice_id for s in states if s.customer_id == customer_id}
        assert await found(status="open") == {s.invoice_id for s in states if s.status == "open"}
        assert await found(created=Between(gte=created_at)) == {
            s.invoice_id for s in states if s.created_at >= created_at
        }
        assert await found(created=Between(gt=created_at)) == {
            s.invoice_id for s in states if s.created_at > created_at
        }
        assert await found(created=Between(lte=created_at, gt=created_at - timedelta(days=40))) == {
            s.invoice_id for s in states if created_at - timedelta(days=40) < s.created_at <= created_at
        }
        assert await found(customer_id="nobody") == set()


async def test_a_payment_shows_every_step_with_its_time_and_cause(projected: Projected) -> None:
    async with projected.reader.of(TENANT) as connection:
        for payment_id in projected.ids("payment"):
            found = await current(connection, payments.TABLE, PAYMENT, TENANT, payment_id)
            assert found is not None
            assert [tuple(step) for step in found.steps] == [
                (e.event_type, e.event_id, e.effective_at, e.recorded_at, e.causation_id)
                for e in projected.history.events
                if e.stream_id == payment_id
            ]


async def test_refunds_are_those_of_their_payments(projected: Projected) -> None:
    history = projected.history
    expected = {
        refund.refund_id: (refund, payment.payment_id, payment.customer_id)
        for payment in (history.state(TENANT, STREAMS["payment"], each) for each in projected.ids("payment"))
        for refund in payment.refunds
    }
    assert expected
    async with projected.reader.of(TENANT) as connection:
        page = await page_of(connection, refunds.TABLE, PageRequest(limit=1000))
        assert {r.state.refund_id: (r.state, r.payment_id, r.customer_id) for r in page.items} == expected


async def test_a_refund_saga_is_a_capture_that_nobody_needs_on_its_way_back(projected: Projected) -> None:
    history = projected.history
    created = [event for event in projected.history.events if event.event_type == "payment.created"]
    unneeded = {
        (event.tenant_id, event.stream_id)
        for event in created
        if history.state(event.tenant_id, STREAMS["payment"], event.stream_id).unneeded
    }
    assert unneeded
    found = set()
    for tenant_id in TENANTS:
        async with projected.reader.of(tenant_id) as connection:
            page = await sagas.page(connection, tenant_id, saga="refund", request=PageRequest(limit=1000))
            found |= {(tenant_id, item.state.subject) for item in page.items}
    assert found == unneeded


async def test_the_books_balance_now_and_at_any_moment_in_both_times(projected: Projected) -> None:
    entries = [e for e in projected.history.events if e.tenant_id == TENANT and e.postings is not None]
    middle = entries[len(entries) // 2]
    async with projected.reader.of(TENANT) as connection:
        (now,) = await account_balances.trial_balance(connection, TENANT)
        assert now.difference.amount == 0
        assert now.debit.amount > 0
        moments = (
            AsOf(position=entries[-1].position),
            AsOf(position=middle.position),
            AsOf(position=entries[-1].position, effective_before=middle.effective_at),
            AsOf(position=middle.position, effective_before=middle.effective_at - timedelta(days=20)),
        )
        for moment in moments:
            found = await account_balances.trial_balance(connection, TENANT, as_of=moment)
            expected = Counter[tuple[str, str]]()
            for event in entries:
                early = moment.effective_before is None or event.effective_at < moment.effective_before
                if event.position <= moment.position and early:
                    assert event.postings is not None
                    for posting in decode_entry(event.postings).postings:
                        expected[posting.account, posting.side] += posting.amount.amount
            shown = {
                (each.account.code, side): money.amount
                for balance in found
                for each in balance.accounts
                for side, money in ((Side.DEBIT, each.debit), (Side.CREDIT, each.credit))
                if money.amount
            }
            assert shown == dict(expected)
            assert all(balance.difference.amount == 0 for balance in found)
        last = await account_balances.trial_balance(connection, TENANT, as_of=moments[0])
        assert last == [now]
        assert set(CHART) >= {each.account.code for each in now.accounts}


async def test_a_customers_accounts_hold_what_was_posted_for_them_at_any_moment(projected: Projected) -> None:
    entries = [e for e in projected.history.events if e.tenant_id == TENANT and e.postings is not None]
    middle = entries[len(entries) // 2]
    async with projected.reader.of(TENANT) as connection:
        for moment in (AsOf(position=entries[-1].position), AsOf(position=middle.position)):
            expected = Counter[tuple[str, str, Side]]()
            for event in entries:
                if event.position <= moment.position and event.postings is not None:
                    for posting in decode_entry(event.postings).postings:
                        if posting.customer_id is not None:
                            expected[posting.customer_id, posting.account, posting.side] += posting.amount.amount
            shown = {
                (customer, each.account.code, side): money.amount
                for customer in projected.ids("customer")
                for each in await account_balances.customer_accounts(connection, TENANT, customer, as_of=moment)
                for side, money in ((Side.DEBIT, each.debit), (Side.CREDIT, each.credit))
                if money.amount
            }
            assert shown == dict(expected)


async def test_a_customers_balance_is_what_their_documents_say(projected: Projected) -> None:
    history = projected.history
    owed, held, returning = Counter[str](), Counter[str](), Counter[str]()
    for invoice_id in projected.ids("invoice"):
        invoice: Invoice = history.state(TENANT, INVOICE, invoice_id)
        if invoice.status is InvoiceStatus.OPEN:
            owed[invoice.customer_id] += invoice.amount_due.amount
    for customer_id in projected.ids("customer"):
        held[customer_id] += history.state(TENANT, CUSTOMER, customer_id).balance.amount
    for payment_id in projected.ids("payment"):
        payment: Payment = history.state(TENANT, PAYMENT, payment_id)
        held[payment.customer_id] += payment.unapplied.amount
        pending = [refund for refund in payment.refunds if refund.status is RefundStatus.PENDING]
        returning[payment.customer_id] += sum(refund.amount.amount for refund in pending)
    assert all(any(sums.values()) for sums in (owed, held, returning)), "there is something of each"

    def usd(sums: Counter[str], customer_id: str) -> tuple[Money, ...]:
        return (Money(sums[customer_id], USD),) if sums[customer_id] else ()

    async with projected.reader.of(TENANT) as connection:
        for customer_id in projected.ids("customer"):
            assert await account_balances.customer_balance(connection, TENANT, customer_id) == CustomerBalance(
                owed=usd(owed, customer_id),
                customer_balance=usd(held, customer_id),
                refunds_payable=usd(returning, customer_id),
                prepaid=(),
            )


async def test_entries_are_found_by_account_page_by_page(projected: Projected) -> None:
    entries = {
        e.event_id: {posting.account for posting in decode_entry(e.postings).postings}
        for e in projected.history.events
        if e.tenant_id == TENANT and e.postings is not None
    }
    async with projected.reader.of(TENANT) as connection:
        everything = await ledger_entries.page(connection, TENANT, request=PageRequest(limit=10_000))
        for account in CHART:
            of_account = [each for each in everything.items if account in entries[each.entry_id]]
            seen: list[ledger_entries.FoundEntry] = []
            more = True
            while more:
                after = seen[-1].entry_id if seen else None
                request = PageRequest(limit=7, starting_after=after)
                page = await ledger_entries.page(connection, TENANT, account=account, request=request)
                seen += page.items
                more = page.has_more
            assert seen == of_account
            if of_account:
                back = PageRequest(limit=2, ending_before=of_account[-1].entry_id)
                page = await ledger_entries.page(connection, TENANT, account=account, request=back)
                assert page.items == of_account[:-1][-2:]
        found = everything.items[0]
        by_stream = await ledger_entries.page(connection, TENANT, stream_id=found.stream_id)
        assert by_stream.items == [each for each in everything.items if each.stream_id == found.stream_id]


async def test_the_sets_of_accounts_are_found_by_steps_down_an_index(projected: Projected) -> None:
    """Also under row security, which lets only conditions that leak nothing be looked up."""
    async with projected.reader.of(TENANT) as connection:
        for other_way in ("seqscan", "bitmapscan", "sort"):  # a small table would go them
            await connection.fetch(f"SET enable_{other_way} = off")
        explained = Explaining(connection)
        await ledger_entries.page(explained, TENANT, account="cash")
        sets, _page = explained.plans
        assert any("accounts > " in condition for condition in index_conditions(sets)), sets


def index_conditions(plan: str) -> list[str]:
    return [line for line in plan.splitlines() if "Index Cond:" in line]


class Explaining:
    """A connection that keeps the plan of each query that it runs."""

    def __init__(self, connection: Reader) -> None:
        self.connection = connection
        self.plans: list[str] = []

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        plan = await self.connection.fetch(f"EXPLAIN {query}", *args)
        self.plans.append("\n".join(line[0] for line in plan))
        return await self.connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        return await self.connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        return await self.connection.fetchval(query, *args)


async def test_recorded_time_is_a_position(projected: Projected) -> None:
    entries = [e for e in projected.history.events if e.tenant_id == TENANT and e.postings is not None]
    microsecond = timedelta(microseconds=1)
    async with projected.reader.of(TENANT) as connection:
        for event in entries[:: len(entries) // 9]:
            same = max(e.position for e in entries if e.recorded_at == event.recorded_at)
            before = max((e.position for e in entries if e.recorded_at < event.recorded_at), default=0)
            assert await ledger_entries.position_at(connection, TENANT, event.recorded_at) == same
            assert await ledger_entries.position_at(connection, TENANT, event.recorded_at - microsecond) == before


async def test_the_dashboard_counts_what_there_is(projected: Projected) -> None:
    history = projected.history
    expected = Counter[str]()
    money = Counter[str]()
    for stream, resource in (("invoice", "invoices"), ("payment", "payments"), ("subscription", "subscriptions")):
        for row_id in projected.ids(stream):
            state = history.state(TENANT, STREAMS[stream], row_id)
            expected[f"{resource}.{state.status}"] += 1
            if stream == "invoice":
                standing = state.amount_due if state.is_payable else state.total
                money[f"{resource}.{state.status}"] += standing.amount
            elif stream == "payment":
                money[f"{resource}.{state.status}"] += state.amount.amount
    async with projected.reader.of(TENANT) as connection:
        figures = {each.measure: each for each in await stats.by_now(connection, TENANT)}
        for measure, quantity in expected.items():
            assert (measure, figures[measure].quantity) == (measure, quantity)
            assert figures[measure].amount == money[measure]
        stocks = {m: f for m, f in figures.items() if m.split(".")[0] in ("invoices", "payments", "subscriptions")}
        assert {m for m, f in stocks.items() if f.quantity} == set(expected)


async def test_sagas_are_paged_and_found(projected: Projected) -> None:
    async with projected.reader.of(TENANT) as connection:
        seen: list[str] = []
        under_way: dict[tuple[str, str], list[datetime]] = {}
        cursor = None
        while True:
            page = await sagas.page(connection, TENANT, request=PageRequest(limit=9, starting_after=cursor))
            seen += [item.state.saga_id for item in page.items]
            for each in page.items:
                if each.state.ended_at is None:
                    under_way.setdefault((each.state.saga, each.state.state), []).append(each.state.started_at)
            if not page.has_more:
                break
            cursor = seen[-1]
        assert len(seen) == len(set(seen)) > sum(map(len, under_way.values())) > 0
        counted = {(each.saga, each.state): each[2:] for each in await sagas.counts(connection, TENANT)}
        assert counted == {key: (len(started), min(started)) for key, started in under_way.items()}
        found = await sagas.get(connection, TENANT, seen[0])
        assert found is not None
        assert found.state.steps
        waiting = await sagas.page(connection, TENANT, saga="charge", state="waiting", request=PageRequest(limit=100))
        invoiced = {item.state.subject for item in waiting.items}
        for invoice_id in invoiced:
            assert projected.history.state(TENANT, STREAMS["invoice"], invoice_id).status == "open"
