"""A refund of a payment: how it stands. Its events are the payment's, whose stream guards the sum."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.money import Money


class RefundStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """`outcome_unknown` is set while the gateway has yet to be asked what became of it."""

    refund_id: str
    amount: Money
    status: RefundStatus
    outcome_unknown: bool
    reason: str | None
    gateway_refund_id: str | None
    failure_code: str | None
    requested_at: datetime
