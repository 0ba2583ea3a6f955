"""The adapter to a tax service that speaks HTTP (docs/guides/tax-service.md says what it is sent and has to answer).

Its address is the operator's, and no answer leads anywhere else: redirects are not followed. What it sends is bounded
in bytes and in time, as a whole, however slowly the bytes come.
"""

from typing import Final

from domain.tax.remote import TaxQuestion
from gateway_adapters.tax.port import Calculated, CalculationResult, NoAnswer, NoAnswerWhy, TaxServiceSilent
from gateway_adapters.tax.wire import Unreadable, answer_of, question_body
from infra.http.circuit_breaker import CircuitBreaker
from infra.http.kept_alive import CallFailed, CallTimedOut, HttpAnswer, KeptAlive, Unreachable

ANSWER_BYTES_MAX: Final = 1024 * 1024
RETRY_AFTER_MAX_MS: Final = 300_000
_PATH: Final = "/v1/tax/calculations"


class HttpTaxService:
    """The port `TaxService` over HTTP."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout_ms: int,
        connections_max: int,
        check_timeout_ms: int,
        breaker: CircuitBreaker,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._breaker = breaker
        self._check_timeout_ms = check_timeout_ms
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._http = KeptAlive(
            self._base,
            headers,
            connections_max=connections_max,
            timeout_ms=timeout_ms,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        # A connection of its own: questions that hang must not hide from it, nor it from them.
        self._probe = KeptAlive(
            self._base, {}, connections_max=1, timeout_ms=check_timeout_ms, answer_bytes_max=ANSWER_BYTES_MAX
        )

    async def calculate(self, question: TaxQuestion, *, key: str) -> CalculationResult:
        """See the port."""
        wait_ms = self._breaker.wait_ms()
        if wait_ms:
            return NoAnswer(why=NoAnswerWhy.PAUSED, after_ms=wait_ms)
        try:
            answer = await self._http.call("POST", _PATH, question_body(question), {"Idempotency-Key": key})
        except CallFailed as failed:
            self._breaker.failed()
            return NoAnswer(why=_why(failed))
        if answer.status >= 500:
            self._breaker.failed()
            return NoAnswer(why=NoAnswerWhy.SERVICE_ERROR, after_ms=_retry_after_ms(answer))
        self._breaker.succeeded()
        return _read(answer, question)

    async def check(self) -> None:
        """See the port."""
        try:
            answer = await self._probe.call("GET", "/health/ready")
        except CallTimedOut as failed:
            raise TaxServiceSilent(f"{self._base} gave no answer within {self._check_timeout_ms} ms") from failed
        except CallFailed as failed:
            raise TaxServiceSilent(f"{self._base}: {str(failed) or 'the connection was lost'}") from failed
        if answer.status != 200:
            raise TaxServiceSilent(f"{self._base} answers {answer.status}")

    async def close(self) -> None:
        """See the port."""
        await self._http.close()
        await self._probe.close()


def _why(failed: CallFailed) -> NoAnswerWhy:
    if isinstance(failed, Unreachable):
        return NoAnswerWhy.UNREACHABLE
    return NoAnswerWhy.TIMED_OUT if isinstance(failed, CallTimedOut) else NoAnswerWhy.CONNECTION_LOST


def _read(answer: HttpAnswer, question: TaxQuestion) -> CalculationResult:
    if answer.status == 429:
        return NoAnswer(why=NoAnswerWhy.RATE_LIMITED, after_ms=_retry_after_ms(answer))
    if answer.status == 409:
        # The same question is being answered: this call came before the other one's answer.
        return NoAnswer(why=NoAnswerWhy.SERVICE_ERROR, after_ms=_retry_after_ms(answer))
    if answer.status in (401, 403):
        return NoAnswer(why=NoAnswerWhy.NOT_AUTHORIZED)
    if answer.status != 200:
        return NoAnswer(why=NoAnswerWhy.REFUSED)
    try:
        return Calculated(answer=answer_of(answer.body, question.currency))
    except Unreadable:
        return NoAnswer(why=NoAnswerWhy.UNREADABLE)


def _retry_after_ms(answer: HttpAnswer) -> int | None:
    """What it asks for, within reason; None where it asks for nothing that is a number of seconds."""
    seconds = answer.headers.get("retry-after", "")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 6):
        return None
    return min(int(seconds) * 1_000, RETRY_AFTER_MAX_MS)
