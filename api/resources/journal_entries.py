"""Manual journal entries: what book-keepers post by hand, and the reversal that undoes it."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, CustomerId, Line, LongText, MoneyResource, PositiveMoney, money
from api.http.listing import (
    CreatedParameters,
    ListResource,
    NoParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from domain.customers.customer import CustomerNotFound
from domain.kernel.accounts import CHART, Posting, Side, UnbalancedEntry
from domain.kernel.identifiers import JOURNAL_ENTRY as PREFIX
from domain.kernel.stream import Streams
from domain.ledger.journal_entry import (
    JOURNAL_ENTRY,
    MAX_POSTINGS,
    JournalEntry,
    JournalEntryIsReversed,
    JournalEntryNotFound,
    PostJournalEntry,
    ReverseJournalEntry,
)
from infra.ids import new_id
from projections.models import journal_entries as read
from projections.read_model import Projection

JOURNAL_ENTRIES: Final = Operations(tag="journal entries", about="What is posted by hand.")
_ID: Final = "je_01m7ywe9z7e398x54gfbrtqnk7"

AccountCode = Annotated[str, Field(json_schema_extra={"enum": sorted(CHART)}, max_length=64)]


class NewPosting(Body):
    """One side of an entry."""

    account: AccountCode
    side: Side
    amount: PositiveMoney
    customer: CustomerId | None = None


class NewJournalEntry(Body):
    """A balanced entry: per currency, debits equal credits."""

    postings: Annotated[tuple[NewPosting, ...], Field(min_length=2, max_length=MAX_POSTINGS)]
    memo: LongText


class Reversal(Body):
    """Why the entry is undone."""

    memo: Line


class PostingResource(TypedDict):
    """One side of an entry."""

    account: str
    side: Side
    amount: MoneyResource
    customer: str | None


class JournalEntryResource(TypedDict):
    """A manual entry."""

    id: str
    object: Literal["journal_entry"]
    postings: list[PostingResource]
    memo: str
    created: datetime
    reversed_at: datetime | None


def posting_resource(posting: Posting) -> PostingResource:
    """A posting as it is answered."""
    return {
        "account": posting.account,
        "side": posting.side,
        "amount": money(posting.amount),
        "customer": posting.customer_id,
    }


def journal_entry_resource(entry: JournalEntry) -> JournalEntryResource:
    """A manual entry as it is answered."""
    return {
        "id": entry.entry_id,
        "object": "journal_entry",
        "postings": [posting_resource(posting) for posting in entry.postings],
        "memo": entry.memo,
        "created": entry.posted_at,
        "reversed_at": entry.reversed_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "journal_entry",
    "postings": [
        {"account": "cash", "side": "debit", "amount": {"amount": 100000, "currency": "EUR"}, "customer": None},
        {"account": "equity", "side": "credit", "amount": {"amount": 100000, "currency": "EUR"}, "customer": None},
    ],
    "memo": "Paid-in capital",
    "created": "2026-01-01T00:00:00Z",
    "reversed_at": None,
}


_KNOWN: Final = """
SELECT stream_id FROM log.events
WHERE tenant_id = $1 AND stream_type = 'customer' AND stream_id = ANY($2::text[]) AND stream_version = 1
"""


async def _check_customers(call: Call, customer_ids: set[str]) -> None:
    """An entry is decided without its customers' streams, so that they are the tenant's own is checked here."""
    if not customer_ids:
        return
    async with call.reading() as connection:
        rows = await connection.fetch(_KNOWN, call.tenant_id, sorted(customer_ids))
    for missing in sorted(customer_ids - {row["stream_id"] for row in rows}):
        raise CustomerNotFound(customer=missing)


def _decided(streams: Streams, entry_id: str) -> JournalEntryResource:
    return journal_entry_resource(JOURNAL_ENTRY.of(streams, entry_id))


def _path_id(call: Call) -> str:
    return call.id("journal_entry_id", PREFIX, JournalEntryNotFound)


@JOURNAL_ENTRIES.command(
    "POST",
    "/v1/ledger/journal-entries",
    body=NewJournalEntry,
    body_example={"postings": EXAMPLE["postings"], "memo": "Paid-in capital"},
    answers=JournalEntryResource,
    example=EXAMPLE,
    status=201,
    refusals=(UnbalancedEntry, CustomerNotFound),
)
async def post_journal_entry(call: Call, body: NewJournalEntry) -> Intention:
    """Post an entry by hand."""
    await _check_customers(call, {posting.customer for posting in body.postings if posting.customer is not None})
    entry_id = new_id(PREFIX)
    postings = tuple(
        Posting(posting.account, posting.side, posting.amount.value, posting.customer) for posting in body.postings
    )
    return Intention(
        command=PostJournalEntry(entry_id=entry_id, postings=postings, memo=body.memo),
        render=lambda streams: _decided(streams, entry_id),
        location=f"/v1/ledger/journal-entries/{entry_id}",
    )


@JOURNAL_ENTRIES.command(
    "POST",
    "/v1/ledger/journal-entries/{journal_entry_id}/reverse",
    body=Reversal,
    body_example={"memo": "Booked twice"},
    answers=JournalEntryResource,
    example=EXAMPLE | {"reversed_at": "2026-01-02T00:00:00Z"},
    refusals=(JournalEntryNotFound, JournalEntryIsReversed),
)
async def reverse_journal_entry(call: Call, body: Reversal) -> Intention:
    """Undo a manual entry by its mirror image; nothing is ever deleted."""
    entry_id = _path_id(call)
    return Intention(
        command=ReverseJournalEntry(entry_id=entry_id, memo=body.memo),
        render=lambda streams: _decided(streams, entry_id),
    )


@JOURNAL_ENTRIES.query(
    "/v1/ledger/journal-entries/{journal_entry_id}",
    answers=JournalEntryResource,
    example=EXAMPLE,
    parameters=NoParameters,
    refusals=(JournalEntryNotFound,),
    reads=(Projection.BILLING,),
)
async def get_journal_entry(call: Call, _asked: NoParameters) -> JournalEntryResource:
    """Get a manual journal entry."""
    wanted = _path_id(call)
    async with call.reading() as connection:
        found = await read.get(connection, call.tenant_id, wanted)
    if found is None:
        raise JournalEntryNotFound(entry=wanted)
    return journal_entry_resource(found.state)


@JOURNAL_ENTRIES.query(
    "/v1/ledger/journal-entries",
    answers=ListResource[JournalEntryResource],
    example=list_example(EXAMPLE),
    parameters=CreatedParameters,
    reads=(Projection.BILLING,),
)
async def list_journal_entries(call: Call, asked: CreatedParameters) -> ListResource[JournalEntryResource]:
    """List manual journal entries, newest first."""
    request = page_request(call, asked)
    async with call.reading() as connection:
        page = await read.page(connection, call.tenant_id, posted=asked.created, request=request)
    return page_resource(page, request, [journal_entry_resource(found.state) for found in page.items])
