"""What paid for the running period: the charges that a change in the middle of it may give back."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from domain.kernel.money import ExactAmount, Money
from domain.tax.computation import TaxRate

PeriodPrice: TypeAlias = Money | ExactAmount
"""What a whole period costs: `exact_amount_of` the price, or Money where it is a plain sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidCharge:
    """A line that charged the running period in advance, as its invoice billed it: what a credit may give back.

    `price` is what it charged for a whole period, `billed` what the line came to before discounts, `discounted` after
    them, `given_back` what was credited of that so far (all positive). The tax is that of its invoice. `line_id` is
    None as long as it is on no invoice.
    """

    line_id: str | None
    price: PeriodPrice
    billed: Money
    discounted: Money
    given_back: Money
    tax_rates: tuple[TaxRate, ...] = ()
    tax_inclusive: bool = False

    @property
    def left(self) -> Money:
        """What may still be given back of it."""
        return self.discounted - self.given_back

    @property
    def paid_part(self) -> Fraction:
        """The part of its price that discounts left to be paid."""
        return Fraction(self.discounted.amount, self.billed.amount) if self.billed.amount else Fraction(1)
