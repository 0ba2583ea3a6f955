"""What the telecom month must come to: computed from the CSV's rows alone, by nothing of what bills them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cli.telecom_customers import SELLER_COUNTRY, TAX_PERCENT, TelecomCustomer

_HALF: Final = 50


TaxRow = tuple[str, str]
"""A country, and how its customers are treated there, as the tax report names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A cycle, in minor units. `taxes` are the net amount and the tax of each country and treatment, which `amount`
    contains.
    """

    invoices: int
    amount: int
    taxes: dict[TaxRow, tuple[int, int]]


def treatment(row: TelecomCustomer) -> str:
    """Who is exempt pays nothing, nor does a business in another country than the seller's."""
    if row.tax_exempt:
        return "exempt"
    return "reverse_charge" if row.vat_id is not None and row.country != SELLER_COUNTRY else "taxed"


def tax_on(row: TelecomCustomer, net: int) -> int:
    """By the customer's country; half a cent is rounded up."""
    if row.country is None or treatment(row) != "taxed":
        return 0
    return (net * TAX_PERCENT[row.country] + _HALF) // 100


def expected_cycles(rows: Sequence[TelecomCustomer]) -> tuple[Expected, Expected]:
    """Everybody in the first cycle, those who stay in the second."""
    return _cycle(rows), _cycle([row for row in rows if not row.leaves])


def sum_of_taxes(cycles: Iterable[Expected]) -> dict[TaxRow, tuple[int, int]]:
    """The taxes of several cycles together."""
    found: dict[TaxRow, tuple[int, int]] = {}
    for cycle in cycles:
        for place, (net, tax) in cycle.taxes.items():
            before = found.get(place, (0, 0))
            found[place] = before[0] + net, before[1] + tax
    return found


def _cycle(rows: Iterable[TelecomCustomer]) -> Expected:
    invoices = amount = 0
    taxes: dict[TaxRow, tuple[int, int]] = {}
    for row in rows:
        tax = tax_on(row, row.monthly)
        invoices += 1
        amount += row.monthly + tax
        if row.country is not None:
            place = row.country, treatment(row)
            before = taxes.get(place, (0, 0))
            taxes[place] = before[0] + row.monthly, before[1] + tax
    return Expected(invoices=invoices, amount=amount, taxes=taxes)
