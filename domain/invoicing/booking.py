"""What finalizing an invoice posts."""

from collections.abc import Iterable

from domain.invoicing.balance import balance_of
from domain.invoicing.invoice_line import InvoiceLine
from domain.kernel.accounts import (
    CUSTOMER_BALANCE,
    DEFERRED_REVENUE,
    REVENUE,
    Account,
    Entry,
    credit,
    debit,
    entry,
)
from domain.kernel.money import Money


def recognition_entry(
    lines: Iterable[InvoiceLine], total: Money, applied: Money, customer_id: str, owed_on: Account
) -> Entry | None:
    """What is owed against what was, or is still to be, earned for it, line by line.

    What the customer's balance pays of it (`applied`) is owed by nobody; what it comes to below zero becomes that
    balance.
    """
    nothing = Money.zero(total.currency)
    deferred = earned = nothing
    for line in lines:
        if line.is_deferred:
            deferred = deferred + line.amount
        else:
            earned = earned + line.amount
    sides = (
        (debit, owed_on, balance_of(total, nothing, applied, ())),
        (debit, CUSTOMER_BALANCE, applied),
        (credit, DEFERRED_REVENUE, deferred),
        (credit, REVENUE, earned),
    )
    return entry(
        side(account, amount, customer_id)
        if not amount.is_negative
        else (credit if side is debit else debit)(account, -amount, customer_id)
        for side, account, amount in sides
    )
