"""How an invoice comes about: finalized at once, or as a draft that is finalized later, with what waited for it.

Both ways lead through `finalized`, so that a draft becomes what it would have been at once, by what holds when it does.
"""

from datetime import datetime, timedelta

from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER, Customer, balance_moved
from domain.customers.waiting_items import CustomerItemsBilled, WaitingItem
from domain.invoicing.billing_settings import BillingSettings, billing_settings
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.discounting import discounts_of, used, uses_of
from domain.invoicing.draft import DraftTerms, InvoiceDrafted
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_discount import Discountable
from domain.invoicing.invoice_line import (
    MAX_INVOICE_LINES,
    MAX_INVOICE_TOTAL,
    InvalidInvoiceLines,
    InvoiceLine,
    check_lines,
)
from domain.invoicing.numbering import take_number
from domain.invoicing.settlement import paid_by_nothing
from domain.invoicing.state import Invoice
from domain.invoicing.taxation import lines_discounted, taxed
from domain.kernel.currency import CurrencyCode
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Change, Streams
from domain.tax.settings import tax_settings

MAX_TOTAL_WITH_WAITING_ITEMS = MAX_INVOICE_TOTAL // 2
"""Minor units. Up to here an invoice takes what waits, so that the tax on top still fits."""


def billed(
    streams: Streams,
    *,
    invoice_id: str,
    customer: Customer,
    subscription_id: str,
    further_subscription_ids: tuple[str, ...] = (),
    collection: CollectionMethod,
    currency: CurrencyCode,
    lines: tuple[InvoiceLine, ...],
    days_until_due: int,
    rounding: Rounding,
    discountable: Discountable,
    at: datetime,
) -> list[Change]:
    """The changes by which a subscription bills these lines, and what waits for the customer's next invoice: finalized
    at once, or drafted where the billing settings let drafts wait.
    """
    settings = billing_settings(streams)
    waiting: list[Change] = []
    if customer.waiting_items:
        lines, waiting = with_waiting_items(lines, customer, invoice_id)
    if not settings.grace_s:
        changes = finalized(
            streams,
            settings,
            invoice_id=invoice_id,
            customer=customer,
            subscription_id=subscription_id,
            further_subscription_ids=further_subscription_ids,
            collection=collection,
            currency=currency,
            lines=lines,
            days_until_due=days_until_due,
            rounding=rounding,
            series=settings.invoice_series,
            memo=settings.memo,
            discountable=discountable,
            at=at,
        )
        return [*changes, *waiting]
    check_lines(lines, currency, rounding)
    finalizes_at = at + timedelta(seconds=settings.grace_s)
    drafted = InvoiceDrafted(
        invoice_id=invoice_id,
        customer_id=customer.customer_id,
        subscription_id=subscription_id,
        further_subscription_ids=further_subscription_ids,
        collection=collection,
        currency=currency,
        lines=lines,
        terms=DraftTerms(
            finalizes_at=finalizes_at, days_until_due=days_until_due, rounding=rounding, discountable=discountable
        ),
        series=settings.invoice_series,
        memo=settings.memo,
        test_clock_id=customer.test_clock_id,
        created_at=at,
    )
    return [INVOICE.change(drafted), *waiting]


def with_waiting_items(
    lines: tuple[InvoiceLine, ...], customer: Customer, invoice_id: str
) -> tuple[tuple[InvoiceLine, ...], list[Change]]:
    """The lines with as many items as fit, in the order in which they came, and what says that those wait no more."""
    billed = list(lines)
    total = sum(line.amount.amount for line in lines)
    for item in customer.waiting_items:
        total += item.amount.amount
        if len(billed) == MAX_INVOICE_LINES or abs(total) > MAX_TOTAL_WITH_WAITING_ITEMS:
            break
        billed.append(_line_of(item))
    item_ids = tuple(line.line_id for line in billed[len(lines) :])
    if not item_ids:
        return lines, []
    taken = CustomerItemsBilled(customer_id=customer.customer_id, invoice_id=invoice_id, item_ids=item_ids)
    return tuple(billed), [CUSTOMER.change(taken)]


