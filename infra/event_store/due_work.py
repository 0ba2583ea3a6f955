"""Due work in PostgreSQL: rows that commands write and finish, taken by lease with SKIP LOCKED."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

import asyncpg

from domain.kernel.stream import WorkKind
from infra.database import Pool
from infra.event_store.port import Work, WorkCount

_COLUMNS: Final = ", ".join(f"w.{name}" for name in Work._fields)

# `statement_timestamp()` and not `clock_timestamp()`: an index can only be searched up to a value that stands still.
CLAIM: Final = f"""
WITH picked AS (
    SELECT p.* FROM unnest($1::text[], $2::int[]) AS k (kind, most)
    CROSS JOIN LATERAL (
        SELECT d.tenant_id, d.kind, d.subject FROM log.due_work d
        WHERE d.kind = k.kind AND NOT d.runs_on_clock AND NOT d.held AND d.ready_at <= statement_timestamp()
        ORDER BY d.ready_at LIMIT k.most FOR UPDATE SKIP LOCKED
    ) AS p
)
UPDATE log.due_work w
SET lease_owner = $3, attempts = attempts + 1, claimed_at = statement_timestamp(),
    first_run_at = coalesce(first_run_at, statement_timestamp()),
    lease_until = statement_timestamp() + $4 * interval '1 millisecond',
    ready_at = statement_timestamp() + $4 * interval '1 millisecond'
FROM picked p WHERE w.tenant_id = p.tenant_id AND w.kind = p.kind AND w.subject = p.subject
RETURNING {_COLUMNS}
"""  # noqa: S608  constants
CLAIM_FOR_CLOCK: Final = f"""
WITH picked AS (
    SELECT d.tenant_id, d.kind, d.subject FROM log.due_work d
    WHERE d.tenant_id = $1 AND d.clock_id = $2 AND d.runs_on_clock AND NOT d.held AND d.due_at <= $3
        AND coalesce(d.lease_until, '-infinity') <= statement_timestamp()
    ORDER BY d.due_at, d.kind, d.subject LIMIT $6 FOR UPDATE SKIP LOCKED
)
UPDATE log.due_work w
SET lease_owner = $4, attempts = attempts + 1, claimed_at = statement_timestamp(),
    first_run_at = coalesce(first_run_at, statement_timestamp()),
    lease_until = statement_timestamp() + $5 * interval '1 millisecond'
FROM picked p WHERE w.tenant_id = p.tenant_id AND w.kind = p.kind AND w.subject = p.subject
RETURNING {_COLUMNS}
"""  # noqa: S608  constants
EARLIEST: Final = """
SELECT due_at FROM log.due_work
WHERE tenant_id = $1 AND clock_id = $2 AND runs_on_clock AND NOT held AND due_at <= $3
ORDER BY due_at LIMIT 1
"""
TIMERS: Final = f"""
SELECT {_COLUMNS} FROM log.due_work w WHERE tenant_id = $1 AND clock_id = $2 AND (runs_on_clock OR kind = ANY($4))
ORDER BY due_at, kind, subject LIMIT $3
"""  # noqa: S608  constants
OUTSTANDING: Final = """
SELECT count(*) FROM log.due_work
WHERE tenant_id = $1 AND clock_id = $2 AND clock_id IS NOT NULL AND NOT runs_on_clock AND NOT held
"""
# A row is still this run's if neither its lease nor what it is due for has changed hands.
_MINE: Final = """
WHERE tenant_id = $1 AND kind = $2 AND subject = $3 AND due_at = $4 AND lease_owner = $5 AND attempts = $6 AND NOT held
RETURNING true
"""
RETRY_LATER: Final = f"""
UPDATE log.due_work SET lease_owner = NULL, last_error = $8,
    failures = CASE WHEN $9 THEN failures + 1 ELSE 0 END,
    first_run_at = CASE WHEN $10 AND first_run_at = claimed_at THEN NULL ELSE first_run_at END,
    lease_until = statement_timestamp() + $7 * interval '1 millisecond',
    ready_at = CASE WHEN runs_on_clock THEN due_at ELSE statement_timestamp() + $7 * interval '1 millisecond' END
{_MINE}"""  # noqa: S608  constants
HOLD: Final = f"""
UPDATE log.due_work SET lease_owner = NULL, lease_until = NULL, held = true, last_error = $7
{_MINE}"""  # noqa: S608  constants
DROP: Final = f"""
DELETE FROM log.due_work
{_MINE}"""  # noqa: S608  constants
HOLD_CAUSED_BY: Final = """
UPDATE log.due_work SET held = true, lease_owner = NULL, lease_until = NULL, last_error = $3
WHERE caused_by_event_id = $1 AND kind = $2
"""
RELEASE_CAUSED_BY: Final = """
UPDATE log.due_work SET held = false, attempts = 0, failures = 0, ready_at = due_at
WHERE caused_by_event_id = $1 AND kind = $2 AND held
"""
RELEASE_HELD: Final = """
UPDATE log.due_work SET held = false, attempts = 0, failures = 0, ready_at = due_at
WHERE tenant_id = $1 AND kind = $2 AND subject = $3 AND held
RETURNING true
"""
HELD: Final = f"SELECT {_COLUMNS} FROM log.due_work w WHERE held ORDER BY due_at LIMIT $1"  # noqa: S608  constants
COUNTS: Final = """
SELECT kind,
    count(*) FILTER (WHERE NOT held AND lease_owner IS NULL AND (runs_on_clock OR ready_at > statement_timestamp())),
    count(*) FILTER (WHERE NOT held AND NOT runs_on_clock AND ready_at <= statement_timestamp()),
    count(*) FILTER (WHERE NOT held AND lease_owner IS NOT NULL
                     AND (runs_on_clock OR ready_at > statement_timestamp())),
    count(*) FILTER (WHERE held)
