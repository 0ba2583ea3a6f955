"""The keys that sign access tokens: `access.signing_keys`, the private part sealed by a key of the master key's.

When a key is published, signs and retires is told by the rows' instants alone (`domain/identity/key_rotation.py`). So a
rotation is one INSERT, and a process that is killed leaves it done or not begun; of two at once one writes the number.
The public part is made from what was sealed: a row that somebody slips into the table verifies nothing.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import asyncpg
import structlog
from joserfc.jwk import KeySet, RSAKey

from domain.identity.key_rotation import KeyLimits, KeyState, KeyTimes, due, state_of
from infra.database import Pool
from infra.identity.keyring import Keyring, NotSealedHere, Use

ALGORITHM: Final = "RS256"
KEY_BITS: Final = 2048
UNKNOWN_KEY_PAUSE: Final = timedelta(seconds=1)
# Rotations by hand take turns on it. Any constant but those of others: 7_345_001 to 003 and, in the auth log, 005.
_ADVISORY_LOCK: Final = 7_345_004

_KEYS: Final = "SELECT number, kid, sealed, signs_from, distrusted_at FROM access.signing_keys ORDER BY number"
_INSERT: Final = """
INSERT INTO access.signing_keys (number, kid, sealed, signs_from, made_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (number) DO NOTHING
"""
_BRING_FORWARD: Final = """
UPDATE access.signing_keys SET signs_from = $2 WHERE number = $1 AND signs_from > $2 AND distrusted_at IS NULL
RETURNING true
"""
_DISTRUST: Final = "UPDATE access.signing_keys SET distrusted_at = $2 WHERE number < $1 AND distrusted_at IS NULL"


_log: Final = structlog.get_logger(__name__)


class _Writes(Protocol):
    async def execute(self, query: str, *args: object) -> str: ...


class NoSigningKey(Exception):
    """No key signs at this instant: `SigningKeys.keep_up` has not run yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key with its private part in the clear: for signing, never to be shown."""

    number: int
    kid: str
    key: RSAKey = field(repr=False)
    state: KeyState


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysAt:
    """All keys as they stand at an instant."""

    at: datetime
    keys: Sequence[SigningKey]

    @property
    def active(self) -> SigningKey:
        """The one that signs. Raises NoSigningKey."""
        for key in self.keys:
            if key.state is KeyState.ACTIVE:
                return key
        raise NoSigningKey("no signing key is active yet; keys are made when the API starts")

    @property
    def can_sign(self) -> bool:
        """Whether there is an active one."""
        return any(key.state is KeyState.ACTIVE for key in self.keys)

    def verifying(self, kid: str) -> RSAKey | None:
        """The key of this id, if it verifies: one that signs, or did so a short while ago."""
        for key in self.keys:
            if key.kid == kid and key.state in (KeyState.ACTIVE, KeyState.RETIRED):
                return key.key
        return None

    def jwks(self) -> Mapping[str, Any]:
        """What `/.well-known/jwks.json` answers: the public parts, the next one's too."""
        published = [key.key for key in self.keys if key.state is not KeyState.GONE]
        return dict(KeySet(list(published)).as_dict(private=False))


class SigningKeys:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring, limits: KeyLimits) -> None:
        self._pool = pool
        self._keyring = keyring
        self._limits = limits

    async def at(self, now: datetime) -> KeysAt:
        """All keys that are not gone."""
        opened = self._opened(await self._pool.fetch(_KEYS))
        times = [each for each, _, _ in opened]
        keys = [
            SigningKey(number=each.number, kid=kid, key=key, state=state_of(each.number, times, now, self._limits))
            for each, kid, key in opened
        ]
        return KeysAt(at=now, keys=[key for key in keys if key.state is not KeyState.GONE])

    async def keep_up(self, now: datetime) -> bool:
        """Make the key that is due, if one is; whether one was. Every API process does so at its start, and hourly."""
        rows = await self._pool.fetch(_KEYS)
        signs_from = due([each for each, _, _ in self._opened(rows)], now, self._limits)
        if signs_from is None:
            return False
        return await self._make(self._pool, _highest(rows) + 1, signs_from, now)

    async def rotate(self, now: datetime, *, distrust: bool = False) -> int:
        """Let another key sign from now on; its number. The next one is taken, else one is made.

        Tokens of the keys before stay good until they are over, unless those are distrusted: then they verify nothing.
        Processes that hold keys in memory follow within `signing_keys_cache_s`.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _ADVISORY_LOCK)
            number = _highest(await connection.fetch(_KEYS))
            if not await connection.fetchval(_BRING_FORWARD, number, now):
                number += 1
                if not await self._make(connection, number, now, now):
                    # Another process has just made it, as the next one.
                    await connection.fetchval(_BRING_FORWARD, number, now)
            if distrust:
                await connection.execute(_DISTRUST, number, now)
        return number

    async def _make(self, writes: _Writes, number: int, signs_from: datetime, now: datetime) -> bool:
        key = await asyncio.to_thread(_new_key)
        kid = str(key.kid)
        sealed = self._keyring.seal(Use.SIGNING_KEYS, key.as_der(private=True), number, kid)
        done = await writes.execute(_INSERT, number, kid, sealed, signs_from, now)
        return done.endswith(" 1")

    def _opened(self, rows: Sequence[asyncpg.Record]) -> list[tuple[KeyTimes, str, RSAKey]]:
        """The keys of rows that were made with this master key. Of others nothing is believed, not even the times."""
        found: list[tuple[KeyTimes, str, RSAKey]] = []
        for number, kid, sealed, signs_from, distrusted_at in rows:
            try:
                der = self._keyring.open(Use.SIGNING_KEYS, sealed, number, kid)
            except NotSealedHere:
                _log.error("signing_key_does_not_open", number=number, kid=kid)
                continue
            key = RSAKey.import_key(der, {"kid": kid, "alg": ALGORITHM, "use": "sig"})
            found.append((KeyTimes(number=number, signs_from=signs_from, distrusted_at=distrusted_at), kid, key))
        return found


class KeysInHand:
    """The keys in a process's memory, looked at again now and then, and for a key that is not known yet.

    Of a stranger's inventions one a second costs a query.
    """

    def __init__(self, keys: SigningKeys, *, cache: timedelta) -> None:
        self._keys = keys
        self._cache = cache
        self._held: KeysAt | None = None

    async def get(self, now: datetime, *, kid: str | None = None) -> KeysAt:
        """The keys; those of a moment ago, unless they know nothing of `kid`."""
        held = self._held
        if held is not None:
            age = now - held.at
            is_known = kid is None or held.verifying(kid) is not None
            if age < (self._cache if is_known else min(UNKNOWN_KEY_PAUSE, self._cache)):
                return held
        self._held = held = await self._keys.at(now)
        return held

    async def to_sign(self, now: datetime) -> KeysAt:
        """The keys with one that signs; the first one is made by whoever needs it first."""
        held = await self.get(now)
        if not held.can_sign:
            await self._keys.keep_up(now)
            self._held = held = await self._keys.at(now)
        return held


def _new_key() -> RSAKey:
    key = RSAKey.generate_key(KEY_BITS, private=True)
    key.ensure_kid()  # its thumbprint (RFC 7638)
    return key


def _highest(rows: Sequence[asyncpg.Record]) -> int:
    return rows[-1]["number"] if rows else 0


def jwks_json(keys: KeysAt) -> bytes:
    """The JWKS document as it is sent."""
    return json.dumps(keys.jwks(), separators=(",", ":")).encode()
