"""A customer's statement: what moved what they owe, entry by entry, with the balance that each leaves.

The balance is what is due on their invoices less what they have with us: the receivable less the customer's balance, as
the books have both. So whatever those accounts say, the statement says, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from domain.kernel.accounts import ALLOWANCES, BAD_DEBT, CUSTOMER_BALANCE, RECEIVABLE
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from projections.read_model import Record
from projections.reading import FIRST_PAGE, Page, PageRequest, Reader, UnknownCursor
from schemas.codec import decode_event


class StatementMovement(StrEnum):
    """What a line of a statement is about."""

    INVOICE = "invoice"
    INVOICE_VOIDED = "invoice_voided"
    PAYMENT = "payment"
    PAYMENT_REVERSED = "payment_reversed"
    CREDIT_NOTE = "credit_note"
    CREDIT_NOTE_VOIDED = "credit_note_voided"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    BALANCE_APPLIED = "balance_applied"
    WRITE_OFF = "write_off"
    RECOVERY = "recovery"


MOVEMENTS: Final[Mapping[str, StatementMovement]] = {
    "invoice.finalized": StatementMovement.INVOICE,
    "invoice.imported": StatementMovement.INVOICE,
    "invoice.voided": StatementMovement.INVOICE_VOIDED,
    "invoice.paid": StatementMovement.PAYMENT,
    "invoice.partly_paid": StatementMovement.PAYMENT,
    "invoice.payment_imported": StatementMovement.PAYMENT,
    "invoice.payment_reversed": StatementMovement.PAYMENT_REVERSED,
    "invoice.reopened": StatementMovement.REFUND,
    "invoice.refund_failed": StatementMovement.REFUND_FAILED,
    "invoice.balance_applied": StatementMovement.BALANCE_APPLIED,
    "invoice.marked_uncollectible": StatementMovement.WRITE_OFF,
    "invoice.recovered": StatementMovement.RECOVERY,
    "credit_note.issued": StatementMovement.CREDIT_NOTE,
    "credit_note.voided": StatementMovement.CREDIT_NOTE_VOIDED,
    "payment.captured": StatementMovement.PAYMENT,
    "refund.requested": StatementMovement.REFUND,
    "refund.failed": StatementMovement.REFUND_FAILED,
}
"""By the event that posts it. A refund is on its way from the moment that it is requested: that it succeeds moves
nothing any more of what is the customer's. What it makes due again is a line of its own, which the invoice posts.
"""


class Line(NamedTuple):
    """An entry: what it added to what the customer owes (`debit`), what it took off, and what they owe after it.

    What changes nothing of that has both alike: a balance that pays an invoice, a refund that is an allowance. Below
    zero the customer is owed. `number` is that of the credit note, else of the invoice.
    """

    entry_id: str
    movement: StatementMovement
    effective_at: datetime
    invoice_id: str | None
    credit_note_id: str | None
    payment_id: str | None
    refund_id: str | None
    number: str | None
    debit: Money
    credit: Money
    balance: Money


class CurrencyBalance(NamedTuple):
    """What the customer owed when the period began, what it added and took off."""

    opening: Money
    debit: Money
    credit: Money

    @property
    def closing(self) -> Money:
        """What they owed at its end."""
        return self.opening + self.debit - self.credit


class Statement(NamedTuple):
    """The balances of each currency, and a page of the lines, the earliest first."""

    balances: Sequence[CurrencyBalance]
    lines: Page[Line]


_AMOUNT: Final = "sum((p.amount ->> 'amount')::bigint)"
_OWN: Final = f"p.account IN ('{RECEIVABLE.code}', '{CUSTOMER_BALANCE.code}')"
_ON_BOTH_SIDES: Final = (
    f"p.account = '{ALLOWANCES.code}' OR p.account = '{BAD_DEBT.code}' AND e.event_type <> ALL ($9::text[])"
)
"""What we bear: an allowance that is refunded, and what happens to what was written off, change nothing of the balance
and are told all the same.
"""
_INTO_AND_OUT_OF_BAD_DEBT: Final = ("invoice.marked_uncollectible", "invoice.recovered")
_STATEMENT: Final = f"""
WITH movements AS (
    SELECT e.entry_id, e.position, e.effective_at, e.event_type, p.amount ->> 'currency' AS currency,
        coalesce({_AMOUNT} FILTER (WHERE p.side = 'debit' AND {_OWN} OR {_ON_BOTH_SIDES}), 0) AS debit,
        coalesce({_AMOUNT} FILTER (WHERE p.side = 'credit' AND {_OWN} OR {_ON_BOTH_SIDES}), 0) AS credit
    FROM read.ledger_entries e, jsonb_to_recordset(e.postings) AS p (account text, side text, amount jsonb)
    WHERE e.tenant_id = $1 AND e.subject = $2 AND e.effective_at < $4 AND e.event_type = ANY ($5::text[])
    GROUP BY 1, 2, 3, 4, 5
), lines AS (
    SELECT *, sum(debit - credit) OVER (PARTITION BY currency ORDER BY effective_at, position) AS balance
    FROM movements
)
SELECT NULL AS entry_id, NULL::bigint AS position, NULL::timestamptz AS effective_at, NULL AS event_type, currency,
    coalesce(sum(debit) FILTER (WHERE effective_at >= $3), 0)::bigint AS debit,
    coalesce(sum(credit) FILTER (WHERE effective_at >= $3), 0)::bigint AS credit,
    coalesce(sum(debit - credit) FILTER (WHERE effective_at < $3), 0)::bigint AS balance
