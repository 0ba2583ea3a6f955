"""What finalizing an invoice posts."""

from collections.abc import Iterable

from domain.invoicing.balance import balance_of
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import TaxFacts, TaxTotal
from domain.kernel.accounts import (
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    REVENUE,
    TAX_PAYABLE,
    Account,
    Entry,
    credit,
    debit,
    entry,
)
from domain.kernel.money import Money, sums_by


def recognition_entry(
    lines: Iterable[InvoiceLine],
    total: Money,
    applied: Money,
    customer_id: str,
    owed_on: Account,
    tax: TaxFacts | None,
) -> Entry | None:
    """What is owed against what was, or is still to be, earned for it, line by line, and the tax of each jurisdiction.

    What the customer's balance pays of it (`applied`) is owed by nobody; what it comes to below zero becomes that
    balance.
    """
    nothing = Money.zero(total.currency)
    deferred = earned = nothing
    for line in lines:
        if line.is_deferred:
            deferred = deferred + line.net
        else:
            earned = earned + line.net
    sides = (
        (debit, owed_on, balance_of(total, nothing, applied, ()), None),
        (debit, CUSTOMER_BALANCE, applied, None),
        (credit, DEFERRED_REVENUE, deferred, None),
        (credit, REVENUE, earned, None),
        *(
            (credit, TAX_PAYABLE, amount, place)
            for place, amount in tax_by_jurisdiction(() if tax is None else tax.totals).items()
        ),
    )
    return entry(
        side(account, amount, customer_id, jurisdiction)
        if not amount.is_negative
        else (credit if side is debit else debit)(account, -amount, customer_id, jurisdiction)
        for side, account, amount, jurisdiction in sides
    )


def tax_by_jurisdiction(totals: Iterable[TaxTotal]) -> dict[str, Money]:
    """The tax of each jurisdiction, whatever its rates are."""
    return sums_by((total.jurisdiction, total.tax) for total in totals)
