"""The port to a payment gateway: what may be asked, and the closed set of answers.

The rule behind it: a call has one of three outcomes, it took effect, it definitely did not, or nobody knows. The
methods return values for all of them and raise for none, so no caller can forget the third. What is unknown is
resolved with `look_up`, or by the same call with the same key inside `GatewayPromises.key_window`; never by a call
under another key.

`reference` is our own name for one operation (a payment attempt, a refund) and unique to it: it is what `look_up`
and reconciliation go by, so a payment that is tried again under a new key needs a new reference too.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from domain.customers.payment_method import PaymentMethodKind
from domain.kernel.money import Money
from domain.payments.decline import DeclineCode


class Capture(StrEnum):
    """When the money is taken: with the confirmation, or later by `capture`."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """Charge a method. With `confirm=False` nothing is charged until `confirm`: the id can be logged first."""

    reference: str
    amount: Money
    payment_method_token: str
    idempotency_key: str
    description: str = ""
    customer_reference: str = ""
    confirm: bool = True
    capture: Capture = Capture.AUTOMATIC


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRequest:
    """Charge a payment that was created unconfirmed, with another method if one is named."""

    reference: str
    gateway_payment_id: str
    idempotency_key: str
    payment_method_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """Take authorized money: all of it, or the smaller `amount`; the rest is released."""

    reference: str
    gateway_payment_id: str
    idempotency_key: str
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationRequest:
    """Give up a payment that has not taken money."""

    reference: str
    gateway_payment_id: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRequest:
    """Let no call of `create_payment` under this key charge any more, wherever it may be."""

    reference: str
    amount: Money
    idempotency_key: str
    customer_reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Return `amount` of a captured payment; all refunds together never exceed what was captured."""

    reference: str
    gateway_payment_id: str
    amount: Money
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveMethodRequest:
    """Keep a method with the gateway for later charges of one customer."""

    token: str
    customer_reference: str
    idempotency_key: str


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


class NextAction(StrEnum):
    """What a payment waits for: the customer at the bank (3-D Secure), or our own `confirm` or `capture`."""

    AUTHENTICATE = "authenticate"
    CONFIRM = "confirm"
    CAPTURE = "capture"


class UnknownWhy(StrEnum):
    """Why nobody knows the outcome."""

    TIMED_OUT = "timed_out"
    CONNECTION_LOST = "connection_lost"
    UNREACHABLE = "unreachable"
    """No connection could be made: this call did nothing, but an earlier one under the key may have."""
    GATEWAY_ERROR = "gateway_error"
    STORED_ERROR = "stored_error"
    """The gateway replays an error it stored for the key, and its look-up names no outcome: repeating is useless."""
    KEY_REUSED = "key_reused"
    """The key belongs to another body: a defect on our side, and something may have been charged under it."""
    UNREADABLE_ANSWER = "unreadable_answer"


class RetryWhy(StrEnum):
    """Why the call was not carried out this time."""

    RATE_LIMITED = "rate_limited"
    KEY_IN_FLIGHT = "key_in_flight"
    NOT_AUTHORIZED = "not_authorized"
    """The gateway refuses our credentials: a matter for an operator, not a decline of anybody's card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """It took effect: money captured (or returned, for a refund). `fee` is what the gateway keeps of it."""

    gateway_id: str
    amount: Money
    fee: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiresAction:
    """Nothing is captured yet; it waits for `action`. `url` is where the customer goes, for AUTHENTICATE."""

    gateway_id: str
    action: NextAction
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """Accepted and under way (bank debits): a webhook or `look_up` brings the outcome."""

    gateway_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Definitely not done, nothing moved. `gateway_code` is the gateway's own word, for people who ask it."""

    code: DeclineCode
    gateway_code: str
    gateway_id: str | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same method may be tried again later (under a new key)."""
        return self.code.retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled:
    """Given up before any money was taken; it can never succeed any more."""

    gateway_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """It may have taken effect or not. Ask with `look_up`; never charge under another key meanwhile."""

    why: UnknownWhy


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """This call was not carried out: the same call with the same key may be made after `after_ms` milliseconds."""

    after_ms: int
    why: RetryWhy


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """The gateway has nothing under that reference now. A call still on its way may yet arrive."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSaved:
    """`gateway_method_id` is what to charge from now on, and `kind` what it is; the rest is for showing. Bank accounts
    do not expire.
    """

    gateway_method_id: str
    kind: PaymentMethodKind
    brand: str
    last4: str
    expires_month: int | None = None
    expires_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDeleted:
    """The gateway no longer charges that method; also the answer when it was gone already."""

    gateway_method_id: str


PaymentResult = Succeeded | RequiresAction | Processing | Declined | Canceled | OutcomeUnknown | RetryLater
RefundResult = Succeeded | Processing | Declined | OutcomeUnknown | RetryLater
LookUpResult = PaymentResult | NotFound
SaveMethodResult = MethodSaved | Declined | OutcomeUnknown | RetryLater
DeleteMethodResult = MethodDeleted | OutcomeUnknown | RetryLater


