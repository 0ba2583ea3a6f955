"""What is decided about journal entries: posting one by hand, and reversing it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.customer import CUSTOMER
from domain.kernel.accounts import CONTROL_ACCOUNTS, Entry
from domain.kernel.stream import Decision, Handler, Streams
from domain.ledger.journal_entry import (
    JOURNAL_ENTRY,
    MAX_POSTINGS,
    InvalidJournalEntry,
    IsControlAccount,
    JournalEntryIsReversed,
    JournalEntryPosted,
    JournalEntryReversed,
    PostJournalEntry,
    ReverseJournalEntry,
)


def post_journal_entry(command: PostJournalEntry, streams: Streams, now: datetime) -> Decision:
    """Raises UnbalancedEntry, UnknownAccount. Postings may be about customers, who must exist."""
    JOURNAL_ENTRY.check_new(streams, command.entry_id)
    if not 2 <= len(command.postings) <= MAX_POSTINGS:
        raise InvalidJournalEntry(postings=len(command.postings))
    balanced = Entry(command.postings)
    for nth, posting in enumerate(balanced.postings):
        if posting.account in CONTROL_ACCOUNTS:
            refused = IsControlAccount(account=posting.account, sum_of=CONTROL_ACCOUNTS[posting.account])
            raise refused.at(f"postings.{nth}.account")
    for customer_id in {posting.customer_id: None for posting in command.postings if posting.customer_id}:
        CUSTOMER.of(streams, customer_id)
    posted = JournalEntryPosted(
        entry_id=command.entry_id,
        postings=balanced.postings,
        memo=command.memo,
        metadata=command.metadata,
        posted_at=now,
    )
    return Decision(now, [JOURNAL_ENTRY.change(posted)])


def reverse_journal_entry(command: ReverseJournalEntry, streams: Streams, now: datetime) -> Decision:
    if JOURNAL_ENTRY.of(streams, command.entry_id).reversed_at is not None:
        raise JournalEntryIsReversed(entry=command.entry_id)
    undone = JournalEntryReversed(entry_id=command.entry_id, memo=command.memo, reversed_at=now)
    return Decision(now, [JOURNAL_ENTRY.change(undone)])


HANDLERS: Final[Mapping[type, Handler]] = {
    PostJournalEntry: post_journal_entry,
    ReverseJournalEntry: reverse_journal_entry,
}
