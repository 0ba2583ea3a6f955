"""What a quantity costs under a price, and why."""

from decimal import Decimal
from typing import TypeAlias

from domain.money import Money
from domain.price import Flat, PerUnit, Price
from domain.rounding import EXACT, Rounding, round_to_int

Quantity: TypeAlias = Decimal | int


def amount_of(price: Price, quantity: Quantity, rounding: Rounding = Rounding.HALF_UP) -> Money:
    """The amount due for `quantity` units: computed exactly, rounded once to minor units by `rounding`.

    One rounding a line, half up away from zero, is what vectors 17 to 21 show of other engines' suites.
    A negative quantity costs what its mirror image costs, with the sign turned.
    """
    if isinstance(price, Flat):
        return price.amount
    if isinstance(price, PerUnit):
        if price.free_units:
            charged = EXACT.subtract(abs(Decimal(quantity)), price.free_units)
            quantity = charged.copy_sign(Decimal(quantity)) if charged > 0 else 0
        exact = EXACT.multiply(quantity, price.unit_amount)
        return Money(round_to_int(exact, rounding), price.currency)
    raise NotImplementedError
