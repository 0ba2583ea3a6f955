"""What a subscription is invoiced next, by the renewal itself, rehearsed at its boundary, or what a draft becomes."""

from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, InvoiceId, SubscriptionId
from api.http.foreseen_invoices import Usage, foreseen_invoice
from api.http.operations import Operations
from api.http.problems import DRY_RUNS_BUSY, TAX_SERVICE_SILENT
from api.resources.invoice_resource import EXAMPLE, InvoiceResource, invoice_resource
from domain.identity.permissions import Permission
from domain.invoicing.draft import InvoiceNotDraft
from domain.invoicing.invoice import INVOICE, InvoiceNotFound
from domain.invoicing.invoice_line import InvalidInvoiceLines
from domain.invoicing.rehearsal_commands import RehearseDraft
from domain.invoicing.state import Invoice
from domain.kernel.billing_period import BeyondCalendar
from domain.kernel.stream import Streams
from domain.subscriptions.cancellation import SubscriptionIsCanceled
from domain.subscriptions.preview_commands import NothingUpcoming, RehearseNextInvoice
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionNotFound
from domain.tax.remote import TaxAnswer


class WantedPreview(Body):
    """A subscription, for its next invoice, or a draft, for what becomes of it: one of the two."""

    subscription: SubscriptionId | None = None
    invoice: Annotated[InvoiceId | None, Field(validate_default=True)] = None

    @field_validator("invoice")
    @classmethod
    def _one_of_both(cls, invoice: str | None, info: ValidationInfo) -> str | None:
        if "subscription" in info.data and (invoice is None) == (info.data["subscription"] is None):
            raise PydanticCustomError("ambiguous_preview", "Name either a subscription or an invoice")
        return invoice


class InvoicePreview(TypedDict):
    """The invoice as it will be issued, if nothing changes until then. It has no number yet, and the id of a
    subscription's next one names nothing before that is there. With `usage_so_far` it bills usage, of what is counted
    by now: there may be more.
    """

    object: Literal["invoice_preview"]
    invoice: InvoiceResource
    usage_so_far: bool


PREVIEWS: Final = Operations(
    tag="invoice previews",
    about="What customers will owe.",
    seen_with=Permission.INVOICES_READ,
    changed_with=Permission.INVOICES_READ,
)


@PREVIEWS.unstored(
    "POST",
    "/v1/invoices/preview",
    body=WantedPreview,
    body_example={"subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7"},
    answers=InvoicePreview,
    example={
        "object": "invoice_preview",
        "invoice": EXAMPLE
        | {
            "subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7",
            "status": "open",
            "days_until_due": None,
            "collection_method": "charge_automatically",
            "collection_status": "pending",
            "metadata": {},
            "finalized_at": "2026-01-01T00:00:00Z",
            "due_at": "2026-01-01T00:00:00Z",
        },
        "usage_so_far": False,
    },
    refusals=(
        SubscriptionNotFound,
        SubscriptionIsCanceled,
        NothingUpcoming,
        BeyondCalendar,
        InvoiceNotFound,
        InvoiceNotDraft,
        InvalidInvoiceLines,
    ),
    problems=(DRY_RUNS_BUSY, TAX_SERVICE_SILENT),
)
async def preview_invoice(call: Call, body: WantedPreview) -> InvoicePreview:
    """Preview what a subscription is invoiced next, or what a draft becomes.

    Nothing is recorded. The renewal itself is tried at its own time, on what is committed now: its lines, amounts and
    times are those of the invoice that will come, to the byte, unless something changes until then. What is overdue
    comes first. Usage is what is counted so far; where a tax service computes your taxes, it is asked for this one.

    A draft is finalized at its own time, with the usage that is counted of its periods so far; one that nobody
    finalizes by itself now.
    """

    def invoice_of(streams: Streams) -> Invoice:
        if body.subscription is None:
            assert body.invoice is not None, "one of both is named"
            return INVOICE.of(streams, body.invoice)
        subscription = SUBSCRIPTION.of(streams, body.subscription)
        assert subscription.latest_invoice_id is not None, "what was rehearsed was invoiced"
        return INVOICE.of(streams, subscription.latest_invoice_id)

    known: list[Usage] = []

    def upcoming(streams: Streams) -> InvoicePreview:
        return {
            "object": "invoice_preview",
            "invoice": {**invoice_resource(invoice_of(streams)), "number": None},
            "usage_so_far": bool(known[-1]),
        }

    def command_with(usage: Usage, tax: TaxAnswer | None) -> RehearseNextInvoice | RehearseDraft:
        known.append(usage)
        if body.subscription is None:
            assert body.invoice is not None, "one of both is named"
            return RehearseDraft(invoice_id=body.invoice, usage=usage, tax=tax)
        return RehearseNextInvoice(subscription_id=body.subscription, usage=usage, tax=tax)

    return await foreseen_invoice(call, command_with, invoice_of, upcoming)
