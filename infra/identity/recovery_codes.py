"""Recovery codes: a list on paper for whoever has lost their device. Each is taken once."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.identity.second_factors import RECOVERY_CODES
from infra.database import Pool
from infra.identity.keyring import Keyring, Use
from infra.identity.secret_tokens import base32

_HALF_CHARS: Final = 5
_CODE_BYTES: Final = 7
_CODE: Final = re.compile(rf"[a-z2-7]{{{2 * _HALF_CHARS}}}")
_TAKE: Final = """
UPDATE access.recovery_codes SET used_at = $3 WHERE user_id = $1 AND digest = $2 AND used_at IS NULL RETURNING true
"""
_ARE_KEPT: Final = """
SELECT bool_and(position(digest IN $2) > 0) FROM access.recovery_codes WHERE user_id = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A list (`xxxxx-xxxxx`, 50 bits each), and what is kept of it: a keyed digest of each, one after another."""

    codes: Sequence[str]
    digests: bytes


class RecoveryCodes:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    def draw(self, user_id: str) -> Drawn:
        """Ten codes that are good for nothing until they are kept: beside the command that adds the first factor."""
        drawn = [base32(secrets.token_bytes(_CODE_BYTES))[: 2 * _HALF_CHARS] for _ in range(RECOVERY_CODES)]
        return Drawn(
            codes=[f"{code[:_HALF_CHARS]}-{code[_HALF_CHARS:]}" for code in drawn],
            digests=b"".join(self._digest(user_id, code) for code in drawn),
        )

    async def are_kept(self, user_id: str, drawn: Drawn) -> bool:
        """Whether these are the user's, and no others: only then are they worth showing."""
        return bool(await self._pool.fetchval(_ARE_KEPT, user_id, drawn.digests))

    async def replace(self, user_id: str) -> Sequence[str] | None:
        """Ten new codes, shown once; those before are good no more. None of whoever has no second factor."""
        drawn = self.draw(user_id)
        query = "SELECT access.replace_recovery_codes($1, $2)"
        return drawn.codes if await self._pool.fetchval(query, user_id, drawn.digests) else None

    async def take(self, user_id: str, code: str, now: datetime) -> bool:
        """Whether it is one of the user's that was not used before. Count attempts before asking."""
        plain = code.strip().lower().replace("-", "").replace(" ", "")
        if not _CODE.fullmatch(plain):
            return False
        return bool(await self._pool.fetchval(_TAKE, user_id, self._digest(user_id, plain), now))

    async def left(self, user_id: str) -> int:
        """How many are not used yet."""
        query = "SELECT count(*) FROM access.recovery_codes WHERE user_id = $1 AND used_at IS NULL"
        found: int = await self._pool.fetchval(query, user_id)
        return found

    def _digest(self, user_id: str, code: str) -> bytes:
        return self._keyring.mac(Use.SECOND_FACTORS, "recovery code", user_id, code)
