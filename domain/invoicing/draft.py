"""An invoice while it is a draft: its lines may still change.

The events are of the invoice's stream.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.currency import CurrencyCode
from domain.kernel.metadata import Metadata
from domain.kernel.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftInvoice:
    invoice_id: str
    customer_id: str
    collection: CollectionMethod
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    metadata: Metadata = ()


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


class InvoiceNotDraft(Refusal):
    """Only a draft invoice can be finalized."""

    code = "invoice_not_draft"
