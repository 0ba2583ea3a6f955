"""Who may publish: one relay holds the lease; another takes over when it is gone or silent.

Two guards, because each covers what the other cannot: an advisory lock, which PostgreSQL gives back at once when the
leader's connection ends, and a lease time, past which the next relay ends the connection of a leader that is frozen.
The epoch in `relay.state` fences what a former leader still tries to write.
"""

import os
import socket
from dataclasses import dataclass

import asyncpg

ADVISORY_LOCK = 7_345_002


class LeaseLost(Exception):
    """Another relay leads; stop publishing and start over as a follower."""


@dataclass(frozen=True, slots=True)
class Leadership:
    """What a new leader starts from."""

    epoch: int
    incarnation: int
    position: int
    partitions: int | None


def relay_name() -> str:
    """A name for this process that people can find it by."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def try_lead(connection: asyncpg.Connection, *, lease_ms: int) -> Leadership | None:
    """Take the lease on this connection, if it is free or its holder's time is up; None otherwise."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):
        await connection.execute(
            "SELECT pg_terminate_backend(leader_backend_pid) FROM relay.state "
            "WHERE lease_until < clock_timestamp() AND leader_backend_pid <> pg_backend_pid()"
        )
        return None
    row = await connection.fetchrow(
        """UPDATE relay.state SET epoch = epoch + 1, leader = $1, leader_backend_pid = pg_backend_pid(),
               lease_until = clock_timestamp() + $2 * interval '1 millisecond'
           RETURNING epoch, incarnation, position, partitions""",
        relay_name(),
        lease_ms,
    )
    assert row is not None, "relay.state has its one row from the migration on"
    return Leadership(row["epoch"], row["incarnation"], row["position"], row["partitions"])


async def renew(connection: asyncpg.Connection, epoch: int, *, lease_ms: int) -> None:
    """Extend the lease. Raises LeaseLost if another relay leads now."""
    status = await connection.execute(
        "UPDATE relay.state SET lease_until = clock_timestamp() + $2 * interval '1 millisecond' WHERE epoch = $1",
        epoch,
        lease_ms,
    )
    if status != "UPDATE 1":
        raise LeaseLost(f"epoch {epoch} is over")
