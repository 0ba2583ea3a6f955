"""Refunds at the sandbox gateway: all refunds of a payment together never exceed what it captured."""

from dataclasses import dataclass

from sandbox_gateway.fields import ApiError, Fields, invalid
from sandbox_gateway.notices import Notices
from sandbox_gateway.payments import Payments, Performed
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.store import Store
from sandbox_gateway.tokens import script_of

REFUND_PREFIX = "rf"

_COLUMNS = "seq, reference, payment_seq, status, amount, currency, decline_code, created_ms, settle_ms"
_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))


@dataclass(slots=True, kw_only=True)
class Refund:
    """One row of `refunds`. A refund that is processing already counts against what is left of the payment."""

    seq: int
    reference: str
    payment_seq: int
    status: str
    amount: int
    currency: str
    decline_code: str | None
    created_ms: int
    settle_ms: int | None


class Refunds:
    """The operations. Each runs inside the batch that is open on the store."""

    def __init__(self, store: Store, settings: SandboxServerSettings, notices: Notices, payments: Payments) -> None:
        self._store = store
        self._settings = settings
        self._notices = notices
        self._payments = payments

    def _where(self, condition: str, value: str | int) -> list[Refund]:
        rows = self._store.execute(f"SELECT {_COLUMNS} FROM refunds WHERE {condition} ORDER BY seq", (value,))  # noqa: S608 - fixed text
        return [Refund(**dict(zip(_NAMES, row, strict=True))) for row in rows]

    def find(self, refund_id: str) -> Refund:
        """Raises ApiError (404) for an id that is not one of ours."""
        seq = self._store.seq_of(REFUND_PREFIX, refund_id)
        found = [] if seq is None else self._where("seq = ?", seq)
        if not found:
            raise ApiError(404, "refund_not_found", f"no refund {refund_id[:64]}")
        return found[0]

    def of_reference(self, reference: str) -> list[Refund]:
        return self._where("reference = ?", reference)

    def shown(self, refund: Refund) -> dict[str, object]:
        """The refund as clients see it. Refunds cost no fee; the charge's fee is not returned."""
        return {
            "object": "refund",
            "id": self._store.name_of(REFUND_PREFIX, refund.seq),
            "reference": refund.reference,
            "payment": self._store.name_of("py", refund.payment_seq),
            "status": refund.status,
            "amount": refund.amount,
            "currency": refund.currency,
            "fee": 0,
            "decline_code": refund.decline_code,
            "created_ms": refund.created_ms,
        }

    def create(self, body: bytes) -> Performed:
        """Return part or all of what a payment captured."""
        fields = Fields.of_body(body, ("reference", "payment", "amount", "currency"), self._settings.text_chars_max)
        reference = fields.text("reference")
        amount = fields.integer("amount", least=1, most=self._settings.amount_max)
        currency = fields.currency("currency")
        payment = self._payments.find(fields.text("payment"))
        if currency != payment.currency:
            raise invalid("currency", f"the payment is in {payment.currency}")
        if payment.status != "succeeded":
            raise ApiError(409, "wrong_state", f"the payment is {payment.status}")
        left = payment.captured - payment.refunded
        if amount > left:
            raise ApiError(409, "refund_exceeds_captured", f"{left} is left to refund", param="amount")
        script = script_of(payment.token)
        outcome = None if script is None else script.outcome(self._declined_of(payment.seq))
        now_ms = self._store.now_ms()
        refund = Refund(
            seq=0,
            reference=reference,
            payment_seq=payment.seq,
            status="succeeded",
            amount=amount,
            currency=currency,
            decline_code=None,
            created_ms=now_ms,
            settle_ms=None,
        )
        if outcome is not None and outcome.refund_decline_code is not None:
            refund.status, refund.decline_code = "declined", outcome.refund_decline_code
        elif outcome is not None and outcome.refund_processing:
            refund.status, refund.settle_ms = "processing", now_ms + self._settings.settle_ms
        refund.seq = self._store.insert(
            "INSERT INTO refunds (reference, payment_seq, status, amount, currency, decline_code, created_ms,"
            " settle_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                reference,
                payment.seq,
                refund.status,
                amount,
                currency,
                refund.decline_code,
                now_ms,
                refund.settle_ms,
            ),
        )
        if refund.status != "declined":
            self._store.execute("UPDATE payments SET refunded = refunded + ? WHERE seq = ?", (amount, payment.seq))
        self._written(refund)
        return Performed(402 if refund.status == "declined" else 200, self.shown(refund))

    def _declined_of(self, payment_seq: int) -> int:
        return sum(refund.status == "declined" for refund in self._where("payment_seq = ?", payment_seq))

    def settle(self, now_ms: int) -> None:
        """Finish the refunds whose processing time is over."""
        for refund in self._where("settle_ms IS NOT NULL AND settle_ms <= ?", now_ms):
            refund.status, refund.settle_ms = "succeeded", None
            self._store.execute(
                "UPDATE refunds SET status = 'succeeded', settle_ms = NULL WHERE seq = ?", (refund.seq,)
            )
            self._written(refund)

    def next_settling_ms(self) -> int | None:
        """When the next refund settles by itself."""
        row = self._store.execute("SELECT min(settle_ms) FROM refunds WHERE settle_ms IS NOT NULL").fetchone()
        return None if row[0] is None else int(row[0])

    def _written(self, refund: Refund) -> None:
        if refund.status == "succeeded":
            self._store.add_transaction(
                "refund", refund.seq, refund.reference, -refund.amount, 0, refund.currency, self._store.now_ms()
            )
        if refund.settle_ms is not None:
            self._payments.on_settling(refund.settle_ms)
        self._notices.add(f"refund.{refund.status}", self.shown(refund))
