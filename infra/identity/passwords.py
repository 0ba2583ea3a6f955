"""Users' passwords, compared in one way for users that are there and users that are not.

The hash of a new one goes with the command that says that it changed, and is written in that event's commit; only a
hash of the same password under newer parameters is written here.
"""

from typing import Final

from domain.identity.passwords import InvalidPassword, prepared
from infra.database import Pool
from infra.identity.password_hashing import PasswordHashing

_HASH: Final = "SELECT hash FROM access.passwords WHERE user_id = $1"
# Whoever changed the password meanwhile is not overruled.
_REHASH: Final = "UPDATE access.passwords SET hash = $3 WHERE user_id = $1 AND hash = $2"


class Passwords:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, hashing: PasswordHashing) -> None:
        self._pool = pool
        self._hashing = hashing

    async def check(self, user_id: str | None, password: str) -> bytes | None:
        """The hash of the user's password if this is it, as they typed it; else None. `user_id` is None for a user who
        is not there. Raises HashingBusy.

        Whatever is asked costs one query and one hash, so that the time tells nobody which addresses are known.
        """
        stored: bytes | None = await self._pool.fetchval(_HASH, user_id)
        try:
            text, is_text = prepared(password), True
        except InvalidPassword:
            text, is_text = "", False
        verified = await self._hashing.verify(stored, text)
        if not (verified.is_right and is_text):
            return None
        if verified.rehashed is None:
            return stored
        await self._pool.execute(_REHASH, user_id, stored, verified.rehashed)
        return verified.rehashed
