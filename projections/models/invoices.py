"""Invoices with their lines, as they are now."""

from domain.invoicing.invoice import INVOICE, Invoice
from domain.kernel.money import Money
from projections import reading
from projections.current import current
from projections.read_model import Projection
from projections.reading import ANY_TIME, FIRST_PAGE, Between, Page, PageRequest, Reader
from projections.status_tally import status_tally
from projections.stream_rows import Found, stream_model

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


async def get(connection: Reader, tenant_id: str, invoice_id: str) -> Found[Invoice] | None:
    """The invoice."""
    return await current(connection, TABLE, INVOICE, tenant_id, invoice_id)


async def page(
    connection: Reader,
    tenant_id: str,
    *,
    customer_id: str | None = None,
    subscription_id: str | None = None,
    status: str | None = None,
    collection_status: str | None = None,
    number: str | None = None,
    created: Between = ANY_TIME,
    request: PageRequest = FIRST_PAGE,
) -> Page[Found[Invoice]]:
    """Invoices, newest first."""
    where = {
        "customer_id": customer_id,
        "subscription_id": subscription_id,
        "status": status,
        "collection_status": collection_status,
        "number": number,
    }
    return await reading.page(connection, TABLE, tenant_id, where=where, created=created, request=request)


async def owed_by(connection: Reader, tenant_id: str, customer_id: str) -> list[Money]:
    """What a customer owes on open invoices, per currency; nothing where nothing is owed."""
    records = await connection.fetch(
        "SELECT currency, sum(total)::bigint AS owed FROM read.invoices "
        "WHERE tenant_id = $1 AND customer_id = $2 AND status = 'open' GROUP BY currency ORDER BY currency",
        tenant_id,
        customer_id,
    )
    return [Money(record["owed"], record["currency"]) for record in records]
