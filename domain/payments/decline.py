"""Why a gateway said no, in one table for all gateways: what dunning does next depends on it, never on raw codes.

`retryable` means that the same payment method may succeed later without anybody doing anything. Everything else
waits for the customer (another card, a step at the bank) or for a person.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class DeclineCode(StrEnum):
    """The normalized reasons. The values are stable: they are stored in events."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    DO_NOT_HONOR = "do_not_honor"
    TRY_AGAIN_LATER = "try_again_later"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    EXPIRED_CARD = "expired_card"
    INCORRECT_NUMBER = "incorrect_number"
    INCORRECT_CVC = "incorrect_cvc"
    LOST_CARD = "lost_card"
    STOLEN_CARD = "stolen_card"
    FRAUD = "fraud"
    AUTHENTICATION_REQUIRED = "authentication_required"
    AUTHENTICATION_FAILED = "authentication_failed"
    CARD_NOT_SUPPORTED = "card_not_supported"
    CURRENCY_NOT_SUPPORTED = "currency_not_supported"
    ACCOUNT_CLOSED = "account_closed"
    DEBIT_NOT_AUTHORIZED = "debit_not_authorized"
    METHOD_NOT_FOUND = "method_not_found"
    PAYMENT_NOT_FOUND = "payment_not_found"
    WRONG_STATE = "wrong_state"
    REFUND_EXCEEDS_CAPTURED = "refund_exceeds_captured"
    CAPTURE_EXCEEDS_AUTHORIZED = "capture_exceeds_authorized"
    INVALID_REQUEST = "invalid_request"
    CANCELED = "canceled"
    DECLINED = "declined"

    @property
    def retryable(self) -> bool:
        """Whether dunning may try the same method again."""
        return self in RETRYABLE


RETRYABLE: Final = frozenset(
    {
        DeclineCode.INSUFFICIENT_FUNDS,
        DeclineCode.LIMIT_EXCEEDED,
        DeclineCode.DO_NOT_HONOR,
        DeclineCode.TRY_AGAIN_LATER,
        DeclineCode.ISSUER_UNAVAILABLE,
        DeclineCode.DECLINED,
    }
)

NEEDS_CUSTOMER: Final = frozenset(
    {
        DeclineCode.EXPIRED_CARD,
        DeclineCode.INCORRECT_NUMBER,
        DeclineCode.INCORRECT_CVC,
        DeclineCode.LOST_CARD,
        DeclineCode.STOLEN_CARD,
        DeclineCode.FRAUD,
        DeclineCode.AUTHENTICATION_REQUIRED,
        DeclineCode.AUTHENTICATION_FAILED,
        DeclineCode.CARD_NOT_SUPPORTED,
        DeclineCode.ACCOUNT_CLOSED,
        DeclineCode.DEBIT_NOT_AUTHORIZED,
        DeclineCode.METHOD_NOT_FOUND,
    }
)


def normalized(table: Mapping[str, DeclineCode], gateway_code: str) -> DeclineCode:
    """The normalized code of a gateway's own; DECLINED for one that the table does not know."""
    return table.get(gateway_code, DeclineCode.DECLINED)
