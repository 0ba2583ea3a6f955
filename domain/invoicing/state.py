"""What an invoice is: its state, as its events leave it (`invoice.py`), and what follows from that alone."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.invoicing.balance import PaymentFigures, balance_of
from domain.invoicing.collection import CollectionMethod, CollectionStatus
from domain.invoicing.credit_note import CreditNote
from domain.invoicing.draft import DraftTerms
from domain.invoicing.invoice_discount import InvoiceDiscount
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import TaxFacts
from domain.invoicing.late_usage import Rerated
from domain.invoicing.tax_request import TaxRequest
from domain.invoicing.unused_credit import UnusedCredit
from domain.kernel.currency import CurrencyCode
from domain.kernel.metadata import Metadata
from domain.kernel.money import Money, sum_money


class WaitingFor(StrEnum):
    """What a draft lacks that nobody can add to it by hand."""

    USAGE = "usage"
    TAX = "tax"


class InvoiceStatus(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """`payment_id` is the payment that paid it or was tried last, even where it was settled without one;
    `collection_failure` says why that one came to nothing. `finalized_at`, `number` and `due_at` are None for a draft.
    `terms` are those of the draft that it is or was; None where it was finalized at once.

    `amount_applied` is what the customer's balance paid of it (below zero: what it got of it), `amount_overpaid` what
    was paid above it, which is the customer's balance; `paid_out_of_band` and `overpaid_out_of_band` say what of those
    no gateway captured. `amount_credited` is what credit notes in force come to; of that
    `amount_given_back` had been paid, and came back. `amount_reopened` is what refunds without a credit note took back
    and is due again; `paid_by` are the payments of ours whose money came for it.
    `unused_credits` are what other invoices gave back of its lines. `opening` is what was
    due, when it was brought in, on one that another system billed; None of one that was billed here. `tax_request` is
    what a calculator outside was asked for its tax; None where nobody was. With `usage_hurried` it takes the usage that
    it bills as that is counted, without waiting for what is under way. `rerated` is what later invoices billed of the
    usage of its periods; `cut_short` are those of its lines of usage so far of which the rest was voided.
    """

    invoice_id: str
    customer_id: str
    subscription_id: str | None
    further_subscription_ids: tuple[str, ...]
    status: InvoiceStatus
    collection: CollectionMethod
    collection_status: CollectionStatus
    collection_failure: str | None
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    discounts: tuple[InvoiceDiscount, ...]
    tax: TaxFacts | None
    total: Money
    amount_applied: Money
    amount_paid: Money
    amount_overpaid: Money
    paid_out_of_band: Money
    overpaid_out_of_band: Money
    amount_credited: Money
    amount_given_back: Money
    amount_reopened: Money
    paid_by: tuple[str, ...]
    credit_notes: tuple[CreditNote, ...]
    unused_credits: tuple[UnusedCredit, ...]
    series: str
    number: str | None
    memo: str | None
    terms: DraftTerms | None
    payment_id: str | None
    test_clock_id: str | None
    metadata: Metadata
    created_at: datetime
    finalized_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    uncollectible_at: datetime | None
    voided_at: datetime | None
    opening: Money | None = None
    waiting_for: WaitingFor | None = None
    tax_request: TaxRequest | None = None
    usage_hurried: bool = False
    rerated: tuple[Rerated, ...] = ()
    cut_short: tuple[str, ...] = ()

    @property
    def awaited_tax(self) -> TaxRequest | None:
        """What it waits for, if it is a draft that lacks nothing but its tax."""
        return self.tax_request if self.waiting_for is WaitingFor.TAX else None

    @property
    def lacks_usage(self) -> bool:
        """Whether it is a draft that bills usage which is not counted yet."""
        return self.waiting_for is WaitingFor.USAGE

    def valid_line(self, line_id: str) -> InvoiceLine | None:
        """Its line of this id; None of an invoice that is void."""
        lines = () if self.status is InvoiceStatus.VOID else self.lines
        return next((line for line in lines if line.line_id == line_id), None)

    @property
    def bills_usage(self) -> bool:
        return any(line.usage is not None for line in self.lines)

    @property
    def gives_up_usage(self) -> bool:
        """Whether it was voided before its usage was counted: no other invoice bills that."""
        is_void = self.status is InvoiceStatus.VOID
        return is_void and any(line.lacks_usage and not line.bills_so_far for line in self.lines)

    @property
    def usage_closes_at(self) -> datetime | None:
        """When the usage that it lacks is closed: once its time is over, so that what comes late until then is in.
        None: at once, as it has no time, or somebody hurries it, or it bills periods that run; what comes late for
        those is on the next invoice of them.
        """
        ends_at = None if self.terms is None else self.terms.finalizes_at
        if ends_at is None or ends_at <= self.created_at or self.usage_hurried:
            return None
        return None if any(line.lacks_usage and line.bills_so_far for line in self.lines) else ends_at

    def closes_usage_behind(self, other: "Invoice") -> bool:
        """Whether the usage that it lacks is closed once that of the other one is, which was made before it."""
        own, before = (each.usage_closes_at or each.created_at for each in (self, other))
        return other.lacks_usage and before <= own

    @property
    def subscription_ids(self) -> tuple[str, ...]:
        """Every subscription that it bills."""
        return () if self.subscription_id is None else (self.subscription_id, *self.further_subscription_ids)

    @property
    def subtotal(self) -> Money:
        """The sum of the lines' amounts: before discounts and tax that comes on top, and with what they include."""
        return sum_money((line.amount for line in self.lines), self.currency)

    @property
    def total_discount(self) -> Money:
        """What all discounts take off together; nothing off a draft."""
        return sum_money((each.amount for each in self.discounts), self.currency)

    @property
    def total_tax(self) -> Money:
        """All tax, on top or included; none of a draft."""
        return sum_money((total.tax for total in (() if self.tax is None else self.tax.totals)), self.currency)

    @property
    def is_settled(self) -> bool:
        """Whether nothing can be paid on it any more: it is paid, or void."""
        return self.status in {InvoiceStatus.PAID, InvoiceStatus.VOID}

    @property
    def is_payable(self) -> bool:
        """Whether it may be paid: it is open, or was written off."""
        return self.status in {InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE}

    @property
    def amount_due(self) -> Money:
        """What is still to be paid, and would be of a draft; of an uncollectible one what is written off, and would be
        recovered. Never below zero."""
        if self.status is InvoiceStatus.VOID:
            return Money.zero(self.currency)
        returned = self.amount_given_back + self.amount_reopened
        paid = PaymentFigures(captured=self.amount_paid, refunded=returned)
        due = balance_of(self.total, self.amount_credited, self.amount_applied, (paid,))
        return max(due, Money.zero(self.currency))
