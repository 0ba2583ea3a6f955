"""The calculations as most tenants are billed: half up, for tests and benchmarks that are not about the rounding."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction

from domain.discounts import computation as discounts
from domain.invoicing import computation, credit_amounts, explanation
from domain.kernel import exchange as exchanges
from domain.kernel import money as moneys
from domain.kernel import rounding as roundings
from domain.kernel.billing_period import Interval
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import ExactAmount, Money
from domain.kernel.rounding import Rounding
from domain.pricing import amount as pricing
from domain.pricing.breakdown import Breakdown
from domain.pricing.measured import Measured
from domain.pricing.models import WHOLE_PERIOD, Price
from domain.reporting import mrr
from domain.revenue import schedule
from domain.tax import computation as tax

HALF_UP = Rounding.HALF_UP


def round_to_int(value: Decimal | Fraction | int, rounding: Rounding = HALF_UP) -> int:
    return roundings.round_to_int(value, rounding)


def times(money: Money | ExactAmount, factor: Decimal | Fraction | int, rounding: Rounding = HALF_UP) -> Money:
    return moneys.times(money, factor, rounding)


def exchange(money: Money, rate: exchanges.ExchangeRate, rounding: Rounding = HALF_UP) -> exchanges.Exchanged:
    return exchanges.exchange(money, rate, rounding)


def amount_of(
    price: Price, measured: Measured = 1, rounding: Rounding = HALF_UP, period_share: Fraction = WHOLE_PERIOD
) -> Money:
    return pricing.amount_of(price, measured, rounding, period_share)


def explain(
    price: Price, measured: Measured = 1, rounding: Rounding = HALF_UP, period_share: Fraction = WHOLE_PERIOD
) -> Breakdown:
    return pricing.explain(price, measured, rounding, period_share)


def compute_invoice(
    lines: Sequence[computation.InvoiceLine],
    currency: CurrencyCode,
    *,
    coupons: Sequence[discounts.Coupon] = (),
    prepaid: computation.AvailableCredits | None = None,
    rounding: Rounding = HALF_UP,
) -> computation.ComputedInvoice:
    return computation.compute_invoice(lines, currency, coupons=coupons, prepaid=prepaid, rounding=rounding)


def explain_invoice(
    lines: Sequence[computation.InvoiceLine], computed: computation.ComputedInvoice, rounding: Rounding = HALF_UP
) -> explanation.Explanation:
    return explanation.explain_invoice(lines, computed, rounding)


def discounts_on(
    lines: Sequence[discounts.DiscountableLine],
    coupons: Sequence[discounts.Coupon],
    currency: CurrencyCode,
    rounding: Rounding = HALF_UP,
) -> tuple[discounts.AppliedDiscount, ...]:
    return discounts.discounts_on(lines, coupons, currency, rounding)


def tax_on(lines: Sequence[tax.TaxableLine], currency: CurrencyCode, rounding: Rounding = HALF_UP) -> tax.InvoiceTax:
    return tax.tax_on(lines, currency, rounding)


def credit_net(
    line: credit_amounts.CreditableLine, net: Money, rounding: Rounding = HALF_UP
) -> credit_amounts.CreditedLine:
    return credit_amounts.credit_net(line, net, rounding)


def credit_gross(
    line: credit_amounts.CreditableLine, gross: Money, rounding: Rounding = HALF_UP
) -> credit_amounts.CreditedLine:
    return credit_amounts.credit_gross(line, gross, rounding)


def monthly_recurring(price: Money | ExactAmount, interval: Interval, rounding: Rounding = HALF_UP) -> Money:
    return mrr.monthly_recurring(price, interval, rounding)


def straight_line(
    amount: Money, first_date: date, end_date: date, rounding: Rounding = HALF_UP
) -> schedule.RevenueSchedule:
    return schedule.straight_line(amount, first_date, end_date, rounding)
