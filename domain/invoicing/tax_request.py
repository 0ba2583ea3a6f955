"""An invoice that is final but for its tax, which a calculator outside is asked for.

It is a draft that takes no more changes, until the answer finalizes it, or somebody does without one. The events are of
the invoice's stream.
"""

from dataclasses import dataclass
from datetime import date, datetime

from domain.invoicing.invoice_discount import InvoiceDiscount
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.invoice_tax import TaxFacts
from domain.kernel.refusal import Refusal
from domain.tax.remote import TaxAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeWithTax:
    """Finalize with what the calculator answered to what was asked by this attempt."""

    invoice_id: str
    attempt: int
    answer: TaxAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTaxUnanswered:
    """The calculator gave no answer that could be taken; `reason` says why."""

    invoice_id: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTaxRequested:
    """The lines are final, with what `discounts` take off them, and so is the instant `finalizes_at` of which the
    invoice will be; `further_subscription_ids` are others that it bills, too. `basis` is what the tax rests on, without
    any totals; `taxed_on` the customer's local date.

    `attempt` counts from 1: it may be asked for anew, by what then holds of the customer and of the taxes.
    """

    invoice_id: str
    subscription_id: str | None
    further_subscription_ids: tuple[str, ...] = ()
    lines: tuple[InvoiceLine, ...]
    discounts: tuple[InvoiceDiscount, ...]
    basis: TaxFacts
    taxed_on: date
    days_until_due: int
    finalizes_at: datetime
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTaxUnanswered:
    """No answer could be taken so far, and why; it is asked again. Said once for each reason that follows another."""

    invoice_id: str
    reason: str
    tried_at: datetime


TaxRequestEvent = InvoiceTaxRequested | InvoiceTaxUnanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRequest:
    """See InvoiceTaxRequested. `unanswered` is why there is no answer so far; None: nobody has tried yet, or there is
    one.
    """

    basis: TaxFacts
    taxed_on: date
    days_until_due: int
    finalizes_at: datetime
    attempt: int
    unanswered: str | None = None


class InvoiceAwaitsNoTax(Refusal):
    """Nobody waits for the tax of this invoice: it is finalized, void, or was asked for anew."""

    code = "invoice_awaits_no_tax"


EVENTS: dict[str, type] = {
    "invoice.tax_requested": InvoiceTaxRequested,
    "invoice.tax_unanswered": InvoiceTaxUnanswered,
}
