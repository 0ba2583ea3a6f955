"""Examples of approvals: Ada asks for what is above her tenant's limit, Bob approves."""

from datetime import timedelta
from typing import Any

from domain.approvals.approval import (
    LASTS,
    ApprovalGranted,
    ApprovalRequested,
    RefundAskedFor,
    RequestApproval,
    WantedEntry,
    WantedRefund,
)
from domain.identity.tenant import ApprovalLimitsSet
from domain.kernel.accounts import CASH, EQUITY
from testing.examples.identity import ADA as ADA_ID
from testing.examples.identity import BOB as BOB_ID
from testing.examples.identity import TENANT_ID
from testing.examples.streams import CUSTOMER_ID, ENTRY_ID, PAYMENT_ID, REFUND_ID, credit, debit, id_of, usd
from testing.specification import NOW

APPROVAL_ID = id_of("apr_")
ADA, BOB, PROGRAM = f"user:{ADA_ID}", f"user:{BOB_ID}", f"api_key:{id_of('key_')}"
LIMIT = 500
AT_THE_END = NOW + LASTS
BEFORE_THE_END = AT_THE_END - timedelta(microseconds=1)
POSTINGS = (debit(CASH, usd(1_000)), credit(EQUITY, usd(1_000)))


def limits_set(limit: int = LIMIT) -> ApprovalLimitsSet:
    return ApprovalLimitsSet(tenant_id=TENANT_ID, limits=(usd(limit),))


def ask_for_refund(amount: int | None = 800, **changes: Any) -> RequestApproval:
    asked = RefundAskedFor(
        refund_id=REFUND_ID,
        payment_id=PAYMENT_ID,
        amount=None if amount is None else usd(amount),
        reason="late",
        metadata=(),
    )
    values: dict[str, Any] = {"approval_id": APPROVAL_ID, "refund": asked, "note": "they called", "by": ADA}
    return RequestApproval(**{**values, **changes})


def ask_for_entry(**changes: Any) -> RequestApproval:
    entry = WantedEntry(entry_id=ENTRY_ID, postings=POSTINGS, memo="capital", metadata=())
    values: dict[str, Any] = {"approval_id": APPROVAL_ID, "journal_entry": entry, "note": None, "by": ADA}
    return RequestApproval(**{**values, **changes})


def refund_wanted(amount: int = 800, **changes: Any) -> ApprovalRequested:
    wanted = WantedRefund(
        refund_id=REFUND_ID, payment_id=PAYMENT_ID, amount=usd(amount), reason="late", metadata=()
    )
    facts: dict[str, Any] = {
        "approval_id": APPROVAL_ID,
        "refund": wanted,
        "journal_entry": None,
        "reversal": None,
        "customer_id": CUSTOMER_ID,
        "note": "they called",
        "requested_by": ADA,
        "requested_at": NOW,
        "expires_at": AT_THE_END,
    }
    return ApprovalRequested(**{**facts, **changes})


def granted(by: str = BOB) -> ApprovalGranted:
    return ApprovalGranted(approval_id=APPROVAL_ID, granted_by=by, granted_at=NOW)
