"""Reading what the sandbox gateway sends: JSON objects become the port's results, webhooks and transactions."""

from collections.abc import Mapping
from datetime import UTC, datetime

from domain.customers.payment_method import PaymentMethodKind
from domain.kernel.currency import UnknownCurrency, currency_code
from domain.kernel.money import Money
from domain.payments.decline import normalized
from gateway_adapters.port import (
    Canceled,
    Declined,
    GatewayTransaction,
    NextAction,
    PaymentResult,
    Processing,
    RequiresAction,
    Succeeded,
    TransactionKind,
    WebhookEvent,
    WebhookKind,
)
from gateway_adapters.sandbox.declines import DECLINE_CODES

_ACTIONS = {
    "requires_confirmation": NextAction.CONFIRM,
    "requires_action": NextAction.AUTHENTICATE,
    "requires_capture": NextAction.CAPTURE,
}
_WEBHOOK_KINDS = {kind.value: kind for kind in WebhookKind}
_TRANSACTION_KINDS = {kind.value: kind for kind in TransactionKind}


class Unreadable(Exception):
    """The answer is not what the gateway promises to send."""


def json_object(value: object) -> Mapping[str, object]:
    """The value as a JSON object. Raises Unreadable, like everything here."""
    if not isinstance(value, dict):
        raise Unreadable
    return value


def json_objects(shown: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """A field that is a list of objects."""
    values = shown.get(name)
    if not isinstance(values, list):
        raise Unreadable
    return [json_object(value) for value in values]


def text(shown: Mapping[str, object], name: str) -> str:
    """A field that is a string and not empty."""
    value = shown.get(name)
    if not isinstance(value, str) or not value:
        raise Unreadable
    return value


def method_kind(shown: Mapping[str, object]) -> PaymentMethodKind:
    """What a saved method is."""
    try:
        return PaymentMethodKind(text(shown, "type"))
    except ValueError:
        raise Unreadable from None


def optional_text(shown: Mapping[str, object], name: str) -> str | None:
    """A field that is a string, or absent, null or empty."""
    return text(shown, name) if shown.get(name) else None


def integer(shown: Mapping[str, object], name: str) -> int:
    """A field that is a whole number."""
    value = shown.get(name)
    if type(value) is not int:
        raise Unreadable
    return value


def optional_integer(shown: Mapping[str, object], name: str) -> int | None:
    """A field that is a whole number, or absent or null."""
    return None if shown.get(name) is None else integer(shown, name)


def money(shown: Mapping[str, object], name: str) -> Money:
    """The amount in field `name`, in the object's currency."""
    try:
        return Money(integer(shown, name), currency_code(text(shown, "currency")))
    except UnknownCurrency:
        raise Unreadable from None


def instant(shown: Mapping[str, object], name: str) -> datetime:
    """A field of Unix milliseconds, as a time in UTC."""
    try:
        return datetime.fromtimestamp(integer(shown, name) / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        raise Unreadable from None


def milliseconds(at: datetime) -> int:
    """Unix milliseconds, rounded up: what is at or after `at` is at or after the result, and the other way round."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    whole, rest = divmod(since.microseconds, 1_000)
    return (since.days * 86_400 + since.seconds) * 1_000 + whole + (rest > 0)


def result(shown: Mapping[str, object], base_url: str) -> PaymentResult:
    """What a payment or refund says of itself. `base_url` completes the address the customer is sent to."""
    gateway_id, status = text(shown, "id"), text(shown, "status")
    match status:
        case "succeeded":
            is_refund = shown.get("object") == "refund"
            amount = money(shown, "amount" if is_refund else "captured")
            return Succeeded(gateway_id=gateway_id, amount=amount, fee=money(shown, "fee"))
        case "processing":
            return Processing(gateway_id=gateway_id)
        case "canceled":
            return Canceled(gateway_id=gateway_id)
        case "declined":
            code = text(shown, "decline_code")
            reason = normalized(DECLINE_CODES, code)
            return Declined(code=reason, gateway_code=code, gateway_id=gateway_id)
        case "requires_confirmation" | "requires_action" | "requires_capture":
            path = optional_text(shown, "next_action_url")
            url = None if path is None else base_url + path
            return RequiresAction(gateway_id=gateway_id, action=_ACTIONS[status], url=url)
        case _:
            raise Unreadable


def webhook(message: Mapping[str, object], base_url: str) -> WebhookEvent:
    """A message whose signature was checked."""
    kind = _WEBHOOK_KINDS.get(text(message, "type"), WebhookKind.UNHANDLED)
    shown = json_object(message.get("data"))
    moves = kind.value.startswith(("dispute.", "payout."))
    told = kind.value.startswith(("payment.", "refund."))
    return WebhookEvent(
        event_id=text(message, "id"),
        kind=kind,
        gateway_id=text(shown, "id"),
        reference=optional_text(shown, "reference"),
        occurred_at=instant(message, "created_ms"),
        result=result(shown, base_url) if told else None,
        amount=money(shown, "amount") if moves else None,
        fee=money(shown, "fee") if moves else None,
    )


def transaction(shown: Mapping[str, object]) -> GatewayTransaction:
    """One row of the listing."""
    kind = _TRANSACTION_KINDS.get(text(shown, "kind"))
    if kind is None:
        raise Unreadable
    return GatewayTransaction(
        transaction_id=text(shown, "id"),
        kind=kind,
        object_id=text(shown, "object"),
        reference=optional_text(shown, "reference"),
        amount=money(shown, "amount"),
        fee=money(shown, "fee"),
        occurred_at=instant(shown, "created_ms"),
    )
