"""Why an invoice comes to its total: each line by the portions of its price, exactly, from what was recorded."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import MoneyResource, money, plain_decimal
from api.http.foreseen_invoices import Usage, foreseen_with_usage
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.problems import DRY_RUNS_BUSY
from api.resources.invoice_line_resource import (
    LineDiscountResource,
    LineUsageResource,
    line_discount_resources,
    line_usage_resource,
)
from api.resources.invoice_resource import InvoiceDiscountResource, invoice_discount_resources
from api.resources.invoice_tax import InvoiceTaxResource, LineTaxResource, invoice_tax_resource, line_tax_resource
from api.resources.invoices import INVOICES
from api.resources.price_models import CommitmentResource, ModelResource, stated_resource
from domain.identity.permissions import Permission
from domain.invoicing.draft import InvoiceNotDraft
from domain.invoicing.explanation import Explanation, ExplanationKind, explain_billed
from domain.invoicing.invoice import INVOICE, InvoiceNotFound
from domain.invoicing.invoice_line import InvalidInvoiceLines, InvoiceLine, LinePricing
from domain.invoicing.rehearsal_commands import RehearseDraft
from domain.invoicing.state import Invoice
from domain.invoicing.usage_explanation import priced_by
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Streams
from domain.pricing.breakdown import PortionKind
from domain.pricing.models import Graduated, GraduatedPercentage, Price, Volume, model_of


class TierReached(TypedDict):
    """The tier that a portion belongs to: its number from 1, and the quantities above and up to which it holds."""

    number: int
    above: str
    up_to: str | None


class PortionResource(TypedDict):
    """A part of what a line costs: `quantity` × `rate` is its `amount`, in minor units; of a `percent` the rate is per
    cent.
    """

    kind: PortionKind
    quantity: str
    rate: str
    amount: str
    tier: TierReached | None


class PricedBy(TypedDict):
    """What priced a line: a price as it was then, for a share of a whole period, and how that was rounded."""

    currency: str
    model: ModelResource
    minimum: MoneyResource | None
    maximum: MoneyResource | None
    commitment: CommitmentResource | None
    share: str
    rounding: Rounding


class GivenBack(TypedDict):
    """The line that a credit gives back, and what part of it discounts had left to be paid: each rate is that part of
    what the price says, below zero.
    """

    invoice: str | None
    line: str
    paid_part: str


class UsageCounted(LineUsageResource):
    """What a meter counted in the line's period: `quantity` exactly, as a fraction where it does not come out even."""

    quantity: str | None


class LineExplanation(TypedDict):
    """Why a line comes to its amount: the portions and the rounding add up to it exactly. Less its discounts, with its
    tax, that is its total; tax that the amount includes adds nothing.

    `pricing` is null, and there are no portions, where somebody stated the amount. What gives back usage with the end
    of its period has no price of its own, and says what it gives back.
    """

    line: str
    description: str
    amount: MoneyResource
    quantity: str
    price: str | None
    period_start: datetime | None
    period_end: datetime | None
    discounts: list[LineDiscountResource]
    tax: LineTaxResource | None
    total: MoneyResource
    gives_back: GivenBack | None
    usage: UsageCounted | None
    pricing: PricedBy | None
    portions: list[PortionResource]
    rounding_difference: str


class InvoiceExplanation(TypedDict):
    """Why an invoice comes to its total, which is the sum of its lines' totals. `discounts` says by which terms each
    took something off. With `usage_so_far` it is a draft that waits for usage, as it would be finalized with what is
    counted by now.
    """

    object: Literal["invoice_explanation"]
    invoice: str
    number: str | None
    total: MoneyResource
    discounts: list[InvoiceDiscountResource]
    tax: InvoiceTaxResource | None
    lines: list[LineExplanation]
    usage_so_far: bool


MAX_PLACES: Final = 12
"""Decimals of a figure that comes out even; what needs more is shown as a fraction."""

