"""From lines to the amount due, in the one order there is: lines → coupons → tax → prepaid credits → due.

Preview and finalization both call `compute_invoice`, so what is shown is what is billed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from domain.discounts.computation import AppliedDiscount, Coupon, CouponOnLines, DiscountableLine, discounts_on
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money, sum_money
from domain.kernel.rounding import Rounding
from domain.pricing.amount import amount_of, licensed_amount_of
from domain.pricing.measured import Measured
from domain.pricing.models import WHOLE_PERIOD, Price
from domain.tax.computation import InvoiceTax, RateTotal, TaxableLine, TaxRate, TaxShare, tax_on
from domain.wallets.prepaid_credits import CreditGrant, DrawDownPlan, draw_down


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredLine:
    """A line that a price and a measured quantity give. `period_share` prorates the price's bounds, nothing else."""

    line_id: str
    product_id: str
    price: Price
    measured: Measured
    period_share: Fraction = WHOLE_PERIOD
    discountable: bool
    tax_rates: tuple[TaxRate, ...] = ()
    tax_inclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LicensedLine:
    """A line for `share` of a whole period of something that is not measured: seats, a fee."""

    line_id: str
    product_id: str
    price: Price
    quantity: Decimal | int
    share: Fraction = WHOLE_PERIOD
    discountable: bool
    tax_rates: tuple[TaxRate, ...] = ()
    tax_inclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountLine:
    """A line whose amount is known: a proration, an item by hand. Below zero it is a credit, which no coupon touches.

    A proration credit bears the rates of the invoice that charged what it gives back, not today's. `given_back` is what
    credits beside the line give back of it: nobody pays that, so a discount is on the rest alone.
    """

    line_id: str
    product_id: str
    amount: Money
    given_back: Money | None = None
    discountable: bool
    tax_rates: tuple[TaxRate, ...] = ()
    tax_inclusive: bool = False


InvoiceLine: TypeAlias = MeteredLine | LicensedLine | AmountLine


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableCredits:
    """The customer's grants, and the instant at which they are looked at."""

    grants: tuple[CreditGrant, ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedLine:
    """`amount` - `discount` is what the line's tax is taken on or in; `net` is without tax, `total` with it."""

    line_id: str
    amount: Money
    discount: Money
    net: Money
    tax: Money
    taxes: tuple[TaxShare, ...]
    total: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputedInvoice:
    """subtotal - discount + tax on top = total; total - prepaid credits = due - to_customer_balance.

    `tax` is all tax, included or on top. A total below zero leaves nothing due, and becomes the customer's balance.
    """

    currency: CurrencyCode
    lines: tuple[ComputedLine, ...]
    subtotal: Money
    discounts: tuple[AppliedDiscount, ...]
    discount: Money
    tax_by_rate: tuple[RateTotal, ...]
    tax: Money
    total: Money
    draws: DrawDownPlan
    due: Money
    to_customer_balance: Money


def compute_invoice(
    lines: Sequence[InvoiceLine],
    currency: CurrencyCode,
    *,
    coupons: Sequence[Coupon | CouponOnLines] = (),
    prepaid: AvailableCredits | None = None,
    rounding: Rounding,
) -> ComputedInvoice:
    """The whole invoice in minor units of `currency`.

    Rounded by `rounding`: each line once, each percentage coupon once, each rate's tax once on the sum of its
    discounted lines; everything else is split so that it conserves the sum. The order is that of the billing domain's
    design; vectors 22 to 25, 33 and 34 show its parts, the first four from other engines' suites. A total below zero
    is owed to the customer and becomes their balance.
    Raises CurrencyMismatch for a line in another currency, and what `amount_of` raises.
    """
    zero = Money.zero(currency)
    amounts = [line.amount if isinstance(line, AmountLine) else _priced(line, rounding) for line in lines]
    subtotal = sum_money(amounts, currency)
    discounts: tuple[AppliedDiscount, ...] = ()
    discount = zero
    line_discounts: Sequence[Money] | None = None
    if coupons:
        discountable = [
            DiscountableLine(line.product_id, _kept(line, amount), line.discountable)
            for line, amount in zip(lines, amounts, strict=True)
        ]
        discounts = discounts_on(discountable, coupons, currency, rounding)
        line_discounts = [sum_money(parts, currency) for parts in zip(*(one.by_line for one in discounts), strict=True)]
        discount = sum_money(line_discounts, currency)
    tax: InvoiceTax | None = None
    if any(line.tax_rates for line in lines):
        left = amounts if line_discounts is None else _less(amounts, line_discounts)
        tax = tax_on(
            [TaxableLine(amount, line.tax_rates, line.tax_inclusive) for line, amount in zip(lines, left, strict=True)],
            currency,
            rounding,
        )
    computed = tuple(
        [
            _line(line, amounts[index], zero if line_discounts is None else line_discounts[index], tax, index, zero)
            for index, line in enumerate(lines)
        ]
    )
    total = subtotal if line_discounts is None and tax is None else sum_money((one.total for one in computed), currency)
    if prepaid is None:
        draws = DrawDownPlan(draws=(), covered=zero, left_due=total)
    else:
        draws = draw_down(prepaid.grants, total, prepaid.at)
    return ComputedInvoice(
        currency=currency,
        lines=computed,
        subtotal=subtotal,
        discounts=discounts,
        discount=discount,
        tax_by_rate=() if tax is None else tax.by_rate,
        tax=zero if tax is None else tax.total,
        total=total,
        draws=draws,
        due=max(draws.left_due, zero),
        to_customer_balance=max(-total, zero),
    )


def _priced(line: MeteredLine | LicensedLine, rounding: Rounding) -> Money:
    if isinstance(line, LicensedLine):
        return licensed_amount_of(line.price, line.quantity, line.share, rounding)
    return amount_of(line.price, line.measured, rounding, line.period_share)


def _kept(line: InvoiceLine, amount: Money) -> Money:
    """What of its amount is going to be paid, but for discounts."""
    return amount - line.given_back if isinstance(line, AmountLine) and line.given_back is not None else amount


def _less(amounts: Sequence[Money], discounts: Sequence[Money]) -> list[Money]:
    return [amount - discount for amount, discount in zip(amounts, discounts, strict=True)]


def _line(
    line: InvoiceLine, amount: Money, discount: Money, tax: InvoiceTax | None, index: int, zero: Money
) -> ComputedLine:
    discounted = amount if discount is zero else amount - discount
    if tax is None or not line.tax_rates:
        return ComputedLine(
            line_id=line.line_id,
            amount=amount,
            discount=discount,
            net=discounted,
            tax=zero,
            taxes=(),
            total=discounted,
        )
    taxes = tax.by_line[index]
    line_tax = sum_money((share.amount for share in taxes), zero.currency)
    return ComputedLine(
        line_id=line.line_id,
        amount=amount,
        discount=discount,
        net=discounted - line_tax if line.tax_inclusive else discounted,
        tax=line_tax,
        taxes=taxes,
        total=discounted if line.tax_inclusive else discounted + line_tax,
    )
