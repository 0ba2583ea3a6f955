"""The checks that read the log's entries, I2 and I8: one walk over the log for all of them, each entry decoded once."""

from collections.abc import Collection
from typing import Final, Protocol

from domain.kernel.accounts import Entry
from infra.database import Pool
from infra.event_store.port import Recorded
from processors.invariants.books import Books
from processors.invariants.documents import Documents
from processors.invariants.findings import Checked, Invariant, Progress, silent
from processors.invariants.log_pages import head_of, log_pages
from schemas.codec import Codec

OF_ENTRIES: Final = frozenset({Invariant.BOOKS, Invariant.DOCUMENTS})


class EntryCheck(Protocol):
    """A check that is shown every event with its entry, in position order, and then says what it found."""

    def take(self, recorded: Recorded, entry: Entry | None) -> None: ...

    async def checked(self, pool: Pool) -> Checked: ...


async def check_entries(
    pool: Pool, codec: Codec, wanted: Collection[Invariant] = OF_ENTRIES, *, progress: Progress = silent
) -> dict[Invariant, Checked]:
    """What those of the wanted invariants that read entries come to."""
    checks: dict[Invariant, EntryCheck] = {}
    if Invariant.BOOKS in wanted:
        checks[Invariant.BOOKS] = Books()
    if Invariant.DOCUMENTS in wanted:
        checks[Invariant.DOCUMENTS] = Documents(codec)
    async for page in log_pages(pool, to=await head_of(pool), progress=progress):
        for recorded in page:
            entry = None if recorded.postings is None else codec.decode_entry(recorded.postings)
            for check in checks.values():
                check.take(recorded, entry)
    return {invariant: await check.checked(pool) for invariant, check in checks.items()}
