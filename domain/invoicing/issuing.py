"""How an invoice comes about: finalized at once, or as a draft that is finalized later, with what waited for it.

Both ways lead through `_finalized`, so that a draft becomes what it would have been at once, by what holds when it
does. What bills usage is a draft until that is counted. Where a calculator outside computes the tax, what is finalized
is a draft first that waits for it alone.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from domain.catalog.price import BillingTiming
from domain.customers.customer import CUSTOMER, Customer, balance_moved
from domain.customers.waiting_items import CustomerItemsBilled, WaitingItem
from domain.invoicing.billing_settings import BillingSettings, billing_settings
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.discounting import borne_at, discounts_of, invoices_before, used, uses_of
from domain.invoicing.draft import DraftTerms, InvoiceDrafted
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.given_back_tax import behind_usage, told_by_now, untold
from domain.invoicing.grace import shortened_behind
from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_discount import Discountable
from domain.invoicing.invoice_line import (
    MAX_INVOICE_LINES,
    MAX_INVOICE_TOTAL,
    InvalidInvoiceLines,
    InvoiceLine,
    check_lines,
)
from domain.invoicing.invoice_tax import TaxFacts
from domain.invoicing.numbering import take_number
from domain.invoicing.recrediting import recredited
from domain.invoicing.remote_taxation import taxed_by_answer
from domain.invoicing.settlement import paid_by_nothing
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.tax_request import InvoiceTaxRequested
from domain.invoicing.taxation import (
    Assessed,
    Taxed,
    assessed,
    assessed_again,
    lines_discounted,
    taxed_by_table,
)
from domain.kernel.consequences import After
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.rounding import Rounding
from domain.kernel.stream import Change, Streams
from domain.tax.remote import TaxAnswer, TaxCalculator
from domain.tax.settings import TaxSettings, tax_settings

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
    at once, or drafted where the billing settings let drafts wait, or usage is still to be counted, be it of a draft
    that they give something back of.
    """
    settings = billing_settings(streams)
    waiting: list[Change] = []
    if customer.waiting_items:
        lines, waiting = with_waiting_items(lines, customer, invoice_id)
    grace_s = settings.grace_s
    is_behind = behind_usage(lines, invoice_id, streams)
    waits = bool(grace_s) or is_behind or any(line.lacks_usage for line in lines)
    ends_at = at + timedelta(seconds=grace_s)
    drafted = InvoiceDrafted(
        invoice_id=invoice_id,
        customer_id=customer.customer_id,
        subscription_id=subscription_id,
        further_subscription_ids=further_subscription_ids,
        collection=collection,
        currency=currency,
        lines=lines,
        terms=DraftTerms(
            finalizes_at=ends_at if waits else None,
            days_until_due=days_until_due,
            rounding=rounding,
            discountable=replace(discountable, of_customer=borne_at(customer, discountable.at)),
        ),
        series=settings.invoice_series,
        memo=settings.memo,
        test_clock_id=customer.test_clock_id,
        behind_usage=is_behind,
        created_at=at,
    )
    if waits:
        check_lines(lines, currency, rounding)
        before = shortened_behind(lines, invoice_id, streams, to=ends_at, at=at) if is_behind else []
        return [INVOICE.change(drafted), *before, *waiting]
    changes = _finalized(streams, settings, drafted, customer, days_until_due, discountable, at)
    return [*changes, *waiting]


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
    if by is None or draft.awaited_tax is not None:
        return draft.lines
    discounts = discounts_of(streams, CUSTOMER.of(streams, draft.customer_id), by)
    uses = uses_of(discounts, draft.lines, by, draft.currency, rounding, streams, draft.cut_short)
    return lines_discounted(draft.lines, draft.currency, rounding, uses)


def finalized_draft(
    streams: Streams, draft: Invoice, *, days_until_due: int | None = None, by_table: bool = False, at: datetime
) -> list[Change]:
    """The changes that issue a draft, by its own terms unless others are named; `by_table`: whoever computes taxes
    otherwise. Raises InvalidInvoiceLines.
    """
    assert draft.terms is not None, "it is a draft"
    return _finalized(
        streams,
        billing_settings(streams),
        draft,
        CUSTOMER.of(streams, draft.customer_id),
        draft.terms.days_until_due if days_until_due is None else days_until_due,
        draft.terms.discountable or Discountable(at=at),
        at,
        by_table=by_table,
    )


