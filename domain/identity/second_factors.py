"""Second factors: what a user shows besides a password, so that a stolen password alone signs nobody in.

That a user has one is a fact, and takes effect with its event: from then on a password is not enough. What proves it
(an authenticator app's secret, a passkey's public key) lies in the schema `access`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domain.kernel.refusal import Refusal, RefusalKind

FACTORS_MAX: Final = 10
"""Of one user: each is tried at a log-in."""
RECOVERY_CODES: Final = 10


class FactorKind(StrEnum):
    """How it is shown."""

    TOTP = "totp"
    """A code of six digits from an authenticator app (RFC 6238)."""
    PASSKEY = "passkey"
    """A signature by a device of theirs (WebAuthn)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    factor_id: str
    kind: FactorKind


class SecondFactorNotFound(Refusal):
    """The user has no such second factor."""

    code = "second_factor_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "second_factor"


class SecondFactorAlreadyExists(Refusal):
    """The user has this second factor already; recovery codes that were not seen are made anew."""

    code = "second_factor_already_exists"


class TooManySecondFactors(Refusal):
    """A user has up to 10 second factors: remove one first."""

    code = "too_many_second_factors"
