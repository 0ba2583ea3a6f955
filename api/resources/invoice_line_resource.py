"""How a line is answered: of an invoice, or one that waits for it."""

from datetime import datetime
from typing import Final

from typing_extensions import TypedDict

from api.http.fields import MoneyResource, money, plain_decimal
from api.resources.invoice_tax import LineTaxResource, line_tax_resource
from domain.catalog.price import BillingTiming
from domain.invoicing.invoice_line import InvoiceLine, InvoiceLineKind
from domain.invoicing.late_usage import LateReason, LateUsage
from domain.invoicing.unused_credit import GivesBack
from domain.invoicing.usage_line import LineUsage, UsageProgress, told_quantity


class CreditedLine(TypedDict):
    """The line of which a credit gives back what was unused."""

    invoice: str | None
    line: str


class LateUsageResource(TypedDict):
    """The line that billed the period before, why that was rated again, and how much more there is. `amount` comes on
    top of what was `billed_before`; below zero it is given back, as far as discounts had left it to be paid.
    """

    invoice: str
    line: str
    reason: LateReason
    quantity: str
    amount: MoneyResource
    billed_before: MoneyResource


class UsageProgressResource(TypedDict):
    """Several lines bill the period: each what it had come to (`charge`) when it was counted, less what those of
    `invoices` before it billed. The last one bills the rest when the period is over.
    """

    invoices: list[str]
    charge: MoneyResource | None
    billed_before: MoneyResource | None
    is_last: bool


class LineUsageResource(TypedDict):
    """The meter that counted a line's quantity, in the line's period; `closing` is null until that is done.

    The closing is the meter's and customer's of this number. It covers the records of the partition of the topic of
    usage below the offset `covers`; `sha256` is of its rows. Usage is `late` that came after its period was billed, and
    the closing then the one with which it came. With `progress` the quantity is all that the period had come to.
    """

    meter: str
    closing: int | None
    events: int | None
    partition: int | None
    covers: int | None
    sha256: str | None
    late: LateUsageResource | None
    progress: UsageProgressResource | None


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
    usage: LineUsageResource | None


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
        "usage": line_usage_resource(line.usage),
    }


def line_discount_resources(line: InvoiceLine) -> list[LineDiscountResource]:
    """What came off a line, as it is answered."""
    return [
        {"discount": each.discount_id, "coupon": each.coupon_id, "amount": money(each.amount)}
        for each in line.discounts
    ]


def _late(late: LateUsage) -> LateUsageResource:
    return {
        "invoice": late.invoice_id,
        "line": late.line_id,
        "reason": late.reason,
        "quantity": plain_decimal(told_quantity(late.quantity)),
        "amount": money(late.amount),
        "billed_before": money(late.billed_before),
    }


def _progress(progress: UsageProgress) -> UsageProgressResource:
    return {
        "invoices": [each.invoice_id for each in progress.before],
        "charge": None if progress.charge is None else money(progress.charge),
        "billed_before": None if progress.billed_before is None else money(progress.billed_before),
        "is_last": progress.is_last,
    }


def line_usage_resource(usage: LineUsage | None) -> LineUsageResource | None:
    """Which meter counted, and what its closing covers, as it is answered."""
    if usage is None:
        return None
    snapshot = usage.snapshot
    return {
        "meter": usage.meter_id,
        "closing": None if snapshot is None else snapshot.closing,
        "events": None if snapshot is None else snapshot.events,
        "partition": None if snapshot is None else snapshot.partition,
        "covers": None if snapshot is None else snapshot.covers,
        "sha256": None if snapshot is None else snapshot.sha256,
        "late": None if usage.late is None else _late(usage.late),
        "progress": None if usage.progress is None else _progress(usage.progress),
    }


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
    "usage": None,
}
