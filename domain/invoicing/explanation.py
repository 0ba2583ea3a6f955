"""Why an invoice comes to its amount due: a tree in which every node is the sum of its children.

`explain_invoice` explains a computation, `explain_billed` what an event says was billed: from its lines alone, years
later, whatever has become of the catalogue.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from domain.invoicing.computation import (
    AmountLine,
    ComputedInvoice,
    ComputedLine,
    InvoiceLine,
    LicensedLine,
    MeteredLine,
)
from domain.invoicing.invoice_line import InvoiceLine as BilledLine
from domain.invoicing.invoice_line import LinePricing
from domain.invoicing.usage_explanation import explain_credit, explain_usage, priced_by
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money, sum_money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import explain, explain_licensed
from domain.pricing.breakdown import Breakdown, PortionKind


class ExplanationKind(StrEnum):
    """What a node of the tree stands for."""

    DUE = "due"
    TOTAL = "total"
    LINE = "line"
    PRICE = "price"
    PORTION = "portion"
    ROUNDING = "rounding"
    DISCOUNT = "discount"
    TAX = "tax"
    TAX_INCLUDED = "tax_included"
    CREDITS = "credits"
    TO_CUSTOMER_BALANCE = "to_customer_balance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`amount`: minor units, exact; the sum of `children` where there are any.

    `reference`: the id of the line, coupon (of what was billed: discount), rate or grant. `quantity`, `rate` and `tier`
    explain a portion of a price (see Portion). `of_which` says what is contained in the amount without adding to it:
    tax in inclusive prices.
    """

    kind: ExplanationKind
    amount: Fraction
    reference: str | None = None
    portion: PortionKind | None = None
    quantity: Fraction | None = None
    rate: Fraction | None = None
    tier: int | None = None
    children: tuple["Explanation", ...] = ()
    of_which: tuple["Explanation", ...] = ()


def explain_invoice(lines: Sequence[InvoiceLine], computed: ComputedInvoice, rounding: Rounding) -> Explanation:
    """The tree from the amount due down to the tiers' quantities.

    `lines` and `rounding` are those that `compute_invoice` was given. Every amount is that of `computed`; only the
    prices' portions, which are exact, come with a rounding node of their own. Minor units.
    """
    line_nodes = tuple(_line_node(index, line, computed, rounding) for index, line in enumerate(lines))
    total = _node(ExplanationKind.TOTAL, computed.total, children=line_nodes)
    draws = tuple(
        Explanation(
            kind=ExplanationKind.CREDITS,
            amount=Fraction(-draw.amount.amount),
            reference=draw.grant_id,
            quantity=Fraction(draw.credits),
        )
        for draw in computed.draws.draws
    )
    owed = computed.to_customer_balance
    to_balance = () if owed.is_zero else (_node(ExplanationKind.TO_CUSTOMER_BALANCE, owed),)
    return _node(ExplanationKind.DUE, computed.due, children=(total, *draws, *to_balance))


def explain_billed(lines: Sequence[BilledLine], currency: CurrencyCode) -> Explanation:
    """The tree from an invoice's total, by its lines, down to the tiers' quantities. Minor units.

    What priced a line stands in it (`LinePricing`), and so do its discounts and its tax; a stated amount has no
    portions.
    """
    total = sum_money((line.total for line in lines), currency)
    nodes = tuple(_billed_node(line, by) for line, by in zip(lines, priced_by(lines), strict=True))
    return _node(ExplanationKind.TOTAL, total, children=nodes)


def _billed_node(line: BilledLine, by: LinePricing | None) -> Explanation:
    price = _node(ExplanationKind.PRICE, line.amount, children=_why(line, by))
    discounts = tuple(
        _node(ExplanationKind.DISCOUNT, -each.amount, reference=each.discount_id) for each in line.discounts
    )
    kind = ExplanationKind.TAX_INCLUDED if line.tax_inclusive else ExplanationKind.TAX
    shares = () if line.tax is None else line.tax.shares
    taxes = tuple(_node(kind, share.amount, reference=share.rate_id) for share in shares)
    return _node(
        ExplanationKind.LINE,
        line.total,
        reference=line.line_id,
        children=(price, *discounts, *(() if line.tax_inclusive else taxes)),
        of_which=taxes if line.tax_inclusive else (),
    )


