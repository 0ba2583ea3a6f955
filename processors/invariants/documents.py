"""I8: the books and the documents tell one story of each customer, per currency.

The receivable is the sum of what is due on invoices; the customer's balance is the cash that belongs to no invoice,
with what invoices of less than nothing gave. Both sides come from the log alone: one from the postings as they were
recorded, the other from the states of invoices and payments.
"""

from collections import Counter
from typing import Final, NamedTuple

from domain.invoicing.invoice import INVOICE, Invoice, InvoiceStatus
from domain.kernel.accounts import CUSTOMER_BALANCE, RECEIVABLE, Side
from domain.kernel.money import Money
from domain.payments.payment import PAYMENT, Payment, PaymentStatus
from infra.database import Pool
from infra.event_store.port import Recorded
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from processors.invariants.log_pages import head_of, log_pages
from schemas.codec import Codec


class Book(NamedTuple):
    """Whose account it is: its code, and the tenant, customer and currency."""

    account: str
    tenant_id: str
    customer_id: str
    currency: str


CONTROLLED: Final = {
    RECEIVABLE.code: "what is due on invoices",
    CUSTOMER_BALANCE.code: "cash that belongs to no invoice",
}


async def check_documents(pool: Pool, codec: Codec, *, progress: Progress = silent) -> Checked:
    """Fold the documents, add the postings up, compare. Memory grows with what is unsettled, not with the log."""
    findings = Findings(Invariant.DOCUMENTS)
    booked: Counter[Book] = Counter()
    documents = Documents(codec)
    async for page in log_pages(pool, to=await head_of(pool), progress=progress):
        for recorded in page:
            documents.take(recorded)
            if recorded.postings is None:
                continue
            for posting in codec.decode_entry(recorded.postings).postings:
                if posting.account in CONTROLLED:
                    findings.count("postings")
                    book = Book(
                        posting.account, recorded.tenant_id, posting.customer_id or "", str(posting.amount.currency)
                    )
                    grows = (posting.side is Side.DEBIT) == (posting.account == RECEIVABLE.code)
                    booked[book] += posting.amount.amount if grows else -posting.amount.amount
    shown = documents.shown()
    for book in sorted(booked.keys() | shown.keys()):
        findings.count("accounts of customers")
        if booked[book] != shown[book]:
            findings.differ(
                book.account,
                f"{book.tenant_id}/{book.customer_id}/{book.currency}",
                f"the books say {booked[book]}, {CONTROLLED[book.account]} is {shown[book]}",
            )
    return findings.checked()


class Documents:
    """What invoices and payments say is owed and held. Of what is settled only the figure is kept."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._invoices: dict[tuple[str, str], Invoice] = {}
        self._payments: dict[tuple[str, str], Payment | None] = {}
        self._given: Counter[Book] = Counter()

    def take(self, recorded: Recorded) -> None:
        """Fold one event."""
        key = recorded.tenant_id, recorded.stream_id
        if recorded.stream_type == INVOICE.name:
            invoice = INVOICE.evolve(self._invoices.pop(key, None), self._codec.decode_event(recorded.payload))
            if invoice.status in {InvoiceStatus.DRAFT, InvoiceStatus.OPEN}:
                self._invoices[key] = invoice
            elif invoice.status is InvoiceStatus.PAID and invoice.total.is_negative:
                self._given[_book(CUSTOMER_BALANCE.code, key[0], invoice.customer_id, invoice.total)] -= (
                    invoice.total.amount
                )
        elif recorded.stream_type == PAYMENT.name:
            known = self._payments.get(key)
            if known is None and key in self._payments:
                return  # it pays its invoice, whatever is refunded of it
            payment = PAYMENT.evolve(known, self._codec.decode_event(recorded.payload))
            pays_invoice = payment.status is PaymentStatus.SUCCEEDED and payment.is_applied
            self._payments[key] = None if pays_invoice else payment

    def shown(self) -> Counter[Book]:
        """Minor units per customer, currency and account, as the documents have them."""
        shown = self._given.copy()
        for (tenant_id, _), invoice in self._invoices.items():
            if invoice.status is InvoiceStatus.OPEN:
                due = invoice.amount_due
                shown[_book(RECEIVABLE.code, tenant_id, invoice.customer_id, due)] += due.amount
        for (tenant_id, _), payment in self._payments.items():
            if payment is not None and not payment.unapplied.is_zero:
                shown[_book(CUSTOMER_BALANCE.code, tenant_id, payment.customer_id, payment.unapplied)] += (
                    payment.unapplied.amount
                )
        return shown


def _book(account: str, tenant_id: str, customer_id: str, money: Money) -> Book:
    return Book(account, tenant_id, customer_id, str(money.currency))
