"""I11: who may do what is what the log says: the rows of the schema `access` are the fold of the streams' events, and
whatever is known by a digest is there.

The tables and the head are read as of one moment, so that everything may go on meanwhile.
"""

from typing import Any, Final

from domain.catalogue import STREAMS
from domain.kernel.access import AccessChange, AccessKey, ApiKeyAccess, apply
from infra.access_tables import read_access
from infra.database import Pool
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from schemas.codec import Codec

WINDOW_POSITIONS: Final = 200_000
"""Positions that one statement looks through: few of them are of these streams."""

_EVENTS: Final = """
SELECT tenant_id, stream_type, stream_id, payload FROM log.events
WHERE position > $1 AND position <= $2 AND stream_type = ANY($3::text[]) ORDER BY position
"""
_WITH_ACCESS: Final = {name: stream for name, stream in STREAMS.items() if stream.access is not None}


async def check_access(pool: Pool, codec: Codec, *, progress: Progress = silent) -> Checked:
    """Fold the log and compare. The pool's role is the owner's."""
    findings = Findings(Invariant.ACCESS)
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchval("SELECT position FROM log.head")
        found = await read_access(connection)
        digests = {row[0] for row in await connection.fetch("SELECT key_id FROM access.api_key_digests")}
        known = await connection.fetch(
            "SELECT user_id FROM access.users u WHERE status = 'erased' AND (email_index IS NOT NULL "
            "OR EXISTS (SELECT FROM access.passwords p WHERE p.user_id = u.user_id))"
        )
    wanted = await _folded(pool, codec, head, progress)
    for key in sorted(found.keys() | wanted.keys()):
        findings.count(key[0].replace("_", " "))
        if found.get(key) != wanted.get(key):
            detail = f"the table says {found.get(key)}, the log {wanted.get(key)}"
            findings.differ(key[0], "/".join(key[1:]), detail)
    for change in wanted.values():
        if isinstance(change, ApiKeyAccess) and change.revoked_at is None and change.key_id not in digests:
            findings.differ("api_keys", change.key_id, "it is valid, and nobody can use it: its digest is not there")
    for row in known:
        findings.differ("users", row[0], "erased, and still known by an address or a password")
    return findings.checked()


async def _folded(pool: Pool, codec: Codec, head: int, progress: Progress) -> dict[AccessKey, AccessChange]:
    rows: dict[AccessKey, AccessChange] = {}
    states: dict[tuple[str, str, str], Any] = {}
    for after in range(0, head, WINDOW_POSITIONS):
        upto = min(after + WINDOW_POSITIONS, head)
        for tenant_id, name, stream_id, payload in await pool.fetch(_EVENTS, after, upto, list(_WITH_ACCESS)):
            stream, key = _WITH_ACCESS[name], (tenant_id, name, stream_id)
            event = codec.decode_event(payload)
            state = states[key] = stream.evolve(states.get(key), event)
            assert stream.access is not None
            for change in stream.access(event, state):
                apply(rows, tenant_id, change)
        progress(upto, head)
    return rows
