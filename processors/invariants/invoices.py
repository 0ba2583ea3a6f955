"""I8, invoice by invoice: what the log posted about each is what it says was billed, credited, applied, paid, is due.

What its own events posted and what payments of it did are added up by account, and compared with its state once it is
settled; after that only credit notes may post about it, and each posts what it says. What was paid out of band may be
reversed, so those are compared at the end. Memory grows with these and with the invoices that are not settled.
"""

from collections import Counter
from typing import Final

from domain.invoicing.credit_note import Credited
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.kernel.accounts import (
    BAD_DEBT,
    CASH,
    CHART,
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    GATEWAY_CLEARING,
    OPENING_BALANCES,
    RECEIVABLE,
    REVENUE,
    TAX_PAYABLE,
    Entry,
)
from processors.invariants.findings import Findings

MONEY: Final = "money"
"""What came in for the invoice, out of band or by gateways, as if it were one account."""

_ACCOUNTS: Final = {CASH.code: MONEY, GATEWAY_CLEARING.code: MONEY}
_OWN_SIDE: Final = {code: account.own_side for code, account in CHART.items()}

Key = tuple[str, str]
"""Tenant and invoice."""


class Invoices:
    """Adds up what is posted about each invoice until it is settled."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._booked: dict[Key, Counter[str]] = {}

    def post(self, key: Key, entry: Entry) -> None:
        """What an event posted that was about the invoice."""
        booked = self._booked.setdefault(key, Counter())
        for posting in entry.postings:
            amount = posting.amount.amount
            account = _ACCOUNTS.get(posting.account, posting.account)
            if posting.jurisdiction is not None:
                account = _tax_of(posting.jurisdiction)
            booked[account] += amount if posting.side is _OWN_SIDE[posting.account] else -amount

    def settle(self, key: Key, invoice: Invoice) -> None:
        """Compare one that nothing is to be posted about any more."""
        self._compare(key, said_by(invoice))

    def credit(self, key: Key, credited: Credited, *, is_void: bool) -> None:
        """Compare a credit note of a settled one, or what was posted when that was void."""
        said = credited_by(credited)
        self._compare(key, {account: -amount if is_void else amount for account, amount in said.items()})

    def close(self, unsettled: dict[Key, Invoice]) -> None:
        """Compare what is left at the end of the log: the unsettled ones, and what was posted about settled ones."""
        for key in sorted(self._booked.keys() | unsettled.keys()):
            invoice = unsettled.get(key)
            self._compare(key, {} if invoice is None else said_by(invoice))

    def _compare(self, key: Key, said: dict[str, int]) -> None:
        self._findings.count("invoices")
        booked = self._booked.pop(key, Counter())
        for account in sorted(booked.keys() | said.keys()):
            if booked[account] != said.get(account, 0):
                self._findings.differ(
                    f"{account} of an invoice",
                    "/".join(key),
                    f"the log posted {booked[account]}, the invoice says {said.get(account, 0)}",
                )


def _tax_of(jurisdiction: str) -> str:
    """The tax that is payable to each jurisdiction, as if each had an account of its own."""
    return f"{TAX_PAYABLE.code} of {jurisdiction}"


def said_by(invoice: Invoice) -> dict[str, int]:
    """What an invoice says must have been posted about it: minor units by account, on the account's own side."""
    is_standing = invoice.status not in {InvoiceStatus.DRAFT, InvoiceStatus.VOID}
    if not is_standing:
        return {}
    said = {
        RECEIVABLE.code: 0,
        BAD_DEBT.code: 0,
        DEFERRED_REVENUE.code: sum(line.net.amount for line in invoice.lines if line.is_deferred),
        REVENUE.code: sum(line.net.amount for line in invoice.lines if not line.is_deferred),
        MONEY: invoice.amount_paid.amount + invoice.amount_overpaid.amount,
        OPENING_BALANCES.code: 0,
        CUSTOMER_BALANCE.code: invoice.amount_overpaid.amount - invoice.amount_applied.amount,
    }
    if invoice.opening is not None:
        # Its revenue was booked, and the first of its money came, where it was billed.
        said |= {DEFERRED_REVENUE.code: 0, REVENUE.code: 0, OPENING_BALANCES.code: invoice.opening.amount}
        said[MONEY] -= invoice.total.amount - invoice.opening.amount
    owed_on = BAD_DEBT if invoice.status is InvoiceStatus.UNCOLLECTIBLE else RECEIVABLE
    said[owed_on.code] = invoice.amount_due.amount
    for total in () if invoice.tax is None else invoice.tax.totals:
        account = _tax_of(total.jurisdiction)
        said[account] = said.get(account, 0) + total.tax.amount
    for note in invoice.credit_notes:
        for account, amount in credited_by(note.credited).items() if note.is_in_force else ():
            said[account] = said.get(account, 0) + amount
    return said


def credited_by(credited: Credited) -> dict[str, int]:
    """What a credit note adds to what an invoice says, but for what is due, which the invoice says itself."""
    said = {
        DEFERRED_REVENUE.code: -sum(line.net.amount for line in credited.lines if line.is_deferred),
        REVENUE.code: -sum(line.net.amount for line in credited.lines if not line.is_deferred),
        CUSTOMER_BALANCE.code: credited.given_back.amount,
    }
    for total in credited.tax:
        account = _tax_of(total.jurisdiction)
        said[account] = said.get(account, 0) - total.tax.amount
    return said
