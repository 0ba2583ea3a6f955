"""An invoice: draft, open (numbered, posted), then paid or void.

The lines of a draft may still change; what `invoice.finalized` carries is final. An open invoice is collected
automatically (the charge saga) or waits to be paid by hand.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.accounts import (
    CASH,
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    RECEIVABLE,
    REVENUE,
    Entry,
    credit,
    debit,
    entry,
    reversal,
    transfer,
)
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.money import Money, sum_money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Streams, Topic


class CollectionMethod(StrEnum):
    """Who moves: we charge the default payment method, or the customer pays by hand."""

    CHARGE_AUTOMATICALLY = "charge_automatically"
    SEND_INVOICE = "send_invoice"


class InvoiceStatus(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"


class CollectionStatus(StrEnum):
    """How far collection has come, and what a customer tries themselves; not applicable also where the invoice was
    settled without a payment of ours."""

    NOT_APPLICABLE = "not_applicable"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftInvoice:
    invoice_id: str
    customer_id: str
    collection: CollectionMethod
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidInvoice:
    invoice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayInvoiceOutOfBand:
    """The money came another way (a cheque, a transfer): the invoice is paid in full."""

    invoice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDrafted:
    invoice_id: str
    customer_id: str
    collection: CollectionMethod
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    test_clock_id: str | None
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFinalized:
    """The invoice as it is owed. `total` is the sum of the lines; `due_at` is when it should be paid."""

    invoice_id: str
    customer_id: str
    subscription_id: str | None
    number: str
    collection: CollectionMethod
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    total: Money
    test_clock_id: str | None
    finalized_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePaid:
    """Paid in full: by a payment of ours, or (`payment_id` None) out of band or because nothing was owed."""

    invoice_id: str
    payment_id: str | None
    amount: Money
    paid_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceCollectionFailed:
    """Automatic collection came to nothing; the invoice stays open. `reason` is a normalized decline code or ours."""

    invoice_id: str
    payment_id: str | None
    reason: str
    failed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePaymentStarted:
    """A payment of the open invoice is tried that its finalization did not promise."""

    invoice_id: str
    payment_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePaymentFailed:
    """What the customer tried on an invoice of theirs to pay came to nothing; no collection of ours failed."""

    invoice_id: str
    payment_id: str
    reason: str
    failed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceVoided:
    invoice_id: str
    voided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceMetadataSet(MetadataSet):
    invoice_id: str


InvoiceEvent = (
    InvoiceDrafted
    | InvoiceFinalized
    | InvoicePaid
    | InvoiceCollectionFailed
    | InvoicePaymentStarted
    | InvoicePaymentFailed
    | InvoiceVoided
    | InvoiceMetadataSet
)


class InvoiceNotFound(Refusal):
    """There is no such invoice."""

    code = "invoice_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "invoice"


class InvoiceAlreadyExists(Refusal):
    """An invoice of this id exists already."""

    code = "invoice_already_exists"


class InvoiceNotDraft(Refusal):
    """Only a draft invoice can be finalized."""

    code = "invoice_not_draft"


class InvoiceNotOpen(Refusal):
    """Only an open invoice can be paid."""

    code = "invoice_not_open"

    def summary(self) -> str:
        is_draft = self.details.get("status") == InvoiceStatus.DRAFT
        return "The invoice is a draft: finalize it first, then it can be paid." if is_draft else super().summary()


class InvoiceCannotBeVoided(Refusal):
    """Only an open or draft invoice can be voided; credit or refund a paid one."""

    code = "invoice_not_voidable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """`payment_id` is the payment that paid it or was tried last, even where it was settled without one;
    `collection_failure` says why that one came to nothing. `finalized_at`, `number` and `due_at` are None for a draft.
    """

    invoice_id: str
    customer_id: str
    subscription_id: str | None
    status: InvoiceStatus
    collection: CollectionMethod
    collection_status: CollectionStatus
    collection_failure: str | None
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    total: Money
    amount_paid: Money
    number: str | None
    payment_id: str | None
    test_clock_id: str | None
    metadata: Metadata
    created_at: datetime
    finalized_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing can be paid on it any more: it is paid, or void."""
        return self.status in {InvoiceStatus.PAID, InvoiceStatus.VOID}

    @property
    def amount_due(self) -> Money:
        """What is still to be paid, and would be of a draft: nothing on a paid or void invoice."""
        is_due = self.status in {InvoiceStatus.DRAFT, InvoiceStatus.OPEN}
        return self.total if is_due else Money.zero(self.currency)


def payable(streams: Streams, invoice_id: str) -> Invoice:
    """The invoice, if it is open: InvoiceNotFound or InvoiceNotOpen otherwise."""
    invoice = INVOICE.of(streams, invoice_id)
    if invoice.status is not InvoiceStatus.OPEN:
        raise InvoiceNotOpen(invoice=invoice_id, status=invoice.status)
    return invoice


def settle_if_nothing_due(event: InvoiceFinalized) -> list[InvoiceEvent]:
    """An invoice of zero or less is paid as soon as it is finalized."""
    if event.total.amount > 0:
        return [event]
    nothing = Money.zero(event.currency)
    paid = InvoicePaid(invoice_id=event.invoice_id, payment_id=None, amount=nothing, paid_at=event.finalized_at)
    return [event, paid]


