"""Facts and commands that specifications of billed usage are told with: a meter, and a price of what it counts."""

from fractions import Fraction
from typing import Any

from domain.catalog.price import CreatePrice
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice
from domain.invoicing.usage_line import UsageSnapshot
from domain.invoicing.usage_request import BillUsage, CountedUsage
from domain.metering.aggregation import Aggregation
from domain.metering.meter import CreateMeter, MeterTerms
from domain.pricing.models import Price
from testing.examples.pricing import graduated
from testing.examples.streams import IN_ARREARS, PLAN_ID, id_of
from testing.specification import Given, Result

METER_ID = id_of("mtr_", 1)
USAGE_PRICE_ID = id_of("price_", 71)
OTHER_USAGE_PRICE_ID = id_of("price_", 72)
TIERS = graduated((5, 10, 100), (None, 5, 50))
"""100 at once, 10 each for the first five, then 50 and 5 each: 7 come to 210."""


def create_meter(meter_id: str = METER_ID, code: str = "traffic") -> CreateMeter:
    terms = MeterTerms(value_property="gigabytes")
    return CreateMeter(meter_id=meter_id, code=code, name="Traffic", aggregation=Aggregation.SUM, terms=terms)


def usage_price(price_id: str = USAGE_PRICE_ID, price: Price = TIERS, **facts: Any) -> CreatePrice:
    named = {"name": f"Traffic {price_id[-2:]}", "timing": IN_ARREARS, "meter_id": METER_ID}
    return CreatePrice(**{"price_id": price_id, "plan_id": PLAN_ID, "price": price} | named | facts)


def invoice_of(told: Given | Result, invoice_id: str) -> Invoice:
    found = told.books.states[INVOICE.name, invoice_id]
    assert isinstance(found, Invoice)
    return found


def invoices_of(told: Given | Result) -> list[Invoice]:
    """All invoices, in the order in which they came about."""
    return [state for (kind, _), state in told.books.states.items() if kind == INVOICE.name]


def usage_lines(invoice: Invoice) -> list[InvoiceLine]:
    return [line for line in invoice.lines if line.usage is not None]


def snapshot(quantity: int | str | Fraction, closing: int = 1, **facts: Any) -> UsageSnapshot:
    of: dict[str, Any] = {"closing": closing, "partition": 3, "covers": 41, "sha256": "ab" * 32, "events": 2}
    return UsageSnapshot(**of | {"quantity": Fraction(quantity)} | facts)


def bill(told: Given | Result, invoice_id: str, *quantities: int | str | Fraction) -> BillUsage:
    """What its lines of usage wait for: the first quantity for the first of them, and so on."""
    lines = [line for line in invoice_of(told, invoice_id).lines if line.lacks_usage]
    counted = (
        CountedUsage(line_id=line.line_id, snapshot=snapshot(quantity))
        for line, quantity in zip(lines, quantities, strict=True)
    )
    return BillUsage(invoice_id=invoice_id, counted=tuple(counted))
