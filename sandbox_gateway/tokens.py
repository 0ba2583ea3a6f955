"""Magic tokens: which outcome a charge has is written in its payment method token.

    tok_visa, tok_mastercard, tok_amex, tok_discover, tok_sepa_debit, tok_us_bank_account, tok_succeed
    tok_decline_<code>                      declined with a code of DECLINES
    tok_requires_action                     3-D Secure: waits for POST /v1/payments/{id}/authenticate
    tok_processing, tok_processing_fails    settles after `settle_ms`: succeeds, or is declined (account_closed)
    tok_slow                                succeeds after `slow_ms`
    tok_timeout_before_charge               no answer, nothing charged
    tok_timeout_after_charge                charged, no answer
    tok_error_before_charge                 500, nothing charged, and the 500 is stored for the key
    tok_error_after_charge                  charged, then 500, and the 500 is stored for the key
    tok_disputed                            succeeds and is disputed at once
    tok_refund_fails, tok_refund_processing succeeds; its refunds are declined, or settle after `settle_ms`
    tok_refund_fails_2x_then_succeed        its first two refunds are declined, the next succeeds

Outcomes can follow one another, each a number of times, the last one for ever:

    tok_decline_insufficient_funds_then_succeed          declines once, then succeeds
    tok_decline_insufficient_funds_3x_then_visa          declines three times
    tok_visa_then_decline_expired_card_2x_then_visa      the first charge succeeds, two decline, the rest succeed

What is counted are the tries of one saved method; for a bare token those of one customer, or of one reference where
the request names no customer. A replay of a stored answer is not a try.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

DECLINES: Final = frozenset(
    {
        "insufficient_funds",
        "limit_exceeded",
        "do_not_honor",
        "generic_decline",
        "try_again_later",
        "issuer_unavailable",
        "expired_card",
        "incorrect_number",
        "incorrect_cvc",
        "lost_card",
        "stolen_card",
        "fraudulent",
        "authentication_required",
        "authentication_failed",
        "card_not_supported",
        "currency_not_supported",
        "account_closed",
        "debit_not_authorized",
    }
)

BRANDS: Final = {
    "visa": ("visa", "4242"),
    "mastercard": ("mastercard", "4444"),
    "amex": ("amex", "0005"),
    "discover": ("discover", "1117"),
    "sepa_debit": ("sepa_debit", "3000"),
    "us_bank_account": ("us_bank_account", "6789"),
}

BANK_ACCOUNTS: Final = frozenset({"sepa_debit", "us_bank_account"})
EXPIRES_MONTH: Final = 12
EXPIRES_YEAR: Final = 2034

TOKEN_PARTS_MAX: Final = 10
_REPEATED = re.compile(r"(.+)_([1-9][0-9]{0,2})x")


class Charge(Enum):
    """What happens to the money."""

    SUCCEED = "succeed"
    DECLINE = "decline"
    REQUIRE_ACTION = "require_action"
    PROCESS = "process"


class Disturbance(Enum):
    """What happens to the answer."""

    TIMEOUT_BEFORE = "timeout_before_charge"
    TIMEOUT_AFTER = "timeout_after_charge"
    ERROR_BEFORE = "error_before_charge"
    ERROR_AFTER = "error_after_charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutcome:
    """One step of a token. `decline_code` is set for DECLINE, and for a PROCESS that fails in the end."""

    charge: Charge = Charge.SUCCEED
    decline_code: str | None = None
    disturbance: Disturbance | None = None
    slow: bool = False
    disputed: bool = False
    refund_decline_code: str | None = None
    refund_processing: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """The outcomes of one token in order; `repeats[i]` is how often `outcomes[i]` comes, the last one for ever."""

    outcomes: tuple[TokenOutcome, ...]
    repeats: tuple[int, ...]

    def outcome(self, tries_before: int) -> TokenOutcome:
        """The outcome of the try that follows `tries_before` others."""
        for outcome, times in zip(self.outcomes, self.repeats, strict=True):
            if tries_before < times:
                return outcome
            tries_before -= times
        return self.outcomes[-1]

    @property
    def counts_tries(self) -> bool:
        return len(self.outcomes) > 1


SINGLE_OUTCOMES: Final = {
    "succeed": TokenOutcome(),
    **{brand: TokenOutcome() for brand in BRANDS},
    **{f"decline_{code}": TokenOutcome(charge=Charge.DECLINE, decline_code=code) for code in sorted(DECLINES)},
    "requires_action": TokenOutcome(charge=Charge.REQUIRE_ACTION),
    "processing": TokenOutcome(charge=Charge.PROCESS),
    "processing_fails": TokenOutcome(charge=Charge.PROCESS, decline_code="account_closed"),
    "slow": TokenOutcome(slow=True),
    **{disturbance.value: TokenOutcome(disturbance=disturbance) for disturbance in Disturbance},
    "disputed": TokenOutcome(disputed=True),
    "refund_fails": TokenOutcome(refund_decline_code="account_closed"),
    "refund_processing": TokenOutcome(refund_processing=True),
}
"""What stands behind `tok_`, by itself or as a part of a chain. docs/guides/sandbox.md is written from it."""


@lru_cache(maxsize=1_024)
def script_of(token: str) -> Script | None:
    """The script that a token spells, or None for a token that the gateway does not know."""
    if not token.startswith("tok_"):
        return None
    parts = token.removeprefix("tok_").split("_then_")
    if len(parts) > TOKEN_PARTS_MAX:
        return None
    outcomes: list[TokenOutcome] = []
    repeats: list[int] = []
    for part in parts:
        repeated = _REPEATED.fullmatch(part)
        name, times = (repeated[1], int(repeated[2])) if repeated else (part, 1)
        outcome = SINGLE_OUTCOMES.get(name)
        if outcome is None:
            return None
        outcomes.append(outcome)
        repeats.append(times)
    return Script(tuple(outcomes), tuple(repeats))


def looks_of(token: str) -> tuple[str, str]:
    """Brand and last four digits to show for a saved method."""
    return next(
        (looks for brand, looks in BRANDS.items() if token.startswith(f"tok_{brand}")),
        ("visa", "4242"),
    )
