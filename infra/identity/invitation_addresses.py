"""Where invitations went: addresses, sealed by the master key, for as long as an invitation is open.

The event that closes it deletes the row in its own commit. What belongs to an invitation that never came about goes
when it would have expired.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from infra.database import Pool
from infra.identity.keyring import Keyring, Use

_KEEP: Final = """
INSERT INTO access.invitation_addresses (tenant_id, invitation_id, sealed, expires_at) VALUES ($1, $2, $3, $4)
"""
_SEALED: Final = """
SELECT invitation_id, sealed FROM access.invitation_addresses WHERE tenant_id = $1 AND invitation_id = ANY($2::text[])
"""


class InvitationAddresses:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    async def keep(self, tenant_id: str, invitation_id: str, address: str, expires_at: datetime) -> None:
        """Keep the address of an invitation that is about to be made."""
        sealed = self._keyring.seal(Use.INVITATIONS, address.encode(), tenant_id, invitation_id)
        await self._pool.execute(_KEEP, tenant_id, invitation_id, sealed, expires_at)

    async def of(self, tenant_id: str, invitation_ids: Sequence[str]) -> Mapping[str, str]:
        """The addresses of those that have one."""
        rows = await self._pool.fetch(_SEALED, tenant_id, list(invitation_ids))
        return {row[0]: self._keyring.open(Use.INVITATIONS, row[1], tenant_id, row[0]).decode() for row in rows}

    async def open_role(self, tenant_id: str, invitation_id: str, now: datetime) -> str | None:
        """What it offers, if it may still be accepted: as of the log's last commit."""
        query = "SELECT role FROM access.invitations WHERE tenant_id = $1 AND invitation_id = $2 AND expires_at > $3"
        role: str | None = await self._pool.fetchval(query, tenant_id, invitation_id, now)
        return role

    async def expired(self, before: datetime, *, limit: int) -> Sequence[tuple[str, str]]:
        """Tenant and id of invitations that expired before this instant and are in nobody's way, the oldest first."""
        query = (
            "SELECT tenant_id, invitation_id FROM access.invitations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2"
        )
        return [(row[0], row[1]) for row in await self._pool.fetch(query, before, limit)]

    async def forget_old(self, before: datetime) -> None:
        """Drop what expired before this instant and was never closed."""
        await self._pool.execute("DELETE FROM access.invitation_addresses WHERE expires_at < $1", before)
