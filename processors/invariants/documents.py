"""I8: the books and the documents tell one story of each customer, per currency, of each invoice (`invoices.py`), and
of each discount (`discounts.py`).

What was posted to a control account is what documents say: the receivable is what is due on invoices, refunds payable
are the refunds that are pending. Both sides come from the log alone: one from the entries as they were recorded, the
other from the states of invoices, payments and refunds.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from domain.customers import balance as balances
from domain.customers.customer import CUSTOMER
from domain.discounts.coupon import COUPON
from domain.discounts.discount import DISCOUNT
from domain.invoicing.credit_note import CreditNoteVoided
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.late_usage import InvoiceUsageCutShort
from domain.invoicing.settlement import InvoiceReopened
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.tax_request import InvoiceTaxRequested
from domain.kernel.accounts import (
    ALLOWANCES,
    CHART,
    CONTROL_ACCOUNTS,
    CUSTOMER_BALANCE,
    GATEWAY_CLEARING,
    RECEIVABLE,
    REFUNDS_PAYABLE,
    Account,
    Entry,
)
from domain.kernel.money import Money
from domain.payments import refund as refunds
from domain.payments.payment import PAYMENT, Payment, PaymentStatus
from domain.payments.refund import Refund, RefundStatus
from infra.database import Pool
from infra.event_store.port import Recorded
from processors.invariants.discounts import Discounts
from processors.invariants.findings import Checked, Findings, Invariant
from processors.invariants.invoices import Invoices, as_if_nothing_was_before
from schemas.codec import Codec


class Book(NamedTuple):
    """Whose account it is: its code, and the tenant, customer and currency."""

    account: str
    tenant_id: str
    customer_id: str
    currency: str


_OWN_SIDE: Final = {code: CHART[code].own_side for code in CONTROL_ACCOUNTS}


class Documents:
    """Folds the documents and adds the postings up. Memory grows with what is unsettled, not with the log."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._findings = Findings(Invariant.DOCUMENTS)
        self._booked: Counter[Book] = Counter()
        self._settled: Counter[Book] = Counter()
        self._invoices: dict[tuple[str, str], Invoice] = {}
        self._of_invoices = Invoices(self._findings)
        self._of_discounts = Discounts(self._findings)
        self._payments: dict[tuple[str, str], Payment] = {}
        self._unapplied: set[tuple[str, str]] = set()
        self._refunds: dict[tuple[str, str], _Refunds] = {}
        self._allowed: Counter[tuple[str, str]] = Counter()

    def take(self, recorded: Recorded, entry: Entry | None) -> None:
        """The next event, with the entry that was recorded with it."""
        if entry is not None:
            self._add_up(recorded.tenant_id, entry)
        if recorded.stream_type == INVOICE.name:
            if entry is not None:
                self._of_invoices.post((recorded.tenant_id, recorded.stream_id), entry)
            self._take_invoice(recorded, entry)
        elif recorded.stream_type == CUSTOMER.name:
            if recorded.event_type in balances.EVENTS:
                self._take_balance(recorded)
        elif recorded.stream_type in {COUPON.name, DISCOUNT.name}:
            event = self._codec.decode_event(recorded.payload)
            self._of_discounts.take(recorded.tenant_id, recorded.stream_type, event)
        elif recorded.stream_type == PAYMENT.name:
            if recorded.event_type in refunds.EVENTS:
                self._take_refund(recorded, entry)
            else:
                self._take_payment(recorded, entry)

    async def checked(self, _pool: Pool) -> Checked:
        """The differences between the two."""
        findings, booked, shown = self._findings, self._booked, self.shown()
        self._of_invoices.close(self._invoices)
        self._of_discounts.close()
        for key, pending in sorted(self._refunds.items()):
            self._compare_allowances(key, pending)
        for book in sorted(booked.keys() | shown.keys()):
            findings.count("accounts of customers")
            if booked[book] != shown[book]:
                findings.differ(
                    book.account,
                    f"{book.tenant_id}/{book.customer_id}/{book.currency}",
                    f"the books say {booked[book]}, the documents {shown[book]}: {CONTROL_ACCOUNTS[book.account]}",
                )
        return findings.checked()

    def shown(self) -> Counter[Book]:
        """Minor units per customer, currency and control account, as the documents have them."""
        shown = self._settled.copy()
        for (tenant_id, _), invoice in self._invoices.items():
            if invoice.status is InvoiceStatus.OPEN:
                due = invoice.amount_due
                shown[_book(RECEIVABLE, tenant_id, invoice.customer_id, due)] += due.amount
        for (tenant_id, _), pending in self._refunds.items():
            for account, amount, currency in pending.come_to():
                shown[Book(account.code, tenant_id, pending.customer_id, currency)] += amount
        return shown

    def _add_up(self, tenant_id: str, entry: Entry) -> None:
        for posting in entry.postings:
            own_side = _OWN_SIDE.get(posting.account)
            if own_side is not None:
                self._findings.count("postings")
                money = posting.amount
                book = Book(posting.account, tenant_id, posting.customer_id or "", str(money.currency))
                self._booked[book] += money.amount if posting.side is own_side else -money.amount

    def _take_invoice(self, recorded: Recorded, entry: Entry | None) -> None:
        """Once it is settled it is forgotten, until a refund makes it due again."""
        key = recorded.tenant_id, recorded.stream_id
        known = self._invoices.pop(key, None)
        event: Any = self._codec.decode_event(recorded.payload)
        if isinstance(event, InvoiceUsageCutShort):
            self._of_discounts.take_end(recorded.tenant_id, event)
        if known is None and recorded.stream_version > 1:
            if not isinstance(event, InvoiceReopened):
                self._of_invoices.after_settlement(key, event)
                return
            known = as_if_nothing_was_before(event, _customer_of(recorded), entry)
        if isinstance(event, CreditNoteVoided) and not _knows(known, event):
            self._of_invoices.forget(key, event.taken_back)
        if isinstance(event, InvoiceFinalized):
            self._of_discounts.take_invoice(recorded.tenant_id, event)
        elif isinstance(event, InvoiceTaxRequested):
            self._of_discounts.take_tax_request(recorded.tenant_id, event)
        invoice = INVOICE.evolve(known, event)
        may_be_reopened = not (invoice.paid_out_of_band + invoice.overpaid_out_of_band).is_zero
        if invoice.is_settled and not may_be_reopened:
            self._of_invoices.settle(key, invoice)
        else:
            self._invoices[key] = invoice

    def _take_balance(self, recorded: Recorded) -> None:
        event: Any = self._codec.decode_event(recorded.payload)
        more = balances.after(Money.zero(event.amount.currency), event)
        self._settled[_book(CUSTOMER_BALANCE, recorded.tenant_id, event.customer_id, more)] += more.amount

    def _take_payment(self, recorded: Recorded, entry: Entry | None) -> None:
        """Once it has captured only its refunds still move money; once it is cancelled nothing does."""
        key = recorded.tenant_id, recorded.stream_id
        known = self._payments.pop(key, None)
        if known is None and recorded.stream_version > 1:
            return
        payment = PAYMENT.evolve(known, self._codec.decode_event(recorded.payload))
        if payment.status is PaymentStatus.SUCCEEDED:
            captured = payment.amount
            self._settled[_book(GATEWAY_CLEARING, key[0], payment.customer_id, captured)] += captured.amount
            if payment.is_applied and payment.invoice_id is not None and entry is not None:
                self._of_invoices.post((key[0], payment.invoice_id), entry)
            if not payment.is_applied:
                self._unapplied.add(key)
                self._settled[_book(CUSTOMER_BALANCE, key[0], payment.customer_id, captured)] += captured.amount
        elif payment.status is not PaymentStatus.CANCELED:
            self._payments[key] = payment

    def _take_refund(self, recorded: Recorded, entry: Entry | None) -> None:
        key = recorded.tenant_id, recorded.stream_id
        for posting in () if entry is None else entry.postings:
            if posting.account == ALLOWANCES.code:
                amount = posting.amount.amount
                self._allowed[key] += -amount if posting.side is ALLOWANCES.own_side else amount
        known = self._refunds.pop(key, None)
        event: Any = self._codec.decode_event(recorded.payload)
        after = _Refunds(
            customer_id=_customer_of(recorded),
            are_unapplied=key in self._unapplied,
            refunds=refunds.evolve(() if known is None else known.refunds, event),
        )
        if any(refund.status is RefundStatus.PENDING for refund in after.refunds):
            self._refunds[key] = after
            return
        self._compare_allowances(key, after)
        for account, amount, currency in after.come_to():
            self._settled[Book(account.code, key[0], after.customer_id, currency)] += amount

    def _compare_allowances(self, key: tuple[str, str], after: "_Refunds") -> None:
        booked, said = self._allowed.pop(key, 0), after.allowed
        if booked != said:
            detail = f"the log posted {booked}, its refunds say {said}"
            self._findings.differ("allowances of a payment", "/".join(key), detail)


