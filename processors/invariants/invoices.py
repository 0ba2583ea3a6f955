"""I8, invoice by invoice: what the log posted about each is what it says was billed, credited, applied, paid, is due.

What its own events posted and what payments of it did are added up by account, and compared with its state once it is
settled; after that only credit notes and failed refunds may post about it, and each posts what it says. What was paid
out of band may be reversed, so those are compared at the end; one that a refund makes due again is looked at anew, as
if nothing had been before. Memory grows with these and with the invoices that are not settled.
"""

from collections import Counter
from typing import Final

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.credit_note import Credited, CreditNoteIssued, CreditNoteVoided
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import (
    InvoiceMarkedUncollectible,
    InvoiceRefundFailed,
    InvoiceReopened,
    paid_by_nothing,
)
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
    REFUNDS_PAYABLE,
    REVENUE,
    TAX_PAYABLE,
    Entry,
)
from domain.kernel.money import Money
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

    def after_settlement(self, key: Key, event: object) -> None:
        """Compare what an event posted of a settled one: a credit note, one that is void, or a refund that failed."""
        match event:
            case CreditNoteIssued():
                self._compare(key, credited_by(event.credited))
            case CreditNoteVoided():
                said = credited_by(event.taken_back)
                self._compare(key, {account: -amount for account, amount in said.items()})
            case InvoiceRefundFailed():
                surplus = event.surplus.amount
                self._compare(key, {REFUNDS_PAYABLE.code: -surplus, CUSTOMER_BALANCE.code: surplus})
            case _:
                pass

    def forget(self, key: Key, taken_back: Credited) -> None:
        """Leave out what was posted of a credit note that was issued before the invoice was looked at anew."""
        booked = self._booked.setdefault(key, Counter())
        for account, amount in credited_by(taken_back).items():
            booked[account] += amount

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
        REFUNDS_PAYABLE.code: invoice.amount_reopened.amount,
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


def as_if_nothing_was_before(event: InvoiceReopened, customer_id: str, entry: Entry | None) -> Invoice:
    """A settled invoice of which nothing is known any more, before a refund makes it due again: what is posted about it
    from then on is what it says from then on. That it was written off is told by where it is due again."""
    nothing, at = Money.zero(event.amount.currency), event.reopened_at
    invoice = INVOICE.evolve(
        None,
        InvoiceFinalized(
            invoice_id=event.invoice_id,
            customer_id=customer_id,
            subscription_id=None,
            number="",
            series="",
            collection=CollectionMethod.SEND_INVOICE,
            currency=event.amount.currency,
            lines=(),
            total=nothing,
            applied=nothing,
            test_clock_id=None,
            finalized_at=at,
            due_at=at,
        ),
    )
    accounts = () if entry is None else [posting.account for posting in entry.postings]
    if BAD_DEBT.code in accounts:
        written_off = InvoiceMarkedUncollectible(invoice_id=event.invoice_id, amount=nothing, marked_at=at)
        invoice = INVOICE.evolve(invoice, written_off)
    return INVOICE.evolve(invoice, paid_by_nothing(event.invoice_id, event.amount.currency, at))


def credited_by(credited: Credited) -> dict[str, int]:
    """What a credit note adds to what an invoice says, but for what is due, which the invoice says itself."""
    if credited.is_opening:
        return {OPENING_BALANCES.code: -credited.total.amount, CUSTOMER_BALANCE.code: credited.given_back.amount}
    said = {
        DEFERRED_REVENUE.code: -sum(line.net.amount for line in credited.lines if line.is_deferred),
        REVENUE.code: -sum(line.net.amount for line in credited.lines if not line.is_deferred),
        CUSTOMER_BALANCE.code: credited.given_back.amount,
    }
    for total in credited.tax:
        account = _tax_of(total.jurisdiction)
        said[account] = said.get(account, 0) - total.tax.amount
    return said
