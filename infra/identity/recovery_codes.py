"""Recovery codes: a list on paper for whoever has lost their device. Each is taken once."""

import re
import secrets
from collections.abc import Sequence
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


class RecoveryCodes:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    async def make(self, user_id: str) -> Sequence[str]:
        """Ten new codes (`xxxxx-xxxxx`, 50 bits each), shown once; those before are good no more."""
        drawn = [base32(secrets.token_bytes(_CODE_BYTES))[: 2 * _HALF_CHARS] for _ in range(RECOVERY_CODES)]
        digests = [self._digest(user_id, code) for code in drawn]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM access.recovery_codes WHERE user_id = $1", user_id)
            await connection.execute(
                "INSERT INTO access.recovery_codes (user_id, digest) SELECT $1, unnest($2::bytea[])", user_id, digests
            )
        return [f"{code[:_HALF_CHARS]}-{code[_HALF_CHARS:]}" for code in drawn]

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
