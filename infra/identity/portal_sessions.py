"""Customers in the portal: let in by a link of their merchant's, for an hour, to what is their own."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from domain.kernel.identifiers import PORTAL_SESSION
from domain.kernel.tenant_mode import TenantMode
from infra.database import Pool
from infra.identity.one_time_tokens import Purpose
from infra.identity.secret_tokens import digest_of, draw
from infra.ids import new_id

_LIVE: Final = "s.ended_at IS NULL AND s.ends_at > $2 AND NOT access.is_erased_customer(s.tenant_id, s.customer_id)"
# The code is used and the visit begun by one statement: whoever withdraws the code and then ends the visits came before
# it, or finds the visit. Of twenty at once one gets the code's row.
_ENTER: Final = """
WITH used AS (
    UPDATE access.one_time_tokens SET used_at = $2
    WHERE sha256 = $1 AND purpose = $3 AND used_at IS NULL AND expires_at > $2
    RETURNING tenant_id, subject_id, plan_ids
)
INSERT INTO access.portal_sessions (session_id, tenant_id, customer_id, plan_ids, cookie_sha256, started_at, ends_at)
SELECT $4, tenant_id, subject_id, plan_ids, $5, $2, $6 FROM used JOIN access.tenants USING (tenant_id)
WHERE NOT access.is_erased_customer(tenant_id, subject_id)
RETURNING true
"""
_FIND: Final = f"""
SELECT s.session_id, s.tenant_id, s.customer_id, s.plan_ids, s.ends_at, t.mode,
    t.suspended_at IS NOT NULL AS is_suspended
FROM access.portal_sessions s JOIN access.tenants t USING (tenant_id) WHERE s.cookie_sha256 = $1 AND {_LIVE}
"""  # noqa: S608  from this file
# Every process that remembers the session is told with the commit.
_END: Final = """
WITH ended AS (
    UPDATE access.portal_sessions SET ended_at = $1
    WHERE ended_at IS NULL AND ends_at > $1 AND {whose} RETURNING session_id
)
SELECT count(*), CASE WHEN count(*) > 0 THEN pg_notify('tallybook_access', '') END FROM ended
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSession:
    """A customer's visit. `plan_ids` are those that they may subscribe to in it; None: whichever they name."""

    session_id: str
    tenant_id: str
    customer_id: str
    plan_ids: frozenset[str] | None
    mode: TenantMode
    is_suspended: bool
    ends_at: datetime


class PortalSessions:
    """The pool's role is `tallybook_access`. An erased customer has no session, whatever the rows say."""

    def __init__(self, pool: Pool, *, lasts: timedelta) -> None:
        self._pool = pool
        self._lasts = lasts

    async def enter(self, code: str, now: datetime) -> str | None:
        """Use a link's code up, and begin the visit that it lets in: the secret for the cookie, shown once. None where
        the code is used, replaced, withdrawn or over, or the customer was erased meanwhile.
        """
        digest, secret = digest_of(code), draw()
        if digest is None:
            return None
        values = (new_id(PORTAL_SESSION), digest_of(secret), now + self._lasts)
        return secret if await self._pool.fetchval(_ENTER, digest, now, Purpose.PORTAL, *values) else None

    async def by_cookie(self, secret: str, now: datetime) -> PortalSession | None:
        """Whose visit a cookie's secret is."""
        digest = digest_of(secret)
        return None if digest is None else _session(await self._pool.fetchrow(_FIND, digest, now))

    async def end(self, session_id: str, now: datetime) -> None:
        """The customer leaves."""
        await self._pool.fetch(_END.format(whose="session_id = $2"), now, session_id)

    async def end_all(self, tenant_id: str, customer_id: str, now: datetime) -> int:
        """End all of a customer's; how many there were."""
        query = _END.format(whose="tenant_id = $2 AND customer_id = $3")
        found: int = await self._pool.fetchval(query, now, tenant_id, customer_id)
        return found

    async def forget_old(self, before: datetime) -> None:
        """Drop those that were over before this instant."""
        await self._pool.execute("DELETE FROM access.portal_sessions WHERE ends_at < $1", before)


def _session(row: asyncpg.Record | None) -> PortalSession | None:
    if row is None:
        return None
    return PortalSession(
        session_id=row["session_id"],
        tenant_id=row["tenant_id"],
        customer_id=row["customer_id"],
        plan_ids=None if row["plan_ids"] is None else frozenset(row["plan_ids"]),
        mode=TenantMode(row["mode"]),
        is_suspended=row["is_suspended"],
        ends_at=row["ends_at"],
    )
