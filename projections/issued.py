"""Under what an invoice was issued: seller, customer and time zone as they were when it was finalized, or imported.

By the order of the log, so that nothing that is changed later changes a document: not by clocks, of which a customer on
a test clock has one of their own.
"""

from typing import Final, NamedTuple

from domain.customers.customer import CUSTOMER, Customer
from domain.invoicing.billing_settings import BillingSettings, Seller
from domain.invoicing.state import Invoice
from domain.subscriptions.subscription import SubscriptionCreated
from projections.billing_settings import billing_settings, seller_country
from projections.reading import Reader
from schemas.codec import decode_event

_ISSUED: Final = """
SELECT position FROM log.events
WHERE tenant_id = $1 AND stream_type = 'invoice' AND stream_id = $2
AND event_type IN ('invoice.finalized', 'invoice.imported')
"""
_CUSTOMER: Final = """
SELECT payload, position FROM log.events
WHERE tenant_id = $1 AND stream_type = 'customer' AND stream_id = $2 ORDER BY stream_version
"""
_SUBSCRIBED: Final = """
SELECT payload FROM log.events
WHERE tenant_id = $1 AND stream_type = 'subscription' AND stream_id = $2 AND stream_version = 1
"""
_NAME: Final = "SELECT name FROM access.tenants WHERE tenant_id = $1"


class Issued(NamedTuple):
    """`customer` as they were then; `is_erased` is of now. `time_zone`: where the invoice's days begin."""

    seller: Seller
    seller_country: str | None
    customer: Customer
    locale: str
    time_zone: str
    is_erased: bool


async def issued(connection: Reader, tenant_id: str, invoice: Invoice) -> Issued | None:
    """None for one that never was. The connection sees all of the tenant's."""
    position = await connection.fetchval(_ISSUED, tenant_id, invoice.invoice_id)
    if position is None:
        return None
    then = now = None
    for row in await connection.fetch(_CUSTOMER, tenant_id, invoice.customer_id):
        now = CUSTOMER.evolve(now, decode_event(row["payload"]))
        then = now if row["position"] <= position else then
    assert now is not None, "an invoice is somebody's"
    assert then is not None, "who is billed was there before"
    settings = await billing_settings(connection, tenant_id, known_at=position)
    return Issued(
        seller=settings.seller or Seller(name=await connection.fetchval(_NAME, tenant_id) or tenant_id),
        seller_country=await seller_country(connection, tenant_id, known_at=position),
        customer=then,
        locale=_locale(then, settings),
        time_zone=await _time_zone(connection, tenant_id, invoice, then),
        is_erased=now.erased_at is not None,
    )


def _locale(customer: Customer, settings: BillingSettings) -> str:
    return customer.locale or settings.locale


async def _time_zone(connection: Reader, tenant_id: str, invoice: Invoice, customer: Customer) -> str:
    """The subscription's, whose periods begin by it for ever; the customer's where nothing was subscribed to."""
    if invoice.subscription_id is None:
        return customer.time_zone
    created = decode_event(await connection.fetchval(_SUBSCRIBED, tenant_id, invoice.subscription_id))
    assert isinstance(created, SubscriptionCreated), "the first event of a subscription is subscription.created"
    return created.terms.time_zone
