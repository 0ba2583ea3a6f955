"""An invoice: draft, open (numbered, posted), then paid, void, or uncollectible, which may still be paid.

The lines of a draft may still change (`draft.py`); what `invoice.finalized` carries is final (`finalization.py`). An
open invoice is collected automatically (the charge saga) or waits to be paid by hand (`collection.py`). What pays it,
or writes it off: `settlement.py`; what is credited of it: `credit_note.py`.
"""

from dataclasses import dataclass

from domain.invoicing import collection, credit_note, draft, imported, settlement, tax_request, usage_request
from domain.invoicing.booking import recognition_entry
from domain.invoicing.collection import (
    CollectionEvent,
    CollectionMethod,
    CollectionStatus,
    InvoiceCollectionFailed,
    InvoicePaymentFailed,
    InvoicePaymentStarted,
)
from domain.invoicing.credit_note import (
    CreditNoteEvent,
    CreditNoteIssued,
    CreditNoteMetadataSet,
    CreditNoteRefunded,
    CreditNoteRefundFailed,
    CreditNoteVoided,
)
from domain.invoicing.draft import (
    DraftEvent,
    InvoiceDraftChanged,
    InvoiceDrafted,
    InvoiceItemAdded,
    InvoiceItemRemoved,
)
from domain.invoicing.finalization import InvoiceFinalized, InvoiceVoided
from domain.invoicing.imported import ImportedEvent, InvoiceImported, InvoicePaymentImported
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.late_usage import InvoiceUsageCutShort, InvoiceUsageRerated
from domain.invoicing.settlement import (
    InvoiceBalanceApplied,
    InvoiceMarkedUncollectible,
    InvoicePaid,
    InvoicePartlyPaid,
    InvoicePaymentReversed,
    InvoiceRecovered,
    InvoiceRefundFailed,
    InvoiceReopened,
    SettlementEvent,
)
from domain.invoicing.state import Invoice, InvoiceStatus, WaitingFor
from domain.invoicing.tax_request import InvoiceTaxRequested, InvoiceTaxUnanswered, TaxRequest, TaxRequestEvent
from domain.invoicing.unused_credit import InvoiceUnusedCredited, together
from domain.invoicing.usage_request import (
    InvoiceGraceShortened,
    InvoiceUsageCounted,
    InvoiceUsageHurried,
    UsageRequestEvent,
)
from domain.kernel.accounts import (
    BAD_DEBT,
    RECEIVABLE,
    Account,
    Entry,
    reversal,
)
from domain.kernel.frozen import replace
from domain.kernel.metadata import MetadataSet
from domain.kernel.money import Money, sum_money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, DueWork, Finish, Schedule, Stream, Streams, Topic, WorkKind


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceMetadataSet(MetadataSet):
    invoice_id: str


InvoiceEvent = (
    DraftEvent
    | UsageRequestEvent
    | TaxRequestEvent
    | InvoiceFinalized
    | ImportedEvent
    | SettlementEvent
    | CollectionEvent
    | CreditNoteEvent
    | InvoiceVoided
    | InvoiceUnusedCredited
    | InvoiceUsageRerated
    | InvoiceUsageCutShort
    | InvoiceMetadataSet
)


class InvoiceNotFound(Refusal):
    """There is no such invoice."""

    code = "invoice_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "invoice"


class InvoiceAlreadyExists(Refusal):
    """An invoice of this id exists already."""

    code = "invoice_already_exists"


class InvoiceNotOpen(Refusal):
    """Only an open or uncollectible invoice can be paid."""

    code = "invoice_not_open"

    def summary(self) -> str:
        if self.details.get("waiting_for") is not None:
            return f"The invoice waits for its {self.details['waiting_for']}: it can be paid once that is known."
        is_draft = self.details.get("status") == InvoiceStatus.DRAFT
        return "The invoice is a draft: finalize it first, then it can be paid." if is_draft else super().summary()


def payable(streams: Streams, invoice_id: str) -> Invoice:
    """The invoice, if it may be paid: InvoiceNotFound or InvoiceNotOpen otherwise."""
    invoice = INVOICE.of(streams, invoice_id)
    if not invoice.is_payable:
        raise InvoiceNotOpen(invoice=invoice_id, status=invoice.status, waiting_for=invoice.waiting_for)
    return invoice


