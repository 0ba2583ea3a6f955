"""Specifications of approvals: nothing is done before a second person approves, and once they do it is done."""

from datetime import timedelta
from typing import Any

import pytest

from domain.approvals.approval import (
    APPROVAL,
    ApprovalAlreadyExists,
    ApprovalExpired,
    ApprovalIsOver,
    ApprovalNeedsPerson,
    ApprovalNotFound,
    ApprovalRejected,
    ApprovalStatus,
    ApprovalWithdrawn,
    ExpireApproval,
    GrantApproval,
    InvalidApprovalRequest,
    NotTheRequester,
    OwnApproval,
    RejectApproval,
    RequestApproval,
    WantedReversal,
    WithdrawApproval,
)
from domain.identity.api_key import ApiKeyCreated
from domain.kernel.accounts import CUSTOMER_BALANCE, REFUNDS_PAYABLE
from domain.kernel.frozen import replace
from domain.kernel.stream import Finish, Schedule, WorkKind
from domain.ledger.journal_entry import (
    JournalEntryIsReversed,
    JournalEntryPosted,
    JournalEntryReversed,
    PostJournalEntry,
)
from domain.payments.refund import RefundRequested
from domain.payments.refund_commands import PaymentNotRefundable, RefundExceedsPayment, RequestRefund
from testing.examples.approvals import (
    ADA,
    APPROVAL_ID,
    AT_THE_END,
    BEFORE_THE_END,
    BOB,
    POSTINGS,
    PROGRAM,
    ask_for_entry,
    ask_for_refund,
    granted,
    refund_wanted,
)
from testing.examples.identity import BOB as BOB_ID
from testing.examples.identity import key_created
from testing.examples.streams import (
    CUSTOMER_ID,
    ENTRY_ID,
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

GRANT = GrantApproval(approval_id=APPROVAL_ID, by=BOB)
REJECT = RejectApproval(approval_id=APPROVAL_ID, reason="no", by=BOB)
WITHDRAW = WithdrawApproval(approval_id=APPROVAL_ID, by=ADA)
EXPIRE = ExpireApproval(approval_id=APPROVAL_ID)
REJECTED = ApprovalRejected(approval_id=APPROVAL_ID, reason="no", rejected_by=BOB, rejected_at=NOW)
WITHDRAWN = ApprovalWithdrawn(approval_id=APPROVAL_ID, withdrawn_at=NOW)
EXPIRED = ApprovalExpired(approval_id=APPROVAL_ID, expired_at=AT_THE_END)
REFUNDED = RefundRequested(
    refund_id=REFUND_ID,
    payment_id=PAYMENT_ID,
    amount=usd(800),
    from_balance=usd(0),
    reason="late",
    metadata=(),
    requested_at=NOW,
)
EXPIRY = WorkKind.APPROVAL_EXPIRY
OLDER_KEY = id_of("key_", 9)


def paid() -> Given:
    """A payment of 10.00 that was captured and pays no invoice."""
    return given(customer_created(), payment_created(invoice_id=None), attempt_requested(), payment_captured())


def asked() -> Given:
    return paid().and_then(refund_wanted())


def asked_by_program(*keys: ApiKeyCreated) -> Given:
    return paid().and_then(*keys, refund_wanted(requested_by=PROGRAM))


def older_key_of_bob() -> ApiKeyCreated:
    return replace(key_created(made_by=BOB_ID), key_id=OLDER_KEY)


def test_asking_for_approval_moves_no_money_and_calls_no_gateway() -> None:
    (
        paid()
        .when(ask_for_refund())
        .then(refund_wanted())
        .then_posts()
        .then_schedules(Schedule(EXPIRY, APPROVAL_ID, due_at=AT_THE_END))
        .then_shows(APPROVAL, APPROVAL_ID, status=ApprovalStatus.REQUESTED, customer_id=CUSTOMER_ID)
        .when(ask_for_refund())
        .then_refused(ApprovalAlreadyExists)
    )


def test_a_refund_of_all_that_is_left_is_settled_when_it_is_asked_for() -> None:
    paid().when(ask_for_refund(None)).then(refund_wanted(1_000))


def test_what_could_not_be_done_now_is_refused_now() -> None:
    paid().when(ask_for_refund(1_001)).then_refused(RefundExceedsPayment)
    given(customer_created(), payment_created()).when(ask_for_refund()).then_refused(PaymentNotRefundable)


@pytest.mark.parametrize("wanted", [{"refund": None}, {"reversal": WantedReversal(entry_id=ENTRY_ID, memo="twice")}])
def test_an_approval_is_of_one_thing(wanted: dict[str, Any]) -> None:
    paid().when(ask_for_refund(**wanted)).then_refused(InvalidApprovalRequest)


def test_what_a_second_person_approves_is_done_in_the_same_batch() -> None:
    (
        asked()
        .when(GRANT)
        .then(granted(), REFUNDED)
        .then_posts(debit(CUSTOMER_BALANCE, usd(800)), credit(REFUNDS_PAYABLE, usd(800)))
        .then_finishes(Finish(EXPIRY, APPROVAL_ID))
        .then_shows(APPROVAL, APPROVAL_ID, status=ApprovalStatus.APPROVED, decided_by=BOB, decided_at=NOW)
    )


@pytest.mark.parametrize("by", [ADA, f"{ADA} for ten_other"])
def test_whoever_asks_does_not_approve_or_reject(by: str) -> None:
    asked().when(GrantApproval(approval_id=APPROVAL_ID, by=by)).then_refused(OwnApproval)
    asked().when(RejectApproval(approval_id=APPROVAL_ID, reason=None, by=by)).then_refused(OwnApproval)


def test_a_program_may_ask_and_reject_and_not_approve() -> None:
    paid().when(ask_for_refund(by=PROGRAM)).then(refund_wanted(requested_by=PROGRAM)).when(GRANT).then(
        granted(), REFUNDED
    )
    asked().when(GrantApproval(approval_id=APPROVAL_ID, by=PROGRAM)).then_refused(ApprovalNeedsPerson)
    rejected = ApprovalRejected(approval_id=APPROVAL_ID, reason="no", rejected_by=PROGRAM, rejected_at=NOW)
    asked().when(RejectApproval(approval_id=APPROVAL_ID, reason="no", by=PROGRAM)).then(rejected)


def test_what_became_impossible_meanwhile_is_not_approved_and_stays_open() -> None:
    elsewhere = RequestRefund(refund_id=id_of("re_", 2), payment_id=PAYMENT_ID, amount=usd(300))
    (
        asked()
        .and_then(elsewhere)
        .when(GRANT)
        .then_refused(RefundExceedsPayment, refundable=700)
        .when(REJECT)
        .then(REJECTED)
    )


def test_whoever_asked_withdraws_and_nobody_else() -> None:
    asked().when(WITHDRAW).then(WITHDRAWN).then_finishes(Finish(EXPIRY, APPROVAL_ID))
    asked().when(WithdrawApproval(approval_id=APPROVAL_ID, by=BOB)).then_refused(NotTheRequester)


@pytest.mark.parametrize("end", [granted(), REJECTED, WITHDRAWN, EXPIRED])
@pytest.mark.parametrize("command", [GRANT, REJECT, WITHDRAW])
def test_what_has_ended_is_not_decided_again(end: object, command: object) -> None:
    asked().and_then(end).when(command).then_refused(ApprovalIsOver)  # type: ignore[arg-type]
    asked().and_then(end).when(EXPIRE, at=AT_THE_END).then_nothing()  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [GRANT, REJECT, WITHDRAW])
