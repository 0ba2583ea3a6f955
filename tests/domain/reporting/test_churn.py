"""Churn and retention: shares of what there was at a period's start."""

from decimal import Decimal

from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.reporting.churn import ChurnRates, churn_rates
from domain.reporting.mrr import MrrMovements

USD = CurrencyCode("USD")


def moved(**amounts: int) -> MrrMovements:
    figures = {"new": 0, "expansion": 0, "contraction": 0, "churn": 0, "reactivation": 0, **amounts}
    return MrrMovements(**{name: Money(amount, USD) for name, amount in figures.items()})


def test_what_came_from_customers_that_there_were_is_set_against_what_they_took_away() -> None:
    change = moved(new=5_000, expansion=1_000, contraction=-1_000, churn=-1_000)
    assert churn_rates(customers=40, customers_lost=3, mrr=Money(10_000, USD), moved=change) == ChurnRates(
        customer_churn=Decimal("0.0750"),
        gross_revenue_churn=Decimal("0.2000"),
        net_revenue_churn=Decimal("0.1000"),
        gross_retention=Decimal("0.8000"),
        net_retention=Decimal("0.9000"),
    )


def test_net_churn_is_below_zero_where_more_was_gained_than_lost() -> None:
    change = moved(expansion=700, reactivation=300, churn=-500)
    rates = churn_rates(customers=3, customers_lost=1, mrr=Money(3_000, USD), moved=change)
    assert (rates.net_revenue_churn, rates.net_retention) == (Decimal("-0.1667"), Decimal("1.1667"))
    assert (rates.gross_revenue_churn, rates.customer_churn) == (Decimal("0.1667"), Decimal("0.3333"))


def test_where_there_was_nothing_there_is_no_share_of_it() -> None:
    rates = churn_rates(customers=0, customers_lost=0, mrr=Money(0, USD), moved=moved(new=100))
    assert rates == ChurnRates(
        customer_churn=None,
        gross_revenue_churn=None,
        net_revenue_churn=None,
        gross_retention=None,
        net_retention=None,
    )
