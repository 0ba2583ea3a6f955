"""Specifications of what one person may do alone."""

import pytest

from domain.approvals.approval import ApprovalRequired, GrantApproval
from domain.commands import WithinLimits
from domain.identity.tenant import ApprovalLimitsSet, InvalidApprovalLimits, SetApprovalLimits
from domain.kernel.accounts import CASH, EQUITY
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.ledger.journal_entry import PostJournalEntry, ReverseJournalEntry
from domain.payments.refund import RefundRequested
from domain.payments.refund_commands import RequestRefund
from testing.examples.approvals import APPROVAL_ID, BOB, LIMIT, POSTINGS, ask_for_refund, granted, limits_set
from testing.examples.identity import TENANT_ID, tenant_created
from testing.examples.streams import (
    ENTRY_ID,
    EUR,
    PAYMENT_ID,
    REFUND_ID,
    attempt_requested,
    credit,
    customer_created,
    debit,
    id_of,
    payment_captured,
    payment_created,
    usd,
)
from testing.specification import NOW, Given, given


def alone(command: Command) -> WithinLimits:
    return WithinLimits(tenant_id=TENANT_ID, command=command)


def refund(amount: int | None, n: int = 1) -> RequestRefund:
    return RequestRefund(
        refund_id=id_of("re_", n), payment_id=PAYMENT_ID, amount=None if amount is None else usd(amount)
    )


def post(amount: int) -> PostJournalEntry:
    postings = (debit(CASH, usd(amount)), credit(EQUITY, usd(amount)))
    return PostJournalEntry(entry_id=ENTRY_ID, postings=postings, memo="capital")


def tenant(limit: int = LIMIT) -> Given:
    return given(
        tenant_created(),
        limits_set(limit),
        customer_created(),
        payment_created(invoice_id=None),
        attempt_requested(),
        payment_captured(),
    )


def requested(amount: int) -> RefundRequested:
    return RefundRequested(
        refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(amount), reason=None, metadata=(), requested_at=NOW
    )


def test_up_to_the_limit_one_person_refunds_alone() -> None:
    tenant().when(alone(refund(LIMIT))).then(requested(LIMIT))
    tenant().when(alone(refund(LIMIT + 1))).then_refused(
        ApprovalRequired, amount=LIMIT + 1, limit=LIMIT, currency="USD"
    )
    tenant().when(alone(refund(None))).then_refused(ApprovalRequired, amount=1_000)


def test_refunds_of_one_payment_count_together() -> None:
    tenant().and_then(refund(300)).when(alone(refund(200, 2))).then(
        RefundRequested(
            refund_id=id_of("re_", 2),
            payment_id=PAYMENT_ID,
            amount=usd(200),
            reason=None,
            metadata=(),
            requested_at=NOW,
        )
    )
    tenant().and_then(refund(300)).when(alone(refund(201, 2))).then_refused(ApprovalRequired, amount=501)


def test_entries_and_their_reversals_have_the_limit_of_what_they_move() -> None:
    tenant().when(alone(post(LIMIT + 1))).then_refused(ApprovalRequired, amount=LIMIT + 1)
    reverse = ReverseJournalEntry(entry_id=ENTRY_ID, memo="twice")
    tenant().and_then(post(LIMIT + 1)).when(alone(reverse)).then_refused(ApprovalRequired, amount=LIMIT + 1)
    many = PostJournalEntry(entry_id=ENTRY_ID, postings=POSTINGS * 3, memo="capital")
    tenant(2_999).when(alone(many)).then_refused(ApprovalRequired, amount=3_000)


def test_a_limit_of_nothing_lets_nobody_do_anything_alone() -> None:
    tenant(0).when(alone(refund(1))).then_refused(ApprovalRequired, amount=1, limit=0)


def test_a_currency_without_a_limit_has_none() -> None:
    euros = ApprovalLimitsSet(tenant_id=TENANT_ID, limits=(Money(0, EUR),))
    tenant().and_then(euros).when(alone(refund(1_000))).then(requested(1_000))


def test_what_was_approved_needs_no_further_approval() -> None:
    grant = GrantApproval(approval_id=APPROVAL_ID, by=BOB)
    refunded = RefundRequested(
        refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(800), reason="late", metadata=(), requested_at=NOW
    )
    tenant().and_then(ask_for_refund()).when(alone(grant)).then(granted(), refunded)


@pytest.mark.parametrize("limits", [(usd(1), usd(2)), (usd(-1),)])
def test_there_is_one_limit_for_a_currency_and_it_is_not_negative(limits: tuple[Money, ...]) -> None:
    command = SetApprovalLimits(tenant_id=TENANT_ID, limits=limits)
    given(tenant_created()).when(command).then_refused(InvalidApprovalLimits)


def test_the_limits_are_set_as_a_whole() -> None:
    command = SetApprovalLimits(tenant_id=TENANT_ID, limits=(usd(LIMIT),))
    given(tenant_created()).when(command).then(limits_set()).then_lets().when(command).then_nothing()
    given(tenant_created(), limits_set()).when(SetApprovalLimits(tenant_id=TENANT_ID, limits=())).then(
        ApprovalLimitsSet(tenant_id=TENANT_ID, limits=())
    )
