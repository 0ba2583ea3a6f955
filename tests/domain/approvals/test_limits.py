"""Specifications of what one person may do alone."""

import pytest

from domain.approvals.approval import ApprovalRequired, GrantApproval, OwnApproval, RequestApproval, WantedLimits
from domain.commands import WithinLimits
from domain.identity.authority import NotAllowed
from domain.identity.permissions import Role
from domain.identity.team import MemberRoleChanged
from domain.identity.tenant import (
    ApprovalLimitsSet,
    ChangeApprovalLimits,
    InvalidApprovalLimits,
    LimitChange,
    SetApprovalLimits,
)
from domain.identity.user import UserRegistered, UserStatus, UserSuspended
from domain.kernel.accounts import CASH, EQUITY
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.stream import Command
from domain.ledger.journal_entry import PostJournalEntry, ReverseJournalEntry
from domain.payments.refund import RefundRequested
from domain.payments.refund_commands import RequestRefund
from testing.examples.approvals import (
    ADA,
    APPROVAL_ID,
    BOB,
    LIMIT,
    POSTINGS,
    PROGRAM,
    ask_for_refund,
    granted,
    limits_set,
)
from testing.examples.identity import ADA as ADA_ID
from testing.examples.identity import BOB as BOB_ID
from testing.examples.identity import TENANT_ID, added, tenant_created
from testing.examples.streams import (
    ENTRY_ID,
    EUR,
    PAYMENT_ID,
    PERSONAL,
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
    return WithinLimits(tenant_id=TENANT_ID, by=ADA_ID, command=command)


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
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        amount=usd(amount),
        from_balance=usd(0),
        reason=None,
        metadata=(),
        requested_at=NOW,
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
            from_balance=usd(0),
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
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        amount=usd(800),
        from_balance=usd(0),
        reason="late",
        metadata=(),
        requested_at=NOW,
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


def change(*changes: tuple[str, int | None], by: str = ADA_ID) -> ChangeApprovalLimits:
    wanted = tuple(LimitChange(currency=CurrencyCode(currency), amount=amount) for currency, amount in changes)
    return ChangeApprovalLimits(tenant_id=TENANT_ID, changes=wanted, by=by)


def limited(*limits: Money) -> ApprovalLimitsSet:
    return ApprovalLimitsSet(tenant_id=TENANT_ID, limits=limits)


def people(*others: Role) -> Given:
    """Ada, an ADMIN, Bob and whoever else, in a tenant with a limit of USD 5.00."""
    members = [added(id_of("user_", n), role) for n, role in enumerate((Role.ADMIN, *others), 1)]
    return given(tenant_created(), limits_set(), *members)


MORE = [(("USD", LIMIT + 1),), (("USD", None),), (("EUR", 1), ("USD", None))]


def test_of_the_tenants_own_people_an_admin_changes_its_limits_one_by_one() -> None:
    both = limited(usd(100), Money(7, EUR))
    people().when(change(("USD", 100), ("EUR", 7))).then(both).then_lets().when(change(("USD", 100))).then_nothing()
    people().and_then(both).when(change(("USD", None))).then(limited(Money(7, EUR)))
    people().when(change()).then_nothing()
    for refused in (change(("USD", 1), ("USD", 2)), change(("EUR", -1))):
        people().when(refused).then_refused(InvalidApprovalLimits)
    for other in (Role.BILLING_ADMIN, Role.MERCHANT, Role.VIEWER):
        people(other).when(change(("USD", 1), by=BOB_ID)).then_refused(NotAllowed)


def test_whoever_is_held_back_by_a_limit_does_not_lift_it_alone_where_there_is_somebody_else_to_ask() -> None:
    for more in MORE:
        people(Role.ADMIN).when(alone(change(*more))).then_refused(ApprovalRequired, limit=LIMIT, currency="USD")
        assert people(Role.BILLING_ADMIN).when(alone(change(*more))).done.events
    for less in ((("USD", LIMIT - 1),), (("EUR", 1),), (("EUR", 0), ("USD", 0))):
        assert people(Role.ADMIN).when(alone(change(*less))).done.events


def test_one_whom_the_platform_has_suspended_is_nobody_to_ask() -> None:
    raised = alone(change(("USD", LIMIT + 1)))
    bob = UserRegistered(user_id=BOB_ID, personal=PERSONAL, status=UserStatus.ACTIVE, registered_at=NOW)
    people(Role.ADMIN).and_then(bob).when(raised).then_refused(ApprovalRequired)
    suspended = people(Role.ADMIN).and_then(bob).and_then(UserSuspended(user_id=BOB_ID))
    suspended.when(raised).then(limits_set(LIMIT + 1))


def wanted(*changes: tuple[str, int | None], by: str = ADA) -> RequestApproval:
    limits = WantedLimits(tenant_id=TENANT_ID, changes=change(*changes).changes)
    return RequestApproval(approval_id=APPROVAL_ID, limits=limits, note=None, by=by)


def test_two_people_raise_a_limit_and_what_was_lowered_meanwhile_stays_so() -> None:
    grant = GrantApproval(approval_id=APPROVAL_ID, by=BOB)
    both = limited(usd(LIMIT), Money(900, EUR))
    lowered = limited(usd(LIMIT), Money(1, EUR))

    def asked() -> Given:
        return people(Role.ADMIN).and_then(both, wanted(("USD", 9_000)))

    asked().and_then(lowered).when(alone(grant)).then(granted(), limited(usd(9_000), Money(1, EUR)))
    asked().when(alone(GrantApproval(approval_id=APPROVAL_ID, by=ADA))).then_refused(OwnApproval)
    demoted = MemberRoleChanged(tenant_id=TENANT_ID, user_id=BOB_ID, role=Role.BILLING_ADMIN)
    asked().and_then(demoted).when(alone(grant)).then_refused(NotAllowed)
    people(Role.BILLING_ADMIN).when(wanted(("USD", 1), by=BOB)).then_refused(NotAllowed)
    people().when(wanted(("USD", 1), by=PROGRAM)).then_refused(NotAllowed)
    people().when(wanted(("USD", 1), ("USD", 2))).then_refused(InvalidApprovalLimits)
