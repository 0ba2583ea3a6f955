"""The auth log: who tried to come in, from where, and what was refused.

A request only notes what it saw, in memory; a task writes it a moment later, in one insert. A flood of the same becomes
one row with a count, a flood of different ones is cut off at a limit and counted: nobody fills the disk by being
refused, and no log-in waits for this table. What a crash takes with it is the last moment.
"""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import asyncpg
import structlog
from prometheus_client import Counter

from domain.identity.auth_event import AuthEventKind
from domain.kernel.identifiers import AUTH_EVENT
from infra.database import CONNECTION_ERRORS, Pool
from infra.ids import new_id
from infra.settings import AuthSettings
from infra.telemetry import mask_text

TEXT_MAX_CHARS: Final = 200
"""Of what a client says of itself."""
KEPT_UP_EVERY_S: Final = 3_600.0
"""Between looks whether a month's partition is to be made or dropped (s)."""
KEYS_MAX: Final = 10_000
"""API keys of which it is remembered when their use was last written."""
LAST_WRITE_S: Final = 2.0
"""For what is left when the process ends (s)."""

WRITTEN: Final = Counter("tallybook_auth_log_written", "Rows written to the auth log")
DROPPED: Final = Counter("tallybook_auth_log_dropped", "Attempts that the auth log has not got, by why", ("why",))

# Of a user's own attempt, whose tenant is not known yet, each tenant of theirs gets a row.
_INSERT: Final = """
INSERT INTO access.auth_events (event_id, happened_at, tenant_id, kind, times, user_id, actor, session_id, code, route,
                                address, user_agent, request_id)
SELECT e.event_id, e.happened_at, coalesce(e.tenant_id, m.tenant_id, 'platform'), e.kind, e.times, e.user_id, e.actor,
       e.session_id, e.code, e.route, e.address, e.user_agent, e.request_id
FROM jsonb_to_recordset($1::jsonb) AS e (
    event_id text, happened_at timestamptz, tenant_id text, kind text, times integer, user_id text, actor text,
    session_id text, code text, route text, address text, user_agent text, request_id text)
LEFT JOIN access.memberships m ON e.tenant_id IS NULL AND m.user_id = e.user_id
"""
_USED: Final = """
INSERT INTO access.api_key_uses AS u (key_id, tenant_id, used_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
ON CONFLICT (key_id) DO UPDATE SET used_at = excluded.used_at WHERE u.used_at < excluded.used_at
"""

_log: Final = structlog.stdlib.get_logger("auth_log")


class Attempt(NamedTuple):
    """What was tried. `tenant_id` None: not known; `code` is the problem's that was answered.

    `user_agent` and `address` are the client's word; everything else is ours.
    """

    kind: AuthEventKind
    tenant_id: str | None = None
    user_id: str | None = None
    actor: str | None = None
    session_id: str | None = None
    code: str | None = None
    route: str | None = None
    address: str | None = None
    user_agent: str | None = None


class _Noted:
    """The first of the same attempts since the last write, and how many there were."""

    __slots__ = ("event_id", "happened_at", "request_id", "times")

    def __init__(self, request_id: str | None) -> None:
        self.event_id = new_id(AUTH_EVENT)
        self.happened_at = datetime.fromtimestamp(time.time(), UTC)
        self.request_id = request_id
        self.times = 1


