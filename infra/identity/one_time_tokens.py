"""Tokens that are used once: resets, invitations, verifications, first log-ins. Stored as SHA-256, shown once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from infra.database import Pool
from infra.identity.secret_tokens import digest_of, draw


class Purpose(StrEnum):
    """What a token is for; it is good for nothing else."""

    RESET_PASSWORD = "reset_password"  # noqa: S105  a purpose
    INVITATION = "invitation"
    VERIFY_EMAIL = "verify_email"
    FIRST_LOG_IN = "first_log_in"
    PORTAL = "portal"
    SECOND_FACTOR = "second_factor"
    PASSKEY = "passkey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token gives. `subject_id` is the user, invitation or customer it is about.

    `email_index` binds it to an address (32 bytes, the keyed index of it); whoever uses it must name the same.
    `plan_ids` are those that a customer at the portal may subscribe to; None: whichever they name.
    """

    purpose: Purpose
    subject_id: str
    tenant_id: str | None = None
    role: str | None = None
    email_index: bytes | None = None
    plan_ids: tuple[str, ...] | None = None


# One unused token per purpose and subject: a new one takes the row of the one before, so only the newest letter's link
# works, whoever makes them at once.
_MAKE: Final = """
INSERT INTO access.one_time_tokens
    (sha256, purpose, subject_id, tenant_id, role, email_index, plan_ids, expires_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (purpose, subject_id) WHERE used_at IS NULL DO UPDATE SET
    sha256 = excluded.sha256, tenant_id = excluded.tenant_id, role = excluded.role,
    email_index = excluded.email_index, plan_ids = excluded.plan_ids,
    expires_at = excluded.expires_at, created_at = excluded.created_at
"""
_MAKE_AFTER_PAUSE: Final = f"{_MAKE} WHERE one_time_tokens.created_at <= $10 RETURNING true"
# Of twenty at once, one gets the row: the others wait for its lock and then see that it is used.
_USE: Final = """
UPDATE access.one_time_tokens SET used_at = $4
WHERE sha256 = $1 AND purpose = $2 AND ($3::bytea IS NULL OR email_index = $3) AND used_at IS NULL AND expires_at > $4
RETURNING purpose, subject_id, tenant_id, role, email_index, plan_ids
"""
_LOOK: Final = """
SELECT purpose, subject_id, tenant_id, role, email_index, plan_ids FROM access.one_time_tokens
WHERE sha256 = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3
"""
_WITHDRAW: Final = """
DELETE FROM access.one_time_tokens WHERE subject_id = $1 AND purpose = ANY ($2) AND used_at IS NULL
"""


class OneTimeTokens:
    """The pool's role is `tallybook_access`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def make(self, grant: Grant, *, lasts: timedelta, now: datetime) -> str:
        """A new token; an unused one of the same purpose and subject is good no more."""
        secret = draw()
        await self._pool.execute(_MAKE, *_row(secret, grant, lasts, now))
        return secret

    async def make_after_pause(self, grant: Grant, *, lasts: timedelta, now: datetime, pause: timedelta) -> str | None:
        """The same; None where an unused one is younger than the pause: a letter with it is on its way. Of many at once
        one is made.
        """
        secret = draw()
        is_made = await self._pool.fetchval(_MAKE_AFTER_PAUSE, *_row(secret, grant, lasts, now), now - pause)
        return secret if is_made else None

    async def use(
        self, token: str, purpose: Purpose, now: datetime, *, email_index: bytes | None = None
    ) -> Grant | None:
        """Use it up; None where it is used, replaced, over, for something else, or of another address.

        A token that is bound to an address and presented for another one stays unused.
        """
        digest = digest_of(token)
        row = None if digest is None else await self._pool.fetchrow(_USE, digest, purpose, email_index, now)
        return None if row is None else _grant(*row)

    async def look(self, token: str, purpose: Purpose, now: datetime) -> Grant | None:
        """What it would give, without using it: for the page that asks for the new password."""
        digest = digest_of(token)
        row = None if digest is None else await self._pool.fetchrow(_LOOK, digest, purpose, now)
        return None if row is None else _grant(*row)

    async def withdraw(self, subject_id: str, *purposes: Purpose) -> None:
        """Make what is still unused good for nothing: at a new password, an erasure, a withdrawal."""
        await self._pool.execute(_WITHDRAW, subject_id, list(purposes))

    async def forget_old(self, before: datetime) -> None:
        """Drop what was over before this instant."""
        await self._pool.execute("DELETE FROM access.one_time_tokens WHERE expires_at < $1", before)


def _row(secret: str, grant: Grant, lasts: timedelta, now: datetime) -> tuple[object, ...]:
    whose = (grant.purpose, grant.subject_id, grant.tenant_id, grant.role, grant.email_index)
    plan_ids = None if grant.plan_ids is None else list(grant.plan_ids)
    return digest_of(secret), *whose, plan_ids, now + lasts, now


def _grant(
    purpose: str,
    subject_id: str,
    tenant_id: str | None,
    role: str | None,
    email_index: bytes | None,
    plan_ids: list[str] | None,
) -> Grant:
    return Grant(
        purpose=Purpose(purpose),
        subject_id=subject_id,
        tenant_id=tenant_id,
        role=role,
        email_index=email_index,
        plan_ids=None if plan_ids is None else tuple(plan_ids),
    )