def evolve(invoice: Invoice | None, event: InvoiceEvent) -> Invoice:
    match event:
        case InvoiceDrafted():
            return Invoice(
                invoice_id=event.invoice_id,
                customer_id=event.customer_id,
                subscription_id=event.subscription_id,
                further_subscription_ids=event.further_subscription_ids,
                status=InvoiceStatus.DRAFT,
                collection=event.collection,
                collection_status=CollectionStatus.NOT_APPLICABLE,
                collection_failure=None,
                currency=event.currency,
                lines=event.lines,
                discounts=(),
                tax=None,
                total=sum_money((line.amount for line in event.lines), event.currency),
                amount_applied=Money(0, event.currency),
                amount_paid=Money(0, event.currency),
                amount_overpaid=Money(0, event.currency),
                paid_out_of_band=Money(0, event.currency),
                overpaid_out_of_band=Money(0, event.currency),
                amount_credited=Money(0, event.currency),
                amount_given_back=Money(0, event.currency),
                amount_reopened=Money(0, event.currency),
                paid_by=(),
                credit_notes=(),
                unused_credits=(),
                series=event.series,
                number=None,
                memo=event.memo,
                terms=event.terms,
                payment_id=None,
                test_clock_id=event.test_clock_id,
                metadata=event.metadata,
                created_at=event.created_at,
                finalized_at=None,
                due_at=None,
                paid_at=None,
                uncollectible_at=None,
                voided_at=None,
                waiting_for=WaitingFor.USAGE
                if event.behind_usage or any(line.lacks_usage for line in event.lines)
                else None,
            )
        case InvoiceFinalized():
            automatic = event.collection is CollectionMethod.CHARGE_AUTOMATICALLY
            return Invoice(
                invoice_id=event.invoice_id,
                customer_id=event.customer_id,
                subscription_id=event.subscription_id,
                further_subscription_ids=event.further_subscription_ids,
                status=InvoiceStatus.OPEN,
                collection=event.collection,
                collection_status=CollectionStatus.PENDING if automatic else CollectionStatus.NOT_APPLICABLE,
                collection_failure=None,
                currency=event.currency,
                lines=event.lines,
                discounts=event.discounts,
                tax=event.tax,
                total=event.total,
                amount_applied=event.applied,
                amount_paid=Money(0, event.currency),
                amount_overpaid=Money(0, event.currency),
                paid_out_of_band=Money(0, event.currency),
                overpaid_out_of_band=Money(0, event.currency),
                amount_credited=Money(0, event.currency),
                amount_given_back=Money(0, event.currency),
                amount_reopened=Money(0, event.currency),
                paid_by=(),
                credit_notes=(),
                unused_credits=() if invoice is None else invoice.unused_credits,
                series=event.series,
                number=event.number,
                memo=event.memo,
                terms=None if invoice is None else invoice.terms,
                payment_id=None,
                test_clock_id=event.test_clock_id,
                metadata=() if invoice is None else invoice.metadata,
                created_at=event.finalized_at if invoice is None else invoice.created_at,
                finalized_at=event.finalized_at,
                due_at=event.due_at,
                paid_at=None,
                uncollectible_at=None,
                voided_at=None,
                tax_request=None if invoice is None else invoice.tax_request,
                rerated=() if invoice is None else invoice.rerated,
                cut_short=() if invoice is None else invoice.cut_short,
            )
        case InvoiceImported():
            return replace(
                evolve(None, imported.as_issued(event)),
                metadata=event.metadata,
                created_at=event.imported_at,
                opening=event.total,
            )
    assert invoice is not None, "an invoice begins with invoice.drafted, invoice.finalized or invoice.imported"
    match event:
        case InvoiceDraftChanged():
            assert invoice.terms is not None, "it was drafted"
            terms = replace(invoice.terms, days_until_due=event.days_until_due)
            return replace(invoice, memo=event.memo, terms=terms)
        case InvoiceUsageCounted():
            return replace(_with_lines(invoice, event.lines), waiting_for=None)
        case InvoiceUsageHurried() | InvoiceGraceShortened():
            assert invoice.terms is not None, "it was drafted"
            terms = replace(invoice.terms, finalizes_at=event.finalizes_at, days_until_due=event.days_until_due)
            is_hurried = invoice.usage_hurried or isinstance(event, InvoiceUsageHurried)
            return replace(invoice, terms=terms, usage_hurried=is_hurried)
        case InvoiceTaxRequested():
            asked = TaxRequest(
                basis=event.basis,
                taxed_on=event.taxed_on,
                days_until_due=event.days_until_due,
                finalizes_at=event.finalizes_at,
                attempt=event.attempt,
            )
            total = sum_money((line.discounted for line in event.lines), invoice.currency)
            return replace(
                invoice,
                lines=event.lines,
                discounts=event.discounts,
                total=total,
                waiting_for=WaitingFor.TAX,
                tax_request=asked,
            )
        case InvoiceTaxUnanswered():
            assert invoice.tax_request is not None, "it was asked for"
            return replace(invoice, tax_request=replace(invoice.tax_request, unanswered=event.reason))
        case InvoiceItemAdded():
            return _with_lines(invoice, (*invoice.lines, event.line))
        case InvoiceItemRemoved():
            return _with_lines(invoice, tuple(line for line in invoice.lines if line.line_id != event.line_id))
        case InvoicePaymentImported():
            assert invoice.opening is not None, "its invoice was imported"
            is_paid = event.amount == invoice.amount_due
            return replace(
                invoice,
                status=InvoiceStatus.PAID if is_paid else invoice.status,
                amount_paid=invoice.amount_paid + event.amount,
                opening=invoice.opening - event.amount,
                paid_at=event.paid_at if is_paid else None,
            )
        case InvoicePaid():
            return replace(
                _received(invoice, event.payment_id, event.amount, event.surplus),
                status=InvoiceStatus.PAID,
                collection_status=(
                    CollectionStatus.NOT_APPLICABLE if event.payment_id is None else CollectionStatus.SUCCEEDED
                ),
                collection_failure=None,
                paid_at=event.paid_at,
            )
        case InvoicePartlyPaid():
            return _received(invoice, event.payment_id, event.amount, Money.zero(invoice.currency))
        case InvoicePaymentReversed():
            reversed_ = _received(invoice, None, -event.amount, -event.surplus)
            if event.amount.is_zero:
                return reversed_
            return replace(reversed_, status=_owed_again(invoice), paid_at=None)
        case InvoiceReopened():
            is_over = invoice.collection_status is CollectionStatus.SUCCEEDED
            return replace(
                invoice,
                status=_owed_again(invoice),
                collection_status=CollectionStatus.NOT_APPLICABLE if is_over else invoice.collection_status,
                amount_reopened=invoice.amount_reopened + event.amount,
                paid_at=None,
            )
        case InvoiceRefundFailed():
            return replace(
                invoice,
                amount_reopened=invoice.amount_reopened - event.amount - event.surplus,
                amount_paid=invoice.amount_paid - event.surplus,
                amount_overpaid=invoice.amount_overpaid + event.surplus,
            )
        case InvoiceBalanceApplied():
            return replace(invoice, amount_applied=invoice.amount_applied + event.amount)
        case InvoiceMarkedUncollectible():
            return replace(
                invoice,
                status=InvoiceStatus.UNCOLLECTIBLE,
                collection_status=_no_longer_pending(invoice),
                uncollectible_at=event.marked_at,
            )
        case InvoiceRecovered():
            return invoice
        case InvoicePaymentStarted():
            return replace(
                invoice,
                collection_status=CollectionStatus.PENDING,
                collection_failure=None,
                payment_id=event.payment_id,
            )
        case InvoiceCollectionFailed() | InvoicePaymentFailed():
            return replace(
                invoice,
                collection_status=CollectionStatus.FAILED,
                collection_failure=event.reason,
                payment_id=event.payment_id or invoice.payment_id,  # nothing was tried: the one before may still be
            )
        case InvoiceVoided():
            return replace(
                invoice,
                status=InvoiceStatus.VOID,
                collection_status=_no_longer_pending(invoice),
                voided_at=event.voided_at,
                waiting_for=None,
            )
        case InvoiceUnusedCredited():
            return replace(invoice, unused_credits=together(invoice.unused_credits, event.lines))
        case InvoiceUsageRerated():
            return replace(invoice, rerated=(*invoice.rerated, *event.rerated))
        case InvoiceUsageCutShort():
            return replace(invoice, cut_short=(*invoice.cut_short, *event.line_ids))
        case InvoiceMetadataSet():
            return replace(invoice, metadata=event.metadata)
        case CreditNoteIssued():
            return _credited(invoice, event, event.credited.total, event.credited.given_back)
        case CreditNoteVoided():
            return _credited(invoice, event, -event.taken_back.total, -event.taken_back.given_back)
        case CreditNoteRefunded() | CreditNoteRefundFailed() | CreditNoteMetadataSet():
            return replace(invoice, credit_notes=credit_note.all_after(invoice.credit_notes, event))


