"""How an invoice is collected, and what came of trying: we charge it, or the customer pays by hand.

The events are of the invoice's stream. What pays it: `settlement.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CollectionMethod(StrEnum):
    """Who moves: we charge the default payment method, or the customer pays by hand."""

    CHARGE_AUTOMATICALLY = "charge_automatically"
    SEND_INVOICE = "send_invoice"


class CollectionStatus(StrEnum):
    """How far collection has come, and what a customer tries themselves; not applicable also where the invoice was
    settled without a payment of ours."""

    NOT_APPLICABLE = "not_applicable"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


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


CollectionEvent = InvoiceCollectionFailed | InvoicePaymentStarted | InvoicePaymentFailed

EVENTS: dict[str, type] = {
    "invoice.collection_failed": InvoiceCollectionFailed,
    "invoice.payment_started": InvoicePaymentStarted,
    "invoice.payment_failed": InvoicePaymentFailed,
}
