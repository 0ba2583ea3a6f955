"""Manual journal entries and whether they were reversed."""

from domain.ledger.journal_entry import JOURNAL_ENTRY, JournalEntry
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.stream_rows import Found, stream_model

TABLE = stream_model(
    JOURNAL_ENTRY,
    JournalEntry,
    name="journal_entries",
    version=1,
    projection=Projection.BILLING,
    sorted_by="posted_at",
)


async def get(connection: Reader, tenant_id: str, entry_id: str) -> Found[JournalEntry] | None:
    """The entry."""
    return await current(connection, TABLE, JOURNAL_ENTRY, tenant_id, entry_id)


async def page(
    connection: Reader, tenant_id: str, *, posted: Between = ANY_TIME, request: PageRequest = FIRST_PAGE
) -> Page[Found[JournalEntry]]:
    """Entries, newest first."""
    return await reading.page(connection, TABLE, tenant_id, where={}, created=posted, request=request)
