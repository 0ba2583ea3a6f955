"""Sessions as the API starts and ends them, and what the log is told of both.

A session starts with its event, and only then gets its row: whoever is killed between the two leaves an event of a
session that nobody has a secret of, and never a session that the log does not know. It ends the other way round: the
row first, so that it is over whatever happens next, and the event afterwards, by whichever process comes to it.
"""

import contextlib
import hashlib
from functools import partial
from typing import Final, NamedTuple

from api import letters
from api.http.call import Call, Parts
from api.http.problems import BUSY, WRONG_CREDENTIALS, Problem, retry_after, unavailable
from api.http.replies import Header
from domain.identity.browser import SESSION_COOKIE, cookie, expired_cookie
from domain.identity.refreshing import EndReason, SessionKind
from domain.identity.session import EndSession, ReportTokenReuse, StartSession, UserMayNotSignIn
from domain.identity.tenant import PLATFORM
from domain.kernel.stream import Command
from infra.database import CONNECTION_ERRORS
from infra.event_store.port import Credential, Outcome, QueueFull, Request, SealedPerson, StoreUnavailable
from infra.identity.profiles import profile_of
from infra.identity.sessions import Session, Started
from infra.mail.port import Letter

NO_COOKIE: Final[Header] = (b"set-cookie", expired_cookie(SESSION_COOKIE).encode())
"""The header by which a browser forgets its session."""
ENDS_TOLD_AT_ONCE: Final = 100
IDENTITY_ACTOR: Final = "identity"
"""Who does what nobody in particular asked for: a session's end is recorded after it was ended."""


class Extras(NamedTuple):
    """What goes into the vault and the schema `access` beside a command."""

    seals: SealedPerson | None = None
    credentials: tuple[Credential, ...] = ()


_NOTHING: Final = Extras()


async def issue(
    parts: Parts,
    command: Command,
    *,
    actor: str,
    correlation_id: str,
    key: str,
    tenant_id: str = PLATFORM,
    extras: Extras = _NOTHING,
    request: bytes = b"",
) -> Outcome:
    """Take a command about users or sessions to the log, once for its key. `request` tells what was asked for, where
    the command itself does not say all of it.
    """
    asked = hashlib.sha256(repr(type(command).__name__).encode() + request).digest()
    try:
        return await parts.writer.submit(
            Request(
                tenant_id=tenant_id,
                idempotency_key=f"identity/{key}",
                request_hash=asked,
                command=command,
                actor=actor,
                correlation_id=correlation_id,
                seals=extras.seals,
                credentials=extras.credentials,
            )
        )
    except QueueFull as full:
        raise Problem(BUSY, headers=retry_after(full.retry_after_ms // 1000)) from None
    except StoreUnavailable:
        raise unavailable(is_command=False) from None


async def start_session(
    call: Call,
    user_id: str,
    kind: SessionKind,
    *,
    tenant_id: str | None = None,
    password_hash: bytes | None = None,
) -> Started:
    """Start a session of whoever has proved who they are. Raises UserMayNotSignIn, and the 401 of a password that was
    changed while it was compared.
    """
    identity = call.parts.identity
    planned = identity.sessions.plan(user_id, kind, identity.clock(), tenant_id=tenant_id)
    session_id = planned.session_id
    command = StartSession(session_id=session_id, user_id=user_id, expires_at=planned.ends_at)
    outcome = await issue(
        call.parts, command, actor=f"user:{user_id}", correlation_id=call.request_id, key=f"started/{session_id}"
    )
    if outcome.refusal_code is not None:
        raise UserMayNotSignIn(user=user_id)
    started = await identity.sessions.begin(planned, password_hash=password_hash)
    if started is None:
        await _record_end(call.parts, EndSession(session_id=session_id, reason=EndReason.PASSWORD_CHANGED))
        raise Problem(WRONG_CREDENTIALS)
    return started


def cookie_of(call: Call, session: Session, secret: str) -> Header:
    """The header by which a browser gets its session."""
    now = call.parts.identity.clock()
    return b"set-cookie", cookie(SESSION_COOKIE, secret, ends_at=session.ends_at, now=now).encode()


async def end_session(call: Call, session_id: str, reason: EndReason = EndReason.LOGGED_OUT) -> None:
    """End a session; the log is told of it."""
    identity = call.parts.identity
    await identity.sessions.end(session_id, reason, identity.clock())
    await ended_here(call.parts)


async def ended_here(parts: Parts) -> None:
    """Sessions were ended by this process: it believes in none of them any more, not even until it hears so itself."""
    parts.credentials.forget_sessions()
    await tell_ended(parts)


async def tell_ended(parts: Parts) -> None:
    """Tell the log of sessions whose rows have ended. What cannot be told now is told by whoever comes here next."""
    sessions = parts.identity.sessions
    with contextlib.suppress(Problem, *CONNECTION_ERRORS):
        for ended in await sessions.untold(limit=ENDS_TOLD_AT_ONCE):
            command: EndSession | ReportTokenReuse = EndSession(session_id=ended.session_id, reason=ended.reason)
            if ended.reason is EndReason.TOKEN_REUSED:
                command = ReportTokenReuse(session_id=ended.session_id, generation=ended.generation)
            outcome = await _record_end(parts, command)
            if ended.reason is EndReason.TOKEN_REUSED and not outcome.replayed:
                parts.post.send(partial(_reused_letter, parts, ended.user_id))
            await sessions.told(ended.session_id)


async def _reused_letter(parts: Parts, user_id: str) -> Letter | None:
    address = await address_of(parts, user_id)
    return letters.token_reused(parts.settings, address) if address else None


async def address_of(parts: Parts, user_id: str) -> str:
    """Where a user's letters go: the address that was proved to be theirs. What somebody typed who asks for a letter
    may be found under the same index and be another mailbox all the same. Empty for a user who was erased.
    """
    async with parts.reader.of(PLATFORM) as connection:
        return (await profile_of(parts.vault, connection, user_id)).text("email")


async def _record_end(parts: Parts, command: EndSession | ReportTokenReuse) -> Outcome:
    session_id = command.session_id
    return await issue(parts, command, actor=IDENTITY_ACTOR, correlation_id=session_id, key=f"ended/{session_id}")
