"""Due work that calls a payment gateway: the intent is in the log, the answer becomes an event.

A worker may die between the call and the record of its answer; whoever takes the work over calls again with the same
key and body, which the gateway answers as before. What nobody knows is looked up; what the gateway has never heard of
is asked for again under the same key, inside the window that the gateway keeps its keys. The window is counted from the
first run of the row, which is on record before that run can call; beyond it the gateway is only asked.

An attempt is given up at the gateway: what waits there is cancelled, and of what it has not heard the key is taken, so
that a call which is still on its way, ours or that of a worker who froze before it, charges nothing when it comes.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from prometheus_client import Counter, Histogram

from domain.kernel.stream import Command
from domain.payments.cancel_commands import ExpirePaymentAttempt, RecordPaymentCanceled
from domain.payments.commands import (
    RecordPaymentActionRequired,
    RecordPaymentCaptured,
    RecordPaymentDeclined,
    RecordPaymentOutcomeUnknown,
)
from domain.payments.decline import DeclineCode
from domain.payments.payment import PAYMENT, Payment, PaymentStatus, attempt_reference
from domain.payments.refund import GatewayRefundTaken, Refund, RefundStatus
from domain.payments.refund_commands import RecordRefundFailed, RecordRefundOutcomeUnknown, RecordRefundSucceeded
from gateway_adapters.port import (
    Canceled,
    CancellationRequest,
    Declined,
    Gateway,
    LookUpResult,
    NotFound,
    OutcomeUnknown,
    PaymentRequest,
    Processing,
    RefundRequest,
    RequiresAction,
    RetryLater,
    RetryWhy,
    Succeeded,
    WithdrawalRequest,
)
from infra.event_store.port import Work, Writer
from infra.payment_tokens import PaymentTokens
from infra.settings import ProcessorSettings
from processors.issue import issue_for_work
from processors.outcome import AskAgain, Hold, Unwanted, WorkOutcome
from processors.states import StateReader

log = structlog.get_logger(__name__)

CALLS = Counter("tallybook_gateway_calls_total", "Answers of payment gateways", ["gateway", "operation", "result"])
CALL_SECONDS = Histogram("tallybook_gateway_call_seconds", "Time a gateway took to answer", ["gateway", "operation"])

_NOT_CARRIED_OUT: Final = frozenset({RetryWhy.RATE_LIMITED, RetryWhy.NOT_AUTHORIZED})
_HOLDS: Final = {GatewayRefundTaken.code: "the gateway's refund is already recorded as another one of ours"}
ACTOR: Final = "gateway-calls"


class GatewayCalls:
    """Runs PAYMENT_GATEWAY_CALL and REFUND_GATEWAY_CALL."""

    def __init__(
        self,
        writer: Writer,
        states: StateReader,
        gateways: Mapping[str, Gateway],
        tokens: PaymentTokens,
        settings: ProcessorSettings,
    ) -> None:
        self._tokens = tokens
        self._settings = settings
        self._writer = writer
        self._states = states
        self._gateways = gateways

    async def payment(self, work: Work) -> WorkOutcome:
        """Bring a payment's running attempt to its outcome."""
        payment_id, _, attempt = work.subject.rpartition(":")
        payment = await self._states.read(PAYMENT, work.tenant_id, payment_id)
        if payment is None or not payment.is_under_way or str(payment.attempt) != attempt:
            return Unwanted()
        gateway = self._gateway_of(payment)
        if gateway is None:
            return Hold(f"no adapter for gateway {payment.gateway!r} is configured")
        reference = attempt_reference(payment.payment_id, payment.attempt)
        if payment.cancellation is not None:
            return await self._give_up(gateway, payment, reference, work)
        token = await self._token_of(payment, work)
        asked_before = payment.outcome_unknown or payment.status is PaymentStatus.REQUIRES_ACTION

        async def call() -> LookUpResult:
            if token is None:
                return await self._without_a_method(gateway, payment, reference)
            return await gateway.create_payment(
                PaymentRequest(
                    reference=reference,
                    amount=payment.amount,
                    payment_method_token=token,
                    idempotency_key=reference,
                    customer_reference=payment.customer_id,
                )
            )

        answer = await self._ask(gateway, "payment", reference, work, call, asked_before=asked_before)
        if isinstance(answer, AskAgain | Hold):
            return answer
        return await self._record_payment(work, payment, answer)

    async def _give_up(self, gateway: Gateway, payment: Payment, reference: str, work: Work) -> WorkOutcome:
        """Have a running attempt cancelled. If its customer was faster, the gateway says so: that is its outcome."""
        answer: LookUpResult
        if payment.gateway_payment_id is not None:
            answer = await _cancel(gateway, reference, payment.gateway_payment_id)
        else:
            answer = await gateway.look_up(reference)
            if isinstance(answer, NotFound):
                answer = await _withdraw(gateway, payment, reference)
            elif isinstance(answer, RequiresAction):
                answer = await _cancel(gateway, reference, answer.gateway_id)
        CALLS.labels(gateway.name, "cancel", type(answer).__name__).inc()
        match answer:
            case RetryLater():
                return AskAgain(answer.after_ms, answer.why)
            case Canceled():
                command = RecordPaymentCanceled(payment_id=payment.payment_id, attempt=payment.attempt)
                return await self._issue(work, command, reference)
            case RequiresAction():
                return AskAgain(None, "not cancelled yet")
            case _:
                return await self._record_payment(work, payment, answer)

    async def _without_a_method(self, gateway: Gateway, payment: Payment, reference: str) -> LookUpResult:
        """Decline what there is nothing left to charge with, and any call of it that is still on its way."""
        answer = await _withdraw(gateway, payment, reference)
        erased = Declined(code=DeclineCode.METHOD_NOT_FOUND, gateway_code="erased")
        return erased if isinstance(answer, Canceled) else answer

    async def refund(self, work: Work) -> WorkOutcome:
        """Bring a refund to its outcome."""
        payment_id, _, refund_id = work.subject.partition("/")
        payment = await self._states.read(PAYMENT, work.tenant_id, payment_id)
        refund = None if payment is None else next((r for r in payment.refunds if r.refund_id == refund_id), None)
        if payment is None or refund is None or refund.status is not RefundStatus.PENDING:
            return Unwanted()
        gateway = self._gateway_of(payment)
        if gateway is None:
            return Hold(f"no adapter for gateway {payment.gateway!r} is configured")
        charge_id = payment.gateway_payment_id or ""

        async def call() -> LookUpResult:
            return await gateway.refund(
                RefundRequest(
                    reference=refund.refund_id,
                    gateway_payment_id=charge_id,
                    amount=refund.amount,
                    idempotency_key=refund.refund_id,
                )
            )

        answer = await self._ask(gateway, "refund", refund_id, work, call, asked_before=refund.outcome_unknown)
        if isinstance(answer, AskAgain | Hold):
            return answer
        return await self._record_refund(work, payment, refund, answer)

    async def _token_of(self, payment: Payment, work: Work) -> str | None:
        """What to charge; None once its customer is erased, and then nothing is charged any more."""
        reference = payment.token_reference
        if reference is None:
            return None
        return await self._tokens.token(work.tenant_id, payment.customer_id, reference)

    def _gateway_of(self, payment: Payment) -> Gateway | None:
        return self._gateways.get(payment.gateway or "")

    async def _ask(
        self,
        gateway: Gateway,
        operation: str,
        reference: str,
        work: Work,
        call: Callable[[], Awaitable[LookUpResult]],
        *,
        asked_before: bool,
    ) -> LookUpResult | AskAgain | Hold:
        """Call, or look up first where a call was made before; never a second key, and no key beyond its window."""
        key_is_kept = _since_first_run(work) < gateway.promises.key_window
        with CALL_SECONDS.labels(gateway.name, operation).time():
            answer: LookUpResult = NotFound(reference=reference)
            if asked_before or not key_is_kept:
                answer = await gateway.look_up(reference)
            if isinstance(answer, NotFound) and key_is_kept:
                answer = await call()
        CALLS.labels(gateway.name, operation, type(answer).__name__).inc()
        _tell(gateway.name, operation, reference, work.attempts, answer)
        match answer:
            case NotFound():
                return Hold(f"{gateway.name} knows nothing of {reference}, and its key's window has passed")
            case RetryLater():
                return AskAgain(answer.after_ms, answer.why, untouched=answer.why in _NOT_CARRIED_OUT)
            case _:
                return answer

    async def _record_payment(self, work: Work, payment: Payment, answer: LookUpResult) -> WorkOutcome:
        payment_id, attempt = payment.payment_id, payment.attempt
        reference = attempt_reference(payment_id, attempt)
        command: Command
        match answer:
            case Succeeded():
                if answer.amount != payment.amount:
                    return Hold(f"charged {answer.amount.format()} instead of {payment.amount.format()}")
                command = RecordPaymentCaptured(
                    payment_id=payment_id, attempt=attempt, gateway_payment_id=answer.gateway_id
                )
            case Declined():
                command = RecordPaymentDeclined(
                    payment_id=payment_id, attempt=attempt, decline_code=answer.code, retryable=answer.retryable
                )
            case Canceled():
                command = RecordPaymentDeclined(
                    payment_id=payment_id, attempt=attempt, decline_code=DeclineCode.CANCELED, retryable=True
                )
            case RequiresAction() if payment.status is PaymentStatus.PROCESSING:
                command = RecordPaymentActionRequired(
                    payment_id=payment_id, attempt=attempt, gateway_payment_id=answer.gateway_id
                )
            case RequiresAction() if _since_first_run(work).total_seconds() < self._settings.authentication_timeout_s:
                return AskAgain(None, "waits for the customer")
            case RequiresAction():
                command = ExpirePaymentAttempt(payment_id=payment_id, attempt=attempt)
            case _:
                why = _why(answer)
                # Unknown is said once an attempt; one that waits for its customer is only looked at again.
                waits = payment.status is PaymentStatus.REQUIRES_ACTION or payment.cancellation is not None
                if payment.outcome_unknown or waits:
                    return AskAgain(None, why)
                command = RecordPaymentOutcomeUnknown(payment_id=payment_id, attempt=attempt, why=why)
        return await self._issue(work, command, reference)

    async def _record_refund(self, work: Work, payment: Payment, refund: Refund, answer: LookUpResult) -> WorkOutcome:
        command: Command
        match answer:
            case Succeeded():
                command = RecordRefundSucceeded(
                    refund_id=refund.refund_id, payment_id=payment.payment_id, gateway_refund_id=answer.gateway_id
                )
            case Declined():
                command = RecordRefundFailed(
                    refund_id=refund.refund_id, payment_id=payment.payment_id, failure_code=answer.code
                )
            case _:
                why = _why(answer)
                if refund.outcome_unknown:
                    return AskAgain(None, why)
                command = RecordRefundOutcomeUnknown(refund_id=refund.refund_id, payment_id=payment.payment_id, why=why)
        return await self._issue(work, command, refund.refund_id)

    async def _issue(self, work: Work, command: Command, subject: str) -> WorkOutcome:
        """The key names the answer: two workers with two answers both reach the stream, which takes the first."""
        key = f"gateway-call:{subject}:{type(command).__name__}"
        return await issue_for_work(self._writer, command, work, key=key, actor=ACTOR, holds=_HOLDS)


