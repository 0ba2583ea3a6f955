"""Who is signed in: the user of a live session, and the tenants whose member they are as of now.

One query tells all of it, from the tables that events write in their own commit. Whoever is suspended, removed or
demoted is so with the next request that asks here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from domain.identity.permissions import Role
from domain.kernel.tenant_mode import TenantMode
from infra.database import Pool
from infra.identity.keyring import Keyring, email_index, subject_digest
from infra.identity.secret_tokens import digest_of
from infra.identity.sessions import COLUMNS, Session, session_of

_MEMBERSHIPS: Final = """
SELECT m.tenant_id, m.role, t.name, t.mode, t.suspended_at IS NOT NULL AS is_suspended
FROM access.memberships m JOIN access.tenants t USING (tenant_id) WHERE m.user_id = {user} ORDER BY m.tenant_id
"""
# Whoever looks after the cell, in the tenant that they entered last, if that was less than an hour ago and they are no
# member of it. They are in one at a time: of two that are entered at once, the later counts.
_ENTRIES: Final = """
SELECT e.tenant_id, 'super_admin' AS role, t.name, t.mode, t.suspended_at IS NOT NULL AS is_suspended, e.ends_at,
       e.is_revealed
FROM access.entries e JOIN access.tenants t USING (tenant_id) JOIN access.users u USING (user_id)
WHERE e.user_id = s.user_id AND e.ends_at > $2 AND u.is_super_admin
    AND NOT EXISTS (SELECT FROM access.memberships m WHERE m.tenant_id = e.tenant_id AND m.user_id = e.user_id)
ORDER BY e.ends_at DESC, e.tenant_id LIMIT 1
"""
_BY_SUBJECT: Final = """
SELECT l.user_id, m.tenant_id, m.role, t.name, t.mode, t.suspended_at IS NOT NULL AS is_suspended
FROM access.identity_links l JOIN access.memberships m USING (tenant_id, user_id)
    JOIN access.tenants t USING (tenant_id) JOIN access.users u USING (user_id)
WHERE l.subject_digest = $1 AND u.status = 'active' ORDER BY m.tenant_id
"""
_SIGNED_IN: Final = f"""
SELECT {COLUMNS}, (SELECT is_super_admin FROM access.users u WHERE u.user_id = s.user_id) AS is_super_admin,
    (SELECT coalesce(json_agg(row_to_json(e)), '[]') FROM ({_ENTRIES}) e) AS entries,
    (SELECT coalesce(json_agg(row_to_json(m)), '[]') FROM ({_MEMBERSHIPS.format(user="s.user_id")}) m)
    AS memberships
FROM access.sessions s
WHERE {{found}} AND ended_at IS NULL AND least(idle_ends_at, ends_at) > $2
    AND EXISTS (SELECT FROM access.users u WHERE u.user_id = s.user_id AND u.status = 'active')
"""  # noqa: S608  from this file
_BY_COOKIE: Final = _SIGNED_IN.format(found="cookie_sha256 = $1")
_BY_ID: Final = _SIGNED_IN.format(found="session_id = $1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A user's place in a tenant."""

    tenant_id: str
    name: str
    role: Role
    mode: TenantMode
    is_suspended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A tenant that its user, who looks after the cell, is in until `ends_at`; `is_revealed`: seeing people plain."""

    membership: Membership
    ends_at: datetime
    is_revealed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A live session of an active user, and where they are a member."""

    session: Session
    memberships: Sequence[Membership]
    is_super_admin: bool = False
    entered: Sequence[Entered] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUser:
    """A user as log-in finds them, by their address."""

    user_id: str
    status: str


class Users:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    async def by_cookie(self, secret: str, now: datetime) -> SignedIn | None:
        """Whose cookie's secret it is."""
        digest = digest_of(secret)
        return None if digest is None else _signed_in(await self._pool.fetchrow(_BY_COOKIE, digest, now))

    async def by_session(self, session_id: str, now: datetime) -> SignedIn | None:
        """Whose session it is, as an access token names it."""
        return _signed_in(await self._pool.fetchrow(_BY_ID, session_id, now))

    async def by_subject(self, issuer: str, subject: str) -> Sequence[tuple[str, Membership]]:
        """Whom a foreign issuer's subject is linked with: in each tenant that says so, an active user and member."""
        rows = await self._pool.fetch(_BY_SUBJECT, subject_digest(self._keyring, issuer, subject))
        return [(str(row["user_id"]), _membership(dict(row))) for row in rows]

    async def by_address(self, address: str) -> FoundUser | None:
        """The user of an e-mail address, whatever their status."""
        return await self.by_index(self.index_of(address))

    async def by_index(self, index: bytes) -> FoundUser | None:
        """The same, by the keyed digest of the address."""
        row = await self._pool.fetchrow("SELECT user_id, status FROM access.users WHERE email_index = $1", index)
        return None if row is None else FoundUser(user_id=row[0], status=row[1])

    def index_of(self, address: str) -> bytes:
        """The keyed digest of an address."""
        return email_index(self._keyring, address)

    async def memberships(self, user_id: str) -> Sequence[Membership]:
        """Where the user is a member."""
        return [_membership(dict(row)) for row in await self._pool.fetch(_MEMBERSHIPS.format(user="$1"), user_id)]


def _signed_in(row: asyncpg.Record | None) -> SignedIn | None:
    if row is None:
        return None
    memberships = [_membership(each) for each in json.loads(row["memberships"])]
    entered = [
        Entered(
            membership=_membership(each),
            ends_at=datetime.fromisoformat(each["ends_at"]),
            is_revealed=bool(each["is_revealed"]),
        )
        for each in json.loads(row["entries"])
    ]
    return SignedIn(
        session=session_of(row),
        memberships=memberships,
        is_super_admin=bool(row["is_super_admin"]),
        entered=entered,
    )


def _membership(row: dict[str, Any]) -> Membership:
    return Membership(
        tenant_id=str(row["tenant_id"]),
        name=str(row["name"]),
        role=Role(row["role"]),
        mode=TenantMode(row["mode"]),
        is_suspended=bool(row["is_suspended"]),
    )
