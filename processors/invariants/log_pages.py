"""The log as the checks read it: in pages, each a short statement of its own, up to a head that stands still."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from infra.database import Pool
from infra.event_store.log import PostgresLog
from infra.event_store.port import Recorded
from processors.invariants.findings import Progress, silent

PAGE_EVENTS: Final = 2_000


async def log_pages(
    pool: Pool, *, to: int, after: int = 0, progress: Progress = silent, page_events: int = PAGE_EVENTS
) -> AsyncIterator[Sequence[Recorded]]:
    """Pages of the events with `after` < position <= `to`, in position order."""
    log = PostgresLog(pool)
    while after < to:
        page = [event for event in await log.read(after=after, limit=page_events) if event.position <= to]
        if not page:
            return
        yield page
        after = page[-1].position
        progress(after, to)


async def head_of(pool: Pool) -> int:
    """The position of the last committed event."""
    return await PostgresLog(pool).head()
