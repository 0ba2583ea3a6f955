"""Sessions: a browser's by the secret in its cookie, a program's by refresh tokens that follow one another.

A refresh token is `tbr_<session>_<generation>_<HMAC>`. The HMAC is of the session, its secret and the generation,
under a key derived from the master key: the current token can be made again for whoever lost the answer, is stored
nowhere, and a dump of the database makes none. What a token comes to is decided in `domain/identity/refreshing.py`.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from domain.identity.refreshing import EndReason, Family, Refreshing, SessionKind, SessionLimits, refreshing
from domain.kernel.identifiers import ID_CHARS, SESSION
from infra.database import Pool
from infra.identity.keyring import Keyring, Use
from infra.identity.secret_tokens import SECRET_CHARS, base32, digest_of, draw
from infra.ids import new_id

FAMILY_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(rf"tbr_([0-9a-hjkmnp-tv-z]{{{ID_CHARS}}})_([1-9][0-9]{{0,8}})_([a-z2-7]{{{SECRET_CHARS}}})")

COLUMNS: Final = (
    "session_id, user_id, kind, tenant_id, started_at, seen_at, confirmed_at, idle_ends_at, ends_at, ended_at, "
    "generation, rotated_at, secret"
)
_START: Final = """
INSERT INTO access.sessions (session_id, user_id, kind, tenant_id, cookie_sha256, secret, generation,
    rotated_at, started_at, seen_at, confirmed_at, idle_ends_at, ends_at)
SELECT $1, $2, $3, $4, $5, $6, 1, $7, $7, $7, $7, $8, $9
"""
# The password that was compared is still the user's, and stays so until this is committed: whoever changes it waits,
# and then ends this session with the others.
_START_WITH_PASSWORD: Final = f"""{_START}
FROM access.passwords WHERE user_id = $2 AND hash = $10 FOR SHARE RETURNING true
"""
# Processes that remember sessions are told, with the commit.
_TOLD: Final = "pg_notify('tallybook_access', '') IS NOT NULL"
_LIVE: Final = "ended_at IS NULL AND least(idle_ends_at, ends_at) > $2"
# The compare-and-set: of many that present the current generation, one finds it.
_ROTATE: Final = f"""
UPDATE access.sessions SET generation = generation + 1, rotated_at = $2, seen_at = $2, idle_ends_at = $3
WHERE session_id = $1 AND generation = $4 AND {_LIVE}
RETURNING {COLUMNS}
"""  # noqa: S608  from this file
_RENEW: Final = f"""
WITH renewed AS (
    UPDATE access.sessions SET cookie_sha256 = $3 WHERE session_id = $1 AND kind = 'browser' AND {_LIVE} RETURNING true
)
SELECT {_TOLD} FROM renewed
"""  # noqa: S608  from this file
_SEEN: Final = """
UPDATE access.sessions SET seen_at = $2, idle_ends_at = $3
WHERE session_id = $1 AND ended_at IS NULL AND seen_at < $2
"""
_END: Final = f"""
WITH ended AS (
    UPDATE access.sessions SET ended_at = $2, end_reason = $3 WHERE session_id = $1 AND ended_at IS NULL RETURNING true
)
SELECT {_TOLD} FROM ended
"""  # noqa: S608  from this file
_END_ALL: Final = f"""
WITH ended AS (
    UPDATE access.sessions SET ended_at = $2, end_reason = $3
    WHERE user_id = $1 AND ended_at IS NULL AND session_id IS DISTINCT FROM $4 RETURNING session_id
)
SELECT session_id, {_TOLD} FROM ended
"""  # noqa: S608  from this file
_CONFIRM: Final = f"""
WITH confirmed AS (
    UPDATE access.sessions SET confirmed_at = $2 WHERE session_id = $1 AND ended_at IS NULL RETURNING true
)
SELECT {_TOLD} FROM confirmed
"""  # noqa: S608  from this file
# Ends are written first and told to the log afterwards; what is not told yet is found here.
_UNTOLD: Final = """
SELECT session_id, user_id, end_reason, generation FROM access.sessions
WHERE ended_at IS NOT NULL AND NOT end_told ORDER BY ended_at LIMIT $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as it stands."""

    session_id: str
    user_id: str
    kind: SessionKind
    tenant_id: str | None
    """The tenant that a program logged in to; a browser names one with each request."""
    started_at: datetime
    seen_at: datetime
    confirmed_at: datetime
    """When a password was last entered; what is dangerous wants it to be recent."""
    idle_ends_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A new session; `secret` is the cookie's value or the first refresh token, and is shown once."""

    session: Session
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A session that ended before its time; `generation` is that of its last refresh token."""

    session_id: str
    user_id: str
    reason: EndReason
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh token came to. `token` and `session` are there for NEXT and AGAIN.

    REUSED comes once for a session, with the session that ended, so that `session.token_reuse_detected` is recorded
    and mailed once; whoever presents it again gets OVER.
    """

    outcome: Refreshing
    session: Session | None = None
    token: str | None = None


