"""Which customers' meters are to be looked at, because something was counted, or what is watched has changed.

Aggregators note what they count (`usage.touched`), in the transaction that counts it. `gather` makes looks of that, one
for each customer's meter however often it was touched, so what a look costs is by what has changed and never by how
many customers there are. A look is leased, and goes once somebody has looked since it was last asked for: whoever dies
in between leaves it to the next one.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from usage.partials import Connection, bucket_of

TOUCHED_AT_ONCE: Final = 20
NO_EARLIER: Final = bucket_of(datetime(9999, 1, 1, tzinfo=UTC))
"""A first quarter hour behind all that is counted: periods before the running one are not looked at."""
LEVEL_LOOK_MS: Final = 60_000
"""How soon is looked again at what adds up by itself, such as a level that is held, though nothing is counted."""

_ASKED_FOR: Final = """
ON CONFLICT (tenant_id, customer_id, meter_id) DO UPDATE SET touches = kept.touches + 1,
    first_bucket = least(kept.first_bucket, excluded.first_bucket), look_at = least(kept.look_at, excluded.look_at)
"""
_GATHER: Final = f"""
WITH taken AS (
    DELETE FROM usage.touched WHERE id IN (SELECT id FROM usage.touched ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING series, first_buckets
), asked AS (
    INSERT INTO usage.looks AS kept (tenant_id, customer_id, meter_id, first_bucket)
    SELECT s.tenant_id, s.customer_id, s.meter_id, min(u.bucket)
    FROM taken CROSS JOIN LATERAL unnest(taken.series, taken.first_buckets) AS u (series, bucket)
        JOIN usage.series s ON s.series = u.series
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 {_ASKED_FOR}
)
SELECT count(*) FROM taken
"""  # noqa: S608  constants
_ASK: Final = f"""
INSERT INTO usage.looks AS kept (tenant_id, customer_id, meter_id, first_bucket)
SELECT DISTINCT s.tenant_id, s.customer_id, s.meter_id, $4::int FROM usage.series s
WHERE s.tenant_id = $1 AND ($2::text IS NULL OR s.customer_id = $2) AND ($3::text IS NULL OR s.meter_id = $3)
ORDER BY 1, 2, 3 {_ASKED_FOR}
"""  # noqa: S608  constants
_CLAIM: Final = """
UPDATE usage.looks SET leased_until = clock_timestamp() + $2 * interval '1 millisecond'
WHERE (tenant_id, customer_id, meter_id) IN (
    SELECT tenant_id, customer_id, meter_id FROM usage.looks
    WHERE look_at <= clock_timestamp() AND (leased_until IS NULL OR leased_until < clock_timestamp())
    ORDER BY look_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING tenant_id, customer_id, meter_id, first_bucket, touches
"""
_LOOKED: Final = """
unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS looked (tenant_id, customer_id, meter_id, touches)
WHERE (kept.tenant_id, kept.customer_id, kept.meter_id) = (looked.tenant_id, looked.customer_id, looked.meter_id)
"""
_DONE: Final = f"DELETE FROM usage.looks AS kept USING {_LOOKED} AND kept.touches = looked.touches"  # noqa: S608  constants
_LATER: Final = f"""
UPDATE usage.looks AS kept SET look_at = clock_timestamp() + $5 * interval '1 millisecond' FROM {_LOOKED}
    AND kept.touches = looked.touches
"""  # noqa: S608  constants
_LOCK: Final = """
SELECT FROM usage.looks WHERE (tenant_id, customer_id, meter_id) IN (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[])) ORDER BY tenant_id, customer_id, meter_id FOR UPDATE
"""
_RELEASE: Final = f"UPDATE usage.looks AS kept SET leased_until = NULL FROM {_LOOKED}"  # noqa: S608  constants


class Look(NamedTuple):
    """A customer's meter that is to be looked at. `touches` tells whether it was asked for again since."""

    tenant_id: str
    customer_id: str
    meter_id: str
    first_bucket: int
    touches: int


async def gather(connection: Connection) -> int:
    """Make looks of what aggregators have noted; how many notes there were, at most `TOUCHED_AT_ONCE`."""
    return int(await connection.fetchval(_GATHER, TOUCHED_AT_ONCE))


async def ask(
    connection: Connection, tenant_id: str, *, customer_id: str | None, meter_id: str | None, first_bucket: int
) -> None:
    """Have looked at what was ever counted: of a tenant, a customer, a meter."""
    await connection.execute(_ASK, tenant_id, customer_id, meter_id, first_bucket)


async def claim(connection: Connection, *, limit: int, lease_ms: int) -> list[Look]:
    """Lease looks that are due, those that have waited longest."""
    return [Look(*row) for row in await connection.fetch(_CLAIM, limit, lease_ms)]


async def done(connection: Connection, looks: Sequence[Look]) -> None:
    """They were looked at. One that was asked for again meanwhile is looked at again."""
    await _settle(connection, looks, _DONE)


async def later(connection: Connection, looks: Sequence[Look], *, after_ms: int) -> None:
    """Look again so much later, or as soon as something is counted."""
    await _settle(connection, looks, _LATER, after_ms)


async def _settle(connection: Connection, looks: Sequence[Look], statement: str, *values: object) -> None:
    """In the order of their keys, as whoever gathers: so nobody waits crosswise."""
    if not looks:
        return
    keys = [[look[nth] for look in looks] for nth in range(3)]
    touches = [look.touches for look in looks]
    async with connection.transaction():
        await connection.execute(_LOCK, *keys)
        await connection.execute(statement, *keys, touches, *values)
        await connection.execute(_RELEASE, *keys, touches)
