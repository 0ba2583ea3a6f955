"""What the telecom month must come to: computed from the CSV's rows alone, by nothing of what bills them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cli.telecom_customers import SELLER_COUNTRY, TAX_PERCENT, WELCOME_PERCENT, TelecomCustomer
from cli.telecom_rated import ExpectedUsage, half_up

DAYS_OF_THE_MONTH: Final = 31
DAYS_AFTER_CHANGES: Final = 16
"""From the sixteenth of January on."""

TaxRow = tuple[str, str]
"""A country, and how its customers are treated there, as the tax report names it."""
Taxes = dict[TaxRow, tuple[int, int]]
"""The net amount and its tax, in minor units."""
Ages = dict[str, int]
"""Minor units that are owed, by age, as the ageing report names it."""


@dataclass(slots=True, kw_only=True)
class Expected:
    """What came of some invoices, in minor units; `amount` contains the taxes."""

    invoices: int = 0
    amount: int = 0
    taxes: Taxes = field(default_factory=dict)

    def bill(self, row: TelecomCustomer, net: int) -> None:
        """One invoice more."""
        self.invoices += 1
        self._add(row, net, tax_on(row, net))

    def credit(self, row: TelecomCustomer, net: int, gross: int) -> None:
        """So much of an invoice of this net amount is given back."""
        whole = net + tax_on(row, net)
        given_back = half_up(net * gross, whole)
        self._add(row, -given_back, given_back - gross)

    def _add(self, row: TelecomCustomer, net: int, tax: int) -> None:
        self.amount += net + tax
        if row.country is not None:
            before = self.taxes.get((row.country, treatment(row)), (0, 0))
            self.taxes[row.country, treatment(row)] = before[0] + net, before[1] + tax


@dataclass(slots=True, kw_only=True)
class ExpectedMonth:
    """By what happened: everybody is billed, some change their contract or are credited, who stays is billed again.

    What stays unpaid: the first invoices of who pays by mailed check, and the second ones of all who pay by hand.
    """

    january: Expected
    changes: Expected
    credit_notes: Expected
    february: Expected
    unpaid_of_january: int = 0
    unpaid_of_february: int = 0

    @property
    def taxes(self) -> Taxes:
        """Of everything together."""
        found: defaultdict[TaxRow, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for part in (self.january, self.changes, self.credit_notes, self.february):
            for place, (net, tax) in part.taxes.items():
                found[place] = found[place][0] + net, found[place][1] + tax
        return dict(found)

    @property
    def ages_on(self) -> dict[str, Ages]:
        """On some days: within the net terms of thirty days, on the last of them, and the day after, when the second
        invoices are there."""
        first = {"current": self.unpaid_of_january} if self.unpaid_of_january else {}
        both = {"current": self.unpaid_of_february, "days_1_30": self.unpaid_of_january}
        return {
            "2026-01-15": first,
            "2026-01-31": first,
            "2026-02-01": {age: amount for age, amount in both.items() if amount},
        }


def expected_month(rows: Iterable[TelecomCustomer], usage: ExpectedUsage | None = None) -> ExpectedMonth:
    """The whole month, with what its usage comes to if it has some."""
    used = usage or ExpectedUsage()
    month = ExpectedMonth(january=Expected(), changes=Expected(), credit_notes=Expected(), february=Expected())
    for row in rows:
        month.january.bill(row, first_net(row))
        if row.credited:
            month.credit_notes.credit(row, first_net(row), credited(row))
        if row.changes is not None and row.changes.proration == "invoice_now":
            month.changes.bill(row, change_net(row) + used.at_change.get(row.external_id, 0))
        if row.token is None and not row.pays_at_once:
            month.unpaid_of_january += first_net(row) + tax_on(row, first_net(row))
        if not row.leaves:
            net = second_net(row) + used.at_end.get(row.external_id, 0)
            month.february.bill(row, net)
            if row.token is None:
                balance = credited(row) if row.credited else 0
                month.unpaid_of_february += net + tax_on(row, net) - balance
    return month


def first_net(row: TelecomCustomer) -> int:
    """The price, less the coupon."""
    return row.monthly - (half_up(row.monthly * WELCOME_PERCENT, 100) if row.welcome else 0)


def credited(row: TelecomCustomer) -> int:
    """Half of what the first invoice came to, tax included."""
    return (first_net(row) + tax_on(row, first_net(row))) // 2


def change_net(row: TelecomCustomer) -> int:
    """What is left of the month at the new price, less what is left of it at the old."""
    if row.changes is None:
        return 0
    new, old = (
        half_up(monthly * DAYS_AFTER_CHANGES, DAYS_OF_THE_MONTH) for monthly in (row.changes.monthly, row.monthly)
    )
    return new - old


def second_net(row: TelecomCustomer) -> int:
    """The price that holds then, and what waited for this invoice."""
    if row.changes is None:
        return row.monthly
    return row.changes.monthly + (change_net(row) if row.changes.proration == "next_invoice" else 0)


def treatment(row: TelecomCustomer) -> str:
    """Who is exempt pays nothing, nor does a business in another country than the seller's."""
    if row.tax_exempt:
        return "exempt"
    return "reverse_charge" if row.vat_id is not None and row.country != SELLER_COUNTRY else "taxed"


def tax_on(row: TelecomCustomer, net: int) -> int:
    """By the customer's country."""
    if row.country is None or treatment(row) != "taxed":
        return 0
    return half_up(net * TAX_PERCENT[row.country], 100)
