"""What becomes of a product when something is billed of it by itself: it is used, and is not deleted any more."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from domain.catalog.product import PRODUCT, ProductUsed
from domain.customers.waiting_items import CustomerItemAdded
from domain.invoicing.draft import InvoiceDrafted, InvoiceItemAdded
from domain.kernel.consequences import Consequence
from domain.kernel.identifiers import INVOICE as INVOICE_PREFIX
from domain.kernel.identifiers import INVOICE_LINE
from domain.kernel.stream import Change, Streams


def drafted(event: InvoiceDrafted, streams: Streams, at: datetime) -> list[Change]:
    """What a subscription bills, a price bills, which uses the product."""
    named = (line.product_id for line in event.lines if line.price_id is None)
    return _used(named, event.invoice_id, streams)


def added(event: InvoiceItemAdded, streams: Streams, at: datetime) -> list[Change]:
    return _used([event.line.product_id], event.invoice_id, streams)


def waits(event: CustomerItemAdded, streams: Streams, at: datetime) -> list[Change]:
    return _used([event.item.product_id], event.item.item_id, streams)


def _used(product_ids: Iterable[str | None], by: str, streams: Streams) -> list[Change]:
    """One invoice or item says it for all that come after it, so that products are not written to by every sale."""
    products = [PRODUCT.of(streams, each) for each in dict.fromkeys(product_ids) if each is not None]
    return [
        PRODUCT.change(ProductUsed(product_id=product.product_id, by=by))
        for product in products
        if not any(each.startswith((INVOICE_PREFIX, INVOICE_LINE)) for each in product.used_by)
    ]


CONSEQUENCES: Final[Mapping[type, Consequence]] = {
    InvoiceDrafted: drafted,
    InvoiceItemAdded: added,
    CustomerItemAdded: waits,
}