class _Refunds(NamedTuple):
    """A payment's refunds since none of its earlier ones was pending, and whether the customer's balance bears them."""

    customer_id: str
    are_unapplied: bool
    refunds: tuple[Refund, ...]

    @property
    def allowed(self) -> int:
        """What of them lessens revenue: the customer's balance does not bear it, and it is not due again."""
        if self.are_unapplied:
            return 0
        standing = [refund for refund in self.refunds if refund.status is not RefundStatus.FAILED]
        return sum(refund.borne.amount for refund in standing)

    def come_to(self) -> Iterator[tuple[Account, int, str]]:
        """What they add to each account, in minor units of a currency."""
        for refund in self.refunds:
            if refund.status is RefundStatus.FAILED:
                continue
            amount, currency = refund.amount.amount, str(refund.amount.currency)
            if refund.status is RefundStatus.PENDING:
                yield REFUNDS_PAYABLE, amount, currency
            else:
                yield GATEWAY_CLEARING, -amount, currency
            if self.are_unapplied:
                yield CUSTOMER_BALANCE, -amount, currency


def _customer_of(recorded: Recorded) -> str:
    return recorded.partition_key.removeprefix(f"{recorded.tenant_id}:")


def _knows(invoice: Invoice | None, voided: CreditNoteVoided) -> bool:
    """Whether the credit note was issued since it is looked at."""
    notes = () if invoice is None else invoice.credit_notes
    return any(note.credit_note_id == voided.credit_note_id for note in notes)


def _book(account: Account, tenant_id: str, customer_id: str, money: Money) -> Book:
    return Book(account.code, tenant_id, customer_id, str(money.currency))
