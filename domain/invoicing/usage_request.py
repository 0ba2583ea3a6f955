"""An invoice that bills usage which is not counted yet: a draft that waits until its periods are closed.

It says so by its lines. Where drafts have time the periods are closed when that is over, so that what comes late until
then is still in. What a meter counted comes in by a command, once; a person need not wait for it: they end the draft's
time, and once it is over they take what is counted by then. What comes later is late usage. The events are of the
invoice's stream.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final

from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.usage_line import UsageSnapshot
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Claim, Take

VOIDED_USAGE: Final = "invoice.usage_voided"
"""The kind of claim by which the invoices are found that were voided with usage of a customer's meter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecountedUsage:
    """The period of a line of an earlier invoice, with all that is known of it; `amounts` as in CountedUsage."""

    invoice_id: str
    line_id: str
    quantity: Fraction
    events: int
    amounts: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedUsage:
    """What the closing of a line's period came to, and what had come late by then for periods that are billed.
    `amounts` are those of the single events in order of time, where the meter keeps them.
    """

    line_id: str
    snapshot: UsageSnapshot
    amounts: tuple[Decimal, ...] = ()
    late: tuple[RecountedUsage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BillUsage:
    """Bill what was counted: of every line that waits for it."""

    invoice_id: str
    counted: tuple[CountedUsage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceUsageCounted:
    """Every line of it, those that bill usage with what was counted and what that comes to, and further ones of what
    came late.
    """

    invoice_id: str
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceUsageHurried:
    """Somebody finalized it without waiting: it bills what is counted by now, and is of the instant `finalizes_at`."""

    invoice_id: str
    days_until_due: int
    finalizes_at: datetime
    hurried_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceGraceShortened:
    """Its time, until which what comes late is still billed on it, is over sooner than it was to be: somebody finalized
    it, or what gives back a line of it, and is finalized behind it.
    """

    invoice_id: str
    days_until_due: int
    finalizes_at: datetime
    shortened_at: datetime


UsageRequestEvent = InvoiceUsageCounted | InvoiceUsageHurried | InvoiceGraceShortened


class InvoiceAwaitsNoUsage(Refusal):
    """The invoice waits for no usage: it has been counted, or nobody bills it any more."""

    code = "invoice_awaits_no_usage"


class UsageNotOfInvoice(Refusal):
    """What was counted is not what the invoice waits for: each of its lines of usage once, and no other."""

    code = "usage_not_of_invoice"


def voided_usage_of(customer_id: str, meter_id: str) -> str:
    """With what the values of VOIDED_USAGE of a customer's meter begin."""
    return f"{customer_id}:{meter_id}:"


def claims_of_voided(invoice_id: str, customer_id: str, lines: tuple[InvoiceLine, ...]) -> tuple[Claim, ...]:
    """What came late, and this invoice billed or was to bill, is the meter's next one's, which looks for these."""
    meters = dict.fromkeys(line.usage.meter_id for line in lines if line.usage is not None)
    return tuple(
        Take(
            VOIDED_USAGE,
            f"{voided_usage_of(customer_id, meter_id)}{invoice_id}",
            invoice_id,
            lambda: InvoiceAwaitsNoUsage(invoice=invoice_id, status="void"),
        )
        for meter_id in meters
    )


EVENTS: dict[str, type] = {
    "invoice.usage_counted": InvoiceUsageCounted,
    "invoice.usage_hurried": InvoiceUsageHurried,
    "invoice.grace_shortened": InvoiceGraceShortened,
}