def evolve(invoice: Invoice | None, event: InvoiceEvent) -> Invoice:
    match event:
        case InvoiceDrafted():
            return Invoice(
                invoice_id=event.invoice_id,
                customer_id=event.customer_id,
                subscription_id=None,
                status=InvoiceStatus.DRAFT,
                collection=event.collection,
                collection_status=CollectionStatus.NOT_APPLICABLE,
                collection_failure=None,
                currency=event.currency,
                lines=event.lines,
                total=sum_money((line.amount for line in event.lines), event.currency),
                amount_paid=Money(0, event.currency),
                number=None,
                payment_id=None,
                test_clock_id=event.test_clock_id,
                metadata=event.metadata,
                created_at=event.created_at,
                finalized_at=None,
                due_at=None,
                paid_at=None,
                voided_at=None,
            )
        case InvoiceFinalized():
            automatic = event.collection is CollectionMethod.CHARGE_AUTOMATICALLY
            return Invoice(
                invoice_id=event.invoice_id,
                customer_id=event.customer_id,
                subscription_id=event.subscription_id,
                status=InvoiceStatus.OPEN,
                collection=event.collection,
                collection_status=CollectionStatus.PENDING if automatic else CollectionStatus.NOT_APPLICABLE,
                collection_failure=None,
                currency=event.currency,
                lines=event.lines,
                total=event.total,
                amount_paid=Money(0, event.currency),
                number=event.number,
                payment_id=None,
                test_clock_id=event.test_clock_id,
                metadata=() if invoice is None else invoice.metadata,
                created_at=event.finalized_at if invoice is None else invoice.created_at,
                finalized_at=event.finalized_at,
                due_at=event.due_at,
                paid_at=None,
                voided_at=None,
            )
    assert invoice is not None, "an invoice begins with invoice.drafted or invoice.finalized"
    match event:
        case InvoicePaid():
            return replace(
                invoice,
                status=InvoiceStatus.PAID,
                collection_status=(
                    CollectionStatus.NOT_APPLICABLE if event.payment_id is None else CollectionStatus.SUCCEEDED
                ),
                collection_failure=None,
                amount_paid=event.amount,
                payment_id=event.payment_id or invoice.payment_id,
                paid_at=event.paid_at,
            )
        case InvoicePaymentStarted():
            return replace(
                invoice,
                collection_status=CollectionStatus.PENDING,
                collection_failure=None,
                payment_id=event.payment_id,
            )
        case InvoiceCollectionFailed() | InvoicePaymentFailed():
            return replace(
                invoice,
                collection_status=CollectionStatus.FAILED,
                collection_failure=event.reason,
                payment_id=event.payment_id or invoice.payment_id,  # nothing was tried: the one before may still be
            )
        case InvoiceVoided():
            return replace(
                invoice,
                status=InvoiceStatus.VOID,
                collection_status=_no_longer_pending(invoice),
                voided_at=event.voided_at,
            )
        case InvoiceMetadataSet():
            return replace(invoice, metadata=event.metadata)


def _no_longer_pending(invoice: Invoice) -> CollectionStatus:
    """Where collection stays once there is nothing to collect any more."""
    status = invoice.collection_status
    return CollectionStatus.NOT_APPLICABLE if status is CollectionStatus.PENDING else status


def _recognition_entry(invoice: Invoice) -> Entry | None:
    """What is owed against what was, or is still to be, earned for it, line by line.

    An invoice of less than nothing is owed by nobody: it becomes the customer's balance.
    """
    deferred = earned = Money(0, invoice.currency)
    for line in invoice.lines:
        if line.is_deferred:
            deferred = deferred + line.amount
        else:
            earned = earned + line.amount
    if invoice.total.is_negative:
        postings = [credit(CUSTOMER_BALANCE, -invoice.total, invoice.customer_id)]
    else:
        postings = [debit(RECEIVABLE, invoice.total, invoice.customer_id)]
    for account, amount in ((DEFERRED_REVENUE, deferred), (REVENUE, earned)):
        side = debit if amount.is_negative else credit
        postings.append(side(account, abs(amount), invoice.customer_id))
    return entry(postings)


def postings(event: InvoiceEvent, invoice: Invoice) -> Entry | None:
    """Finalized: receivable to deferred revenue (ahead of a service period) or revenue; a total below zero, from there
    to customer balance. Void: the same, reversed.

    Out of band: cash to receivable. A payment through a gateway is posted by the payment's own event.
    """
    match event:
        case InvoiceFinalized():
            return _recognition_entry(invoice)
        case InvoiceVoided() if invoice.finalized_at is not None:
            booked = _recognition_entry(invoice)
            return None if booked is None else reversal(booked)
        case InvoicePaid(payment_id=None):
            return transfer(event.amount, debit_to=CASH, credit_to=RECEIVABLE, customer_id=invoice.customer_id)
        case _:
            return None


EVENTS: dict[str, type] = {
    "invoice.drafted": InvoiceDrafted,
    "invoice.finalized": InvoiceFinalized,
    "invoice.paid": InvoicePaid,
    "invoice.collection_failed": InvoiceCollectionFailed,
    "invoice.payment_started": InvoicePaymentStarted,
    "invoice.payment_failed": InvoicePaymentFailed,
    "invoice.voided": InvoiceVoided,
    "invoice.metadata_set": InvoiceMetadataSet,
}

INVOICE: Stream[Invoice] = Stream(
    name="invoice",
    id_field="invoice_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda invoice: invoice.customer_id,
    not_found=InvoiceNotFound,
    already_exists=InvoiceAlreadyExists,
    metadata_set=InvoiceMetadataSet,
    postings=postings,
)
