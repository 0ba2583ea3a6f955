"""What one person may do alone with a tenant's money: refund or post up to the tenant's limit of that currency.

Refunds of one payment count together, so that a large one is not done in small pieces. A limit itself is raised or
lifted by two people wherever there are two: else whoever may change it would raise it, refund, and lower it again.
"""

from collections.abc import Iterable
from datetime import datetime

from domain.approvals.approval import ApprovalGranted, ApprovalRequired
from domain.identity.authority import holder_of
from domain.identity.permissions import Permission, permissions_of
from domain.identity.team import TEAM
from domain.identity.tenant import TENANT, ApprovalLimitsSet
from domain.kernel.accounts import Posting, Side
from domain.kernel.money import Money
from domain.kernel.stream import Change, Decision, Streams
from domain.ledger.journal_entry import JOURNAL_ENTRY, JournalEntryPosted, JournalEntryReversed
from domain.payments.payment import PAYMENT
from domain.payments.refund import RefundRequested


def check_limits(tenant_id: str, by: str, decision: Decision, streams: Streams, now: datetime) -> None:
    """Raises ApprovalRequired for a decision that nobody has approved and that is of more than the tenant's limit, or
    that gives more room. `by` is the id of who asks.

    The tenant's stream is read only where money, or a limit, is at stake.
    """
    events = [change.event for change in decision.changes]
    if any(isinstance(event, ApprovalGranted) for event in events):
        return
    for event in events:
        if isinstance(event, ApprovalLimitsSet):
            _check_room(event, by, streams, now)
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


def _check_room(event: ApprovalLimitsSet, by: str, streams: Streams, now: datetime) -> None:
    """Alone, who asks lowers limits and sets new ones; more room takes a second person, where there is one."""
    after = {limit.currency: limit for limit in event.limits}
    for before in TENANT.of(streams, event.tenant_id).approval_limits:
        limit = after.get(before.currency)
        if (limit is None or limit.amount > before.amount) and _could_another(event.tenant_id, by, streams, now):
            wanted = None if limit is None else limit.amount
            raise ApprovalRequired(amount=wanted, limit=before.amount, currency=before.currency)


def _could_another(tenant_id: str, by: str, streams: Streams, now: datetime) -> bool:
    """Whether somebody else of the tenant may change limits, and so could approve it."""
    team = streams.get(TEAM, tenant_id)
    others = [] if team is None else [each.user_id for each in team.members if each.user_id != by]
    held = (holder_of(streams, tenant_id, each, now) for each in others)
    return any(holder is not None and Permission.APPROVAL_LIMITS_WRITE in permissions_of(holder) for holder in held)


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
