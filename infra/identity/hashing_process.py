"""The process that hashes: one line of JSON in, one out, until its standard input ends.

It has a low priority, so that what takes payments comes first, and no interpreter in common with that: a thread of low
priority that holds the interpreter's lock would stop everything that wants it.
Nothing but argon2 (and bcrypt, where a hash of it comes along) is loaded here. Passwords are in the pipe and in memory
alone.
"""

import json
import sys
from typing import Any, Final, NoReturn

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from infra.low_priority import give_way

BCRYPT_BYTES: Final = 72
"""All that bcrypt ever looked at; those who made the hash cut the rest off."""
_BCRYPT_PREFIX: Final = "$2"

Answer = dict[str, Any]


class Hasher:
    """Hashes and compares by given parameters."""

    def __init__(self, *, memory_kib: int, passes: int) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._dummy = self._hasher.hash("whoever is unknown is compared with this")

    def answer(self, request: Answer) -> Answer:
        """What comes back: `hash` of a new one; `right` and `rehashed` of one that is compared; or `unusable`."""
        password: str = request["password"]
        if request["do"] == "hash":
            return {"hash": self._hasher.hash(password)}
        stored: str | None = request["hash"]
        if stored is not None and stored.startswith(_BCRYPT_PREFIX):
            return self._with_bcrypt(stored, password)
        try:
            self._hasher.verify(stored or self._dummy, password)
        except VerifyMismatchError:
            return _WRONG
        except (VerificationError, InvalidHashError) as error:
            return _WRONG if stored is None else {"unusable": type(error).__name__}
        if stored is None:
            return _WRONG
        stale = self._hasher.check_needs_rehash(stored)
        return {"right": True, "rehashed": self._hasher.hash(password) if stale else None}

    def _with_bcrypt(self, stored: str, password: str) -> Answer:
        try:
            import bcrypt
        except ImportError:
            return {"unusable": "imported password hashes need bcrypt: install tallybook[import]"}
        text = password.encode()[:BCRYPT_BYTES]
        if b"\x00" in text or not bcrypt.checkpw(text, stored.encode()):
            return _WRONG
        return {"right": True, "rehashed": self._hasher.hash(password)}


_WRONG: Final[Answer] = {"right": False, "rehashed": None}


def main() -> NoReturn:
    """Serve until the other end of the pipe is closed, which it is also when that process is killed."""
    give_way()
    hasher = Hasher(memory_kib=int(sys.argv[1]), passes=int(sys.argv[2]))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(hasher.answer(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
