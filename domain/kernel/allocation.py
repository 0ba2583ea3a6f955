"""Splitting an amount that was computed on a sum over the lines of that sum, so that the parts add up to it."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from domain.kernel.money import Money, allocate


def split_over_lines(total: Money, lines: Sequence[Money], exact_factor: Decimal | Fraction) -> list[Money]:
    """Parts of `total` for each line; they sum to it.

    `total` is `exact_factor` × the sum of the lines, to a unit or so. Lines of one sign: in proportion to the lines, by
    largest remainder, ties to the earlier line (vectors 23 to 25 and 34). With credits among the charges, proportion to
    a small sum would give absurd parts, so each line starts from its own exact_factor × amount, rounded down, and the
    units left go to the largest remainders.
    """
    signs = {line.amount > 0 for line in lines if line.amount}
    if not signs or (total.is_zero and len(signs) == 1):
        return [Money.zero(total.currency) for _ in lines]
    if len(signs) == 1:
        return allocate(total, [abs(line.amount) for line in lines])
    factor = Fraction(exact_factor)
    exact = [line.amount * factor for line in lines]
    parts = [share.numerator // share.denominator for share in exact]
    bearing = [index for index, line in enumerate(lines) if line.amount]
    for_each, for_some = divmod(total.amount - sum(parts), len(bearing))
    bearing.sort(key=lambda index: exact[index] - parts[index], reverse=True)  # stable: ties keep order
    for rank, index in enumerate(bearing):
        parts[index] += for_each + (rank < for_some)
    return [Money(part, total.currency) for part in parts]