def _received(invoice: Invoice, payment_id: str | None, amount: Money, surplus: Money) -> Invoice:
    """After money for it, or, below zero, without it again; `payment_id` None: out of band."""
    by_hand = payment_id is None
    return replace(
        invoice,
        amount_paid=invoice.amount_paid + amount,
        amount_overpaid=invoice.amount_overpaid + surplus,
        paid_out_of_band=invoice.paid_out_of_band + amount if by_hand else invoice.paid_out_of_band,
        overpaid_out_of_band=invoice.overpaid_out_of_band + surplus if by_hand else invoice.overpaid_out_of_band,
        payment_id=payment_id or invoice.payment_id,
        paid_by=invoice.paid_by if payment_id is None else (*invoice.paid_by, payment_id),
    )


def _owed_again(invoice: Invoice) -> InvoiceStatus:
    """What it is once something of what was paid is not any more: written off where it was before."""
    return InvoiceStatus.OPEN if invoice.uncollectible_at is None else InvoiceStatus.UNCOLLECTIBLE


def _credited(invoice: Invoice, event: CreditNoteEvent, total: Money, given_back: Money) -> Invoice:
    return replace(
        invoice,
        amount_credited=invoice.amount_credited + total,
        amount_given_back=invoice.amount_given_back + given_back,
        credit_notes=credit_note.all_after(invoice.credit_notes, event),
    )


