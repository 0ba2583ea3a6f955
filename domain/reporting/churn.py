"""How much of what there was at a period's start was lost in it: rates of customers and of recurring revenue."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from domain.kernel.money import Money
from domain.kernel.rounding import Rounding, round_to_int
from domain.reporting.mrr import MrrMovements

RATE_DIGITS: Final = 4
"""Decimal places of a rate: hundredths of a per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnRates:
    """Shares with four decimals, halves rounded up; None where there was nothing at the start to lose."""

    customer_churn: Decimal | None
    gross_revenue_churn: Decimal | None
    net_revenue_churn: Decimal | None
    gross_retention: Decimal | None
    net_retention: Decimal | None


def churn_rates(*, customers: int, customers_lost: int, mrr: Money, moved: MrrMovements) -> ChurnRates:
    """The rates of a period that began with so many `customers` and this `mrr`.

    - customer churn: customers lost / customers at the start;
    - gross revenue churn: (churn + contraction) / MRR at the start;
    - net revenue churn: (churn + contraction - expansion - reactivation) / MRR at the start; below zero where more came
      from customers that there were than they took away;
    - gross and net retention: one less the gross and the net revenue churn.

    These are the "standard" formulas that ChartMogul documents for its customer churn rate and its gross and net MRR
    churn rates. What is lost of customers who came within the period counts, so a long period shows more than its
    start had to lose; a month is the usual one.
    """
    lost = -(moved.churn.amount + moved.contraction.amount)
    regained = moved.expansion.amount + moved.reactivation.amount
    return ChurnRates(
        customer_churn=_share(customers_lost, customers),
        gross_revenue_churn=_share(lost, mrr.amount),
        net_revenue_churn=_share(lost - regained, mrr.amount),
        gross_retention=_share(mrr.amount - lost, mrr.amount),
        net_retention=_share(mrr.amount - lost + regained, mrr.amount),
    )


def _share(part: int, whole: int) -> Decimal | None:
    if not whole:
        return None
    return Decimal(round_to_int(Fraction(part * 10**RATE_DIGITS, whole), Rounding.HALF_UP)).scaleb(-RATE_DIGITS)
