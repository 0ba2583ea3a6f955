"""The lines of an invoice: what each of them bills, and what together makes an invoice."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from domain.catalog.price import BillingTiming
from domain.invoicing.computation import AmountLine, compute_invoice
from domain.invoicing.invoice_discount import LineDiscount
from domain.invoicing.invoice_tax import LineTax
from domain.invoicing.late_usage import LateUsage
from domain.invoicing.unused_credit import GivesBack
from domain.invoicing.usage_line import LineUsage, UsageProgress
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money, sum_money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.rounding import Rounding
from domain.pricing.models import WHOLE_PERIOD, Price

MAX_INVOICE_LINES = 250

MAX_INVOICE_TOTAL = 999_999_999_999
"""Minor units. Sums of millions of such invoices still fit the 64 bits of the read models."""


class InvoiceLineKind(StrEnum):
    """What a line bills: something by itself, a whole period of a subscription, or a part of one, or what was used in
    one; or that it gives back what is unused of such a line.
    """

    ONE_OFF = "one_off"
    RECURRING = "recurring"
    PRORATED = "prorated"
    USAGE = "usage"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePricing:
    """What a line's quantity was priced by: the price as it was then, for `share` of a whole period, rounded once.

    With the quantity these give the line's amount again, whatever has become of the catalogue. Of usage `share` is that
    of the price's bounds alone: what was measured never shrinks.
    """

    price: Price
    share: Fraction
    rounding: Rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One thing billed: its amount is final to the minor unit, and so is what each discount takes off it. The period is
    the service period, if there is one.

    `tax_category` is the product's at the time it was sold. `pricing` is None where somebody stated the amount. The
    amount contains the tax if `tax_inclusive`; None: as the tenant's tax settings say when it is finalized. `tax` is
    None in a draft, and where the seller charges none anywhere. A credit says what it `gives_back`, and is priced as
    that line was. What bills `usage` has neither amount nor quantity until that is counted.
    """

    line_id: str
    description: str
    amount: Money
    quantity: Decimal
    timing: BillingTiming
    kind: InvoiceLineKind = InvoiceLineKind.ONE_OFF
    product_id: str | None = None
    price_id: str | None = None
    tax_category: str | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    pricing: LinePricing | None = None
    discounts: tuple[LineDiscount, ...] = ()
    tax_inclusive: bool | None = None
    tax: LineTax | None = None
    gives_back: GivesBack | None = None
    usage: LineUsage | None = None

    @property
    def progress(self) -> UsageProgress | None:
        """Of usage that several lines bill, what it says of those before it."""
        return None if self.usage is None else self.usage.progress

    @property
    def late(self) -> LateUsage | None:
        """Of late usage, the period that is rated again."""
        return None if self.usage is None else self.usage.late

    @property
    def lacks_usage(self) -> bool:
        """Whether it bills usage that is not counted yet."""
        return self.usage is not None and self.usage.snapshot is None

    @property
    def bills_whole_period(self) -> bool:
        """Whether it bills a period and not a part of one."""
        if self.kind is InvoiceLineKind.USAGE:
            is_whole = self.pricing is not None and self.pricing.share == WHOLE_PERIOD
            return is_whole and self.late is None and not self.bills_so_far
        return self.kind in {InvoiceLineKind.RECURRING, InvoiceLineKind.ONE_OFF}

    @property
    def bills_so_far(self) -> bool:
        """Whether it bills what a period came to while that runs: another line bills the rest."""
        return self.progress is not None and not self.progress.is_last

    @property
    def discounted(self) -> Money:
        """What discounts leave of its amount: with the tax that it includes, without that which comes on top."""
        if not self.discounts:
            return self.amount
        return self.amount - sum_money((each.amount for each in self.discounts), self.amount.currency)

    @property
    def net(self) -> Money:
        """What it comes to without tax, as revenue."""
        return self.discounted if self.tax is None else self.tax.net

    @property
    def total(self) -> Money:
        """What it comes to with its tax."""
        return self.discounted if self.tax is None else self.tax.total

    @property
    def is_deferred(self) -> bool:
        """Whether its revenue is earned over time: billed ahead, for a service period of some length.

        Without one there is no time over which to recognize it, so it would stay deferred for ever.
        """
        if self.timing is not BillingTiming.IN_ADVANCE or self.period_start is None or self.period_end is None:
            return False
        return self.period_start < self.period_end


class InvalidInvoiceLines(Refusal):
    """An invoice has 1 to 250 lines in its own currency and a total from zero to 999,999,999,999 minor units."""

    code = "invalid_invoice_lines"
    kind = RefusalKind.INVALID
    param = "lines"

    def summary(self) -> str:
        match self.details:
            case {"invoice_currency": str()}:
                return "The line is in another currency than its invoice: an invoice is in one."
            case {"total": int(total)} if total < 0:
                return "The lines come to less than zero: lower what they deduct."
            case {"total": int()}:
                return "The lines come to more than an invoice holds: divide them among several."
            case _:
                return super().summary()


class InvalidLinePeriod(Refusal):
    """A line's service period has a start and a later end: name both, or neither."""

    code = "invalid_line_period"
    kind = RefusalKind.INVALID
    param = "lines"

    def summary(self) -> str:
        match self.details:
            case {"period_start": str(), "period_end": str()}:
                return "The line's service period does not end after its start."
            case {"period_start": str()}:
                return "The line's service period has a start and no end: name both, or neither."
            case {"period_end": str()}:
                return "The line's service period has an end and no start: name both, or neither."
            case _:
                return super().summary()


def check_lines(lines: tuple[InvoiceLine, ...], currency: CurrencyCode, rounding: Rounding) -> Money:
    """What the lines come to, by the one computation of every invoice: below zero where they give back more than they
    bill.

    Raises InvalidInvoiceLines for none, too many, another currency, or a sum out of bounds.
    """
    if not 1 <= len(lines) <= MAX_INVOICE_LINES:
        raise InvalidInvoiceLines(lines=len(lines))
    for nth, line in enumerate(lines):
        if line.amount.currency != currency:
            refused = InvalidInvoiceLines(currency=line.amount.currency, invoice_currency=currency)
            raise refused.at(f"lines.{nth}.amount.currency")
    billed = [
        AmountLine(
            line_id=line.line_id, product_id=line.product_id or line.line_id, amount=line.amount, discountable=False
        )
        for line in lines
    ]
    total = compute_invoice(billed, currency, rounding=rounding).total
    if abs(total.amount) > MAX_INVOICE_TOTAL:
        raise InvalidInvoiceLines(total=total.amount, most=MAX_INVOICE_TOTAL)
    return total


def check_period(line: InvoiceLine, nth: int) -> None:
    """A service period has some length. Raises InvalidLinePeriod; `nth` counts the lines from 0, as paths do."""
    start, end = line.period_start, line.period_end
    if (start is None) != (end is None) or (start is not None and end is not None and end <= start):
        wrong = "period_start" if start is None else "period_end"
        raise InvalidLinePeriod(period_start=start, period_end=end).at(f"lines.{nth}.{wrong}")
