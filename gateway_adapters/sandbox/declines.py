"""What the sandbox gateway's own codes mean in the domain's."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.payments.decline import DeclineCode

DECLINE_CODES: Final[Mapping[str, DeclineCode]] = MappingProxyType(
    {
        # Answers of the issuer: what the magic tokens bring about.
        "insufficient_funds": DeclineCode.INSUFFICIENT_FUNDS,
        "limit_exceeded": DeclineCode.LIMIT_EXCEEDED,
        "do_not_honor": DeclineCode.DO_NOT_HONOR,
        "generic_decline": DeclineCode.DECLINED,
        "try_again_later": DeclineCode.TRY_AGAIN_LATER,
        "issuer_unavailable": DeclineCode.ISSUER_UNAVAILABLE,
        "expired_card": DeclineCode.EXPIRED_CARD,
        "incorrect_number": DeclineCode.INCORRECT_NUMBER,
        "incorrect_cvc": DeclineCode.INCORRECT_CVC,
        "lost_card": DeclineCode.LOST_CARD,
        "stolen_card": DeclineCode.STOLEN_CARD,
        "fraudulent": DeclineCode.FRAUD,
        "authentication_required": DeclineCode.AUTHENTICATION_REQUIRED,
        "authentication_failed": DeclineCode.AUTHENTICATION_FAILED,
        "card_not_supported": DeclineCode.CARD_NOT_SUPPORTED,
        "currency_not_supported": DeclineCode.CURRENCY_NOT_SUPPORTED,
        "account_closed": DeclineCode.ACCOUNT_CLOSED,
        "debit_not_authorized": DeclineCode.DEBIT_NOT_AUTHORIZED,
        # Answers of the gateway itself: the request cannot be done, and nothing was moved.
        "method_not_found": DeclineCode.METHOD_NOT_FOUND,
        "payment_not_found": DeclineCode.PAYMENT_NOT_FOUND,
        "wrong_state": DeclineCode.WRONG_STATE,
        "refund_exceeds_captured": DeclineCode.REFUND_EXCEEDS_CAPTURED,
        "capture_exceeds_authorized": DeclineCode.CAPTURE_EXCEEDS_AUTHORIZED,
        "invalid_request": DeclineCode.INVALID_REQUEST,
        "unknown_token": DeclineCode.INVALID_REQUEST,
    }
)
"""The sandbox gateway's codes. What a table lacks is DECLINED, and the raw code is kept beside it."""
