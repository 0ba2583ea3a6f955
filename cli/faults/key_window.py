"""A day passes between a charge and the record of its answer: what the worst of moments for a worker to die leaves
behind, found after the gateway has forgotten the call's key.

The gateway stands still while calls pile up before it; then the workers do, and the gateway goes on: it charges, and
answers nobody. It is killed, and the calls it carried out are a day older for both sides: their keys are forgotten at
the gateway, and here their first run is long past. Then the workers are killed, and others take their work over.
"""

import asyncio
import contextlib
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Final

from domain.kernel.stream import WorkKind
from host.supervisor import Supervisor
from infra.database import CONNECTION_ERRORS, Pool

A_DAY_AND_MORE: Final = timedelta(hours=25)
PILE_UP_S: Final = 0.4
CARRY_OUT_S: Final = 0.4
STORE_TIMEOUT_S: Final = 5.0
CALLS_MAX: Final = 20
"""Calls that grow old at once, at most."""

CALL_KINDS: Final = (WorkKind.PAYMENT_GATEWAY_CALL.value, WorkKind.REFUND_GATEWAY_CALL.value)
STARTED: Final = """
SELECT tenant_id, kind, subject FROM log.due_work
WHERE kind = ANY($1::text[]) AND first_run_at IS NOT NULL AND NOT held ORDER BY first_run_at DESC LIMIT $2
"""
GROW_OLD: Final = """
UPDATE log.due_work SET due_at = due_at - $4::interval, ready_at = ready_at - $4::interval,
    lease_until = lease_until - $4::interval, first_run_at = first_run_at - $4::interval,
    claimed_at = claimed_at - $4::interval
WHERE tenant_id = $1 AND kind = $2 AND subject = $3 AND first_run_at IS NOT NULL RETURNING true
"""
TAKEN: Final = "SELECT EXISTS (SELECT 1 FROM transactions WHERE reference = ?)"
FORGET: Final = "UPDATE answers SET created_ms = created_ms - ? WHERE key = ?"


async def let_a_day_pass(supervisor: Supervisor, pool: Pool, gateway_store: Path) -> int:
    """Make calls that were begun a day older, as far as the gateway carried them out. Returns how many that were."""
    workers = [role.name for role in supervisor.roles if role.role == "processors"]
    (gateway,) = (role.name for role in supervisor.roles if role.role == "gateway")
    try:
        supervisor.pause(gateway)
        await asyncio.sleep(PILE_UP_S)
        for worker in workers:
            supervisor.pause(worker)
        supervisor.resume(gateway)
        await asyncio.sleep(CARRY_OUT_S)
        await supervisor.kill(gateway)
        with contextlib.suppress(*CONNECTION_ERRORS, sqlite3.OperationalError):
            return await _grow_old(pool, gateway_store)
        return 0
    finally:
        supervisor.resume(gateway)
        for worker in workers:
            await supervisor.kill(worker)


async def _grow_old(pool: Pool, gateway_store: Path) -> int:
    rows = await pool.fetch(STARTED, CALL_KINDS, CALLS_MAX)
    past_ms = round(A_DAY_AND_MORE.total_seconds() * 1000)
    old = 0
    # The next gateway waits for its file meanwhile. Only what is old here is forgotten there: the other way round, a
    # key would be gone that was promised to be kept.
    with contextlib.closing(sqlite3.connect(gateway_store, timeout=STORE_TIMEOUT_S)) as store, store:
        store.execute("BEGIN IMMEDIATE")
        for row in rows:
            reference = _reference(row["subject"])
            (taken,) = store.execute(TAKEN, (reference,)).fetchone()
            if taken and await pool.fetchval(GROW_OLD, *row, A_DAY_AND_MORE):
                store.execute(FORGET, (past_ms, reference))
                old += 1
    return old


def _reference(subject: str) -> str:
    """What the gateway calls it: of a payment's call its attempt, of a refund's (`payment/refund`) the refund."""
    return subject.rpartition("/")[2]
