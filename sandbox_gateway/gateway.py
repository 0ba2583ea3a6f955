"""The gateway behind HTTP: routes, idempotency keys, fault injection, and one commit per turn of the event loop.

Handling is synchronous and does not depend on the client's connection: whoever hangs up has still been charged.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import asdict

from sandbox_gateway.balance import Balance
from sandbox_gateway.faults import FaultPlan, Faults, read_plan
from sandbox_gateway.fields import ApiError, Fields
from sandbox_gateway.http import Exchange
from sandbox_gateway.notices import Notices, encode
from sandbox_gateway.payments import Payments, Performed
from sandbox_gateway.refunds import Refunds
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.store import Store, StoredAnswer
from sandbox_gateway.taxes import Taxes
from sandbox_gateway.tokens import Disturbance

SETTLE_AGAIN_S = 1.0
"""Pause before what was processing is looked at again after a batch was lost."""

REPLAYED = b"idempotent-replayed: true\r\n"
FAULTS_FACT = "faults"
AFTER_THE_CHARGE_ERROR = (
    b'{"error":{"code":"gateway_error","message":"the sandbox was told to fail here","param":null}}'
)
_SILENT = (Disturbance.TIMEOUT_BEFORE, Disturbance.TIMEOUT_AFTER)
_BEFORE = (Disturbance.TIMEOUT_BEFORE, Disturbance.ERROR_BEFORE)

log = logging.getLogger(__name__)

Operation = Callable[[], Performed]


class SandboxGateway:
    """Takes exchanges, answers them after the commit of what they did."""

    def __init__(self, settings: SandboxServerSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        kept = store.fact(FAULTS_FACT)
        plan = FaultPlan() if kept is None else read_plan(kept.encode())
        self.faults = Faults(plan, settings.answers_kept_for_faults_max)
        self.notices = Notices(store, self.faults, delivering=settings.webhook_url is not None)
        self.payments = Payments(store, settings, self.notices)
        self.refunds = Refunds(store, settings, self.notices, self.payments)
        self.taxes = Taxes(settings)
        self.balance = Balance(store, settings, self.notices, self.payments)
        self.payments.on_settling = self._settle_at
        self.on_new_deliveries: Callable[[], None] = lambda: None
        self._authorization = b"Bearer " + settings.api_key.encode()
        self._in_flight: set[str] = set()
        self._answers: list[Callable[[], None]] = []
        self._unanswered: list[Exchange] = []
        self._settling: asyncio.TimerHandle | None = None
        self._settling_ms = 0

    def start(self) -> None:
        """Forget expired keys and take up what was processing when the process ended."""
        self._store.forget_answers_before(self._store.now_ms() - self._settings.key_retention_ms)
        self._settle_next()

    # ── batches ──

    def batch(self) -> None:
        """Make sure that a batch is open; it is committed at the end of this turn of the event loop."""
        if not self._store.in_batch:
            self._store.begin()
            asyncio.get_running_loop().call_soon(self.commit)

    def commit(self) -> None:
        """Commit the open batch, then let the answers go."""
        if not self._store.in_batch:
            return
        answers, self._answers = self._answers, []
        try:
            self._store.commit()
        except sqlite3.Error:
            log.exception("the batch could not be committed; its clients get no answer")
            self._abandon()
            return
        self._unanswered.clear()
        for answer in answers:
            answer()
        if self.notices.new_deliveries:
            self.notices.new_deliveries = False
            self.on_new_deliveries()

    def _abandon(self) -> None:
        """Forget the batch: nothing in it happened, and no client is told that it did."""
        self._store.roll_back()
        self._answers.clear()
        self.notices.new_deliveries = False
        unanswered, self._unanswered = self._unanswered, []
        for exchange in unanswered:
            exchange.drop()
        asyncio.get_running_loop().call_later(SETTLE_AGAIN_S, self._settle_next)

    def _answer(self, exchange: Exchange, status: int, body: bytes, headers: bytes = b"") -> None:
        self._answers.append(lambda: exchange.answer(status, body, headers))
        self._unanswered.append(exchange)

    def _run(self, exchange: Exchange, step: Callable[[], None]) -> None:
        """Run a step inside the batch; what it raises becomes the answer."""
        try:
            self.batch()
            step()
        except ApiError as error:
            self._answer(exchange, error.status, error.body(), error.headers)
        except Exception:
            log.exception("a request could not be handled; its batch is forgotten")
            self._unanswered.append(exchange)
            self._abandon()

    # ── requests ──

    def handle(self, exchange: Exchange) -> None:
        """Take one request."""
        if exchange.path.startswith("/health/"):
            exchange.answer(200, b'{"status":"ok"}')
        elif not hmac.compare_digest(exchange.authorization, self._authorization):
            error = ApiError(401, "not_authorized", "the API key is missing or wrong")
            exchange.answer(error.status, error.body())
        else:
            self._run(exchange, lambda: self._route(exchange))

    def _route(self, exchange: Exchange) -> None:
        body = exchange.body
        match exchange.method, *exchange.path.strip("/").split("/"):
            case "POST", "v1", "payments":
                self._operate(exchange, lambda: self.payments.create(body))
            case "POST", "v1", "payments", name, "confirm":
                self._operate(exchange, lambda: self.payments.confirm(name, body))
            case "POST", "v1", "payments", name, "capture":
                self._operate(exchange, lambda: self.payments.capture(name, body))
            case "POST", "v1", "payments", name, "cancel":
                self._operate(exchange, lambda: self.payments.cancel(name, body))
            case "POST", "v1", "refunds":
                self._operate(exchange, lambda: self.refunds.create(body))
            case "POST", "v1", "tax", "calculations":
                self._operate(exchange, lambda: self.taxes.calculate(body))
            case "POST", "v1", "payment_methods":
                self._operate(exchange, lambda: self.payments.save_method(body))
            case "DELETE", "v1", "payment_methods", name:
                self._show(exchange, self.payments.delete_method(name).shown)
            case "GET", "v1", "payments", name:
                self._show(exchange, self.payments.shown(self.payments.find(name)))
            case "GET", "v1", "refunds", name:
                self._show(exchange, self.refunds.shown(self.refunds.find(name)))
            case "GET", "v1", "operations":
                self._show(exchange, self._operations(exchange.query))
            case "GET", "v1", "transactions":
                self._show(exchange, self.balance.transactions(exchange.query))
            case "GET", "v1", "totals":
                self._show(exchange, self.balance.totals())
            case "GET", "v1", "disputes", name:
                self._show(exchange, self.balance.shown(self.balance.find_dispute(name)))
            case "GET", "v1", "events":
                fields = Fields.of_query(exchange.query, (), ("after", "limit"), self._settings.text_chars_max)
                after = fields.integer("after", least=0, most=2**62, default=0)
                most = self._settings.page_rows_max
                limit = fields.integer("limit", least=1, most=most, default=self._settings.page_rows)
                self._answer(exchange, 200, self.notices.listed(after, limit))
            case _:
                self._route_controls(exchange)

    def _route_controls(self, exchange: Exchange) -> None:
        """What only a sandbox has: playing the customer, the banks, and misfortune. No fault befalls these."""
        body = exchange.body
        match exchange.method, *exchange.path.strip("/").split("/"):
            case "POST", "v1", "payments", name, "authenticate":
                self._show(exchange, self.payments.authenticate(name, body).shown)
            case "POST", "v1", "disputes":
                self._show(exchange, self.balance.open_dispute(body).shown)
            case "POST", "v1", "disputes", name, "evidence":
                self._show(exchange, self.balance.send_evidence(name, body).shown)
            case "POST", "v1", "disputes", name, "close":
                self._show(exchange, self.balance.close_dispute(name, body).shown)
            case "POST", "v1", "payouts":
                self._show(exchange, self.balance.pay_out(body).shown)
            case "PUT", "faults":
                self._switch_faults(exchange, read_plan(body))
            case "DELETE", "faults":
                self._switch_faults(exchange, FaultPlan())
            case "GET", "faults":
                self._answer(exchange, 200, self.faults.body())
            case _:
                raise ApiError(404, "not_found", f"no {exchange.method} {exchange.path[:100]}")

    def _show(self, exchange: Exchange, shown: dict[str, object]) -> None:
        self._answer(exchange, 200, encode(shown).encode())

    def _operations(self, query: str) -> dict[str, object]:
        """All payments and refunds of one of our client's references, oldest first."""
        fields = Fields.of_query(query, ("reference",), (), self._settings.text_chars_max)
        reference = fields.text("reference")
        payments = [self.payments.shown(payment) for payment in self.payments.of_reference(reference)]
        return {"data": payments + [self.refunds.shown(refund) for refund in self.refunds.of_reference(reference)]}

    def _switch_faults(self, exchange: Exchange, plan: FaultPlan) -> None:
        self.faults.switch(plan)
        self._store.keep_fact(FAULTS_FACT, json.dumps(asdict(plan)))
        self._answer(exchange, 200, self.faults.body())

    # ── operations under an idempotency key ──

    def _operate(self, exchange: Exchange, operation: Operation) -> None:
        settings, key = self._settings, exchange.key
        if not key or len(key) > settings.key_chars_max:
            raise ApiError(400, "idempotency_key_required", f"an Idempotency-Key of 1 to {settings.key_chars_max}")
        fingerprint = hashlib.blake2b(
            b"%b\n%b" % (exchange.path.encode("latin-1"), exchange.body), digest_size=16
        ).digest()
        stored = self._store.answer(key)
        if stored is not None and stored.created_ms >= self._store.now_ms() - settings.key_retention_ms:
            if stored.fingerprint != fingerprint:
                raise ApiError(422, "idempotency_key_reused", "the key was used for another request")
            self._answer(exchange, stored.status, stored.body, REPLAYED)
            return
        if key in self._in_flight:
            raise ApiError(409, "idempotency_key_in_flight", "the first request is under way", headers=_wait_for(50))
        drawn = self.faults.draw(key)
        if drawn.rate_limited:
            wait = _wait_for(self.faults.plan.rate_limit_retry_after_ms)
            raise ApiError(429, "rate_limited", "too many requests", headers=wait)
        disturbance = drawn.disturbance
        if drawn.delay_ms == 0:
            self._perform(exchange, fingerprint, operation, disturbance)
            return
        self._in_flight.add(key)

        def later() -> None:
            self._in_flight.discard(key)
            self._run(exchange, lambda: self._perform(exchange, fingerprint, operation, disturbance))

        asyncio.get_running_loop().call_later(drawn.delay_ms / 1_000, later)

    def _perform(
        self, exchange: Exchange, fingerprint: bytes, operation: Operation, disturbance: Disturbance | None
    ) -> None:
        """Do it, unless the disturbance comes before; keep the answer for the key; answer as disturbed."""
        performed = Performed(500, {}) if disturbance in _BEFORE else operation()
        disturbance = disturbance or performed.disturbance
        if disturbance is Disturbance.TIMEOUT_BEFORE:
            exchange.hang(self._settings.hang_ms)
            return
        status, body = performed.status, encode(performed.shown).encode()
        if disturbance in (Disturbance.ERROR_BEFORE, Disturbance.ERROR_AFTER):
            status, body = 500, AFTER_THE_CHARGE_ERROR
        self._store.keep_answer(exchange.key, StoredAnswer(fingerprint, status, body, self._store.now_ms()))
        if disturbance is Disturbance.TIMEOUT_AFTER:
            self._answers.append(lambda: exchange.hang(self._settings.hang_ms))
            self._unanswered.append(exchange)
        elif performed.slow:
            self._answer_slowly(exchange, status, body)
        else:
            self._answer(exchange, status, body)

    def _answer_slowly(self, exchange: Exchange, status: int, body: bytes) -> None:
        """The charge is done and will be committed; only its answer takes a while."""
        loop = asyncio.get_running_loop()
        delay_s = self._settings.slow_ms / 1_000

        def answer() -> None:
            loop.call_later(delay_s, exchange.answer, status, body)

        self._answers.append(answer)
        self._unanswered.append(exchange)

    # ── what settles by itself ──

    def _settle_at(self, due_ms: int) -> None:
        if self._settling is not None:
            if self._settling_ms <= due_ms:
                return
            self._settling.cancel()
        self._settling_ms = due_ms
        delay_ms = max(0, due_ms - self._store.now_ms())
        self._settling = asyncio.get_running_loop().call_later(delay_ms / 1_000, self._settle)

    def _settle(self) -> None:
        self._settling = None
        try:
            self.batch()
            now_ms = self._store.now_ms()
            self.payments.settle(now_ms)
            self.refunds.settle(now_ms)
        except sqlite3.Error:
            log.exception("what was processing could not be settled; its batch is forgotten")
            self._abandon()
            return
        self._settle_next()

    def _settle_next(self) -> None:
        due = [at for at in (self.payments.next_settling_ms(), self.refunds.next_settling_ms()) if at is not None]
        if due:
            self._settle_at(min(due))


def _wait_for(milliseconds: int) -> bytes:
    """When to come again: whole seconds for everybody, milliseconds for those who read them."""
    return b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (-(-milliseconds // 1_000), milliseconds)