_NOTHING: Final = Refreshed(outcome=Refreshing.OVER)


class Sessions:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring, limits: SessionLimits) -> None:
        self._pool = pool
        self._keyring = keyring
        self._limits = limits

    def plan(self, user_id: str, kind: SessionKind, now: datetime, *, tenant_id: str | None = None) -> Session:
        """A session that is to start, with its id: nothing knows of it yet, and nobody has its secret."""
        return Session(
            session_id=new_id(SESSION),
            user_id=user_id,
            kind=kind,
            tenant_id=tenant_id,
            started_at=now,
            seen_at=now,
            confirmed_at=now,
            idle_ends_at=now + self._limits.idle,
            ends_at=now + self._limits.longest,
        )

    async def start(self, user_id: str, kind: SessionKind, now: datetime, *, tenant_id: str | None = None) -> Started:
        """Start one, for whoever proved who they are by something else than a password."""
        started = await self.begin(self.plan(user_id, kind, now, tenant_id=tenant_id))
        assert started is not None, "only with a password may it fail"
        return started

    async def begin(self, session: Session, *, password_hash: bytes | None = None) -> Started | None:
        """Let a planned session begin. With the hash of the password that was compared: None if it was changed since,
        and otherwise the session ends with the next change.
        """
        family_secret = secrets.token_bytes(FAMILY_SECRET_BYTES)
        if session.kind is SessionKind.BROWSER:
            shown = draw()
            digest = digest_of(shown)
        else:
            shown = self._token(session.session_id, 1, family_secret)
            digest = None
        values = (
            session.session_id,
            session.user_id,
            session.kind,
            session.tenant_id,
            digest,
            family_secret,
            session.started_at,
            session.idle_ends_at,
            session.ends_at,
        )
        if password_hash is None:
            await self._pool.execute(_START, *values)
        elif not await self._pool.fetchval(_START_WITH_PASSWORD, *values, password_hash):
            return None
        return Started(session=session, secret=shown)

    async def by_cookie(self, secret: str, now: datetime) -> Session | None:
        """The live session of a cookie's secret. Whoever serves the request says `seen` now and then."""
        digest = digest_of(secret)
        if digest is None:
            return None
        query = f"SELECT {COLUMNS} FROM access.sessions WHERE cookie_sha256 = $1 AND {_LIVE}"  # noqa: S608
        row = await self._pool.fetchrow(query, digest, now)
        return None if row is None else session_of(row)

    async def by_id(self, session_id: str, now: datetime) -> Session | None:
        """The live session that an access token names."""
        query = f"SELECT {COLUMNS} FROM access.sessions WHERE session_id = $1 AND {_LIVE}"  # noqa: S608
        row = await self._pool.fetchrow(query, session_id, now)
        return None if row is None else session_of(row)

    async def of_user(self, user_id: str, now: datetime) -> Sequence[Session]:
        """A user's live sessions, newest first."""
        query = (
            f"SELECT {COLUMNS} FROM access.sessions WHERE user_id = $1 AND {_LIVE} "  # noqa: S608
            "ORDER BY started_at DESC, session_id DESC"
        )
        return [session_of(row) for row in await self._pool.fetch(query, user_id, now)]

    async def seen(self, session_id: str, now: datetime) -> None:
        """Let it last on from now: it was used."""
        await self._pool.execute(_SEEN, session_id, now, now + self._limits.idle)

    async def confirm(self, session_id: str, now: datetime) -> None:
        """Its user entered their password again."""
        await self._pool.execute(_CONFIRM, session_id, now)

    async def renew_cookie(self, session_id: str, now: datetime) -> str | None:
        """A new secret for the browser, at each change of rights; the old one is good no more. None if it is over."""
        shown = draw()
        found = await self._pool.fetchval(_RENEW, session_id, now, digest_of(shown))
        return shown if found else None

    async def refresh(self, token: str, now: datetime) -> Refreshed:
        """Take a refresh token: the next one, the current one once more, or the end of the session."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return _NOTHING
        session_id, presented = SESSION + found[1], int(found[2])
        row = await self._pool.fetchrow(
            f"SELECT {COLUMNS} FROM access.sessions WHERE session_id = $1 AND kind = 'program'",  # noqa: S608
            session_id,
        )
        # Before anything is changed or told: only what we made is a token.
        if row is None or not hmac.compare_digest(token, self._token(session_id, presented, row["secret"])):
            return _NOTHING
        while True:
            outcome = refreshing(presented, _family(row), now, self._limits.grace)
            if outcome is Refreshing.NEXT:
                idle_ends_at = now + self._limits.idle
                moved = await self._pool.fetchrow(_ROTATE, session_id, now, idle_ends_at, presented)
                if moved is not None:
                    return self._answer(Refreshing.NEXT, moved)
            elif outcome is Refreshing.AGAIN:
                return self._answer(Refreshing.AGAIN, row)
            elif outcome is Refreshing.REUSED and await self.end(session_id, EndReason.TOKEN_REUSED, now):
                return Refreshed(outcome=Refreshing.REUSED, session=session_of(row))
            else:
                return _NOTHING
            # Another one was faster. Generations only rise, so what is seen now is no longer NEXT.
            row = await self._pool.fetchrow(
                f"SELECT {COLUMNS} FROM access.sessions WHERE session_id = $1",  # noqa: S608
                session_id,
            )
            if row is None:
                return _NOTHING

    async def end(self, session_id: str, reason: EndReason, now: datetime) -> bool:
        """End one; False if it had ended."""
        return bool(await self._pool.fetchval(_END, session_id, now, reason))

    async def end_all(self, user_id: str, reason: EndReason, now: datetime, *, but: str | None = None) -> Sequence[str]:
        """End all of a user's, but for the one that asks, where it is named; the ids of those that ended."""
        return [row[0] for row in await self._pool.fetch(_END_ALL, user_id, now, reason, but)]

    async def untold(self, *, limit: int) -> Sequence[Ended]:
        """Sessions that ended before their time, and whose end is not in the log yet."""
        rows = await self._pool.fetch(_UNTOLD, limit)
        return [Ended(session_id=row[0], user_id=row[1], reason=EndReason(row[2]), generation=row[3]) for row in rows]

    async def told(self, session_id: str) -> None:
        """Its end is in the log."""
        await self._pool.execute("UPDATE access.sessions SET end_told = true WHERE session_id = $1", session_id)

    async def forget_old(self, before: datetime) -> None:
        """Drop those that were over before this instant. A reused token of one that is dropped is nobody's."""
        query = "DELETE FROM access.sessions WHERE ends_at < $1 AND (ended_at IS NULL OR end_told)"
        await self._pool.execute(query, before)

    def _answer(self, outcome: Refreshing, row: asyncpg.Record) -> Refreshed:
        token = self._token(row["session_id"], row["generation"], row["secret"])
        return Refreshed(outcome=outcome, session=session_of(row), token=token)

    def _token(self, session_id: str, generation: int, family_secret: bytes) -> str:
        proof = self._keyring.mac(Use.REFRESH_TOKENS, session_id, family_secret, generation)
        return f"tbr_{session_id.removeprefix(SESSION)}_{generation}_{base32(proof)}"


def csrf_token(keyring: Keyring, session_id: str) -> str:
    """What a page sends as `X-CSRF-Token` with each change; it learns it from `/v1/auth/me`."""
    return base32(keyring.mac(Use.CSRF_TOKENS, session_id))


def is_csrf_token(keyring: Keyring, session_id: str, presented: str | None) -> bool:
    """Whether it is this session's, compared in one time."""
    expected = csrf_token(keyring, session_id)
    return presented is not None and hmac.compare_digest(
        hashlib.sha256(presented.encode(errors="surrogatepass")).digest(), hashlib.sha256(expected.encode()).digest()
    )


def session_of(row: asyncpg.Record) -> Session:
    """The session of a row with COLUMNS."""
    values: dict[str, Any] = {name: row[name] for name in Session.__dataclass_fields__}
    return Session(**{**values, "kind": SessionKind(row["kind"])})


def _family(row: asyncpg.Record) -> Family:
    return Family(**{name: row[name] for name in Family.__dataclass_fields__})