FROM lines GROUP BY currency
UNION ALL
(
    SELECT entry_id, position, effective_at, event_type, currency, debit::bigint, credit::bigint, balance::bigint
    FROM lines WHERE effective_at >= $3 AND (effective_at, position) > ($6, $7)
    ORDER BY effective_at, position LIMIT $8
)
"""  # noqa: S608  constants
_CURSOR: Final = (
    "SELECT effective_at, position FROM read.ledger_entries WHERE tenant_id = $1 AND subject = $2 AND entry_id = $3"
)
_FACTS: Final = "SELECT position, payload FROM log.events WHERE tenant_id = $1 AND position = ANY ($2::bigint[])"
_PAID: Final = "SELECT payment_id, invoice_id FROM read.payments WHERE tenant_id = $1 AND payment_id = ANY ($2::text[])"
_NUMBERS: Final = """
SELECT invoice_id, number FROM read.invoices WHERE tenant_id = $1 AND invoice_id = ANY ($2::text[])
UNION ALL
SELECT credit_note_id, number FROM read.credit_notes WHERE tenant_id = $1 AND credit_note_id = ANY ($2::text[])
"""
_OF_A_LINE: Final = ("invoice_id", "credit_note_id", "payment_id", "refund_id")


async def statement(
    connection: Reader,
    tenant_id: str,
    customer_id: str,
    *,
    since: datetime,
    before: datetime,
    request: PageRequest = FIRST_PAGE,
) -> Statement:
    """What was effective from `since` until `before` (exclusive). Forwards only. Raises UnknownCursor.

    It costs a walk over all of the customer's entries until then, as the opening balance is their sum.
    """
    after: Record | None = None
    if request.starting_after is not None:
        after = await connection.fetchrow(_CURSOR, tenant_id, customer_id, request.starting_after)
        if after is None:
            raise UnknownCursor(request.starting_after)
    found = await connection.fetch(
        _STATEMENT,
        tenant_id,
        customer_id,
        since,
        before,
        list(MOVEMENTS),
        since if after is None else after["effective_at"],
        -1 if after is None else after["position"],
        request.limit + 1,
        list(_INTO_AND_OUT_OF_BAD_DEBT),
    )
    balances = [
        CurrencyBalance(*(Money(each[name], CurrencyCode(each["currency"])) for name in ("balance", "debit", "credit")))
        for each in found
        if each["entry_id"] is None
    ]
    entries = [each for each in found if each["entry_id"] is not None]
    lines = await _lines(connection, tenant_id, entries[: request.limit])
    return Statement(
        sorted(balances, key=lambda each: each.opening.currency), Page(lines, len(entries) > request.limit)
    )


async def _lines(connection: Reader, tenant_id: str, entries: Sequence[Record]) -> list[Line]:
    """Entries with the documents that they are of, which their events name."""
    named: dict[int, dict[str, str | None]] = {}
    for row in await connection.fetch(_FACTS, tenant_id, [each["position"] for each in entries]):
        event = decode_event(row["payload"])
        named[row["position"]] = {name: getattr(event, name, None) for name in _OF_A_LINE}
    found = named.values()
    paid = await _looked_up(connection, _PAID, tenant_id, (each["payment_id"] for each in found))
    for each in found:
        each["invoice_id"] = each["invoice_id"] or paid.get(each["payment_id"])
    documents = (each["credit_note_id"] or each["invoice_id"] for each in found)
    numbers = await _looked_up(connection, _NUMBERS, tenant_id, documents)
    return [_line(entry, named[entry["position"]], numbers) for entry in entries]


async def _looked_up(
    connection: Reader, sql: str, tenant_id: str, ids: Iterable[str | None]
) -> Mapping[str | None, str | None]:
    """What stands beside each of these ids."""
    wanted = sorted({each for each in ids if each is not None})
    return {row[0]: row[1] for row in await connection.fetch(sql, tenant_id, wanted)} if wanted else {}


def _line(entry: Record, named: Mapping[str, str | None], numbers: Mapping[str | None, str | None]) -> Line:
    currency = CurrencyCode(entry["currency"])
    return Line(
        entry_id=entry["entry_id"],
        movement=MOVEMENTS[entry["event_type"]],
        effective_at=entry["effective_at"],
        **named,
        number=numbers.get(named["credit_note_id"] or named["invoice_id"]),
        debit=Money(entry["debit"], currency),
        credit=Money(entry["credit"], currency),
        balance=Money(entry["balance"], currency),
    )
