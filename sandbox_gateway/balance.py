"""Disputes, payouts and totals: what happens to the money after the charge."""

from dataclasses import dataclass

from sandbox_gateway.fields import ApiError, Fields
from sandbox_gateway.notices import Notices
from sandbox_gateway.payments import PAYMENT_PREFIX, Payment, Payments, Performed
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.store import Row, Store

DISPUTE_PREFIX = "dp"
PAYOUT_PREFIX = "po"
TRANSACTION_PREFIX = "txn"
OPEN = ("needs_response", "under_review")
_OBJECT_PREFIXES = {
    "charge": PAYMENT_PREFIX,
    "refund": "rf",
    "dispute": DISPUTE_PREFIX,
    "dispute_reversal": DISPUTE_PREFIX,
    "payout": PAYOUT_PREFIX,
}

_COLUMNS = "seq, payment_seq, reference, status, reason, amount, currency, fee, evidence, evidence_due_ms, created_ms"
_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))


@dataclass(slots=True, kw_only=True)
class Dispute:
    """One row of `disputes`: opened (money withdrawn, fee taken), evidence sent, won (money returned) or lost."""

    seq: int
    payment_seq: int
    reference: str
    status: str
    reason: str
    amount: int
    currency: str
    fee: int
    evidence: str
    evidence_due_ms: int
    created_ms: int