FROM log.due_work GROUP BY kind ORDER BY kind
"""


class PostgresDueWork:
    """A `port.DueWorkQueue`. The pool's role is the writer's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, limits: Mapping[WorkKind, int], *, owner: str, lease_ms: int) -> list[Work]:
        """See `port.DueWorkQueue`."""
        kinds = [kind.value for kind, limit in limits.items() if limit > 0]
        most = [limit for limit in limits.values() if limit > 0]
        if not kinds:
            return []
        rows = await self._pool.fetch(CLAIM, kinds, most, owner, lease_ms)
        return sorted(map(_work, rows), key=lambda work: work.due_at)

    async def earliest(self, tenant_id: str, clock_id: str, *, not_after: datetime) -> datetime | None:
        """See `port.DueWorkQueue`."""
        due_at: datetime | None = await self._pool.fetchval(EARLIEST, tenant_id, clock_id, not_after)
        return due_at

    async def claim_for_clock(
        self, tenant_id: str, clock_id: str, *, at: datetime, owner: str, lease_ms: int, limit: int
    ) -> list[Work]:
        """See `port.DueWorkQueue`."""
        rows = await self._pool.fetch(CLAIM_FOR_CLOCK, tenant_id, clock_id, at, owner, lease_ms, limit)
        return sorted(map(_work, rows), key=lambda work: (work.due_at, work.kind, work.subject))

    async def timers(self, tenant_id: str, clock_id: str, *, limit: int, also: Collection[WorkKind] = ()) -> list[Work]:
        """See `port.DueWorkQueue`."""
        kinds = [kind.value for kind in also]
        return [_work(row) for row in await self._pool.fetch(TIMERS, tenant_id, clock_id, limit, kinds)]

    async def outstanding(self, tenant_id: str, clock_id: str) -> int:
        """See `port.DueWorkQueue`."""
        count: int = await self._pool.fetchval(OUTSTANDING, tenant_id, clock_id)
        return count

    async def retry_later(
        self, work: Work, *, pause_ms: int, error: str, failed: bool = False, untouched: bool = False
    ) -> bool:
        """See `port.DueWorkQueue`."""
        return bool(await self._pool.fetchval(RETRY_LATER, *_mine(work), pause_ms, error, failed, untouched))

    async def hold(self, work: Work, *, error: str) -> bool:
        """See `port.DueWorkQueue`."""
        return bool(await self._pool.fetchval(HOLD, *_mine(work), error))

    async def drop(self, work: Work) -> bool:
        """See `port.DueWorkQueue`."""
        return bool(await self._pool.fetchval(DROP, *_mine(work)))

    async def hold_caused_by(self, event_id: str, kind: WorkKind, *, error: str) -> None:
        """See `port.DueWorkQueue`."""
        await self._pool.execute(HOLD_CAUSED_BY, event_id, kind.value, error)

    async def release_caused_by(self, event_id: str, kind: WorkKind) -> None:
        """See `port.DueWorkQueue`."""
        await self._pool.execute(RELEASE_CAUSED_BY, event_id, kind.value)

    async def release_held(self, tenant_id: str, kind: WorkKind, subject: str) -> bool:
        """See `port.DueWorkQueue`."""
        return bool(await self._pool.fetchval(RELEASE_HELD, tenant_id, kind.value, subject))

    async def held(self, *, limit: int) -> list[Work]:
        """See `port.DueWorkQueue`."""
        return [_work(row) for row in await self._pool.fetch(HELD, limit)]

    async def counts(self) -> list[WorkCount]:
        """See `port.DueWorkQueue`."""
        return [WorkCount(WorkKind(row[0]), *row[1:]) for row in await self._pool.fetch(COUNTS)]


def _work(row: asyncpg.Record) -> Work:
    work = Work(*row)
    return work._replace(kind=WorkKind(work.kind))


def _mine(work: Work) -> tuple[object, ...]:
    return work.tenant_id, work.kind.value, work.subject, work.due_at, work.lease_owner, work.attempts
