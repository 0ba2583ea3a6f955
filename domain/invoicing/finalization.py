"""An invoice as it is issued, and taken back: what `invoice.finalized` carries is final.

The events are of the invoice's stream.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.invoicing.balance import balance_of
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice_discount import InvoiceDiscount
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import TaxFacts, TaxTotal
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidInvoice:
    """`ends_with_clock`: its test clock is deleted, so it ends also where a later invoice rated its periods again."""

    invoice_id: str
    ends_with_clock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFinalized:
    """The invoice as it is owed. `total` is the sum of the lines, less their discounts, with their tax; `due_at` is
    when it should be paid. `discounts` stand in the order in which they were taken off. `tax` is None where the seller
    charges none anywhere.

    `applied` is what the customer's balance paid of it; below zero, what of it became the customer's balance. `number`
    is printed of the count of `series`. `further_subscription_ids` are others that it bills, too.
    """

    invoice_id: str
    customer_id: str
    subscription_id: str | None
    further_subscription_ids: tuple[str, ...] = ()
    series: str
    number: str
    collection: CollectionMethod
    currency: CurrencyCode
    lines: tuple[InvoiceLine, ...]
    total: Money
    discounts: tuple[InvoiceDiscount, ...] = ()
    applied: Money
    tax: TaxFacts | None = None
    memo: str | None = None
    test_clock_id: str | None
    finalized_at: datetime
    due_at: datetime

    @property
    def amount_due(self) -> Money:
        """What is to be paid of it from now on."""
        return balance_of(self.total, Money.zero(self.currency), self.applied, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceVoided:
    """`tax_taken_back` is what its finalization charged, by rate, so that nobody has to look it up."""

    invoice_id: str
    tax_taken_back: tuple[TaxTotal, ...] = ()
    voided_at: datetime


class InvoiceIsRatedAgain(Refusal):
    """A later invoice bills, or gives back, late usage of its periods: void that one first, or credit this one."""

    code = "invoice_rated_again"


class InvoiceCannotBeVoided(Refusal):
    """Only an invoice that is not paid can be voided, and once; credit or refund a paid one."""

    code = "invoice_not_voidable"
