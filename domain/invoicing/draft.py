"""An invoice while it is a draft: items are added to it and taken off, until its timer or somebody finalizes it.

The events are of the invoice's stream.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice_discount import Discountable
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.currency import CurrencyCode
from domain.kernel.metadata import Metadata
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding
from domain.kernel.unchanged import UNCHANGED, Unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftInvoice:
    """A one-off invoice. None takes what the billing settings say. With `with_waiting_items` it bills, too, what waits
    for the customer's next invoice.
    """

    invoice_id: str
    customer_id: str
    collection: CollectionMethod
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    days_until_due: int | None = None
    memo: str | None = None
    series: str | None = None
    with_waiting_items: bool = False
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDraft:
    invoice_id: str
    memo: str | Unchanged | None = UNCHANGED
    days_until_due: int | Unchanged = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class AddInvoiceItem:
    invoice_id: str
    line: InvoiceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveInvoiceItem:
    invoice_id: str
    line_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftTerms:
    """How a draft becomes an invoice: at `finalizes_at` by its timer (None: when somebody says so), due so many days
    later if it is paid by hand. What it bills of a subscription is discounted by what held when it was due, whenever it
    is finalized (`discountable`); None: by what holds then.
    """

    finalizes_at: datetime | None
    days_until_due: int
    rounding: Rounding
    discountable: Discountable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDrafted:
    """`series` is the one that it will be numbered in. `further_subscription_ids` are others that it bills, too. With
    `behind_usage` it gives back a line of a draft whose usage is not counted yet, and is finalized behind that.
    """

    invoice_id: str
    customer_id: str
    subscription_id: str | None
    further_subscription_ids: tuple[str, ...] = ()
    collection: CollectionMethod
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    terms: DraftTerms
    series: str
    memo: str | None = None
    test_clock_id: str | None
    behind_usage: bool = False
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDraftChanged:
    """As they are from now on."""

    invoice_id: str
    memo: str | None
    days_until_due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceItemAdded:
    invoice_id: str
    line: InvoiceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceItemRemoved:
    invoice_id: str
    line_id: str


DraftEvent = InvoiceDrafted | InvoiceDraftChanged | InvoiceItemAdded | InvoiceItemRemoved


class InvoiceNotDraft(Refusal):
    """The invoice is no draft any more: what it says is final."""

    code = "invoice_not_draft"

    def summary(self) -> str:
        if "finalizes_at" in self.details:
            return "The time of the draft is over: what it says is final, and it is about to be finalized."
        if "waiting_for" in self.details:
            waits_for = self.details["waiting_for"]
            return f"The draft waits for its {waits_for}, and is final but for that: void it, or let it be finalized."
        return super().summary()


class InvoiceItemNotFound(Refusal):
    """There is no such item on the draft."""

    code = "invoice_item_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "item"


class InvoiceItemIsSubscriptions(Refusal):
    """The line bills a subscription, whose period is not billed again: add an item that deducts what is not owed."""

    code = "invoice_item_of_subscription"
    param = "item"


EVENTS: dict[str, type] = {
    "invoice.drafted": InvoiceDrafted,
    "invoice.draft_changed": InvoiceDraftChanged,
    "invoice.item_added": InvoiceItemAdded,
    "invoice.item_removed": InvoiceItemRemoved,
}
