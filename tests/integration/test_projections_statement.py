"""A customer's statement over random histories: each line, each balance, and what the books say of the same day."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from api.http.reading import TenantReader
from domain.kernel.accounts import CUSTOMER_BALANCE, RECEIVABLE, Entry, Posting, Side
from host.embedded.databases import PostgresServer
from infra.event_store.port import Recorded
from projections.models import account_balances
from projections.models.ledger_entries import AsOf
from projections.reading import PageRequest, Reader, UnknownCursor
from projections.statement import MOVEMENTS, Line, Statement, StatementMovement, statement
from schemas.codec import decode_entry
from testing.api_client import projected
from testing.histories import History
from testing.random_histories import scramble
from testing.services import fresh_database
from tests.lengths import LENGTH

TENANT = "acme"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
EVERYTHING = 2**62
OWN = {RECEIVABLE.code: 1, CUSTOMER_BALANCE.code: 1}


@dataclass
class Scene:
    """A history with its read models."""

    history: History
    reader: TenantReader

    def posted(self) -> dict[str, list[tuple[Recorded, Entry]]]:
        """The entries of each customer, in the order in which they count."""
        found: dict[str, list[tuple[Recorded, Entry]]] = {}
        for event in self.history.events:
            customer = event.partition_key.removeprefix(f"{TENANT}:")
            if event.tenant_id == TENANT and event.postings is not None and customer.startswith("cus_"):
                found.setdefault(customer, []).append((event, decode_entry(event.postings)))
        return {
            customer: sorted(entries, key=lambda each: (each[0].effective_at, each[0].position))
            for customer, entries in found.items()
        }


@pytest.fixture(scope="module", params=range(LENGTH.scaled(2)))
async def scene(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, template_database: str
) -> AsyncIterator[Scene]:
    history = scramble(History(41 + request.param), (TENANT, "other"), 900)
    async with (
        fresh_database(postgres_server, template_database) as database,
        projected(database, history) as reader,
    ):
        yield Scene(history, reader)


def signed(posting: Posting) -> int:
    return posting.amount.amount if posting.side is Side.DEBIT else -posting.amount.amount


def owed(entry: Entry) -> int:
    """What an entry adds to what is due, less what the customer has with us."""
    return sum(signed(posting) for posting in entry.postings if posting.account in OWN)


async def whole(connection: Reader, customer: str, since: datetime, before: datetime, limit: int) -> Statement:
    """Page by page; every page has the same balances."""
    lines: list[Line] = []
    after: str | None = None
    while True:
        request = PageRequest(limit=limit, starting_after=after)
        found = await statement(connection, TENANT, customer, since=since, before=before, request=request)
        lines += found.lines.items
        if not found.lines.has_more:
            return found._replace(lines=found.lines._replace(items=lines))
        assert len(found.lines.items) == limit
        after = found.lines.items[-1].entry_id


async def test_the_lines_are_the_customers_entries_in_order_and_run_to_what_they_owe(scene: Scene) -> None:
    movements: set[StatementMovement] = set()
    async with scene.reader.of(TENANT) as connection:
        for customer, entries in scene.posted().items():
            told = [(event, entry) for event, entry in entries if event.event_type != "refund.succeeded"]
            found = await whole(connection, customer, BEGINNING, datetime(2200, 1, 1, tzinfo=UTC), 3)
            lines = found.lines.items
            assert [(line.entry_id, line.movement) for line in lines] == [
                (event.event_id, MOVEMENTS[event.event_type]) for event, _ in told
            ]
            running = 0
            for line, (_, entry) in zip(lines, told, strict=True):
                running += owed(entry)
                assert line.debit.amount - line.credit.amount == owed(entry)
                assert line.balance.amount == running
                assert not line.debit.is_negative
                assert not line.credit.is_negative
                assert line.debit.amount or line.credit.amount
            movements |= {line.movement for line in lines}
            assert [each.closing.amount for each in found.balances] == ([running] if entries else [])
    assert len(movements) > 6


async def test_every_period_begins_and_ends_with_what_the_books_held(scene: Scene) -> None:
    days = sorted({event.effective_at.date() for event in scene.history.events})
    async with scene.reader.of(TENANT) as connection:
        for nth, customer in enumerate(sorted(scene.posted())):
            first, last = sorted((days[nth * 7 % len(days)], days[nth * 13 % len(days)]))
            since, before = midnight(first), midnight(last + timedelta(days=1))
            found = await whole(connection, customer, since, before, 100)
            (opening, closing) = [await held(connection, customer, moment) for moment in (since, before)]
            assert sum(each.opening.amount for each in found.balances) == opening
            assert sum(each.closing.amount for each in found.balances) == closing
            lines = found.lines.items
            assert all(since <= line.effective_at < before for line in lines)
            for each in found.balances:
                own = [line for line in lines if line.debit.currency == each.opening.currency]
                assert each.debit.amount == sum(line.debit.amount for line in own)
                assert each.credit.amount == sum(line.credit.amount for line in own)
                assert (own[-1].balance if own else each.opening) == each.closing


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


async def held(connection: Reader, customer: str, before: datetime) -> int:
    """Receivable less customer balance."""
    accounts = await account_balances.customer_accounts(
        connection, TENANT, customer, as_of=AsOf(position=EVERYTHING, effective_before=before)
    )
    return sum((each.debit - each.credit).amount for each in accounts if each.account.code in OWN)


async def test_a_line_names_the_documents_that_it_is_of(scene: Scene) -> None:
    seen: dict[StatementMovement, set[str]] = {}
    async with scene.reader.of(TENANT) as connection:
        for customer in scene.posted():
            found = await whole(connection, customer, BEGINNING, datetime(2200, 1, 1, tzinfo=UTC), 50)
            for line in found.lines.items:
                named = {
                    name
                    for name in ("invoice_id", "credit_note_id", "payment_id", "refund_id", "number")
                    if getattr(line, name) is not None
                }
                seen[line.movement] = seen.get(line.movement, named) & named
    assert seen[StatementMovement.INVOICE] == {"invoice_id", "number"}
    assert seen[StatementMovement.CREDIT_NOTE] == {"invoice_id", "credit_note_id", "number"}
    assert seen[StatementMovement.REFUND] >= {"payment_id", "refund_id"}


async def test_what_is_posted_for_a_customer_is_a_movement_or_was_told_before(scene: Scene) -> None:
    posted = {event.event_type for entries in scene.posted().values() for event, _ in entries}
    assert posted <= {*MOVEMENTS, "refund.succeeded"}


async def test_a_line_of_nobodys_is_no_cursor(scene: Scene) -> None:
    async with scene.reader.of(TENANT) as connection:
        with pytest.raises(UnknownCursor):
            await statement(
                connection,
                TENANT,
                next(iter(scene.posted())),
                since=BEGINNING,
                before=datetime(2200, 1, 1, tzinfo=UTC),
                request=PageRequest(starting_after="evt_nobody"),
            )
