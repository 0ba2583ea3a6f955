"""Who may publish: one relay leads; another takes over when the leader's connection is gone or its time is up.

A leader that was killed has lost its connection, and is replaced at once; one that is frozen keeps it, and is replaced
when its lease runs out. The epoch in `relay.state` fences what a former leader still tries to write.
"""

import os
import socket
from dataclasses import dataclass
from typing import Final

from infra.database import Connection

REPUBLISHING: Final = "republishing"
"""What the name of a holder begins with that publishes nothing itself, but has everything published anew."""


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


def told_of_lease(*, led: bool, leader: str | None, incarnation: int) -> str:
    """What people should know of the lease; "" where a relay holds it."""
    if leader is not None and leader.startswith(REPUBLISHING):
        now = "holds the lease" if led else "has given the lease back, and a relay takes it next"
        return f"incarnation {incarnation} begins: `tallybook relay republish` {now}"
    return "" if led else "no relay holds the lease"


async def try_lead(connection: Connection, *, lease_ms: int) -> Leadership | None:
    """Take the lease for this connection if nobody has it; None otherwise."""
    row = await connection.fetchrow(
        """UPDATE relay.state SET epoch = epoch + 1, leader = $1, leader_backend_pid = pg_backend_pid(),
               lease_until = clock_timestamp() + $2 * interval '1 millisecond'
           WHERE lease_until IS NULL OR lease_until < clock_timestamp()
               OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = leader_backend_pid)
           RETURNING epoch, incarnation, position, partitions""",
        relay_name(),
        lease_ms,
    )
    return None if row is None else Leadership(row["epoch"], row["incarnation"], row["position"], row["partitions"])


async def renew(connection: Connection, epoch: int, *, lease_ms: int) -> None:
    """Extend the lease. Raises LeaseLost if another relay leads now."""
    status = await connection.execute(
        "UPDATE relay.state SET lease_until = clock_timestamp() + $2 * interval '1 millisecond' WHERE epoch = $1",
        epoch,
        lease_ms,
    )
    if status != "UPDATE 1":
        raise LeaseLost(f"epoch {epoch} is over")