async def _withdraw(gateway: Gateway, payment: Payment, reference: str) -> LookUpResult:
    """Take the key of an attempt that the gateway has not heard of. What waits under it is cancelled."""
    answer = await gateway.withdraw(
        WithdrawalRequest(
            reference=reference,
            amount=payment.amount,
            idempotency_key=reference,
            customer_reference=payment.customer_id,
        )
    )
    return await _cancel(gateway, reference, answer.gateway_id) if isinstance(answer, RequiresAction) else answer


async def _cancel(gateway: Gateway, reference: str, gateway_id: str) -> LookUpResult:
    return await gateway.cancel(
        CancellationRequest(reference=reference, gateway_payment_id=gateway_id, idempotency_key=f"{reference}:cancel")
    )


def _tell(gateway: str, operation: str, reference: str, attempts: int, answer: LookUpResult) -> None:
    """Log what somebody will ask about: what nobody knows, each time, and what was declined or put off."""
    named = log.bind(gateway=gateway, operation=operation, reference=reference, attempts=attempts)
    match answer:
        case OutcomeUnknown():
            named.warning("gateway_outcome_unknown", why=answer.why)
        case Declined():
            named.info("gateway_declined", code=answer.code, gateway_code=answer.gateway_code)
        case RetryLater():
            named.warning("gateway_asks_to_wait", why=answer.why, after_ms=answer.after_ms)


def _why(answer: Any) -> str:
    if isinstance(answer, OutcomeUnknown):
        return answer.why
    return "processing" if isinstance(answer, Processing) else type(answer).__name__


def _since_first_run(work: Work) -> timedelta:
    """Real time since anybody may have called first. By the store's clock, and by ours where it is ahead of that: a
    process that was frozen after its claim has an old claim."""
    if work.first_run_at is None or work.claimed_at is None:
        raise ValueError(f"{work.kind} {work.subject} was not claimed")
    return max(work.claimed_at, datetime.now(UTC)) - work.first_run_at