class Balance:
    """The operations. Each runs inside the batch that is open on the store."""

    def __init__(self, store: Store, settings: SandboxServerSettings, notices: Notices, payments: Payments) -> None:
        self._store = store
        self._settings = settings
        self._notices = notices
        self._payments = payments
        payments.on_disputed = self._open_at_once

    # ── disputes ──

    def open_dispute(self, body: bytes) -> Performed:
        """Play the customer's bank: `{"payment": …, "amount": …, "reason": …, "lost": true}` (lost: at once)."""
        fields = Fields.of_body(body, ("payment", "amount", "reason", "lost"), self._settings.text_chars_max)
        payment = self._payments.find(fields.text("payment"))
        amount = fields.integer("amount", least=1, most=self._settings.amount_max, default=max(1, payment.captured))
        (disputed,) = self._store.execute(
            "SELECT coalesce(sum(amount), 0) FROM disputes WHERE payment_seq = ? AND status <> 'won'", (payment.seq,)
        ).fetchone()
        if amount > payment.captured - disputed:
            raise ApiError(409, "wrong_state", f"{payment.captured - disputed} can be disputed", param="amount")
        status = "lost" if fields.flag("lost", default=False) else "needs_response"
        return self._open(payment, amount, fields.text("reason", "fraudulent"), status)

    def _open_at_once(self, payment: Payment) -> None:
        self._open(payment, payment.captured, "fraudulent", "needs_response")

    def _open(self, payment: Payment, amount: int, reason: str, status: str) -> Performed:
        now_ms = self._store.now_ms()
        dispute = Dispute(
            seq=0,
            payment_seq=payment.seq,
            reference=payment.reference,
            status=status,
            reason=reason,
            amount=amount,
            currency=payment.currency,
            fee=self._settings.dispute_fee,
            evidence="",
            evidence_due_ms=now_ms + self._settings.dispute_evidence_due_ms,
            created_ms=now_ms,
        )
        dispute.seq = self._store.insert(
            "INSERT INTO disputes (payment_seq, reference, status, reason, amount, currency, fee, evidence_due_ms,"
            " created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                dispute.payment_seq,
                dispute.reference,
                status,
                reason,
                amount,
                dispute.currency,
                dispute.fee,
                dispute.evidence_due_ms,
                now_ms,
            ),
        )
        self._move("dispute", dispute, -amount, dispute.fee)
        self._notices.add("dispute.lost" if status == "lost" else "dispute.opened", self.shown(dispute))
        return Performed(200, self.shown(dispute))

    def send_evidence(self, dispute_id: str, body: bytes) -> Performed:
        """The merchant's side: `{"evidence": text}` puts the dispute under review."""
        fields = Fields.of_body(body, ("evidence",), self._settings.text_chars_max)
        dispute = self._find_open(dispute_id)
        dispute.evidence, dispute.status = fields.text("evidence"), "under_review"
        return self._changed(dispute, "dispute.updated")

    def close_dispute(self, dispute_id: str, body: bytes) -> Performed:
        """Play the customer's bank: `{"outcome": "won"}` returns the money (not the fee), "lost" keeps it."""
        fields = Fields.of_body(body, ("outcome",), self._settings.text_chars_max)
        outcome = fields.choice("outcome", ("won", "lost"))
        dispute = self._find_open(dispute_id)
        dispute.status = outcome
        if outcome == "won":
            self._move("dispute_reversal", dispute, dispute.amount, 0)
        return self._changed(dispute, f"dispute.{outcome}")

    def find_dispute(self, dispute_id: str) -> Dispute:
        """Raises ApiError (404) for an id that is not one of ours."""
        seq = self._store.seq_of(DISPUTE_PREFIX, dispute_id)
        row = self._store.execute(f"SELECT {_COLUMNS} FROM disputes WHERE seq = ?", (seq or 0,)).fetchone()  # noqa: S608 - fixed text
        if row is None:
            raise ApiError(404, "dispute_not_found", f"no dispute {dispute_id[:64]}")
        return Dispute(**dict(zip(_NAMES, row, strict=True)))

    def _find_open(self, dispute_id: str) -> Dispute:
        dispute = self.find_dispute(dispute_id)
        if dispute.status not in OPEN:
            raise ApiError(409, "wrong_state", f"the dispute is {dispute.status}")
        return dispute

    def _changed(self, dispute: Dispute, kind: str) -> Performed:
        self._store.execute(
            "UPDATE disputes SET status = ?, evidence = ? WHERE seq = ?",
            (dispute.status, dispute.evidence, dispute.seq),
        )
        self._notices.add(kind, self.shown(dispute))
        return Performed(200, self.shown(dispute))

    def _move(self, kind: str, dispute: Dispute, amount: int, fee: int) -> None:
        self._store.add_transaction(
            kind, dispute.seq, dispute.reference, amount, fee, dispute.currency, self._store.now_ms()
        )

    def shown(self, dispute: Dispute) -> dict[str, object]:
        """The dispute as clients see it."""
        return {
            "object": "dispute",
            "id": self._store.name_of(DISPUTE_PREFIX, dispute.seq),
            "payment": self._store.name_of(PAYMENT_PREFIX, dispute.payment_seq),
            "reference": dispute.reference,
            "status": dispute.status,
            "reason": dispute.reason,
            "amount": dispute.amount,
            "currency": dispute.currency,
            "fee": dispute.fee,
            "evidence_due_ms": dispute.evidence_due_ms,
            "created_ms": dispute.created_ms,
        }

    # ── payouts ──

    def pay_out(self, body: bytes) -> Performed:
        """Send the balance of a currency to the merchant's bank: all movements since the payout before."""
        currency = Fields.of_body(body, ("currency",), self._settings.text_chars_max).currency("currency")
        store = self._store
        (after,) = store.execute(
            "SELECT coalesce(max(through_transaction), 0) FROM payouts WHERE currency = ?", (currency,)
        ).fetchone()
        gross, fees, count, through = store.execute(
            "SELECT coalesce(sum(amount), 0), coalesce(sum(fee), 0), count(*), coalesce(max(seq), 0) FROM transactions"
            " WHERE seq > ? AND currency = ? AND kind <> 'payout'",
            (after, currency),
        ).fetchone()
        amount = gross - fees
        if amount <= 0:
            raise ApiError(409, "wrong_state", f"the balance of {currency} is {amount}")
        now_ms = store.now_ms()
        seq = store.insert(
            "INSERT INTO payouts (currency, amount, gross, fees, transactions, after_transaction, through_transaction,"
            " created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (currency, amount, gross, fees, count, after, through, now_ms),
        )
        store.add_transaction("payout", seq, None, -amount, 0, currency, now_ms)
        shown: dict[str, object] = {
            "object": "payout",
            "id": store.name_of(PAYOUT_PREFIX, seq),
            "currency": currency,
            "amount": amount,
            "gross": gross,
            "fee": fees,
            "transactions": count,
            "created_ms": now_ms,
        }
        self._notices.add("payout.paid", shown)
        return Performed(200, shown)

    # ── the record ──

    def transactions(self, query: str) -> dict[str, object]:
        """A page of movements: `from_ms`, `to_ms` (half-open), `after` (a `next_after`), `limit`."""
        settings = self._settings
        most = 2**62
        fields = Fields.of_query(query, (), ("from_ms", "to_ms", "after", "limit"), settings.text_chars_max)
        rows_max = fields.integer("limit", least=1, most=settings.page_rows_max, default=settings.page_rows)
        rows = list(
            self._store.transactions(
                fields.integer("from_ms", least=0, most=most, default=0),
                fields.integer("to_ms", least=0, most=most, default=most),
                fields.integer("after", least=0, most=most, default=0),
                rows_max + 1,
            )
        )
        page = rows[:rows_max]
        return {
            "data": [self._movement(row) for row in page],
            "next_after": page[-1][0] if len(rows) > rows_max else None,
        }

    def _movement(self, row: Row) -> dict[str, object]:
        seq, kind, object_seq, reference, amount, fee, currency, created_ms = row
        return {
            "id": self._store.name_of(TRANSACTION_PREFIX, int(seq or 0)),
            "kind": kind,
            "object": self._store.name_of(_OBJECT_PREFIXES[str(kind)], int(object_seq or 0)),
            "reference": reference,
            "amount": amount,
            "fee": fee,
            "currency": currency,
            "created_ms": created_ms,
        }

    def totals(self) -> dict[str, object]:
        """Count and money by currency and kind, payments and refunds by status: the sums of the whole record."""
        store = self._store
        movements = store.execute(
            "SELECT currency, kind, count(*), sum(amount), sum(fee) FROM transactions GROUP BY 1, 2 ORDER BY 1, 2"
        )
        currencies: dict[str, dict[str, object]] = {}
        for currency, kind, count, amount, fee in movements:
            currencies.setdefault(currency, {})[kind] = {"count": count, "amount": amount, "fee": fee}
        return {
            "currencies": currencies,
            "payments": dict(store.execute("SELECT status, count(*) FROM payments GROUP BY 1 ORDER BY 1")),
            "refunds": dict(store.execute("SELECT status, count(*) FROM refunds GROUP BY 1 ORDER BY 1")),
            "disputes": dict(store.execute("SELECT status, count(*) FROM disputes GROUP BY 1 ORDER BY 1")),
            "deliveries_owed": store.execute("SELECT count(*) FROM deliveries").fetchone()[0],
        }
