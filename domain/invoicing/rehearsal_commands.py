"""What a draft becomes, with what is known by now of what it waits for. It is rehearsed, never submitted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import time_of
from domain.invoicing.draft import InvoiceNotDraft
from domain.invoicing.invoice import INVOICE
from domain.invoicing.issuing import finalized_by_answer, finalized_draft
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_commands import counted
from domain.invoicing.usage_request import CountedUsage
from domain.kernel.consequences import After
from domain.kernel.frozen import replace
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.tax.remote import TaxAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseDraft:
    """Finalize a draft at its time, or now where it has none. `usage` is what is counted so far of what it bills; `tax`
    is what a calculator outside answered of it; None: nobody has asked yet.
    """

    invoice_id: str
    usage: tuple[CountedUsage, ...] = ()
    tax: TaxAnswer | None = None


def rehearse_draft(command: RehearseDraft, streams: Streams, now: datetime) -> Decision:
    """The events of its finalization. Raises InvoiceNotDraft, InvalidInvoiceLines."""
    draft = INVOICE.of(streams, command.invoice_id)
    if draft.status is not InvoiceStatus.DRAFT or draft.terms is None:
        raise InvoiceNotDraft(invoice=draft.invoice_id, status=draft.status)
    at = draft.terms.finalizes_at or time_of(streams, draft.customer_id, now)
    if draft.awaited_tax is not None:
        return Decision(at, with_tax(streams, draft.invoice_id, command.tax))
    return Decision(at, finalized_with(streams, draft, command.usage, command.tax, at))


def finalized_with(
    streams: Streams, draft: Invoice, usage: tuple[CountedUsage, ...], tax: TaxAnswer | None, at: datetime
) -> list[Change]:
    """The changes that issue a draft at an instant, with what is known of what it waits for; none as long as its usage
    is not.
    """
    changes: list[Change] = []
    if draft.lacks_usage:
        if not usage and any(line.lacks_usage for line in draft.lines):
            return []
        changes = counted(draft, _of_its_own(usage, draft, streams), streams, at)
    after = After(streams, changes)
    ended = finalized_draft(after, INVOICE.of(after, draft.invoice_id), at=at)
    after.add(*ended)
    return [*changes, *ended, *with_tax(after, draft.invoice_id, tax)]


def with_tax(streams: Streams, invoice_id: str, tax: TaxAnswer | None) -> list[Change]:
    """The changes that issue a draft by the answer, if it waits for one."""
    draft = INVOICE.of(streams, invoice_id)
    if tax is None or draft.awaited_tax is None:
        return []
    return finalized_by_answer(streams, draft, tax)


def _of_its_own(usage: tuple[CountedUsage, ...], draft: Invoice, streams: Streams) -> tuple[CountedUsage, ...]:
    """What is counted, without what came late where the usage of an invoice before is closed first: that bills it."""
    behind = {
        line.line_id
        for line in draft.lines
        if line.usage is not None
        and line.usage.after_invoice_id is not None
        and draft.closes_usage_behind(INVOICE.of(streams, line.usage.after_invoice_id))
    }
    return tuple(
        replace(each, late=tuple(of for of in each.late if of.invoice_id == draft.invoice_id))
        if each.line_id in behind
        else each
        for each in usage
    )


HANDLERS: Final[Mapping[type, Handler]] = {RehearseDraft: rehearse_draft}
