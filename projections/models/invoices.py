"""Invoices with their lines, as they are now."""

from domain.invoicing.invoice import INVOICE, Invoice
from projections.read_model import Projection
from projections.status_tally import status_tally
from projections.stream_rows import stream_model

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
        money=lambda invoice: invoice.total,
        flows=frozenset({"invoice.finalized", "invoice.paid", "invoice.collection_failed"}),
    ),
    tallied_by="billing_stats",
)
