"""What identity needs done now and then: the next signing key made, ends told to the log, what is over dropped.

Every API process does all of it. Each piece is one statement that another process may have done a moment before.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime, timedelta
from typing import Final

import structlog

from api.http.call import Parts
from api.http.problems import Problem
from api.http.signing_in import IDENTITY_ACTOR, issue, tell_ended
from domain.identity.team import WithdrawInvitation
from infra.database import CONNECTION_ERRORS
from infra.identity.invitation_addresses import InvitationAddresses
from infra.identity.opening import Identity
from infra.rate_limits.postgres import forget_full

TELL_EVERY_S: Final = 60.0
HOURLY: Final = 60
"""Of such rounds, how many make an hour."""
CLEARED_AT_ONCE: Final = 100
"""Invitations that are cleared away in a round."""
USED_KEPT: Final = timedelta(days=30)
"""So long a token that was used or is over is known, so that whoever asks why it does not work can be told; and so long
an invitation is shown as expired."""

_log: Final = structlog.stdlib.get_logger("api")


@contextlib.asynccontextmanager
async def keeping_up(parts: Parts) -> AsyncIterator[None]:
    """Do it at once, and then every minute or hour, for as long as the process serves."""
    task = asyncio.create_task(_keep_up(parts))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_up(parts: Parts) -> None:
    while True:
        for number in range(HOURLY):
            if number == 0:
                await _done("hourly", hourly(parts.identity))
                await _done("invitations", clear_expired(parts, parts.identity.clock()))
                await _done("rates", forget_full(parts.access_pool))
            await _done("ends", tell_ended(parts))
            await asyncio.sleep(TELL_EVERY_S)


async def hourly(identity: Identity) -> None:
    """Make the signing key that is due, and drop what is over."""
    now = identity.clock()
    await identity.signing.keep_up(now)
    await identity.one_time.forget_old(now - USED_KEPT)
    await identity.sessions.forget_old(now - USED_KEPT)
    await identity.second_factors.forget_old(now - USED_KEPT)
    await identity.portal.forget_old(now - USED_KEPT)
    await identity.attempts.forget_old(now)
    await InvitationAddresses(identity.pool, identity.keyring).forget_old(now)


async def clear_expired(parts: Parts, now: datetime) -> None:
    """Withdraw invitations that have been over for long: with the event their rows go, and what is left of the link."""
    identity = parts.identity
    invitations = InvitationAddresses(identity.pool, identity.keyring)
    with contextlib.suppress(Problem):
        for tenant_id, invitation_id in await invitations.expired(now - USED_KEPT, limit=CLEARED_AT_ONCE):
            await issue(
                parts,
                WithdrawInvitation(tenant_id=tenant_id, invitation_id=invitation_id, by=None),
                actor=IDENTITY_ACTOR,
                correlation_id=invitation_id,
                key=f"expired/{invitation_id}",
                tenant_id=tenant_id,
            )


async def _done(what: str, work: Awaitable[None]) -> None:
    try:
        await work
    except CONNECTION_ERRORS as error:
        _log.warning("identity_upkeep_waits", what=what, why=type(error).__name__)
