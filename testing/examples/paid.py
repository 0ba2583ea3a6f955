"""Periods paid in advance."""

from domain.kernel.currency import currency_code
from domain.kernel.money import Money
from domain.subscriptions.paid_charge import PaidCharge
from domain.tax.computation import TaxRate

USD = currency_code("USD")


def paid(price: int, *tax_rates: TaxRate, discounted: int | None = None, given_back: int = 0) -> tuple[PaidCharge]:
    """One charge of a whole period at that price in cents, less a discount where `discounted` is given."""
    whole = Money(price, USD)
    return (
        PaidCharge(
            line_id=None,
            price=whole,
            billed=whole,
            discounted=whole if discounted is None else Money(discounted, USD),
            given_back=Money(given_back, USD),
            tax_rates=tax_rates,
        ),
    )