def _with_lines(draft: Invoice, lines: tuple[InvoiceLine, ...]) -> Invoice:
    return replace(draft, lines=lines, total=sum_money((line.amount for line in lines), draft.currency))


def _no_longer_pending(invoice: Invoice) -> CollectionStatus:
    """Where collection stays once there is nothing to collect any more."""
    status = invoice.collection_status
    return CollectionStatus.NOT_APPLICABLE if status is CollectionStatus.PENDING else status


def postings(event: InvoiceEvent, invoice: Invoice) -> Entry | None:
    """Finalized: receivable, and customer balance as far as that pays it, to deferred revenue (ahead of a service
    period) or revenue, and to the tax payable of each jurisdiction; a total below zero, from there to customer balance.
    Void: the same, reversed; of one that was written off what is owed stands in bad debt.

    How it is settled: `settlement.postings`. What is credited: `credit_note.postings`.
    """
    match event:
        case InvoiceFinalized():
            return recognition_entry(event.lines, event.total, event.applied, event.customer_id, RECEIVABLE, event.tax)
        case InvoiceImported() | InvoicePaymentImported():
            return imported.postings(event, invoice.customer_id)
        case InvoiceVoided() if invoice.finalized_at is not None:
            owed_on = _owed_on(invoice)
            if invoice.opening is not None:
                return imported.voided(invoice.opening, owed_on, invoice.customer_id)
            booked = recognition_entry(
                invoice.lines, invoice.total, invoice.amount_applied, invoice.customer_id, owed_on, invoice.tax
            )
            return None if booked is None else reversal(booked)
        case CreditNoteIssued() | CreditNoteVoided():
            return credit_note.postings(event, invoice.customer_id, _owed_on(invoice))
        case (
            InvoicePaid()
            | InvoicePartlyPaid()
            | InvoicePaymentReversed()
            | InvoiceReopened()
            | InvoiceRefundFailed()
            | InvoiceBalanceApplied()
            | InvoiceMarkedUncollectible()
            | InvoiceRecovered()
        ):
            return settlement.postings(event, invoice.customer_id, _owed_on(invoice))
        case _:
            return None


def _owed_on(invoice: Invoice) -> Account:
    """Where what is due on it stands: once it was written off, in bad debt."""
    return RECEIVABLE if invoice.uncollectible_at is None else BAD_DEBT


