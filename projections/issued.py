"""Under what an invoice was issued: seller, customer and time zone as they were when it was finalized, or imported, and
which numbers other invoices had by then.

By the order of the log, so that nothing that is changed later changes a document: not by clocks, of which a customer on
a test clock has one of their own.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from domain.customers.customer import CUSTOMER, Customer
from domain.invoicing.billing_settings import BillingSettings, Seller
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.state import Invoice
from domain.metering.meter import MeterCreated
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
_METERS: Final = """
SELECT stream_id, payload FROM log.events
WHERE tenant_id = $1 AND stream_type = 'meter' AND stream_id = ANY($2::text[]) AND stream_version = 1
"""
_FINALIZED: Final = """
SELECT stream_id, payload FROM log.events
WHERE tenant_id = $1 AND stream_type = 'invoice' AND stream_id = ANY($2::text[]) AND event_type = 'invoice.finalized'
AND position <= $3
"""
_NAME: Final = "SELECT name FROM access.tenants WHERE tenant_id = $1"


class Issued(NamedTuple):
    """`customer` as they were then; `is_erased` is of now. `time_zone`: where the invoice's days begin. `units` are
    those of meters by id, `numbers` those of the invoices by id whose late usage it bills or gives back.
    """

    seller: Seller
    seller_country: str | None
    customer: Customer
    locale: str
    time_zone: str
    is_erased: bool
    units: Mapping[str, str]
    numbers: Mapping[str, str]


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
        units=await _units(connection, tenant_id, invoice),
        numbers=await _numbers(connection, tenant_id, invoice, position),
    )


def _locale(customer: Customer, settings: BillingSettings) -> str:
    return customer.locale or settings.locale


async def _units(connection: Reader, tenant_id: str, invoice: Invoice) -> dict[str, str]:
    """What the meters count whose usage it bills, where they say so; that never changes."""
    meters = sorted({line.usage.meter_id for line in invoice.lines if line.usage is not None})
    units: dict[str, str] = {}
    for row in await connection.fetch(_METERS, tenant_id, meters) if meters else ():
        created = decode_event(row["payload"])
        assert isinstance(created, MeterCreated), "the first event of a meter is meter.created"
        if created.unit is not None:
            units[row["stream_id"]] = created.unit
    return units


async def _numbers(connection: Reader, tenant_id: str, invoice: Invoice, position: int) -> dict[str, str]:
    """Those of the invoices that billed before what it bills again, as far as they were finalized before it."""
    late = (line.usage.late for line in invoice.lines if line.usage is not None)
    invoices = sorted({each.invoice_id for each in late if each is not None})
    numbers: dict[str, str] = {}
    for row in await connection.fetch(_FINALIZED, tenant_id, invoices, position) if invoices else ():
        finalized = decode_event(row["payload"])
        assert isinstance(finalized, InvoiceFinalized), "only that was asked for"
        numbers[row["stream_id"]] = finalized.number
    return numbers


async def _time_zone(connection: Reader, tenant_id: str, invoice: Invoice, customer: Customer) -> str:
    """The subscription's, whose periods begin by it for ever; the customer's where nothing was subscribed to."""
    if invoice.subscription_id is None:
        return customer.time_zone
    created = decode_event(await connection.fetchval(_SUBSCRIBED, tenant_id, invoice.subscription_id))
    assert isinstance(created, SubscriptionCreated), "the first event of a subscription is subscription.created"
    return created.terms.time_zone