def test_it_makes_no_difference_whether_the_timer_or_the_person_comes_first(command: object) -> None:
    asked().when(command, at=AT_THE_END).then_refused(ApprovalIsOver)  # type: ignore[arg-type]
    asked().when(GRANT, at=BEFORE_THE_END).then_shows(APPROVAL, APPROVAL_ID, status=ApprovalStatus.APPROVED)
    asked().when(EXPIRE, at=AT_THE_END + timedelta(days=3)).then(EXPIRED).then_finishes(Finish(EXPIRY, APPROVAL_ID))


def test_a_journal_entry_is_posted_when_it_is_approved() -> None:
    posted = JournalEntryPosted(entry_id=ENTRY_ID, postings=POSTINGS, memo="capital", metadata=(), posted_at=NOW)
    (given(customer_created()).and_then(ask_for_entry()).when(GRANT).then(granted(), posted).then_posts(*POSTINGS))


def test_a_reversal_is_posted_when_it_is_approved_and_once() -> None:
    post = PostJournalEntry(entry_id=ENTRY_ID, postings=POSTINGS, memo="capital")
    wanted = WantedReversal(entry_id=ENTRY_ID, memo="twice")
    ask = ask_for_entry(journal_entry=None, reversal=wanted)
    undone = JournalEntryReversed(entry_id=ENTRY_ID, memo="twice", reversed_at=NOW)
    given(customer_created(), post).and_then(ask).when(GRANT).then(granted(), undone)
    given(customer_created(), post).and_then(ask, undone).when(GRANT).then_refused(JournalEntryIsReversed)


@pytest.mark.parametrize("command", [GRANT, REJECT, WITHDRAW, EXPIRE])
def test_nothing_is_known_of_an_approval_that_nobody_asked_for(command: RequestApproval) -> None:
    given().when(command).then_refused(ApprovalNotFound)


@pytest.mark.parametrize("keys", [[key_created(made_by=BOB_ID)], [key_created(made_by=OLDER_KEY), older_key_of_bob()]])
def test_whoever_made_the_key_that_asks_is_no_second_person(keys: list[ApiKeyCreated]) -> None:
    (
        asked_by_program(*keys)
        .when(GRANT)
        .then_refused(OwnApproval)
        .when(GrantApproval(approval_id=APPROVAL_ID, by=f"{BOB} for ten_other"))
        .then_refused(OwnApproval)
        .when(GrantApproval(approval_id=APPROVAL_ID, by=ADA))
        .then(granted(ADA), REFUNDED)
    )