# ── webhooks ────────────────────────────────────────────────────────────────────────────────────────────────────


class WebhookKind(StrEnum):
    """What a gateway tells us. Order is never assumed: the outcome is looked up, or taken as one more answer."""

    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_DECLINED = "payment.declined"
    PAYMENT_REQUIRES_ACTION = "payment.requires_action"
    PAYMENT_PROCESSING = "payment.processing"
    PAYMENT_CANCELED = "payment.canceled"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_DECLINED = "refund.declined"
    DISPUTE_OPENED = "dispute.opened"
    DISPUTE_UPDATED = "dispute.updated"
    DISPUTE_WON = "dispute.won"
    DISPUTE_LOST = "dispute.lost"
    PAYOUT_PAID = "payout.paid"
    UNHANDLED = "unhandled"
    """A kind that this version does not know: stored and shown, without effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """A message whose signature holds. `event_id` is the gateway's and the same in every delivery: dedupe by it.

    `reference` is ours, of the payment or refund; for a dispute that of the payment; None for a payout.
    `result` is what the message says about the payment or refund, as the call itself would have answered.
    `amount` is what a dispute or payout moves, `fee` its fee; both None for payments and refunds.
    """

    event_id: str
    kind: WebhookKind
    gateway_id: str
    reference: str | None
    occurred_at: datetime
    result: PaymentResult | RefundResult | None = None
    amount: Money | None = None
    fee: Money | None = None


class WebhookRejectedWhy(StrEnum):
    """What is wrong with an inbound message."""

    MISSING_HEADER = "missing_header"
    BAD_SIGNATURE = "bad_signature"
    TOO_OLD = "too_old"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRejected:
    """Not from the gateway, or not fit to read: answer 400 and do nothing."""

    why: WebhookRejectedWhy


# ── reconciliation ──────────────────────────────────────────────────────────────────────────────────────────────


class TransactionKind(StrEnum):
    """What moved money at the gateway."""

    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"
    DISPUTE_REVERSAL = "dispute_reversal"
    PAYOUT = "payout"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTransaction:
    """One movement of the balance we hold with the gateway: `amount` is signed (charges are positive), and `fee`
    (never negative) is taken off as well. `reference` is ours; None for a payout. `object_id` names the gateway's
    payment, refund, dispute or payout."""

    transaction_id: str
    kind: TransactionKind
    object_id: str
    reference: str | None
    amount: Money
    fee: Money
    occurred_at: datetime


class GatewayUnavailable(Exception):
    """A listing could not be read to its end. A part of it would look like missing transactions, so it is no answer."""


class GatewaySilent(Exception):
    """The gateway does not answer, or says that it cannot work; the message says what was seen."""


# ── the port ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPromises:
    """What the gateway says about its keys. A key is never used again once `key_window` has passed since its first
    use; after that only `look_up` resolves an unknown outcome."""

    key_window: timedelta
    key_chars_max: int


class Gateway(Protocol):
    """One payment gateway. No method raises for an outcome; `list_transactions` raises GatewayUnavailable."""

    @property
    def name(self) -> str:
        """Short and stable ("sandbox", "stripe"): stored in events and part of webhook addresses."""
        ...

    @property
    def promises(self) -> GatewayPromises: ...

    async def create_payment(self, request: PaymentRequest) -> PaymentResult: ...

    async def confirm(self, request: ConfirmationRequest) -> PaymentResult: ...

    async def capture(self, request: CaptureRequest) -> PaymentResult: ...

    async def cancel(self, request: CancellationRequest) -> PaymentResult: ...

    async def withdraw(self, request: WithdrawalRequest) -> PaymentResult:
        """Take the key of a payment that `look_up` does not find, for as long as the gateway keeps keys from now on.

        Canceled: nothing was charged under the key, and nothing will be. RequiresAction: the same, where what took the
        key is to be cancelled yet. A call that came before says what became of it.
        """
        ...

    async def refund(self, request: RefundRequest) -> RefundResult: ...

    async def look_up(self, reference: str) -> LookUpResult:
        """What became of the payment or refund of that reference. Where several exist, one that took money wins."""
        ...

    async def save_payment_method(self, request: SaveMethodRequest) -> SaveMethodResult: ...

    async def delete_payment_method(self, gateway_method_id: str) -> DeleteMethodResult: ...

    async def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookEvent | WebhookRejected:
        """Check the signature over the raw body and read the message."""
        ...

    def list_transactions(self, start: datetime, end: datetime) -> AsyncIterator[GatewayTransaction]:
        """Every movement in [start, end) by the gateway's clock, oldest first."""
        ...

    async def check(self) -> None:
        """Return if the gateway answers; asks for nothing that counts. Raises GatewaySilent."""
        ...

    async def close(self) -> None:
        """Let go of connections. Calls under way end as OutcomeUnknown."""
        ...
