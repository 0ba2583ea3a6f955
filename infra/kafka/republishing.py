"""Publishing everything once more, as a new incarnation: consumers start over when it reaches them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import asyncpg

from infra.database import Connection, Role
from infra.kafka.lease import REPUBLISHING, relay_name

HOLD_MS: Final = 600_000
"""Most time between an incarnation's beginning and its first record. If this process ends, it is over at once."""


@contextlib.asynccontextmanager
async def new_incarnation(dsn: str) -> AsyncIterator[int]:
    """Start a new incarnation from the log's first event. No relay publishes until the block is left.

    The leading relay notices that its epoch is over: from here on its sends do not count, and what is done to the
    topics inside the block comes before the new incarnation's first record.
    """
    connection: Connection = await asyncpg.connect(dsn, server_settings={"role": Role.RELAY.value})
    try:
        async with connection.transaction():
            state = await connection.fetchrow(
                "UPDATE relay.state SET incarnation = incarnation + 1, epoch = epoch + 1, position = 0, "
                "partitions = NULL, leader = $1, leader_backend_pid = pg_backend_pid(), "
                "lease_until = clock_timestamp() + $2 * interval '1 millisecond' RETURNING incarnation, epoch",
                f"{REPUBLISHING} {relay_name()}",
                HOLD_MS,
            )
            assert state is not None, "the relay's state is one row"
            await connection.execute("DELETE FROM relay.published")
        yield int(state["incarnation"])
        await connection.execute("UPDATE relay.state SET lease_until = NULL WHERE epoch = $1", state["epoch"])
    finally:
        await connection.close()


async def republish(dsn: str) -> int:
    """Start a new incarnation with the topics as they are. Returns its number."""
    async with new_incarnation(dsn) as incarnation:
        return incarnation