def _line_of(item: WaitingItem) -> InvoiceLine:
    return InvoiceLine(
        line_id=item.item_id,
        description=item.description,
        amount=item.amount,
        quantity=item.quantity,
        timing=BillingTiming.IN_ADVANCE if item.is_ahead else BillingTiming.IN_ARREARS,
        product_id=item.product_id,
        tax_category=item.tax_category,
        tax_inclusive=item.tax_inclusive,
        period_start=item.period_start,
        period_end=item.period_end,
    )


def foreseen_lines(streams: Streams, draft: Invoice) -> tuple[InvoiceLine, ...]:
    """The lines of a subscription's draft with the discounts that it will have, so that nobody is given back more of
    them than is going to be paid.
    """
    assert draft.terms is not None, "it is a draft"
    by, rounding = draft.terms.discountable, draft.terms.rounding
    if by is None:
        return draft.lines
    discounts = discounts_of(streams, CUSTOMER.of(streams, draft.customer_id), by)
    uses = uses_of(discounts, draft.lines, by, draft.currency, rounding)
    return lines_discounted(draft.lines, draft.currency, rounding, uses)


def finalized_draft(
    streams: Streams, draft: Invoice, *, days_until_due: int | None = None, at: datetime
) -> list[Change]:
    """The changes that issue a draft, by its own terms unless others are named. Raises InvalidInvoiceLines."""
    assert draft.terms is not None, "it is a draft"
    return finalized(
        streams,
        billing_settings(streams),
        invoice_id=draft.invoice_id,
        customer=CUSTOMER.of(streams, draft.customer_id),
        subscription_id=draft.subscription_id,
        further_subscription_ids=draft.further_subscription_ids,
        collection=draft.collection,
        currency=draft.currency,
        lines=draft.lines,
        days_until_due=draft.terms.days_until_due if days_until_due is None else days_until_due,
        rounding=draft.terms.rounding,
        series=draft.series,
        memo=draft.memo,
        discountable=draft.terms.discountable or Discountable(at=at),
        at=at,
    )


def finalized(
    streams: Streams,
    settings: BillingSettings,
    *,
    invoice_id: str,
    customer: Customer,
    subscription_id: str | None,
    further_subscription_ids: tuple[str, ...],
    collection: CollectionMethod,
    currency: CurrencyCode,
    lines: tuple[InvoiceLine, ...],
    days_until_due: int,
    rounding: Rounding,
    series: str,
    memo: str | None,
    discountable: Discountable,
    at: datetime,
) -> list[Change]:
    """The changes that issue an invoice: its number is taken, its lines are final, with their discounts and their tax,
    it is posted, and what it uses of the discounts is counted.

    One that is charged automatically is due at once; one that is paid by hand that many days later. The customer's
    balance pays of it what it can; what it comes to below zero becomes that balance. Where nothing is due it is paid.
    Raises InvalidInvoiceLines, also where it is the tax on top that makes it too much.
    """
    discounts = discounts_of(streams, customer, discountable)
    invoiced = taxed(
        lines,
        currency,
        rounding,
        settings=tax_settings(streams),
        customer=customer,
        uses=uses_of(discounts, lines, discountable, currency, rounding),
        at=at,
    )
    if abs(invoiced.total.amount) > MAX_INVOICE_TOTAL:
        raise InvalidInvoiceLines(total=invoiced.total.amount, most=MAX_INVOICE_TOTAL)
    number_taken, number = take_number(streams, settings, series, invoice_id=invoice_id, at=at)
    by_hand = collection is CollectionMethod.SEND_INVOICE
    event = InvoiceFinalized(
        invoice_id=invoice_id,
        customer_id=customer.customer_id,
        subscription_id=subscription_id,
        further_subscription_ids=further_subscription_ids,
        series=series,
        number=number,
        collection=collection,
        currency=currency,
        lines=invoiced.lines,
        total=invoiced.total,
        discounts=invoiced.discounts,
        applied=min(invoiced.total, customer.balance),
        tax=invoiced.tax,
        memo=memo,
        test_clock_id=customer.test_clock_id,
        finalized_at=at,
        due_at=at + timedelta(days=days_until_due) if by_hand else at,
    )
    return [
        number_taken,
        INVOICE.change(event),
        *used(invoice_id, invoiced.discounts, discounts, at),
        *balance_moved(customer.customer_id, event.applied, at, invoice_id=invoice_id),
        *([INVOICE.change(paid_by_nothing(invoice_id, currency, at))] if event.amount_due.is_zero else []),
    ]
