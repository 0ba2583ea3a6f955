"""What is decided about refunds: asked for within what was captured, then what the gateway answered."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.customers.customer import CUSTOMER, Customer, balance_moved, customer_time, time_of
from domain.invoicing.invoice import INVOICE
from domain.invoicing.settlement import InvoiceReopened
from domain.invoicing.settlement_commands import not_refunded
from domain.kernel.metadata import Metadata, MetadataChange, with_change
from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Change, Decision, Handler, Streams
from domain.payments.decline import DeclineCode
from domain.payments.kept import in_balance, kept_of
from domain.payments.payment import (
    PAYMENT,
    Payment,
    PaymentStatus,
)
from domain.payments.refund import (
    Refund,
    RefundAlreadyExists,
    RefundFailed,
    RefundMetadataSet,
    RefundOutcomeUnknown,
    RefundRequested,
    RefundStatus,
    RefundSucceeded,
    RefundTreatment,
)

EVIDENCE_CHARS_MAX: Final = 500
GATEWAY_ID_CHARS_MAX: Final = 255
_NOT_PLAIN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRefund:
    """`amount` None: all that is left of the payment.

    `from_balance`: all of it comes from the customer's balance, wherever that came from; then None is as much of that
    as the payment can return. `treatment` is of what the balance does not bear.
    """

    refund_id: str
    payment_id: str
    amount: Money | None = None
    from_balance: bool = False
    treatment: RefundTreatment = RefundTreatment.ALLOWANCE
    reason: str | None = None
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRefundMetadata:
    """Change the metadata of a refund, whatever became of it."""

    refund_id: str
    payment_id: str
    change: MetadataChange


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRefundSucceeded:
    """The gateway's answer; with `evidence` an operator's, about a refund that the gateway does not know as ours."""

    refund_id: str
    payment_id: str
    gateway_refund_id: str
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRefundFailed:
    """`evidence`: see `RecordRefundSucceeded`."""

    refund_id: str
    payment_id: str
    failure_code: DeclineCode
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRefundOutcomeUnknown:
    refund_id: str
    payment_id: str
    why: str


class PaymentNotRefundable(Refusal):
    """Only a payment that succeeded can be refunded."""

    code = "payment_not_refundable"
    param = "payment"


class RefundExceedsPayment(Refusal):
    """The refund is more than what is left of the payment."""

    code = "refund_exceeds_payment"
    param = "amount"

    def summary(self) -> str:
        if self.details.get("refundable") == 0:
            return "Nothing is left of the payment to refund: it was refunded in full already, or that is under way."
        return super().summary()


class BalanceTooLow(Refusal):
    """The customer's balance does not hold that much to be paid out."""

    code = "balance_too_low"
    param = "amount"

    def summary(self) -> str:
        if self.details.get("balance") == 0:
            return "The customer's balance holds nothing that could be paid out."
        return super().summary()


class NotPaidOutByThis(Refusal):
    """A balance is paid out by a payment of an invoice; what no invoice needed is refunded without `from_balance`."""

    code = "not_paid_out_by_this"
    param = "payment"


class NothingToReopen(Refusal):
    """No invoice was paid by this, or the refund pays a balance out: ask for it without `treatment`."""

    code = "nothing_to_reopen"
    param = "treatment"


class ReopensMoreThanPaid(Refusal):
    """So much is not paid of the invoice any more: refund what is still paid, or ask for the rest as an allowance."""

    code = "reopens_more_than_paid"
    param = "amount"


class InvalidRefundAmount(Refusal):
    """A refund is of more than zero, in the payment's currency."""

    code = "invalid_refund_amount"
    kind = RefusalKind.INVALID
    param = "amount"


class RefundNotFound(Refusal):
    """There is no such refund."""

    code = "refund_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "refund"


class InvalidGatewayRefundId(Refusal):
    """Not a gateway's id of a refund: 1 to 255 characters without spaces or control characters."""

    code = "invalid_gateway_refund_id"
    kind = RefusalKind.INVALID
    param = "gateway_refund_id"


class InvalidEvidence(Refusal):
    """Say what it rests on in 1 to 500 characters, without control characters."""

    code = "invalid_evidence"
    kind = RefusalKind.INVALID
    param = "evidence"


class RefundIsOver(Refusal):
    """The refund has its outcome already."""

    code = "refund_over"