def finalized_anew(
    streams: Streams, draft: Invoice, *, by_table: bool = False, days_until_due: int | None = None
) -> list[Change]:
    """The changes that issue a draft which waits for its tax, by what holds now of its customer and of the taxes: it is
    asked for once more, or computed by the table, where that computes the taxes by now, or is to.

    Its lines, their discounts and its instant stay. Raises InvalidInvoiceLines.
    """
    asked, terms = draft.awaited_tax, draft.terms
    assert asked is not None, "its tax is waited for"
    assert terms is not None, "it is a draft"
    taxes, at = tax_settings(streams), asked.finalizes_at
    first = _drafts_before(streams, draft, at, by_table=by_table)
    streams = After(streams, first)
    customer = CUSTOMER.of(streams, draft.customer_id)
    days = asked.days_until_due if days_until_due is None else days_until_due
    lines = told_by_now(draft.lines, draft.invoice_id, streams)
    of = assessed_again(lines, draft.discounts, settings=taxes, customer=customer, at=at)
    basis = None if by_table else _to_ask(of, taxes)
    if basis is not None:
        return [*first, _tax_requested(draft, of, basis, days, at, asked.attempt + 1)]
    invoiced = taxed_by_table(of, draft.currency, terms.rounding, taxes)
    return [*first, *_issued(streams, billing_settings(streams), draft, invoiced, customer, days, (), at)]


def finalized_by_answer(streams: Streams, draft: Invoice, answer: TaxAnswer) -> list[Change]:
    """The changes that issue a draft which waits for its tax, with the one that was answered.

    Raises TaxAnswerUnfit, and InvalidInvoiceLines where the tax makes it too much.
    """
    asked, terms = draft.awaited_tax, draft.terms
    assert asked is not None, "its tax is waited for"
    assert terms is not None, "it is a draft"
    lines = told_by_now(draft.lines, draft.invoice_id, streams)
    invoiced = taxed_by_answer(draft, lines, asked, answer, terms.rounding, tax_settings(streams))
    customer = CUSTOMER.of(streams, draft.customer_id)
    settings, days = billing_settings(streams), asked.days_until_due
    return _issued(streams, settings, draft, invoiced, customer, days, (), asked.finalizes_at)


def _finalized(
    streams: Streams,
    settings: BillingSettings,
    draft: Invoice | InvoiceDrafted,
    customer: Customer,
    days_until_due: int,
    discountable: Discountable,
    at: datetime,
    *,
    by_table: bool = False,
) -> list[Change]:
    """The changes that issue an invoice, whose lines are final, with their discounts and their tax, and count what it
    uses of the discounts. Where a calculator outside computes its tax, those by which it waits for that, as a draft.

    Raises InvalidInvoiceLines, also where it is the tax on top that makes it too much.
    """
    assert draft.terms is not None, "it is a draft"
    taxes, rounding = tax_settings(streams), draft.terms.rounding
    first = _drafts_before(streams, draft, at, by_table=by_table)
    if first:
        streams = After(streams, first)
        customer = CUSTOMER.of(streams, draft.customer_id)
    lines, told = recredited(draft.lines, draft.invoice_id, streams, at)
    first = [*first, *told]
    lines = told_by_now(lines, draft.invoice_id, streams)
    held = discounts_of(streams, customer, discountable)
    cut_short = draft.cut_short if isinstance(draft, Invoice) else ()
    uses = uses_of(held, lines, discountable, draft.currency, rounding, streams, cut_short)
    of = assessed(lines, draft.currency, rounding, settings=taxes, customer=customer, uses=uses, at=at)
    counted = used(draft.invoice_id, of.discounts, held, at)
    basis = None if by_table else _to_ask(of, taxes)
    if basis is not None:
        begun = [INVOICE.change(draft)] if isinstance(draft, InvoiceDrafted) else []
        asked = _tax_requested(draft, of, basis, days_until_due, at, 1)
        return [*first, *begun, asked, *counted]
    invoiced = taxed_by_table(of, draft.currency, rounding, taxes)
    return [*first, *_issued(streams, settings, draft, invoiced, customer, days_until_due, counted, at)]


