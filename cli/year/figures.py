"""The figures of a year by name, as they were reckoned and as they were measured, and where the two differ."""

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

Figure: TypeAlias = tuple[str, ...]
"""What a figure is of: a month, a currency and a measure; a month, a jurisdiction, …; a customer, a day, …."""
Figures: TypeAlias = Mapping[Figure, int]
"""Minor units, or how many."""


class FiguresSoFar(Counter[Figure]):
    """Figures while they are gathered."""

    def tell(self, amount: int, *of: str) -> None:
        """So much more of a figure. Nothing is no figure: it need not be found on the other side."""
        if amount:
            self[of] += amount

    def done(self) -> dict[Figure, int]:
        """Those that came to something."""
        return {figure: amount for figure, amount in sorted(self.items()) if amount}


def differences(expected: Figures, measured: Figures) -> list[str]:
    """Every figure that is not the same on both sides; none is nothing."""
    return [
        f"{' '.join(figure)}: {measured.get(figure, 0)} instead of {expected.get(figure, 0)}"
        for figure in sorted(expected.keys() | measured.keys())
        if expected.get(figure, 0) != measured.get(figure, 0)
    ]


def month_of(day: str) -> str:
    """2026-03 of 2026-03-12T12:00:00Z."""
    return day[:7]
