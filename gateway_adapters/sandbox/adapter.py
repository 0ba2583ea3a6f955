"""The adapter to the sandbox gateway: HTTP answers in, the port's results out.

Every call takes one of a bounded number of kept-alive connections. A body is made of the request alone, in a fixed
order, so a repeat under the same key is the same bytes.
"""

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from domain.payments.decline import DeclineCode, normalized
from gateway_adapters.port import (
    Canceled,
    CancellationRequest,
    CaptureRequest,
    ConfirmationRequest,
    Declined,
    DeleteMethodResult,
    GatewayPromises,
    GatewaySilent,
    GatewayTransaction,
    GatewayUnavailable,
    LookUpResult,
    MethodDeleted,
    MethodSaved,
    NotFound,
    OutcomeUnknown,
    PaymentRequest,
    PaymentResult,
    Processing,
    RefundRequest,
    RefundResult,
    RequiresAction,
    RetryLater,
    RetryWhy,
    SaveMethodRequest,
    SaveMethodResult,
    Succeeded,
    UnknownWhy,
    WebhookEvent,
    WebhookRejected,
    WebhookRejectedWhy,
    WithdrawalRequest,
)
from gateway_adapters.sandbox import wire as sandbox_wire
from gateway_adapters.sandbox.declines import DECLINE_CODES
from infra.http import standard_webhooks
from infra.http.kept_alive import CallFailed, CallTimedOut, KeptAlive, Unreachable

NAME: Final = "sandbox"
PROMISES: Final = GatewayPromises(key_window=timedelta(hours=23), key_chars_max=255)
PAGE_ROWS: Final = 1_000
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_CHECKS = {
    standard_webhooks.SignatureCheck.MISSING_HEADER: WebhookRejectedWhy.MISSING_HEADER,
    standard_webhooks.SignatureCheck.BAD_SIGNATURE: WebhookRejectedWhy.BAD_SIGNATURE,
    standard_webhooks.SignatureCheck.TOO_OLD: WebhookRejectedWhy.TOO_OLD,
}
_KEY_IS_TAKEN: Final = frozenset({UnknownWhy.KEY_REUSED, UnknownWhy.STORED_ERROR})
_WEIGHTS: Final = ((Succeeded, 4), (Processing, 3), (RequiresAction, 2), (Declined, 1))


@dataclass(frozen=True, slots=True)
class _Answer:
    """An HTTP answer that arrived whole: its status, its JSON object, and the two headers that matter."""

    status: int
    shown: Mapping[str, object]
    replayed: bool
    retry_after_ms: int | None


