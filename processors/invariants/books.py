"""I2: debits equal credits, per tenant and currency: in the log's entries, and in the trial balance people read."""

from collections import Counter
from typing import Final

from domain.kernel.accounts import Entry, Side
from infra.database import Pool
from infra.event_store.port import Recorded
from processors.invariants.findings import Checked, Findings, Invariant

TRIAL_BALANCE: Final = """
SELECT tenant_id, currency, sum(debit)::bigint, sum(credit)::bigint FROM read.account_days GROUP BY 1, 2 ORDER BY 1, 2
"""
"""One statement, so one snapshot: entries reach the read model whole."""


class Books:
    """Adds everything up. An entry cannot be constructed unbalanced; this is about what was stored and folded."""

    def __init__(self) -> None:
        self._findings = Findings(Invariant.BOOKS)
        self._debits: Counter[tuple[str, str]] = Counter()
        self._credits: Counter[tuple[str, str]] = Counter()

    def take(self, recorded: Recorded, entry: Entry | None) -> None:
        """The next event, with the entry that was recorded with it."""
        if entry is None:
            return
        self._findings.count("entries")
        self._findings.count("postings", len(entry.postings))
        for posting in entry.postings:
            side = self._debits if posting.side is Side.DEBIT else self._credits
            side[recorded.tenant_id, str(posting.amount.currency)] += posting.amount.amount

    async def checked(self, pool: Pool) -> Checked:
        """What it came to, and what the trial balance says."""
        findings = self._findings
        for book in sorted(self._debits.keys() | self._credits.keys()):
            findings.count("books (tenant and currency)")
            _balanced("log", book, self._debits[book], self._credits[book], findings)
        for tenant_id, currency, debit, credit in await pool.fetch(TRIAL_BALANCE):
            findings.count("trial balances")
            _balanced("trial balance", (tenant_id, currency), debit, credit, findings)
        return findings.checked()


def _balanced(where: str, book: tuple[str, str], debit: int, credit: int, findings: Findings) -> None:
    if debit != credit:
        findings.differ(where, "/".join(book), f"debits {debit}, credits {credit}, difference {debit - credit}")
