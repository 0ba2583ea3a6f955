"""Invoices with their lines, as they are now."""

from domain.invoicing.invoice import INVOICE, Invoice
from domain.kernel.money import Money
from projections.read_model import Projection
from projections.reading import Reader
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


async def owed_by(connection: Reader, tenant_id: str, customer_id: str) -> list[Money]:
    """What a customer owes on open invoices, per currency; nothing where nothing is owed."""
    records = await connection.fetch(
        "SELECT currency, sum(total)::bigint AS owed FROM read.invoices "
        "WHERE tenant_id = $1 AND customer_id = $2 AND status = 'open' GROUP BY currency ORDER BY currency",
        tenant_id,
        customer_id,
    )
    return [Money(record["owed"], record["currency"]) for record in records]
