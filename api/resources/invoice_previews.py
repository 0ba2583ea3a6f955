"""What a subscription will be invoiced next, by the renewal itself, rehearsed at its boundary."""

from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Body, SubscriptionId
from api.http.foreseen_invoices import Usage, foreseen_invoice
from api.http.operations import Operations
from api.http.problems import DRY_RUNS_BUSY, TAX_SERVICE_SILENT
from api.resources.invoice_resource import EXAMPLE, InvoiceResource, invoice_resource
from domain.identity.permissions import Permission
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice
from domain.kernel.billing_period import BeyondCalendar
from domain.kernel.stream import Streams
from domain.subscriptions.cancellation import SubscriptionIsCanceled
from domain.subscriptions.preview_commands import NothingUpcoming, RehearseNextInvoice
from domain.subscriptions.subscription import SUBSCRIPTION, SubscriptionNotFound
from domain.tax.remote import TaxAnswer


class WantedPreview(Body):
    """Whose next invoice."""

    subscription: SubscriptionId


class InvoicePreview(TypedDict):
    """The invoice as it will be issued, if nothing changes until then. It has no number yet, and its id names nothing
    before it is there. With `usage_so_far` it bills usage, of what is counted by now: there may be more.
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
    refusals=(SubscriptionNotFound, SubscriptionIsCanceled, NothingUpcoming, BeyondCalendar),
    problems=(DRY_RUNS_BUSY, TAX_SERVICE_SILENT),
)
async def preview_invoice(call: Call, body: WantedPreview) -> InvoicePreview:
    """Preview what a subscription is invoiced next.

    Nothing is recorded. The renewal itself is tried at its own time, on what is committed now: its lines, amounts and
    times are those of the invoice that will come, to the byte, unless something changes until then. What is overdue
    comes first. Usage is what is counted so far; where a tax service computes your taxes, it is asked for this one.
    """

    def invoice_of(streams: Streams) -> Invoice:
        subscription = SUBSCRIPTION.of(streams, body.subscription)
        assert subscription.latest_invoice_id is not None, "what was rehearsed was invoiced"
        return INVOICE.of(streams, subscription.latest_invoice_id)

    def upcoming(streams: Streams) -> InvoicePreview:
        invoice = invoice_of(streams)
        return {
            "object": "invoice_preview",
            "invoice": {**invoice_resource(invoice), "number": None},
            "usage_so_far": invoice.bills_usage,
        }

    def command_with(usage: Usage, tax: TaxAnswer | None) -> RehearseNextInvoice:
        return RehearseNextInvoice(subscription_id=body.subscription, usage=usage, tax=tax)

    return await foreseen_invoice(call, command_with, invoice_of, upcoming)
