"""Invariant I11 over a test's database: the tables of access are what the log folds to."""

from infra.database import Role, open_pool
from infra.settings import DatabaseSettings
from processors.invariants.access import check_access
from schemas.codec import default_codec


async def check_access_holds(dsn: str) -> None:
    """Fail with what differs."""
    pool = await open_pool(dsn, Role.OWNER, DatabaseSettings())
    try:
        found = await check_access(pool, default_codec())
    finally:
        await pool.close()
    assert found.holds, found.named
