"""Which customers' meters are to be looked at, because something was counted, or what is watched has changed.

Aggregators note what they count (`usage.touched`), in the transaction that counts it. `gather` makes looks of that, one
for each customer's meter however often it was touched, so what a look costs is by what has changed and never by how
many customers there are. A look is leased, and goes once somebody has looked since it was last asked for: whoever dies
in between leaves it to the next one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from domain.customers.customer import ON_CLOCK, ON_CLOCK_SEPARATOR
from usage.partials import Connection, bucket_of

TOUCHED_AT_ONCE: Final = 20
AGAIN_MS_MIN: Final = 1_000
AGAIN_MS_MAX: Final = 86_400_000
"""At the latest a look that is put off is taken again, whatever it waits for."""
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
WHERE s.tenant_id = $1 AND ($2::text IS NULL OR s.customer_id = $2) AND ($3::text[] IS NULL OR s.meter_id = ANY($3))
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
_WAKE: Final = """
WITH due AS (
    SELECT k.tenant_id, k.customer_id, k.meter_id FROM usage.looks k
        JOIN log.claims c ON c.tenant_id = k.tenant_id AND c.kind = $2 AND c.value = $3 || k.customer_id
    WHERE k.tenant_id = $1 ORDER BY 1, 2, 3 FOR UPDATE OF k
)
UPDATE usage.looks AS kept SET touches = kept.touches + 1, look_at = least(kept.look_at, clock_timestamp()) FROM due
WHERE (kept.tenant_id, kept.customer_id, kept.meter_id) = (due.tenant_id, due.customer_id, due.meter_id)
"""
_LOOKED: Final = """
unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::int[], $6::bigint[])
    AS looked (tenant_id, customer_id, meter_id, touches, first_bucket, after_ms)
WHERE (kept.tenant_id, kept.customer_id, kept.meter_id) = (looked.tenant_id, looked.customer_id, looked.meter_id)
"""
_DONE: Final = f"DELETE FROM usage.looks AS kept USING {_LOOKED} AND kept.touches = looked.touches"  # noqa: S608  constants
_LATER: Final = f"""
UPDATE usage.looks AS kept SET look_at = clock_timestamp() + looked.after_ms * interval '1 millisecond',
    first_bucket = looked.first_bucket FROM {_LOOKED} AND kept.touches = looked.touches
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
    connection: Connection,
    tenant_id: str,
    *,
    customer_id: str | None,
    meter_ids: Sequence[str] | None,
    first_bucket: int,
) -> None:
    """Have looked at what was ever counted, of one customer or each, by these meters or all; at periods that have
    quarter hours from `first_bucket` on, the running one at any rate.
    """
    meters = None if meter_ids is None else list(meter_ids)
    await connection.execute(_ASK, tenant_id, customer_id, meters, first_bucket)


async def wake(connection: Connection, tenant_id: str, *, clock_id: str) -> None:
    """Take looks of a test clock's customers that were put off, as it has moved."""
    await connection.execute(_WAKE, tenant_id, ON_CLOCK, f"{clock_id}{ON_CLOCK_SEPARATOR}")


async def claim(connection: Connection, *, limit: int, lease_ms: int) -> list[Look]:
    """Lease looks that are due, those that have waited longest."""
    return [Look(*row) for row in await connection.fetch(_CLAIM, limit, lease_ms)]


async def done(connection: Connection, looks: Sequence[Look]) -> None:
    """They were looked at. One that was asked for again meanwhile is looked at again."""
    await _settle(connection, dict.fromkeys(looks, 0), _DONE)


async def later(connection: Connection, looks: Mapping[Look, int]) -> None:
    """Look again after so many milliseconds, or as soon as it is asked for; then from each one's `first_bucket` on."""
    await _settle(connection, looks, _LATER)


async def _settle(connection: Connection, looks: Mapping[Look, int], statement: str) -> None:
    """In the order of their keys, as whoever gathers: so nobody waits crosswise."""
    if not looks:
        return
    keys = [[look[nth] for look in looks] for nth in range(3)]
    asked = [look.touches for look in looks], [look.first_bucket for look in looks], list(looks.values())
    async with connection.transaction():
        await connection.execute(_LOCK, *keys)
        await connection.execute(statement, *keys, *asked)
        await connection.execute(_RELEASE, *keys, *asked)
