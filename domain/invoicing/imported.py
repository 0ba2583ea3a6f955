"""Invoices of another system: what it billed, and what came for it there, brought in with opening balances.

Nothing is billed by that. What was billed there is owed here against the account of opening balances, not against
revenue and tax, which were booked where it was billed; what was paid there is taken from both again. The events are of
the invoice's stream.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.number_series import prefix_held, prefixes_of
from domain.kernel.accounts import OPENING_BALANCES, RECEIVABLE, Account, Entry, transfer
from domain.kernel.currency import CurrencyCode
from domain.kernel.metadata import Metadata
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Take

OF_ANOTHER_SYSTEM: Final = ""
"""The series of its number: none of ours."""

_HOLDER: Final = "imported"
"""Who holds the prefixes of all imported numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportInvoice:
    """Bring in an invoice as another system issued it. The lines are what was billed, tax included; `amount_paid` of it
    came there, the last of it at `paid_at`.
    """

    invoice_id: str
    customer_id: str
    number: str
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    amount_paid: Money | None
    issued_at: datetime
    due_at: datetime
    paid_at: datetime | None
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportInvoicePayment:
    """Bring in what came for an imported invoice where it was billed. `reference` is the payment's own, there."""

    invoice_id: str
    amount: Money
    reference: str | None
    paid_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceImported:
    """An invoice that another system issued at `issued_at` under its own number. `total` is the sum of the lines."""

    invoice_id: str
    customer_id: str
    number: str
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    total: Money
    test_clock_id: str | None
    metadata: Metadata
    issued_at: datetime
    due_at: datetime
    imported_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePaymentImported:
    """`amount` of an imported invoice had come at `paid_at`, where it was billed: nobody is charged here."""

    invoice_id: str
    amount: Money
    reference: str | None
    paid_at: datetime
    imported_at: datetime


ImportedEvent = InvoiceImported | InvoicePaymentImported


class ImportedNumberTaken(Refusal):
    """An invoice of this number was imported before."""

    code = "imported_number_taken"
    param = "number"


class NumberOfSeries(Refusal):
    """A series of your documents prints this number, or did: give it another prefix first, or import another number."""

    code = "imported_number_of_series"
    param = "number"


class NotYet(Refusal):
    """What is imported has happened: this time is still to come."""

    code = "imported_from_the_future"
    kind = RefusalKind.INVALID


class PaidAboveDue(Refusal):
    """More was paid than was due: import what the invoice took, and credit the rest to the customer."""

    code = "imported_payment_above_due"
    kind = RefusalKind.INVALID


class InvoiceNotImported(Refusal):
    """The invoice was billed here, and what comes for it is recorded here."""

    code = "invoice_not_imported"


def as_issued(event: InvoiceImported) -> InvoiceFinalized:
    """How it stands: as if it had been finalized here when it was issued there, to be paid by hand, without taxes."""
    return InvoiceFinalized(
        invoice_id=event.invoice_id,
        customer_id=event.customer_id,
        subscription_id=None,
        number=event.number,
        series=OF_ANOTHER_SYSTEM,
        collection=CollectionMethod.SEND_INVOICE,
        currency=event.currency,
        lines=event.lines,
        total=event.total,
        applied=Money.zero(event.currency),
        test_clock_id=event.test_clock_id,
        finalized_at=event.issued_at,
        due_at=event.due_at,
    )


def postings(event: ImportedEvent, customer_id: str) -> Entry | None:
    """Imported: receivable to opening balances; what was paid there: back."""
    match event:
        case InvoiceImported(total=amount):
            accounts = RECEIVABLE, OPENING_BALANCES
        case InvoicePaymentImported(amount=amount):
            accounts = OPENING_BALANCES, RECEIVABLE
    return _moved(amount, *accounts, customer_id)


def claims(event: InvoiceImported) -> tuple[Claim, ...]:
    """Its number is one invoice's, and no series takes a prefix with which it would print that number some day."""
    number = event.number
    return (
        Take("invoice.imported_number", number, event.invoice_id, lambda: ImportedNumberTaken(number=number)),
        *(
            claim
            for prefix in prefixes_of(number)
            for claim in prefix_held(prefix, _HOLDER, lambda: _of_series(number))
        ),
    )


def _of_series(number: str) -> NumberOfSeries:
    return NumberOfSeries(number=number)


def voided(opening: Money, owed_on: Account, customer_id: str) -> Entry | None:
    """What an imported invoice had posted, reversed; what is owed stands in bad debt where it was written off."""
    return _moved(opening, OPENING_BALANCES, owed_on, customer_id)


def _moved(amount: Money, debit_to: Account, credit_to: Account, customer_id: str) -> Entry | None:
    if amount.is_zero:
        return None
    return transfer(amount, debit_to=debit_to, credit_to=credit_to, customer_id=customer_id)


EVENTS: dict[str, type] = {
    "invoice.imported": InvoiceImported,
    "invoice.payment_imported": InvoicePaymentImported,
}
