"""Codes of authenticator apps (TOTP, RFC 6238): six digits that change every 30 s, each taken once.

The secret is shown once, as a QR code or text, and lies sealed in the database: a dump makes no codes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyotp

from domain.kernel.identifiers import SECOND_FACTOR
from infra.database import Pool
from infra.identity.factor_proofs import FactorProof
from infra.identity.keyring import Keyring, Use
from infra.ids import new_id

ISSUER: Final = "Tallybook"
WINDOW_STEPS: Final = 1
"""Steps of 30 s by which a phone's clock may be apart (RFC 6238 §5.2 recommends one)."""
_CODE: Final = re.compile(r"[0-9]{6}")

_OFFER: Final = """
INSERT INTO access.factor_secrets (factor_id, user_id, kind, name, sealed, use_count, made_at)
VALUES ($1, $2, 'totp', $3, $4, 0, $5)
"""
_OFFERED: Final = """
SELECT factor_id, sealed FROM access.factor_secrets s WHERE factor_id = $1 AND user_id = $2 AND kind = 'totp'
    AND NOT EXISTS (SELECT FROM access.second_factors f WHERE f.factor_id = s.factor_id)
"""
# Of many that show one code, one moves the count on: whoever read it over a shoulder comes too late.
_TAKE: Final = """
UPDATE access.factor_secrets SET use_count = $2, used_at = $3 WHERE factor_id = $1 AND use_count < $2 RETURNING true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A new secret, shown once: `secret` in base32 to be typed, `uri` (otpauth://) for the QR code."""

    factor_id: str
    secret: str
    uri: str


class AuthenticatorApps:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    async def offer(self, user_id: str, *, account: str, name: str, now: datetime) -> Offer:
        """Draw a secret. It counts once a code of it was shown, and `user.second_factor_added` is in the log.

        `account` is how the app labels it, `name` how its user tells it from others.
        """
        factor_id, secret = new_id(SECOND_FACTOR), pyotp.random_base32()
        sealed = self._keyring.seal(Use.SECOND_FACTORS, secret.encode(), user_id, factor_id)
        await self._pool.execute(_OFFER, factor_id, user_id, name, sealed, now)
        uri = pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=ISSUER)
        return Offer(factor_id=factor_id, secret=secret, uri=uri)

    async def confirm(self, user_id: str, factor_id: str, code: str, now: datetime) -> bool:
        """Whether the code is of the secret that was offered: the app has it, so it may be made a second factor."""
        offered = await self._pool.fetchrow(_OFFERED, factor_id, user_id)
        return offered is not None and await self._take(user_id, factor_id, offered["sealed"], code, now)

    async def check(self, user_id: str, proofs: Sequence[FactorProof], code: str, now: datetime) -> bool:
        """Whether it is a code of one of the user's apps that was not taken before. Count attempts before asking."""
        for each in proofs:
            if each.sealed is not None and await self._take(user_id, each.factor_id, each.sealed, code, now):
                return True
        return False

    async def _take(self, user_id: str, factor_id: str, sealed: bytes, code: str, now: datetime) -> bool:
        digits = code.replace(" ", "")
        if not _CODE.fullmatch(digits):
            return False
        secret = self._keyring.open(Use.SECOND_FACTORS, sealed, user_id, factor_id).decode()
        try:
            step = pyotp.TOTP(secret).verify_and_get_timecode(digits, for_time=now, valid_window=WINDOW_STEPS)
        except pyotp.OTPVerificationError:
            return False
        return bool(await self._pool.fetchval(_TAKE, factor_id, step, now))