def claims(event: InvoiceEvent, invoice: Invoice) -> tuple[Claim, ...]:
    """Those of its credit notes, of one that was imported its number, and of one that is voided the meters that it
    billed.
    """
    match event:
        case InvoiceVoided():
            return usage_request.claims_of_voided(invoice.invoice_id, invoice.customer_id, invoice.lines)
        case CreditNoteIssued():
            return credit_note.claims(event)
        case InvoiceImported():
            return imported.claims(event)
        case _:
            return ()


def due_work(event: InvoiceEvent, invoice: Invoice) -> tuple[DueWork, ...]:
    """A draft that is finalized by itself has a timer, on its customer's clock, until it is no draft any more, or waits
    for its tax alone; that is asked for until it is known, or nobody waits for it any more. What bills usage has a
    timer to count that instead, and is then finalized, or later where it bills periods that run. What is voided before
    that has its periods closed all the same, which needs nobody to wait for: nothing else bills them.
    """
    if invoice.terms is None:
        return ()
    has_timer, clock_id = invoice.terms.finalizes_at is not None, invoice.test_clock_id
    done = (Finish(WorkKind.INVOICE_FINALIZATION, invoice.invoice_id),) if has_timer else ()
    usage = Finish(WorkKind.INVOICE_USAGE, invoice.invoice_id)
    match event:
        case InvoiceDrafted() | InvoiceUsageHurried() | InvoiceGraceShortened() if invoice.lacks_usage:
            closes_at = invoice.usage_closes_at
            if isinstance(event, InvoiceGraceShortened) and event.finalizes_at <= event.shortened_at:
                closes_at = None
            after_ms = 0 if closes_at is None else None
            return (Schedule(WorkKind.INVOICE_USAGE, event.invoice_id, closes_at, after_ms, clock_id),)
        case InvoiceUsageCounted():
            due_at = invoice.terms.finalizes_at
            timer = Schedule(WorkKind.INVOICE_FINALIZATION, event.invoice_id, due_at=due_at, clock_id=clock_id)
            return (usage, timer)
        case InvoiceDrafted() if has_timer:
            due_at = invoice.terms.finalizes_at
            return (Schedule(WorkKind.INVOICE_FINALIZATION, event.invoice_id, due_at=due_at, clock_id=clock_id),)
        case InvoiceTaxRequested():
            return (*done, Schedule(WorkKind.INVOICE_TAX, event.invoice_id, after_ms=0, clock_id=clock_id))
        case InvoiceFinalized() | InvoiceVoided():
            asked = () if invoice.tax_request is None else (Finish(WorkKind.INVOICE_TAX, event.invoice_id),)
            if invoice.gives_up_usage:
                return (Schedule(WorkKind.INVOICE_USAGE, event.invoice_id, after_ms=0), *done, *asked)
            return (*((usage,) if _may_lack_usage(event, invoice) else ()), *done, *asked)
        case _:
            return ()


def _may_lack_usage(event: InvoiceEvent, invoice: Invoice) -> bool:
    """Whether it may have had work to count usage: what gives a line back was perhaps to be finalized behind that."""
    is_behind = isinstance(event, InvoiceVoided) and any(line.gives_back is not None for line in invoice.lines)
    return invoice.bills_usage or is_behind


EVENTS: dict[str, type] = {
    **draft.EVENTS,
    **usage_request.EVENTS,
    **tax_request.EVENTS,
    "invoice.finalized": InvoiceFinalized,
    **imported.EVENTS,
    **settlement.EVENTS,
    **collection.EVENTS,
    **credit_note.EVENTS,
    "invoice.voided": InvoiceVoided,
    "invoice.unused_credited": InvoiceUnusedCredited,
    "invoice.usage_rerated": InvoiceUsageRerated,
    "invoice.usage_cut_short": InvoiceUsageCutShort,
    "invoice.metadata_set": InvoiceMetadataSet,
}

INVOICE: Stream[Invoice] = Stream(
    name="invoice",
    id_field="invoice_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda invoice: invoice.customer_id,
    not_found=InvoiceNotFound,
    already_exists=InvoiceAlreadyExists,
    metadata_set=InvoiceMetadataSet,
    postings=postings,
    claims=claims,
    due_work=due_work,
)
