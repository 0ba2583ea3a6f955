"""Manual journal entries and whether they were reversed."""

from domain.ledger.journal_entry import JOURNAL_ENTRY, JournalEntry
from projections.read_model import Projection
from projections.stream_rows import stream_model

TABLE = stream_model(
    JOURNAL_ENTRY,
    JournalEntry,
    name="journal_entries",
    version=1,
    projection=Projection.BILLING,
    texts=("memo",),
    sorted_by="posted_at",
)