class SandboxAdapter:
    """The port `Gateway` over the sandbox's HTTP API; `close` it at the end."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        webhook_secrets: Sequence[str] = (),
        timeout_ms: int = 10_000,
        connections_max: int = 32,
        retry_after_ms: int = 1_000,
        not_authorized_retry_ms: int = 30_000,
        webhook_tolerance_s: int = 300,
        check_timeout_ms: int = 2_000,
    ) -> None:
        """`retry_after_ms` is the wait for a 429 that names none; `webhook_tolerance_s` how old a message may be."""
        self._base = base_url.rstrip("/")
        self._keys = tuple(standard_webhooks.secret_bytes(secret) for secret in webhook_secrets)
        self._retry_after_ms = retry_after_ms
        self._not_authorized_retry_ms = not_authorized_retry_ms
        self._webhook_tolerance_s = webhook_tolerance_s
        self._check_timeout_ms = check_timeout_ms
        self._http = KeptAlive(
            self._base,
            {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
            connections_max=connections_max,
            timeout_ms=timeout_ms,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        # A connection of its own: payments that hang must not hide from it, nor it from them.
        self._probe = KeptAlive(
            self._base, {}, connections_max=1, timeout_ms=check_timeout_ms, answer_bytes_max=ANSWER_BYTES_MAX
        )

    @property
    def name(self) -> str:
        return NAME

    @property
    def promises(self) -> GatewayPromises:
        return PROMISES

    async def check(self) -> None:
        """See the port."""
        try:
            answer = await self._probe.call("GET", "/health/ready")
        except CallTimedOut as failed:
            raise GatewaySilent(f"{self._base} gave no answer within {self._check_timeout_ms} ms") from failed
        except CallFailed as failed:
            raise GatewaySilent(f"{self._base}: {str(failed) or 'the connection was lost'}") from failed
        if answer.status != 200:
            raise GatewaySilent(f"{self._base} answers {answer.status}")

    async def close(self) -> None:
        await self._http.close()
        await self._probe.close()

    # ── payments and refunds ──

    async def create_payment(self, request: PaymentRequest) -> PaymentResult:
        body = {
            "reference": request.reference,
            "amount": request.amount.amount,
            "currency": request.amount.currency,
            "payment_method": request.payment_method_token,
            "customer": request.customer_reference,
            "description": request.description,
            "confirm": request.confirm,
            "capture": request.capture.value,
        }
        answer = await self._post("/v1/payments", body, request.idempotency_key)
        return await self._outcome(answer, request.reference, "payment")

    async def confirm(self, request: ConfirmationRequest) -> PaymentResult:
        token = request.payment_method_token
        body = {} if token is None else {"payment_method": token}
        return await self._step(request, "confirm", body)

    async def capture(self, request: CaptureRequest) -> PaymentResult:
        amount = request.amount
        body = {} if amount is None else {"amount": amount.amount, "currency": amount.currency}
        return await self._step(request, "capture", body)

    async def cancel(self, request: CancellationRequest) -> PaymentResult:
        return await self._step(request, "cancel", {})

    async def withdraw(self, request: WithdrawalRequest) -> PaymentResult:
        """By a payment that charges nothing under the key: a call with another body is refused from then on."""
        body = {
            "reference": request.reference,
            "amount": request.amount.amount,
            "currency": request.amount.currency,
            "customer": request.customer_reference,
            "confirm": False,
        }
        answer = await self._post("/v1/payments", body, request.idempotency_key)
        result = await self._outcome(answer, request.reference, "payment")
        if isinstance(result, Declined):
            # It was not taken: what was refused is this call, and it says nothing of the other.
            return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)
        if not isinstance(result, OutcomeUnknown) or result.why not in _KEY_IS_TAKEN:
            return result
        # The call that took the key is over, and this gateway shows at once what it left.
        found = await self._look_up(request.reference, ("payment",))
        return Canceled(gateway_id="") if isinstance(found, NotFound) else found

    async def refund(self, request: RefundRequest) -> RefundResult:
        body = {
            "reference": request.reference,
            "payment": request.gateway_payment_id,
            "amount": request.amount.amount,
            "currency": request.amount.currency,
        }
        answer = await self._post("/v1/refunds", body, request.idempotency_key)
        result = await self._outcome(answer, request.reference, "refund")
        match result:
            case RequiresAction() | Canceled():
                return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)
            case _:
                return result

    async def look_up(self, reference: str) -> LookUpResult:
        return await self._look_up(reference, ("payment", "refund"))

    async def _look_up(self, reference: str, kinds: tuple[str, ...]) -> LookUpResult:
        answer = await self._call("GET", "/v1/operations?reference=" + quote(reference, safe=""))
        if isinstance(answer, OutcomeUnknown):
            return answer
        refused = self._refused(answer)
        if refused is not None:
            # The look-up itself was refused: that says nothing of what it asks for.
            return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER) if isinstance(refused, Declined) else refused
        try:
            operations = sandbox_wire.json_objects(answer.shown, "data")
            results = [sandbox_wire.result(shown, self._base) for shown in operations if shown.get("object") in kinds]
        except sandbox_wire.Unreadable:
            return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)
        if not results:
            return NotFound(reference=reference)
        return max(reversed(results), key=_weight)  # of equals the latest

    # ── saved methods ──

    async def save_payment_method(self, request: SaveMethodRequest) -> SaveMethodResult:
        body = {"token": request.token, "customer": request.customer_reference}
        answer = await self._post("/v1/payment_methods", body, request.idempotency_key)
        if isinstance(answer, OutcomeUnknown):
            return answer
        refused = self._refused(answer)
        if refused is not None:
            return refused
        try:
            return MethodSaved(
                gateway_method_id=sandbox_wire.text(answer.shown, "id"),
                kind=sandbox_wire.method_kind(answer.shown),
                brand=sandbox_wire.text(answer.shown, "brand"),
                last4=sandbox_wire.text(answer.shown, "last4"),
                expires_month=sandbox_wire.optional_integer(answer.shown, "expires_month"),
                expires_year=sandbox_wire.optional_integer(answer.shown, "expires_year"),
            )
        except sandbox_wire.Unreadable:
            return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)

    async def delete_payment_method(self, gateway_method_id: str) -> DeleteMethodResult:
        answer = await self._call("DELETE", "/v1/payment_methods/" + quote(gateway_method_id, safe=""))
        if isinstance(answer, OutcomeUnknown):
            return answer
        refused = self._refused(answer)
        match refused:
            case None:
                return MethodDeleted(gateway_method_id=gateway_method_id)
            case Declined(code=DeclineCode.METHOD_NOT_FOUND):
                return MethodDeleted(gateway_method_id=gateway_method_id)
            case Declined():
                return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)
            case _:
                return refused

    # ── webhooks ──

    async def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookEvent | WebhookRejected:
        checked = standard_webhooks.check(
            self._keys, headers, body, now_s=int(time.time()), tolerance_s=self._webhook_tolerance_s
        )
        if checked is not standard_webhooks.SignatureCheck.VALID:
            return WebhookRejected(why=_CHECKS[checked])
        try:
            return sandbox_wire.webhook(sandbox_wire.json_object(json.loads(body)), self._base)
        except (sandbox_wire.Unreadable, ValueError, RecursionError):
            return WebhookRejected(why=WebhookRejectedWhy.UNREADABLE)

    # ── reconciliation ──

    async def list_transactions(self, start: datetime, end: datetime) -> AsyncIterator[GatewayTransaction]:
        after = 0
        while True:
            answer = await self._call(
                "GET",
                f"/v1/transactions?from_ms={sandbox_wire.milliseconds(start)}&to_ms={sandbox_wire.milliseconds(end)}&after={after}&limit={PAGE_ROWS}",
            )
            if isinstance(answer, OutcomeUnknown):
                raise GatewayUnavailable(f"the listing broke off after {after}: {answer.why}")
            if answer.status != 200:
                raise GatewayUnavailable(f"the listing broke off after {after}: status {answer.status}")
            try:
                page = [sandbox_wire.transaction(shown) for shown in sandbox_wire.json_objects(answer.shown, "data")]
                following = answer.shown.get("next_after")
                if following is not None and (type(following) is not int or following <= after):
                    raise sandbox_wire.Unreadable
            except sandbox_wire.Unreadable:
                raise GatewayUnavailable(f"the page after {after} cannot be read") from None
            for transaction in page:
                yield transaction
            if following is None:
                return
            after = following

    # ── inside ──

    async def _post(self, path: str, body: Mapping[str, object], key: str) -> _Answer | OutcomeUnknown:
        return await self._call("POST", path, _encode(body).encode(), key)

    async def _call(
        self, method: str, path: str, body: bytes = b"", key: str | None = None
    ) -> _Answer | OutcomeUnknown:
        """One HTTP call; whatever keeps its answer from arriving whole is an unknown outcome."""
        headers = None if key is None else {"Idempotency-Key": key}
        try:
            response = await self._http.call(method, path, body, headers)
        except Unreachable:
            return OutcomeUnknown(why=UnknownWhy.UNREACHABLE)
        except CallTimedOut:
            return OutcomeUnknown(why=UnknownWhy.TIMED_OUT)
        except CallFailed:
            return OutcomeUnknown(why=UnknownWhy.CONNECTION_LOST)
        replayed = response.headers.get("idempotent-replayed") == "true"
        if response.status >= 500:
            return OutcomeUnknown(why=UnknownWhy.STORED_ERROR if replayed else UnknownWhy.GATEWAY_ERROR)
        try:
            shown = sandbox_wire.json_object(json.loads(response.body))
        except (sandbox_wire.Unreadable, ValueError, RecursionError):
            return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)
        return _Answer(response.status, shown, replayed, _retry_after_ms(response.headers))

    def _refused(self, answer: _Answer) -> Declined | RetryLater | OutcomeUnknown | None:
        """What an answer other than a 200 means when it carries no payment or refund; None for a 200."""
        if answer.status == 200:
            return None
        if answer.status == 429:
            return RetryLater(after_ms=answer.retry_after_ms or self._retry_after_ms, why=RetryWhy.RATE_LIMITED)
        if answer.status in (401, 403):
            return RetryLater(after_ms=self._not_authorized_retry_ms, why=RetryWhy.NOT_AUTHORIZED)
        error = answer.shown.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        if code == "idempotency_key_in_flight":
            return RetryLater(after_ms=answer.retry_after_ms or self._retry_after_ms, why=RetryWhy.KEY_IN_FLIGHT)
        if code == "idempotency_key_reused":
            return OutcomeUnknown(why=UnknownWhy.KEY_REUSED)
        if isinstance(code, str) and 400 <= answer.status < 500:
            return Declined(code=normalized(DECLINE_CODES, code), gateway_code=code)
        return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)

    async def _step(
        self, request: ConfirmationRequest | CaptureRequest | CancellationRequest, verb: str, body: Mapping[str, object]
    ) -> PaymentResult:
        """Take an existing payment further. Where its state does not allow that, the answer is what became of it."""
        path = "/v1/payments/" + quote(request.gateway_payment_id, safe="")
        answer = await self._post(f"{path}/{verb}", body, request.idempotency_key)
        result = await self._outcome(answer, request.reference, "payment")
        if isinstance(result, Declined) and result.code is DeclineCode.WRONG_STATE:
            return await self._outcome(await self._call("GET", path), request.reference, "payment")
        return result

    async def _outcome(self, answer: _Answer | OutcomeUnknown, reference: str, kind: str) -> PaymentResult:
        """The result in an answer to a call that moves money."""
        if isinstance(answer, OutcomeUnknown):
            return (
                await self._instead_of_repeating(reference, kind) if answer.why is UnknownWhy.STORED_ERROR else answer
            )
        try:
            if answer.status in (200, 402) and answer.shown.get("object") == kind:
                return sandbox_wire.result(answer.shown, self._base)
        except sandbox_wire.Unreadable:
            return OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)
        return self._refused(answer) or OutcomeUnknown(why=UnknownWhy.UNREADABLE_ANSWER)

    async def _instead_of_repeating(self, reference: str, kind: str) -> PaymentResult:
        """The gateway keeps a failure under this key and would replay it for ever: its record knows more."""
        found = await self._look_up(reference, (kind,))
        return OutcomeUnknown(why=UnknownWhy.STORED_ERROR) if isinstance(found, NotFound) else found


def _weight(result: PaymentResult) -> int:
    """Which of several results under one reference counts: money taken above money that may be, above none."""
    return next((weight for kind, weight in _WEIGHTS if isinstance(result, kind)), 0)


def _retry_after_ms(headers: Mapping[str, str]) -> int | None:
    milliseconds, seconds = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    if milliseconds.isdigit():
        return int(milliseconds)
    return int(seconds) * 1_000 if seconds.isdigit() else None
