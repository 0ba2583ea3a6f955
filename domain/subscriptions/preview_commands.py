"""What a subscription bills next: its own boundaries, passed ahead of time for whoever wants to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.invoicing.draft import DraftTerms, InvoiceDrafted
from domain.invoicing.finalization import InvoiceFinalized
from domain.invoicing.invoice import INVOICE
from domain.invoicing.issuing import finalized_draft
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Decision, Handler, Streams
from domain.subscriptions import subscription as subscriptions
from domain.subscriptions.renewal import MAX_PERIODS_AT_ONCE, caught_up


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseNextInvoice:
    """Pass what comes next, each boundary at its own time, until something is billed. It is rehearsed, never submitted:
    time has not come that far.
    """

    subscription_id: str


class NothingUpcoming(Refusal):
    """The subscription bills nothing more: it ends before another period begins, and nothing is left in arrears."""

    code = "nothing_upcoming"


def rehearse_next_invoice(command: RehearseNextInvoice, streams: Streams, now: datetime) -> Decision:
    """The events up to the first invoice, whenever it comes, and to its finalization where it is drafted first. What is
    overdue comes first, as it would.
    """
    subscription_id = command.subscription_id
    boundary = subscriptions.living(streams, subscription_id).next_boundary
    for _ in range(MAX_PERIODS_AT_ONCE):
        if boundary is None:
            break
        ahead = caught_up(streams, subscription_id, boundary)
        for change in ahead.changes:
            match change.event:
                case InvoiceFinalized():
                    return Decision(boundary, ahead.changes)
                case InvoiceDrafted(invoice_id=invoice_id, terms=DraftTerms(finalizes_at=datetime() as at)):
                    draft = INVOICE.of(ahead.streams, invoice_id)
                    return Decision(at, [*ahead.changes, *finalized_draft(ahead.streams, draft, at=at)])
        boundary = ahead.subscription.next_boundary
    raise NothingUpcoming(subscription=subscription_id)


HANDLERS: Final[Mapping[type, Handler]] = {RehearseNextInvoice: rehearse_next_invoice}