_EXAMPLE: Final[dict[str, object]] = {
    "object": "invoice_explanation",
    "invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "number": "INV-000042",
    "total": {"amount": 4927, "currency": "EUR"},
    "discounts": [],
    "tax": None,
    "lines": [
        {
            "line": "il_01m7ywe9z7e398x54gfbrtqnk7",
            "description": "Team, monthly – Seats",
            "amount": {"amount": 4927, "currency": "EUR"},
            "quantity": "12",
            "price": "price_01m7ywe9z7e398x54gfbrtqnk7",
            "period_start": "2026-01-01T00:00:00Z",
            "period_end": "2026-01-11T00:00:00Z",
            "discounts": [],
            "tax": None,
            "total": {"amount": 4927, "currency": "EUR"},
            "gives_back": None,
            "usage": None,
            "pricing": {
                "currency": "EUR",
                "model": {
                    "type": "graduated",
                    "currency": "EUR",
                    "tiers": [
                        {"up_to": "10", "unit_amount": "1200", "flat_amount": 2275},
                        {"up_to": None, "unit_amount": "1000", "flat_amount": 0},
                    ],
                    "free_units": "1",
                },
                "minimum": None,
                "maximum": None,
                "commitment": None,
                "share": "10/31",
                "rounding": "half_up",
            },
            "portions": [
                {"kind": "free_units", "quantity": "1", "rate": "0", "amount": "0", "tier": None},
                {
                    "kind": "tier_flat",
                    "quantity": "1",
                    "rate": "2275",
                    "amount": "2275",
                    "tier": {"number": 1, "above": "0", "up_to": "10"},
                },
                {
                    "kind": "tier_units",
                    "quantity": "10",
                    "rate": "1200",
                    "amount": "12000",
                    "tier": {"number": 1, "above": "0", "up_to": "10"},
                },
                {
                    "kind": "tier_units",
                    "quantity": "1",
                    "rate": "1000",
                    "amount": "1000",
                    "tier": {"number": 2, "above": "10", "up_to": None},
                },
                {
                    "kind": "share_not_billed",
                    "quantity": "-21/31",
                    "rate": "15275",
                    "amount": "-320775/31",
                    "tier": None,
                },
            ],
            "rounding_difference": "-13/31",
        }
    ],
    "usage_so_far": False,
}

EXPLANATIONS: Final = Operations(
    tag="invoice explanations",
    about="Why invoices come to their totals.",
    path_ids=INVOICES.path_ids,
    seen_with=Permission.INVOICES_READ,
)


def explanation_resource(invoice: Invoice, *, usage_so_far: bool = False) -> InvoiceExplanation:
    """The explanation of an invoice as it is answered."""
    tree = explain_billed(invoice.lines, invoice.currency)
    return {
        "object": "invoice_explanation",
        "invoice": invoice.invoice_id,
        "number": invoice.number,
        "total": money(invoice.total),
        "discounts": invoice_discount_resources(invoice),
        "tax": invoice_tax_resource(invoice.tax),
        "lines": [
            _line(line, by, node)
            for line, by, node in zip(invoice.lines, priced_by(invoice.lines), tree.children, strict=True)
        ],
        "usage_so_far": usage_so_far,
    }


def _line(line: InvoiceLine, by: LinePricing | None, node: Explanation) -> LineExplanation:
    price, *_further = node.children
    rounded = sum((each.amount for each in price.children if each.kind is ExplanationKind.ROUNDING), Fraction(0))
    return {
        "line": line.line_id,
        "description": line.description,
        "amount": money(line.amount),
        "quantity": plain_decimal(line.quantity),
        "price": line.price_id,
        "period_start": line.period_start,
        "period_end": line.period_end,
        "discounts": line_discount_resources(line),
        "tax": line_tax_resource(line.tax),
        "total": money(line.total),
        "gives_back": None
        if line.gives_back is None
        else {
            "invoice": line.gives_back.invoice_id,
            "line": line.gives_back.line_id,
            "paid_part": exact_text(line.gives_back.paid_part),
        },
        "usage": _usage(line),
        "pricing": None
        if by is None
        else {**stated_resource(by.price), "share": str(by.share), "rounding": by.rounding},
        "portions": [
            _portion(each, None if by is None else by.price) for each in price.children if each.portion is not None
        ],
        "rounding_difference": exact_text(rounded),
    }