class AuthLog:
    """Notes attempts and uses of keys; `writing` has them written. The pool is in the role of access."""

    def __init__(self, pool: Pool, settings: AuthSettings) -> None:
        self._pool = pool
        self._settings = settings
        self._noted: dict[Attempt, _Noted] = {}
        self._used: dict[str, tuple[str, datetime]] = {}
        self._next_use: OrderedDict[str, float] = OrderedDict()
        self._is_failing = False

    def record(
        self,
        kind: AuthEventKind,
        *,
        tenant_id: str | None = None,
        user_id: str | None = None,
        actor: str | None = None,
        session_id: str | None = None,
        code: str | None = None,
        route: str | None = None,
        address: str | None = None,
        user_agent: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Note an attempt, to be written a moment later. Never waits, never raises.

        Of a known user's attempt the tenant may be left out: each tenant of theirs gets to know.
        """
        attempt = Attempt(kind, tenant_id, user_id, actor, session_id, code, route, _plain(address), _plain(user_agent))
        noted = self._noted.get(attempt)
        if noted is not None:
            noted.times += 1
        elif len(self._noted) >= self._settings.log_queue_max:
            DROPPED.labels("queue_full").inc()
        else:
            self._noted[attempt] = _Noted(request_id)

    def key_used(self, key_id: str, tenant_id: str) -> None:
        """Note that an API key was used; written once a minute at most."""
        now = time.monotonic()
        if self._next_use.get(key_id, 0.0) > now:
            return
        self._next_use[key_id] = now + self._settings.key_use_every_s
        self._next_use.move_to_end(key_id)
        if len(self._next_use) > KEYS_MAX:
            self._next_use.popitem(last=False)
        if len(self._used) < KEYS_MAX:
            self._used[key_id] = (tenant_id, datetime.fromtimestamp(time.time(), UTC))

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write beside whatever the block does, and keep the months in order; at the end, write what is left."""
        tasks = [asyncio.create_task(self._write_on()), asyncio.create_task(self._keep_up())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE_S):
                    await self.write()

    async def write(self) -> None:
        """Write what was noted. Never raises: what cannot be written now is tried the next time, or counted."""
        noted, self._noted = self._noted, {}
        used, self._used = self._used, {}
        try:
            async with self._pool.acquire(timeout=LAST_WRITE_S) as connection:
                if noted:
                    await self._insert(connection, noted)
                    noted = {}
                if used:
                    tenants, times = zip(*used.values(), strict=True)
                    await connection.execute(_USED, list(used), tenants, times)
        except CONNECTION_ERRORS as error:
            self._tell(error)
            self._put_back(noted)
        except asyncpg.PostgresError as error:
            self._tell(error)
            DROPPED.labels("refused").inc(sum(each.times for each in noted.values()))
        else:
            self._is_failing = False

    async def _insert(self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", noted: "_Batch") -> None:
        rows = json.dumps([_row(attempt, each) for attempt, each in noted.items()])
        try:
            await connection.execute(_INSERT, rows)
        except asyncpg.CheckViolationError:  # the month has no partition: nobody has looked for months
            await connection.execute("SELECT access.make_auth_partitions()")
            await connection.execute(_INSERT, rows)
        WRITTEN.inc(len(noted))

    def _put_back(self, noted: "_Batch") -> None:
        room = self._settings.log_queue_max - len(self._noted)
        kept = dict(list(noted.items())[: max(0, room)])
        DROPPED.labels("unavailable").inc(sum(each.times for attempt, each in noted.items() if attempt not in kept))
        for attempt, each in kept.items():
            newer = self._noted.get(attempt)
            if newer is not None:
                each.times += newer.times
            self._noted[attempt] = each

    def _tell(self, error: BaseException) -> None:
        if not self._is_failing:
            _log.warning("auth_log_fails", why=f"{type(error).__name__}: {error}")
        self._is_failing = True

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(self._settings.log_flush_ms / 1000)
            if self._noted or self._used:
                # What is being written when the process ends is written to its end.
                await asyncio.shield(asyncio.ensure_future(self.write()))

    async def _keep_up(self) -> None:
        while True:
            try:
                await keep_up(self._pool, keep_days=self._settings.log_days)
            except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
                _log.warning("auth_log_not_kept_up", why=f"{type(error).__name__}: {error}")
            await asyncio.sleep(KEPT_UP_EVERY_S)


_Batch = dict[Attempt, _Noted]


async def keep_up(pool: Pool, *, keep_days: int) -> int:
    """Make the partitions that will be needed and drop the months that are over; how many were dropped."""
    await pool.execute("SELECT access.make_auth_partitions()")
    dropped: int = await pool.fetchval("SELECT access.forget_auth_events($1)", keep_days)
    return dropped


def _plain(text: str | None) -> str | None:
    """A client's text, short, printable, and without what may be a card number or a secret."""
    if not text:
        return None
    return mask_text("".join(char if char.isprintable() else "?" for char in text[:TEXT_MAX_CHARS]))


def _row(attempt: Attempt, noted: _Noted) -> dict[str, object]:
    return {
        **attempt._asdict(),
        "event_id": noted.event_id,
        "happened_at": noted.happened_at.isoformat(),
        "times": noted.times,
        "request_id": noted.request_id,
    }
