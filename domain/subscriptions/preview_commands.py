"""What a subscription bills next: its own boundaries, passed ahead of time for whoever wants to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from domain.invoicing.draft import DraftTerms, InvoiceDrafted
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.rehearsal_commands import finalized_with, with_tax
from domain.invoicing.state import Invoice
from domain.invoicing.tax_request import InvoiceTaxRequested
from domain.invoicing.usage_request import CountedUsage
from domain.kernel.consequences import After
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.subscriptions import change_commands
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.change import SubscriptionChanged
from domain.subscriptions.renewal import MAX_PERIODS_AT_ONCE, caught_up
from domain.tax.remote import TaxAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseNextInvoice:
    """Pass what comes next, each boundary at its own time, until something is billed. It is rehearsed, never submitted:
    time has not come that far. `usage` is what is counted so far of what it bills; `tax` is what a calculator outside
    answered of it; None: nobody has asked yet.
    """

    subscription_id: str
    usage: tuple[CountedUsage, ...] = ()
    tax: TaxAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseChange:
    """Make a change, and then pass what comes next until an invoice bills it. It is rehearsed, never submitted. `usage`
    is what is counted so far of what that invoice bills, `tax` what a calculator outside answered of it.
    """

    change: change_commands.ChangeSubscription
    usage: tuple[CountedUsage, ...] = ()
    tax: TaxAnswer | None = None


Known: TypeAlias = RehearseNextInvoice | RehearseChange
"""What is rehearsed, with what is known of it from outside."""


class NothingUpcoming(Refusal):
    """The subscription bills nothing more: it ends before another period begins, and nothing is left in arrears."""

    code = "nothing_upcoming"


def rehearse_next_invoice(command: RehearseNextInvoice, streams: Streams, now: datetime) -> Decision:
    """The events up to the first invoice, whenever it comes, and to its finalization where it is drafted first. What is
    overdue comes first, as it would.
    """
    passed = _until_billed(streams, command.subscription_id, command)
    if passed is None:
        raise NothingUpcoming(subscription=command.subscription_id)
    return passed


def rehearse_change(command: RehearseChange, streams: Streams, now: datetime) -> Decision:
    """The events of the change, and those up to the invoice that bills it.

    Of what was overdue the invoices come first, as they would: the one that bills the change is the last.
    """
    decision = change_commands.change_subscription(command.change, streams, now)
    changed = next((each.event for each in decision.changes if isinstance(each.event, SubscriptionChanged)), None)
    after = After(streams, decision.changes)
    if changed is not None and (changed.invoice_id is not None or changed.resets_anchor):
        subscription_id = command.change.subscription_id
        return _issued(decision.effective_at, subscription_id, decision.changes, after, command) or decision
    passed = _until_billed(after, command.change.subscription_id, command)
    if passed is None:
        raise NothingUpcoming(subscription=command.change.subscription_id)
    return Decision(passed.effective_at, [*decision.changes, *passed.changes])


def _until_billed(streams: Streams, subscription_id: str, known: Known) -> Decision | None:
    boundary = subscriptions.living(streams, subscription_id).next_boundary
    for _ in range(MAX_PERIODS_AT_ONCE):
        if boundary is None:
            break
        ahead = caught_up(streams, subscription_id, boundary)
        if (passed := _issued(boundary, subscription_id, ahead.changes, ahead.streams, known)) is not None:
            return passed
        boundary = ahead.subscription.next_boundary
    return None


def _issued(
    at: datetime, subscription_id: str, changes: list[Change], streams: Streams, known: Known
) -> Decision | None:
    """The changes, if an invoice of the subscription is among them, with its finalization where it is drafted first; of
    several (what was overdue comes before) the last. One that waits for usage or for its tax is finalized with what is
    known of those.
    """
    for change in reversed(changes):
        match change.event:
            case InvoiceFinalized() if _bills(change.event, subscription_id):
                return Decision(at, changes)
            case InvoiceTaxRequested(invoice_id=invoice_id) if _bills(INVOICE.of(streams, invoice_id), subscription_id):
                return Decision(at, [*changes, *with_tax(streams, invoice_id, known.tax)])
            case InvoiceDrafted(invoice_id=invoice_id, terms=DraftTerms(finalizes_at=datetime() as finalized_at)) if (
                _bills(change.event, subscription_id)
            ):
                draft = INVOICE.of(streams, invoice_id)
                ended = finalized_with(streams, draft, known.usage, known.tax, finalized_at)
                return Decision(finalized_at if ended else at, [*changes, *ended])
    return None


def _bills(invoiced: InvoiceFinalized | InvoiceDrafted | Invoice, subscription_id: str) -> bool:
    """Whether the invoice is the subscription's: what is billed together with it may be invoiced before."""
    return subscription_id in (invoiced.subscription_id, *invoiced.further_subscription_ids)


HANDLERS: Final[Mapping[type, Handler]] = {
    RehearseNextInvoice: rehearse_next_invoice,
    RehearseChange: rehearse_change,
}