def request_refund(command: RequestRefund, streams: Streams, now: datetime) -> Decision:
    """What was paid above its invoice, or credited to the customer's balance, is given back first, as far as that still
    holds it."""
    payment = PAYMENT.of(streams, command.payment_id)
    customer = CUSTOMER.of(streams, payment.customer_id)
    at = customer_time(streams, customer, now)
    if payment.status is not PaymentStatus.SUCCEEDED:
        raise PaymentNotRefundable(payment=payment.payment_id, status=payment.status)
    if any(refund.refund_id == command.refund_id for refund in payment.refunds):
        raise RefundAlreadyExists(refund=command.refund_id)
    left = payment.refundable
    reopens = command.treatment is RefundTreatment.REOPEN
    if reopens and (command.from_balance or not payment.is_applied):
        raise NothingToReopen(payment=payment.payment_id)
    if command.from_balance:
        _check_paid_out(command, payment, customer)
    most = min(left, customer.balance) if command.from_balance else left
    amount = most if command.amount is None else command.amount
    if amount.currency != payment.amount.currency or (command.amount is not None and amount.amount <= 0):
        raise InvalidRefundAmount(amount=amount.amount, currency=amount.currency)
    if amount.amount > left.amount or amount.is_zero:
        asked = None if command.amount is None else amount.amount
        raise RefundExceedsPayment(payment=payment.payment_id, amount=asked, refundable=left.amount)
    lies_there = amount if command.from_balance else in_balance(payment, streams)
    from_balance = min(amount, lies_there, customer.balance)
    reopened = _reopened(command, payment, amount - from_balance, streams, at) if reopens else []
    requested = RefundRequested(
        refund_id=command.refund_id,
        payment_id=payment.payment_id,
        amount=amount,
        from_balance=from_balance,
        reopened=amount - from_balance if reopened else None,
        reason=command.reason,
        metadata=command.metadata,
        requested_at=at,
    )
    drawn = balance_moved(customer.customer_id, from_balance, at, refund_id=command.refund_id)
    return Decision(at, [PAYMENT.change(requested), *reopened, *drawn])


def _reopened(command: RequestRefund, payment: Payment, amount: Money, streams: Streams, at: datetime) -> list[Change]:
    """That so much is due again on the invoice that the payment pays. Raises ReopensMoreThanPaid."""
    if amount.is_zero or payment.invoice_id is None:
        return []
    kept = kept_of(INVOICE.of(streams, payment.invoice_id), streams)
    if amount > kept:
        raise ReopensMoreThanPaid(invoice=payment.invoice_id, wanted=amount.amount, paid=kept.amount)
    reopened = InvoiceReopened(
        invoice_id=payment.invoice_id,
        payment_id=payment.payment_id,
        refund_id=command.refund_id,
        amount=amount,
        reopened_at=at,
    )
    return [INVOICE.change(reopened)]


def _check_paid_out(command: RequestRefund, payment: Payment, customer: Customer) -> None:
    """That the balance holds what is to come from there. Raises NotPaidOutByThis, BalanceTooLow."""
    if not payment.is_applied:
        raise NotPaidOutByThis(payment=payment.payment_id)
    wanted, held = command.amount, customer.balance
    if held.is_zero or (wanted is not None and wanted.currency == held.currency and wanted > held):
        asked = None if wanted is None else wanted.amount
        raise BalanceTooLow(customer=customer.customer_id, wanted=asked, balance=held.amount)


def change_refund_metadata(command: ChangeRefundMetadata, streams: Streams, now: datetime) -> Decision:
    """Raises TooManyMetadataKeys."""
    payment = PAYMENT.of(streams, command.payment_id)
    at = time_of(streams, payment.customer_id, now)
    refund = refund_of(payment, command.refund_id)
    metadata = with_change(refund.metadata, command.change)
    if metadata == refund.metadata:
        return Decision(at, [])
    kept = RefundMetadataSet(refund_id=refund.refund_id, payment_id=payment.payment_id, metadata=metadata)
    return Decision(at, [PAYMENT.change(kept)])


def record_refund_succeeded(command: RecordRefundSucceeded, streams: Streams, now: datetime) -> Decision:
    """Raises GatewayRefundTaken, by its claim."""
    _check_by_hand(command)
    refund, at = _pending(command.payment_id, command.refund_id, streams, now)
    succeeded = RefundSucceeded(
        refund_id=refund.refund_id,
        payment_id=command.payment_id,
        gateway_refund_id=command.gateway_refund_id,
        amount=refund.amount,
        succeeded_at=at,
        evidence=command.evidence,
    )
    return Decision(at, [PAYMENT.change(succeeded)])


