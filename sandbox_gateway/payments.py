"""Payments at the sandbox gateway: create, confirm, authenticate, capture, cancel, settle."""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox_gateway.fields import ApiError, Fields, invalid
from sandbox_gateway.notices import Notices
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.store import Store
from sandbox_gateway.tokens import (
    BANK_ACCOUNTS,
    EXPIRES_MONTH,
    EXPIRES_YEAR,
    Charge,
    Disturbance,
    TokenOutcome,
    looks_of,
    script_of,
)

PAYMENT_PREFIX = "py"
METHOD_PREFIX = "pm"
BEFORE_THE_CHARGE = (Disturbance.TIMEOUT_BEFORE, Disturbance.ERROR_BEFORE)

_COLUMNS = (
    "seq, reference, customer, description, token, method_seq, manual_capture, status, amount, captured, refunded,"
    " currency, fee, decline_code, created_ms, settle_ms"
)
_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))

CREATE_FIELDS = frozenset(
    ("reference", "amount", "currency", "payment_method", "customer", "description", "confirm", "capture")
)


@dataclass(slots=True, kw_only=True)
class Payment:
    """One row of `payments`. Amounts are minor units of `currency`."""

    seq: int
    reference: str
    customer: str
    description: str
    token: str
    method_seq: int | None
    manual_capture: bool
    status: str
    amount: int
    captured: int
    refunded: int
    currency: str
    fee: int
    decline_code: str | None
    created_ms: int
    settle_ms: int | None


@dataclass(frozen=True, slots=True)
class Performed:
    """What an operation answers, and what its token wants done to the answer."""

    status: int
    shown: dict[str, object]
    disturbance: Disturbance | None = None
    slow: bool = False


@dataclass(frozen=True, slots=True)
class _Method:
    """What a request charges: a magic token, or a saved method that stands for one."""

    token: str
    seq: int | None


