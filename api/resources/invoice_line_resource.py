"""How a line is answered: of an invoice, or one that waits for it."""

from datetime import datetime
from typing import Final

from typing_extensions import TypedDict

from api.http.fields import MoneyResource, money, plain_decimal
from api.resources.invoice_tax import LineTaxResource, line_tax_resource
from domain.catalog.price import BillingTiming
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.invoicing.unused_credit import GivesBack


class CreditedLine(TypedDict):
    """The line of which a credit gives back what was unused."""

    invoice: str | None
    line: str


class LineDiscountResource(TypedDict):
    """What one discount took off a line."""

    discount: str
    coupon: str
    amount: MoneyResource


class InvoiceLineResource(TypedDict):
    """One thing billed. `amount` is before `discounts`, and its tax is taken on or in what they leave."""

    id: str
    description: str
    amount: MoneyResource
    quantity: str
    timing: BillingTiming
    kind: InvoiceLineKind
    product: str | None
    price: str | None
    tax_category: str | None
    discounts: list[LineDiscountResource]
    tax_inclusive: bool | None
    tax: LineTaxResource | None
    period_start: datetime | None
    period_end: datetime | None
    gives_back: CreditedLine | None


def invoice_line_resource(line: InvoiceLine) -> InvoiceLineResource:
    """One of its lines."""
    return {
        "id": line.line_id,
        "description": line.description,
        "amount": money(line.amount),
        "quantity": plain_decimal(line.quantity),
        "timing": line.timing,
        "kind": line.kind,
        "product": line.product_id,
        "price": line.price_id,
        "tax_category": line.tax_category,
        "discounts": line_discount_resources(line),
        "tax_inclusive": line.tax_inclusive,
        "tax": line_tax_resource(line.tax),
        "period_start": line.period_start,
        "period_end": line.period_end,
        "gives_back": _credited_line(line.gives_back),
    }


def line_discount_resources(line: InvoiceLine) -> list[LineDiscountResource]:
    """What came off a line, as it is answered."""
    return [
        {"discount": each.discount_id, "coupon": each.coupon_id, "amount": money(each.amount)}
        for each in line.discounts
    ]


def _credited_line(credited: GivesBack | None) -> CreditedLine | None:
    return None if credited is None else {"invoice": credited.invoice_id, "line": credited.line_id}


LINE_EXAMPLE: Final[dict[str, object]] = {
    "id": "il_01m7ywe9z7e398x54gfbrtqnk7",
    "description": "Set-up",
    "amount": {"amount": 25000, "currency": "EUR"},
    "quantity": "1",
    "timing": "in_arrears",
    "kind": "one_off",
    "product": None,
    "price": None,
    "tax_category": None,
    "discounts": [],
    "tax_inclusive": None,
    "tax": None,
    "period_start": None,
    "period_end": None,
    "gives_back": None,
}