def _why(line: BilledLine, by: LinePricing | None) -> tuple[Explanation, ...]:
    of = line.gives_back
    if of is not None and of.gross is not None:
        return tuple(_portion_nodes(explain_credit(line, of, of.gross, by)))
    if by is None:
        return ()
    if line.usage is not None:
        return tuple(_portion_nodes(explain_usage(line, line.usage, by)))
    portions = tuple(_portion_nodes(explain_licensed(by.price, line.quantity, by.share, by.rounding)))
    return portions if of is None else _given_back(portions, of.paid_part, line.amount)


def _given_back(portions: tuple[Explanation, ...], paid_part: Fraction, amount: Money) -> tuple[Explanation, ...]:
    """The portions that are given back, as far as discounts had left them to be paid, and how that was rounded."""
    back = tuple(
        replace(portion, amount=-portion.amount * paid_part, rate=(portion.rate or Fraction(0)) * -paid_part)
        for portion in portions
        if portion.kind is ExplanationKind.PORTION
    )
    rounded = amount.amount - sum((portion.amount for portion in back), Fraction(0))
    return (*back, Explanation(kind=ExplanationKind.ROUNDING, amount=rounded)) if rounded else back


def _line_node(index: int, line: InvoiceLine, computed: ComputedInvoice, rounding: Rounding) -> Explanation:
    result = computed.lines[index]
    children = [_price_node(line, result, rounding)]
    children += [
        _node(ExplanationKind.DISCOUNT, -discount.by_line[index], reference=discount.coupon_id)
        for discount in computed.discounts
        if not discount.by_line[index].is_zero
    ]
    kind = ExplanationKind.TAX_INCLUDED if line.tax_inclusive else ExplanationKind.TAX
    taxes = tuple(
        _node(kind, share.amount, reference=share.rate_id, rate=Fraction(rate.percent))
        for rate, share in zip(line.tax_rates, result.taxes, strict=True)
    )
    return _node(
        ExplanationKind.LINE,
        result.total,
        reference=result.line_id,
        children=(*children, *(() if line.tax_inclusive else taxes)),
        of_which=taxes if line.tax_inclusive else (),
    )


def _price_node(line: InvoiceLine, result: ComputedLine, rounding: Rounding) -> Explanation:
    if isinstance(line, AmountLine):
        return _node(ExplanationKind.PRICE, result.amount)
    return _node(
        ExplanationKind.PRICE,
        result.amount,
        children=tuple(_portion_nodes(_breakdown(line, rounding))),
    )


def _breakdown(line: MeteredLine | LicensedLine, rounding: Rounding) -> Breakdown:
    if isinstance(line, LicensedLine):
        return explain_licensed(line.price, line.quantity, line.share, rounding)
    return explain(line.price, line.measured, rounding, line.period_share)


def _portion_nodes(breakdown: Breakdown) -> Iterator[Explanation]:
    for portion in breakdown.portions:
        yield Explanation(
            kind=ExplanationKind.PORTION,
            amount=portion.amount,
            portion=portion.kind,
            quantity=portion.quantity,
            rate=portion.rate,
            tier=portion.tier,
        )
    if breakdown.rounding_difference:
        yield Explanation(kind=ExplanationKind.ROUNDING, amount=breakdown.rounding_difference)


def _node(
    kind: ExplanationKind,
    amount: Money,
    *,
    reference: str | None = None,
    rate: Fraction | None = None,
    children: tuple[Explanation, ...] = (),
    of_which: tuple[Explanation, ...] = (),
) -> Explanation:
    return Explanation(
        kind=kind, amount=Fraction(amount.amount), reference=reference, rate=rate, children=children, of_which=of_which
    )
