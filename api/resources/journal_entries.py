"""Manual journal entries: what book-keepers post by hand, and the reversal that undoes it."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.facts import PostingResource, posting_resource
from api.http.fields import Body, CustomerId, Line, LongText, New, PositiveMoney
from api.http.operations import Intention
from api.http.resource import Resource
from api.resources.tax_fields import Jurisdiction
from domain.approvals.approval import ApprovalRequired
from domain.customers.customer import CustomerNotFound
from domain.identity.permissions import Permission
from domain.kernel.accounts import CHART, CONTROL_ACCOUNTS, Posting, Side, UnbalancedEntry, UnknownAccount
from domain.kernel.identifiers import JOURNAL_ENTRY as PREFIX
from domain.ledger.journal_entry import (
    JOURNAL_ENTRY,
    MAX_POSTINGS,
    IsControlAccount,
    JournalEntry,
    JournalEntryIsReversed,
    PostJournalEntry,
    ReverseJournalEntry,
)
from infra.ids import new_id
from projections.models import journal_entries as read

_ID: Final = "je_01m7ywe9z7e398x54gfbrtqnk7"

BY_HAND: Final = sorted(CHART.keys() - CONTROL_ACCOUNTS.keys())
AccountCode = Annotated[str, Field(json_schema_extra={"enum": BY_HAND}, max_length=64)]


class NewPosting(Body):
    """One side of an entry."""

    account: AccountCode
    side: Side
    amount: PositiveMoney
    customer: CustomerId | None = None
    jurisdiction: Jurisdiction | None = None

    @property
    def value(self) -> Posting:
        return Posting(self.account, self.side, self.amount.value, self.customer, self.jurisdiction)


class NewJournalEntry(New):
    """A balanced entry: per currency, debits equal credits."""

    postings: Annotated[tuple[NewPosting, ...], Field(min_length=2, max_length=MAX_POSTINGS)]
    memo: LongText


class Reversal(Body):
    """Why the entry is undone."""

    memo: Line


class JournalEntryResource(TypedDict):
    """A manual entry."""

    id: str
    object: Literal["journal_entry"]
    postings: list[PostingResource]
    memo: str
    metadata: dict[str, str]
    created: datetime
    reversed_at: datetime | None


def journal_entry_resource(entry: JournalEntry) -> JournalEntryResource:
    """A manual entry as it is answered."""
    return {
        "id": entry.entry_id,
        "object": "journal_entry",
        "postings": [posting_resource(posting) for posting in entry.postings],
        "memo": entry.memo,
        "metadata": dict(entry.metadata),
        "created": entry.posted_at,
        "reversed_at": entry.reversed_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "journal_entry",
    "postings": [
        {
            "account": "cash",
            "side": "debit",
            "amount": {"amount": 100000, "currency": "EUR"},
            "customer": None,
            "jurisdiction": None,
        },
        {
            "account": "equity",
            "side": "credit",
            "amount": {"amount": 100000, "currency": "EUR"},
            "customer": None,
            "jurisdiction": None,
        },
    ],
    "memo": "Paid-in capital",
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "reversed_at": None,
}

JOURNAL_ENTRIES: Final = Resource(
    tag="journal entries",
    about="What is posted by hand.",
    stream=JOURNAL_ENTRY,
    table=read.TABLE,
    path="/v1/ledger/journal-entries",
    prefix=PREFIX,
    seen_with=Permission.LEDGER_READ,
    changed_with=Permission.LEDGER_WRITE,
    shows=JournalEntryResource,
    render=journal_entry_resource,
    example=EXAMPLE,
    plural="journal_entries",
)


_KNOWN: Final = """
SELECT stream_id FROM log.events
WHERE tenant_id = $1 AND stream_type = 'customer' AND stream_id = ANY($2::text[]) AND stream_version = 1
"""


async def check_customers(call: Call, customer_ids: set[str]) -> None:
    """An entry is decided without its customers' streams, so that they are the tenant's own is checked here."""
    if not customer_ids:
        return
    async with call.reading() as connection:
        rows = await connection.fetch(_KNOWN, call.tenant_id, sorted(customer_ids))
    for missing in sorted(customer_ids - {row["stream_id"] for row in rows}):
        raise CustomerNotFound(customer=missing)


@JOURNAL_ENTRIES.creates(
    body=NewJournalEntry,
    body_example={"postings": EXAMPLE["postings"], "memo": "Paid-in capital"},
    refusals=(UnbalancedEntry, UnknownAccount, IsControlAccount, CustomerNotFound, ApprovalRequired),
)
async def post_journal_entry(call: Call, body: NewJournalEntry) -> Intention:
    """Post an entry by hand.

    To any account but control accounts, whose balances are what documents add up to: invoices, payments, refunds.
    Above the tenant's limit a second person approves: ask by `POST /v1/approvals`.
    It is a document: nothing of it is ever changed, its metadata neither.
    """
    await check_customers(call, {posting.customer for posting in body.postings if posting.customer is not None})
    entry_id = new_id(PREFIX)
    postings = tuple(posting.value for posting in body.postings)
    command = PostJournalEntry(entry_id=entry_id, postings=postings, memo=body.memo, metadata=body.kept)
    return JOURNAL_ENTRIES.created(entry_id, command)


@JOURNAL_ENTRIES.changes(
    "POST",
    "reverse",
    body=Reversal,
    body_example={"memo": "Booked twice"},
    example={"reversed_at": "2026-01-02T00:00:00Z"},
    refusals=(JournalEntryIsReversed, ApprovalRequired),
)
async def reverse_journal_entry(call: Call, body: Reversal) -> Intention:
    """Undo a manual entry by its mirror image; nothing is ever deleted."""
    entry_id = JOURNAL_ENTRIES.id_of(call)
    return JOURNAL_ENTRIES.changed(entry_id, ReverseJournalEntry(entry_id=entry_id, memo=body.memo))
