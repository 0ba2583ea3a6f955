"""Invoices with their lines, as they are now."""

from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice
from domain.kernel.money import Money
from projections.read_model import Projection
from projections.status_tally import status_tally
from projections.stream_rows import stream_model


def _standing(invoice: Invoice) -> Money:
    """What it stands in the figures with: what is due where something is, else its total."""
    return invoice.amount_due if invoice.is_payable else invoice.total


TABLE = stream_model(
    INVOICE,
    Invoice,
    name="invoices",
    version=1,
    projection=Projection.BILLING,
    indexes=(
        "tenant_id, customer_id, created_at, invoice_id",
        "tenant_id, subscription_id, created_at, invoice_id",
        "tenant_id, number",
    ),
    tally=status_tally(
        "invoices",
        status=lambda invoice: invoice.status,
        money=_standing,
        flows=frozenset({"invoice.finalized", "invoice.paid", "invoice.collection_failed"}),
        flowing=lambda invoice: invoice.total,
    ),
    tallied_by="billing_stats",
)
