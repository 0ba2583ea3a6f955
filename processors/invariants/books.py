"""I2: debits equal credits, per tenant and currency: in the log's entries, and in the trial balance people read."""

from typing import Final

from domain.kernel.accounts import Side
from infra.database import Pool
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from processors.invariants.log_pages import head_of, log_pages
from schemas.codec import Codec

TRIAL_BALANCE: Final = """
SELECT tenant_id, currency, sum(debit)::bigint, sum(credit)::bigint FROM read.account_days GROUP BY 1, 2 ORDER BY 1, 2
"""
"""One statement, so one snapshot: entries reach the read model whole."""


async def check_books(pool: Pool, codec: Codec, *, progress: Progress = silent) -> Checked:
    """Add everything up. An entry cannot be constructed unbalanced; this is about what was stored and folded."""
    findings = Findings(Invariant.BOOKS)
    debit_sums: dict[tuple[str, str], int] = {}
    credit_sums: dict[tuple[str, str], int] = {}
    async for page in log_pages(pool, to=await head_of(pool), progress=progress):
        for recorded in page:
            if recorded.postings is None:
                continue
            findings.count("entries")
            for posting in codec.decode_entry(recorded.postings).postings:
                findings.count("postings")
                side = debit_sums if posting.side is Side.DEBIT else credit_sums
                book = recorded.tenant_id, str(posting.amount.currency)
                side[book] = side.get(book, 0) + posting.amount.amount
    for book in sorted(debit_sums.keys() | credit_sums.keys()):
        findings.count("books (tenant and currency)")
        _balanced("log", book, debit_sums.get(book, 0), credit_sums.get(book, 0), findings)
    for tenant_id, currency, debit, credit in await pool.fetch(TRIAL_BALANCE):
        findings.count("trial balances")
        _balanced("trial balance", (tenant_id, currency), debit, credit, findings)
    return findings.checked()


def _balanced(where: str, book: tuple[str, str], debit: int, credit: int, findings: Findings) -> None:
    if debit != credit:
        findings.differ(where, "/".join(book), f"debits {debit}, credits {credit}, difference {debit - credit}")