def record_refund_failed(command: RecordRefundFailed, streams: Streams, now: datetime) -> Decision:
    """What was to be returned is still here: it is the customer's balance again, an allowance no more, or pays what was
    due again."""
    _check_by_hand(command)
    refund, at = _pending(command.payment_id, command.refund_id, streams, now)
    surplus, not_due = _not_due_again(refund, command.payment_id, streams, at)
    failed = RefundFailed(
        refund_id=refund.refund_id,
        payment_id=command.payment_id,
        code=command.failure_code,
        amount=refund.amount,
        failed_at=at,
        evidence=command.evidence,
        surplus=surplus,
    )
    return Decision(at, [PAYMENT.change(failed), *not_due, *_not_given_back(refund, command.payment_id, streams, at)])


def _not_due_again(
    refund: Refund, payment_id: str, streams: Streams, at: datetime
) -> tuple[Money | None, list[Change]]:
    """What it had made due again is paid as before; what of it pays nothing any more, first."""
    invoice_id = PAYMENT.of(streams, payment_id).invoice_id
    if refund.reopened.is_zero or invoice_id is None:
        return None, []
    invoice = INVOICE.of(streams, invoice_id)
    surplus = max(refund.reopened - invoice.amount_due, Money.zero(invoice.currency))
    stays = not_refunded(invoice, refund.reopened, payment_id=payment_id, refund_id=refund.refund_id, at=at)
    return None if surplus.is_zero else surplus, stays


def _not_given_back(refund: Refund, payment_id: str, streams: Streams, at: datetime) -> list[Change]:
    """What the refund took of the customer's balance is there again."""
    if refund.from_balance.is_zero:
        return []
    customer_id = PAYMENT.of(streams, payment_id).customer_id
    return balance_moved(customer_id, -refund.from_balance, at, refund_id=refund.refund_id)


def record_refund_outcome_unknown(command: RecordRefundOutcomeUnknown, streams: Streams, now: datetime) -> Decision:
    refund, at = _pending(command.payment_id, command.refund_id, streams, now)
    if refund.outcome_unknown:
        raise RefundIsOver(refund=refund.refund_id, status="outcome_unknown")
    unknown = RefundOutcomeUnknown(
        refund_id=refund.refund_id, payment_id=command.payment_id, why=command.why, noticed_at=at
    )
    return Decision(at, [PAYMENT.change(unknown)])


def _check_by_hand(command: RecordRefundSucceeded | RecordRefundFailed) -> None:
    """What an operator says is checked; what a gateway answered is recorded as it is."""
    if command.evidence is None:
        return
    if not is_plain(command.evidence, chars_max=EVIDENCE_CHARS_MAX):
        raise InvalidEvidence
    if isinstance(command, RecordRefundSucceeded) and not is_gateway_refund_id(command.gateway_refund_id):
        raise InvalidGatewayRefundId


def is_gateway_refund_id(text: str) -> bool:
    """Whether a gateway may have named a refund so."""
    return is_plain(text, chars_max=GATEWAY_ID_CHARS_MAX) and not any(sign.isspace() for sign in text)


def is_plain(text: str, *, chars_max: int) -> bool:
    """Whether a text is not blank, not too long, and on one line: no control characters, no halves of characters."""
    if not text.strip() or len(text) > chars_max:
        return False
    return not any(unicodedata.category(sign) in _NOT_PLAIN for sign in text)


def _pending(payment_id: str, refund_id: str, streams: Streams, now: datetime) -> tuple[Refund, datetime]:
    """The refund, if it has no outcome yet, and its customer's time."""
    payment = PAYMENT.of(streams, payment_id)
    at = time_of(streams, payment.customer_id, now)
    refund = refund_of(payment, refund_id)
    if refund.status is not RefundStatus.PENDING:
        raise RefundIsOver(refund=refund_id, status=refund.status)
    return refund, at


def refund_of(payment: Payment, refund_id: str) -> Refund:
    """The payment's refund of this id. Raises RefundNotFound."""
    for refund in payment.refunds:
        if refund.refund_id == refund_id:
            return refund
    raise RefundNotFound(refund=refund_id)


HANDLERS: Final[Mapping[type, Handler]] = {
    RequestRefund: request_refund,
    ChangeRefundMetadata: change_refund_metadata,
    RecordRefundSucceeded: record_refund_succeeded,
    RecordRefundFailed: record_refund_failed,
    RecordRefundOutcomeUnknown: record_refund_outcome_unknown,
}
