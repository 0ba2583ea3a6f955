"""What one person may do alone with a tenant's money: refund or post up to the tenant's limit of that currency.

Refunds of one payment count together, so that a large one is not done in small pieces.
"""

from collections.abc import Iterable

from domain.approvals.approval import ApprovalGranted, ApprovalRequired
from domain.identity.tenant import TENANT
from domain.kernel.accounts import Posting, Side
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Streams
from domain.ledger.journal_entry import JOURNAL_ENTRY, JournalEntryPosted, JournalEntryReversed
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundRequested


def check_limits(tenant_id: str, decision: Decision, streams: Streams) -> None:
    """Raises ApprovalRequired for a decision that nobody has approved and that is of more than the tenant's limit.

    The tenant's stream is read only where money is at stake.
    """
    if any(isinstance(change.event, ApprovalGranted) for change in decision.changes):
        return
    amounts = [amount for change in decision.changes for amount in _amounts(change, streams)]
    if not amounts:
        return
    tenant = streams.get(TENANT, tenant_id)
    if tenant is None:
        return
    limits = {limit.currency: limit for limit in tenant.approval_limits}
    for amount in amounts:
        limit = limits.get(amount.currency)
        if limit is not None and amount.amount > limit.amount:
            raise ApprovalRequired(amount=amount.amount, limit=limit.amount, currency=limit.currency)


def _amounts(change: Change, streams: Streams) -> Iterable[Money]:
    """What is at stake in a change, by currency."""
    match change.event:
        case RefundRequested(payment_id=payment_id, amount=amount):
            payment = PAYMENT.of(streams, payment_id)
            before = payment.amount.amount - payment.refundable.amount
            return [Money(before + amount.amount, amount.currency)]
        case JournalEntryPosted(postings=postings):
            return _debits(postings)
        case JournalEntryReversed(entry_id=entry_id):
            return _debits(JOURNAL_ENTRY.of(streams, entry_id).postings)
        case _:
            return []


def _debits(postings: Iterable[Posting]) -> Iterable[Money]:
    """As much as an entry moves, in each currency."""
    sums: dict[str, Money] = {}
    for posting in postings:
        if posting.side is Side.DEBIT:
            before = sums.get(posting.amount.currency)
            sums[posting.amount.currency] = posting.amount if before is None else before + posting.amount
    return sums.values()