def _drafts_before(streams: Streams, draft: Invoice | InvoiceDrafted, at: datetime, *, by_table: bool) -> list[Change]:
    """The changes that issue the drafts of which an invoice gives something back, as it bears the tax that they bear,
    and those that bill parts of its periods before it, as its discounts go on from theirs: each at its own time, or now
    where that is still to come. What waits for usage goes on waiting, and what waits for a calculator's answer, unless
    the table computes the tax of what gives it back, too.

    Raises InvalidInvoiceLines.
    """
    changes: list[Change] = []
    by_table = by_table or tax_settings(streams).calculator is TaxCalculator.TABLE
    credited_ids = untold(draft.lines, draft.invoice_id)
    for invoice_id in dict.fromkeys((*credited_ids, *invoices_before(draft.lines))):
        known = After(streams, changes)
        billed_by = INVOICE.of(known, invoice_id)
        if billed_by.status is not InvoiceStatus.DRAFT or billed_by.terms is None or billed_by.lacks_usage:
            continue
        if (asked := billed_by.awaited_tax) is None:
            ends_at = min(at, billed_by.terms.finalizes_at or at)
            issued = finalized_draft(known, billed_by, by_table=by_table, at=ends_at)
        elif by_table and invoice_id in credited_ids:
            ends_at = asked.finalizes_at
            issued = finalized_anew(known, billed_by, by_table=True)
        else:
            continue
        changes += [each._replace(effective_at=each.effective_at or ends_at) for each in issued]
    return changes


def _to_ask(of: Assessed, taxes: TaxSettings) -> TaxFacts | None:
    """What a calculator outside is asked of; None where there is nothing to ask, or the table computes the taxes."""
    return of.basis if of.is_taxed and taxes.calculator is TaxCalculator.REMOTE else None


def _tax_requested(
    draft: Invoice | InvoiceDrafted, of: Assessed, basis: TaxFacts, days_until_due: int, at: datetime, attempt: int
) -> Change:
    return INVOICE.change(
        InvoiceTaxRequested(
            invoice_id=draft.invoice_id,
            subscription_id=draft.subscription_id,
            further_subscription_ids=draft.further_subscription_ids,
            lines=of.lines,
            discounts=of.discounts,
            basis=basis,
            taxed_on=of.on,
            days_until_due=days_until_due,
            finalizes_at=at,
            attempt=attempt,
        )
    )


def _issued(
    streams: Streams,
    settings: BillingSettings,
    draft: Invoice | InvoiceDrafted,
    invoiced: Taxed,
    customer: Customer,
    days_until_due: int,
    counted: Sequence[Change],
    at: datetime,
) -> list[Change]:
    """The changes that issue an invoice with its tax: its number is taken, and it is posted.

    One that is charged automatically is due at once; one that is paid by hand that many days later. The customer's
    balance pays of it what it can; what it comes to below zero becomes that balance. Where nothing is due it is paid.
    Raises InvalidInvoiceLines where it is too much.
    """
    if abs(invoiced.total.amount) > MAX_INVOICE_TOTAL:
        raise InvalidInvoiceLines(total=invoiced.total.amount, most=MAX_INVOICE_TOTAL)
    invoice_id = draft.invoice_id
    number_taken, number = take_number(streams, settings, draft.series, invoice_id=invoice_id, at=at)
    by_hand = draft.collection is CollectionMethod.SEND_INVOICE
    event = InvoiceFinalized(
        invoice_id=invoice_id,
        customer_id=draft.customer_id,
        subscription_id=draft.subscription_id,
        further_subscription_ids=draft.further_subscription_ids,
        series=draft.series,
        number=number,
        collection=draft.collection,
        currency=draft.currency,
        lines=invoiced.lines,
        total=invoiced.total,
        discounts=invoiced.discounts,
        applied=min(invoiced.total, customer.balance),
        tax=invoiced.tax,
        memo=draft.memo,
        test_clock_id=customer.test_clock_id,
        finalized_at=at,
        due_at=at + timedelta(days=days_until_due) if by_hand else at,
    )
    return [
        number_taken,
        INVOICE.change(event),
        *counted,
        *balance_moved(draft.customer_id, event.applied, at, invoice_id=invoice_id),
        *([INVOICE.change(paid_by_nothing(invoice_id, draft.currency, at))] if event.amount_due.is_zero else []),
    ]
