"""A manual journal entry: what book-keepers post by hand, and the reversal that undoes it. Never changed or deleted.

It is a document, so its metadata are what it was posted with.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.accounts import Entry, Posting, reversal
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic

MAX_POSTINGS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PostJournalEntry:
    entry_id: str
    postings: tuple[Posting, ...]
    memo: str
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseJournalEntry:
    entry_id: str
    memo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntryPosted:
    entry_id: str
    postings: tuple[Posting, ...]
    memo: str
    metadata: Metadata = ()
    posted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntryReversed:
    entry_id: str
    memo: str
    reversed_at: datetime


JournalEvent = JournalEntryPosted | JournalEntryReversed


class JournalEntryNotFound(Refusal):
    """There is no such journal entry."""

    code = "journal_entry_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "entry"


class JournalEntryAlreadyExists(Refusal):
    """A journal entry of this id exists already."""

    code = "journal_entry_already_exists"


class JournalEntryIsReversed(Refusal):
    """The journal entry was reversed already."""

    code = "journal_entry_reversed"


class InvalidJournalEntry(Refusal):
    """A journal entry has 2 to 100 postings."""

    code = "invalid_journal_entry"
    kind = RefusalKind.INVALID
    param = "postings"


class IsControlAccount(Refusal):
    """A control account is changed by its documents, never by hand: void or pay an invoice, refund a payment."""

    code = "control_account"
    kind = RefusalKind.INVALID
    param = "postings"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    entry_id: str
    postings: tuple[Posting, ...]
    memo: str
    metadata: Metadata
    posted_at: datetime
    reversed_at: datetime | None


def evolve(journal_entry: JournalEntry | None, event: JournalEvent) -> JournalEntry:
    if isinstance(event, JournalEntryPosted):
        return JournalEntry(
            entry_id=event.entry_id,
            postings=event.postings,
            memo=event.memo,
            metadata=event.metadata,
            posted_at=event.posted_at,
            reversed_at=None,
        )
    assert journal_entry is not None, "the first event of a journal entry is journal_entry.posted"
    return replace(journal_entry, reversed_at=event.reversed_at)


def postings(event: JournalEvent, journal_entry: JournalEntry) -> Entry | None:
    """The entry itself, or its mirror image."""
    booked = Entry(journal_entry.postings)
    return booked if isinstance(event, JournalEntryPosted) else reversal(booked)


EVENTS: dict[str, type] = {
    "journal_entry.posted": JournalEntryPosted,
    "journal_entry.reversed": JournalEntryReversed,
}

JOURNAL_ENTRY: Stream[JournalEntry] = Stream(
    name="journal_entry",
    id_field="entry_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda journal_entry: None,
    not_found=JournalEntryNotFound,
    already_exists=JournalEntryAlreadyExists,
    postings=postings,
)
