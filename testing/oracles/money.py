"""Naive money: fractions, floors, and one minor unit handed out at a time."""

from fractions import Fraction
from math import floor


def half_up(value: Fraction) -> int:
    """To the nearest, halves away from zero."""
    return floor(value + Fraction(1, 2)) if value >= 0 else -floor(-value + Fraction(1, 2))


def half_even(value: Fraction) -> int:
    """To the nearest, halves to the even neighbour."""
    below = floor(value)
    rest = value - below
    if rest == Fraction(1, 2):
        return below if below % 2 == 0 else below + 1
    return below if rest < Fraction(1, 2) else below + 1


def split(amount: int, weights: list[Fraction]) -> list[int]:
    """Largest remainder, ties to the earlier part."""
    if amount < 0:
        return [-part for part in split(-amount, weights)]
    exact = [amount * weight / sum(weights) for weight in weights]
    parts = [floor(share) for share in exact]
    while sum(parts) < amount:
        lacking = [share - part for share, part in zip(exact, parts, strict=True)]
        parts[lacking.index(max(lacking))] += 1
    return parts