def _usage(line: InvoiceLine) -> UsageCounted | None:
    shown = line_usage_resource(line.usage)
    if line.usage is None or shown is None:
        return None
    snapshot = line.usage.snapshot
    return {**shown, "quantity": None if snapshot is None else exact_text(snapshot.quantity)}


def _portion(node: Explanation, price: Price | None) -> PortionResource:
    assert node.portion is not None, "a portion says what it is for"
    assert node.quantity is not None, "a portion has a quantity"
    assert node.rate is not None, "a portion has a rate"
    return {
        "kind": node.portion,
        "quantity": exact_text(node.quantity),
        "rate": exact_text(node.rate),
        "amount": exact_text(node.amount),
        "tier": None if node.tier is None or price is None else _tier(node.tier, price),
    }


def _tier(number: int, price: Price) -> TierReached:
    model = model_of(price)
    assert isinstance(model, Graduated | Volume | GraduatedPercentage), "no other price has tiers"
    tier = model.tiers[number - 1]
    return {
        "number": number,
        "above": plain_decimal(tier.above),
        "up_to": None if tier.up_to is None else plain_decimal(tier.up_to),
    }


def exact_text(value: Fraction) -> str:
    """A plain decimal where the figure comes out even within MAX_PLACES, else the fraction in lowest terms: "1/3"."""
    for places in range(MAX_PLACES + 1):
        scaled = value * 10**places
        if scaled.denominator == 1:
            return plain_decimal(Decimal(f"{scaled.numerator}e-{places}"))  # read exactly, however many digits
    return str(value)


@EXPLANATIONS.query(
    f"{INVOICES.path_of_one}/explanation",
    answers=InvoiceExplanation,
    example=_EXAMPLE,
    parameters=NoParameters,
    refusals=(InvoiceNotFound,),
    problems=(DRY_RUNS_BUSY,),
    reads=(INVOICES.table.projection,),
)
async def explain_invoice(call: Call, _asked: NoParameters) -> InvoiceExplanation:
    """Explain an invoice.

    Each line by the portions of its price: free units, the slices of its tiers, started packages, what a minimum or a
    maximum made of it, the share of the period that is not billed, what was billed of it before, and the one rounding.
    A credit of late usage is explained as a late charge is: what its period comes to by now, less what was billed of it
    and what other lines give back. All figures are exact, in
    minor units: plain decimals where they come out even, else fractions such as "1/3". They are computed from what the
    invoice recorded when it was made, whatever has become of the catalogue since. What each discount took off each
    line, by the coupon's terms as they were then, stands there, too. The tax of each line, and where,
    at which rate and for what reason it is charged or not, is what the invoice recorded, too.

    A draft that waits for usage is explained as it would be finalized with what is counted by now (`usage_so_far`),
    where a tax service computes your taxes without them.
    """
    wanted = INVOICES.id_of(call)
    async with call.reading() as connection:
        row = await INVOICES.row(call, connection, wanted)
    if row.state.lacks_usage:
        try:
            return await _explained_so_far(call, wanted)
        except (InvoiceNotDraft, InvalidInvoiceLines):  # it was finalized meanwhile, or is to be more than one holds
            async with call.reading() as connection:
                row = await INVOICES.row(call, connection, wanted)
    return explanation_resource(row.state)


async def _explained_so_far(call: Call, invoice_id: str) -> InvoiceExplanation:
    def command_with(usage: Usage) -> RehearseDraft:
        return RehearseDraft(invoice_id=invoice_id, usage=usage)

    def explained(streams: Streams) -> InvoiceExplanation:
        return explanation_resource(INVOICE.of(streams, invoice_id), usage_so_far=True)

    return await foreseen_with_usage(call, command_with, lambda streams: INVOICE.of(streams, invoice_id), explained)