class Payments:
    """The operations. Each runs inside the batch that is open on the store."""

    def __init__(self, store: Store, settings: SandboxServerSettings, notices: Notices) -> None:
        self._store = store
        self._settings = settings
        self._notices = notices
        self.on_disputed: Callable[[Payment], None] = lambda payment: None
        self.on_settling: Callable[[int], None] = lambda settle_ms: None
        """Told when something will settle by itself, in Unix milliseconds."""

    # ── reading ──

    def _where(self, condition: str, value: str | int) -> list[Payment]:
        rows = self._store.execute(f"SELECT {_COLUMNS} FROM payments WHERE {condition} ORDER BY seq", (value,))  # noqa: S608 - fixed text
        return [Payment(**dict(zip(_NAMES, row, strict=True))) for row in rows]

    def find(self, payment_id: str) -> Payment:
        """Raises ApiError (404) for an id that is not one of ours."""
        seq = self._store.seq_of(PAYMENT_PREFIX, payment_id)
        found = [] if seq is None else self._where("seq = ?", seq)
        if not found:
            raise ApiError(404, "payment_not_found", f"no payment {payment_id[:64]}")
        return found[0]

    def of_reference(self, reference: str) -> list[Payment]:
        return self._where("reference = ?", reference)

    def shown(self, payment: Payment) -> dict[str, object]:
        """The payment as clients see it."""
        payment_id = self._store.name_of(PAYMENT_PREFIX, payment.seq)
        waits = payment.status == "requires_action"
        return {
            "object": "payment",
            "id": payment_id,
            "reference": payment.reference,
            "status": payment.status,
            "amount": payment.amount,
            "captured": payment.captured,
            "refunded": payment.refunded,
            "currency": payment.currency,
            "fee": payment.fee,
            "customer": payment.customer,
            "decline_code": payment.decline_code if payment.status == "declined" else None,
            "next_action_url": f"/v1/payments/{payment_id}/authenticate" if waits else None,
            "created_ms": payment.created_ms,
        }

    def _answered(self, payment: Payment, outcome: TokenOutcome | None = None) -> Performed:
        status = 402 if payment.status == "declined" else 200
        if outcome is None:
            return Performed(status, self.shown(payment))
        return Performed(status, self.shown(payment), outcome.disturbance, outcome.slow)

    # ── operations ──

    def create(self, body: bytes) -> Performed:
        """Charge a method, or only note the payment when `confirm` is false; then its method may come later, too."""
        settings = self._settings
        fields = Fields.of_body(body, CREATE_FIELDS, settings.text_chars_max)
        amount = fields.integer("amount", least=1, most=settings.amount_max)
        currency = fields.currency("currency")
        reference = fields.text("reference")
        customer = fields.text("customer", "")
        manual = fields.choice("capture", ("automatic", "manual"), "automatic") == "manual"
        confirm = fields.flag("confirm", default=True)
        named = confirm or fields.has("payment_method")
        method = self._method(fields.text("payment_method")) if named else _Method("", None)
        payment = Payment(
            seq=0,
            reference=reference,
            customer=customer,
            description=fields.text("description", ""),
            token=method.token,
            method_seq=method.seq,
            manual_capture=manual,
            status="requires_confirmation",
            amount=amount,
            captured=0,
            refunded=0,
            currency=currency,
            fee=0,
            decline_code=None,
            created_ms=self._store.now_ms(),
            settle_ms=None,
        )
        if not confirm:
            self._insert(payment)
            return self._answered(payment)
        outcome = self._next_outcome(payment)
        if outcome.disturbance in BEFORE_THE_CHARGE:
            return Performed(500, {}, outcome.disturbance)
        self._charge(payment, outcome)
        self._insert(payment)
        self._after_charge(payment, outcome)
        return self._answered(payment, outcome)

    def confirm(self, payment_id: str, body: bytes) -> Performed:
        """Charge a payment that was created unconfirmed."""
        fields = Fields.of_body(body, ("payment_method",), self._settings.text_chars_max)
        payment = self._find_in(payment_id, "requires_confirmation", "requires_action")
        if fields.has("payment_method"):
            method = self._method(fields.text("payment_method"))
            payment.token, payment.method_seq = method.token, method.seq
        outcome = self._next_outcome(payment)
        if outcome.disturbance in BEFORE_THE_CHARGE:
            return Performed(500, {}, outcome.disturbance)
        self._charge(payment, outcome)
        self._update(payment)
        self._after_charge(payment, outcome)
        return self._answered(payment, outcome)

    def authenticate(self, payment_id: str, body: bytes) -> Performed:
        """Play the customer at the bank: `{"passes": true}` goes on with the charge, false declines it."""
        fields = Fields.of_body(body, ("passes",), self._settings.text_chars_max)
        passes = fields.flag("passes", default=True)
        payment = self._find_in(payment_id, "requires_action")
        outcome = (
            TokenOutcome() if passes else TokenOutcome(charge=Charge.DECLINE, decline_code="authentication_failed")
        )
        self._charge(payment, outcome)
        self._update(payment)
        self._after_charge(payment, outcome)
        return self._answered(payment)

    def capture(self, payment_id: str, body: bytes) -> Performed:
        """Take authorized money, all or part of it."""
        fields = Fields.of_body(body, ("amount", "currency"), self._settings.text_chars_max)
        payment = self._find_in(payment_id, "requires_capture")
        amount = fields.integer("amount", least=1, most=self._settings.amount_max, default=payment.amount)
        if fields.has("currency") and fields.currency("currency") != payment.currency:
            raise invalid("currency", f"the payment is in {payment.currency}")
        if amount > payment.amount:
            raise ApiError(409, "capture_exceeds_authorized", f"{payment.amount} was authorized", param="amount")
        self._take(payment, amount)
        self._update(payment)
        self._after_charge(payment, TokenOutcome())
        return self._answered(payment)

    def cancel(self, payment_id: str, body: bytes) -> Performed:
        """Give up a payment that took no money. Of one already canceled: the same answer."""
        Fields.of_body(body, (), self._settings.text_chars_max)
        waiting = ("requires_confirmation", "requires_action", "requires_capture")
        payment = self._find_in(payment_id, *waiting, "canceled")
        if payment.status != "canceled":
            payment.status = "canceled"
            self._update(payment)
            self._tell(payment)
        return self._answered(payment)

    def settle(self, now_ms: int) -> None:
        """Finish the payments whose processing time is over."""
        due = self._where("settle_ms IS NOT NULL AND settle_ms <= ?", now_ms)
        for payment in due:
            failing = payment.decline_code is not None
            outcome = (
                TokenOutcome(charge=Charge.DECLINE, decline_code=payment.decline_code) if failing else TokenOutcome()
            )
            self._charge(payment, outcome)
            self._update(payment)
            self._after_charge(payment, outcome)

    def next_settling_ms(self) -> int | None:
        """When the next payment settles by itself."""
        row = self._store.execute("SELECT min(settle_ms) FROM payments WHERE settle_ms IS NOT NULL").fetchone()
        return None if row[0] is None else int(row[0])

    # ── saved methods ──

    def save_method(self, body: bytes) -> Performed:
        """Keep a token for a customer."""
        fields = Fields.of_body(body, ("token", "customer"), self._settings.text_chars_max)
        token, customer = fields.text("token"), fields.text("customer")
        if script_of(token) is None:
            raise ApiError(400, "unknown_token", "no such magic token", param="token")
        seq = self._store.insert(
            "INSERT INTO methods (token, customer, created_ms) VALUES (?, ?, ?)",
            (token, customer, self._store.now_ms()),
        )
        brand, last4 = looks_of(token)
        shown: dict[str, object] = {
            "object": "payment_method",
            "id": self._store.name_of(METHOD_PREFIX, seq),
            "customer": customer,
            "type": "bank_account" if brand in BANK_ACCOUNTS else "card",
            "brand": brand,
            "last4": last4,
            "expires_month": None if brand in BANK_ACCOUNTS else EXPIRES_MONTH,
            "expires_year": None if brand in BANK_ACCOUNTS else EXPIRES_YEAR,
        }
        return Performed(200, shown)

    def delete_method(self, method_id: str) -> Performed:
        """Forget a method; also when it was forgotten before."""
        seq = self._store.seq_of(METHOD_PREFIX, method_id)
        known = seq is not None and self._store.execute("SELECT 1 FROM methods WHERE seq = ?", (seq,)).fetchone()
        if not known:
            raise ApiError(404, "method_not_found", f"no payment method {method_id[:64]}")
        self._store.execute(
            "UPDATE methods SET deleted_ms = ? WHERE seq = ? AND deleted_ms IS NULL", (self._store.now_ms(), seq)
        )
        return Performed(200, {"object": "payment_method", "id": method_id, "deleted": True})

    # ── inside ──

    def _find_in(self, payment_id: str, *statuses: str) -> Payment:
        payment = self.find(payment_id)
        if payment.status not in statuses:
            raise ApiError(409, "wrong_state", f"the payment is {payment.status}")
        return payment

    def _method(self, name: str) -> _Method:
        if name.startswith(METHOD_PREFIX + "_"):
            seq = self._store.seq_of(METHOD_PREFIX, name)
            row = self._store.execute("SELECT token, deleted_ms FROM methods WHERE seq = ?", (seq or 0,)).fetchone()
            if row is None or row[1] is not None:
                raise ApiError(404, "method_not_found", "no such payment method", param="payment_method")
            return _Method(row[0], seq)
        if script_of(name) is None:
            raise ApiError(400, "unknown_token", "no such magic token", param="payment_method")
        return _Method(name, None)

    def _next_outcome(self, payment: Payment) -> TokenOutcome:
        script = script_of(payment.token)
        if script is None:
            raise ApiError(400, "unknown_token", "no such magic token", param="payment_method")
        if not script.counts_tries:
            return script.outcomes[0]
        if payment.method_seq is not None:
            subject = f"method:{payment.method_seq}"
        elif payment.customer:
            subject = f"customer:{payment.customer}:{payment.token}"
        else:
            subject = f"reference:{payment.reference}:{payment.token}"
        return script.outcome(self._store.count_try(subject))

    def _charge(self, payment: Payment, outcome: TokenOutcome) -> None:
        """Set what the outcome makes of the payment; nothing is written yet."""
        payment.settle_ms = None
        payment.decline_code = outcome.decline_code
        match outcome.charge:
            case Charge.SUCCEED if payment.manual_capture:
                payment.status = "requires_capture"
            case Charge.SUCCEED:
                self._take(payment, payment.amount)
            case Charge.DECLINE:
                payment.status = "declined"
            case Charge.REQUIRE_ACTION:
                payment.status = "requires_action"
            case Charge.PROCESS:
                payment.status = "processing"
                payment.settle_ms = self._store.now_ms() + self._settings.settle_ms

    def _take(self, payment: Payment, amount: int) -> None:
        settings = self._settings
        fee = (amount * settings.fee_basis_points + 5_000) // 10_000 + settings.fee_fixed
        payment.status = "succeeded"
        payment.captured = amount
        payment.fee = min(fee, amount)

    def _after_charge(self, payment: Payment, outcome: TokenOutcome) -> None:
        if payment.status == "succeeded":
            self._store.add_transaction(
                "charge",
                payment.seq,
                payment.reference,
                payment.captured,
                payment.fee,
                payment.currency,
                self._store.now_ms(),
            )
        if payment.settle_ms is not None:
            self.on_settling(payment.settle_ms)
        self._tell(payment)
        if payment.status == "succeeded" and outcome.disputed:
            self.on_disputed(payment)

    def _tell(self, payment: Payment) -> None:
        if payment.status != "requires_capture":
            self._notices.add(f"payment.{payment.status}", self.shown(payment))

    def _insert(self, payment: Payment) -> None:
        payment.seq = self._store.insert(
            "INSERT INTO payments (reference, customer, description, token, method_seq, manual_capture, status, amount,"
            " captured, refunded, currency, fee, decline_code, created_ms, settle_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                payment.reference,
                payment.customer,
                payment.description,
                payment.token,
                payment.method_seq,
                payment.manual_capture,
                payment.status,
                payment.amount,
                payment.captured,
                payment.refunded,
                payment.currency,
                payment.fee,
                payment.decline_code,
                payment.created_ms,
                payment.settle_ms,
            ),
        )

    def _update(self, payment: Payment) -> None:
        self._store.execute(
            "UPDATE payments SET token = ?, method_seq = ?, status = ?, captured = ?, fee = ?, decline_code = ?,"
            " settle_ms = ? WHERE seq = ?",
            (
                payment.token,
                payment.method_seq,
                payment.status,
                payment.captured,
                payment.fee,
                payment.decline_code,
                payment.settle_ms,
                payment.seq,
            ),
        )
