"""An invoice and who is on it, from which the tests of documents make theirs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from documents.invoice_document import Document, InvoiceFacts, invoice_document
from domain.customers.customer import CUSTOMER
from domain.invoicing.billing_settings import Seller
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE, InvoiceEvent
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind, LinePricing
from domain.invoicing.state import Invoice
from domain.invoicing.usage_line import LineUsage, UsageSnapshot, priced, told_quantity
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.rounding import STANDARD_ROUNDING
from domain.pricing.amount import amount_of
from domain.pricing.models import WHOLE_PERIOD, Price
from testing.examples.streams import (
    BY_HAND,
    CUSTOMER_ID,
    IN_ADVANCE,
    IN_ARREARS,
    INVOICE_ID,
    customer_created,
    id_of,
)
from testing.examples.usage import METER_ID
from testing.moments import utc

SELLER = Seller(
    name="Example GmbH",
    address=("Musterstraße 1", "10115 Berlin"),
    email="billing@example.com",
    tax_id="USt-IdNr. DE123456789",
    footer="HRB 12345",
)
ADA: dict[str, Any] = {
    "name": "Ada Lovelace",
    "address": {"line1": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB"},
    "tax_ids": [{"type": "gb_vat", "value": "GB987654321"}],
}


def line(nth: int, amount: int, currency: str = "EUR", **changes: Any) -> InvoiceLine:
    """The nth line, for January unless another period is named."""
    facts: dict[str, Any] = {
        "line_id": id_of("il_", nth),
        "description": f"Position {nth}",
        "amount": Money(amount, CurrencyCode(currency)),
        "quantity": Decimal(1),
        "timing": IN_ADVANCE,
        "period_start": utc("2026-01-01"),
        "period_end": utc("2026-02-01"),
    }
    return InvoiceLine(**facts | changes)


def used(nth: int, price: Price, figure: int | Fraction, *events: int, **changes: Any) -> InvoiceLine:
    """A line of usage, by the amounts of single events where there are any. `late` and `progress` are of LineUsage."""
    of = {name: changes.pop(name) for name in ("late", "progress") if name in changes}
    seen = UsageSnapshot(closing=1, partition=0, covers=1, sha256="", quantity=Fraction(figure), events=3)
    seen = priced(seen, price, tuple(map(Decimal, events)))
    amount = amount_of(price, seen.measured, STANDARD_ROUNDING)
    facts: dict[str, Any] = {
        "amount": amount,
        "quantity": told_quantity(seen.rated),
        "timing": IN_ARREARS,
        "kind": InvoiceLineKind.USAGE,
        "pricing": LinePricing(price=price, share=WHOLE_PERIOD, rounding=STANDARD_ROUNDING),
        "usage": LineUsage(meter_id=METER_ID, snapshot=seen, **of),
    }
    return replace(line(nth, 0), **(facts | changes))


def invoice(lines: Sequence[InvoiceLine], *then: InvoiceEvent, applied: int = 0) -> Invoice:
    """One with these lines that was finalized on the first of January, and what happened to it since. `applied` is
    what the customer's balance paid of it.
    """
    currency = lines[0].amount.currency
    finalized = InvoiceFinalized(
        invoice_id=INVOICE_ID,
        customer_id=CUSTOMER_ID,
        subscription_id=None,
        series="INV",
        number="INV-000042",
        collection=BY_HAND,
        currency=currency,
        lines=tuple(lines),
        total=Money(sum(each.amount.amount for each in lines), currency),
        applied=Money(applied, currency),
        test_clock_id=None,
        finalized_at=utc("2026-01-01T12:00"),
        due_at=utc("2026-01-31T12:00"),
    )
    found = INVOICE.evolve(None, finalized)
    for event in then:
        found = INVOICE.evolve(found, event)
    return found


def document(of: Invoice, **changes: Any) -> Document:
    """Ada's, in German."""
    facts: dict[str, Any] = {
        "invoice": of,
        "seller": SELLER,
        "seller_country": "DE",
        "customer": CUSTOMER.evolve(None, customer_created(currency=of.currency)),
        "person": ADA,
        "is_erased": False,
        "locale": "de-DE",
        "time_zone": "Europe/Berlin",
    }
    return invoice_document(InvoiceFacts(**facts | changes))


def as_sent(of: Document) -> dict[str, Any]:
    """A document as the process that sets it reads it."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(of)))
    return found
