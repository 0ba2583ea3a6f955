"""How somebody proves who they are: a password that is compared, a token that is used once. What fails is noted."""

import hashlib
from typing import NamedTuple

from api.http.call import Call
from api.http.callers import Caller, check_secure
from api.http.problems import (
    LOG_IN_HELD_BACK,
    ONE_TIME_TOKEN_INVALID,
    PASSWORDS_BUSY,
    Problem,
    ProblemType,
    retry_after,
)
from domain.identity.auth_event import AuthEventKind
from domain.identity.passwords import check_password
from domain.identity.tenant import PLATFORM
from infra.identity.log_in_attempts import Attempt, LogInHeldBack
from infra.identity.one_time_tokens import Grant, Purpose
from infra.identity.password_hashing import HashingBusy, common_passwords
from infra.identity.profiles import Profile, profile_of


class Refused(NamedTuple):
    """What a wrong password is noted as, and answered with."""

    kind: AuthEventKind
    problem: ProblemType


class UsableToken(NamedTuple):
    """What a one-time token gives, and the key under which its command is done once."""

    grant: Grant
    key: str


def caller_of(call: Call) -> Caller:
    """Who is at the other end of an unstored operation."""
    assert call.caller is not None, "unstored operations are told who calls"
    return call.caller


def note(call: Call, kind: AuthEventKind, *, user_id: str | None = None, code: str | None = None) -> None:
    """Note an attempt in the auth log; of a user who is known, for each of their tenants.

    Where somebody else asks, with a credential of their own beside it, neither their tenant nor their session has to do
    with it: it would be told who is behind an address, and the user's own tenants would not be told of the attempt.
    """
    caller, asks = caller_of(call), call.principal
    is_others = user_id is not None and user_id != asks.id
    call.parts.auth_log.record(
        kind,
        tenant_id=PLATFORM if user_id is None else None if is_others else call.tenant_id or None,
        user_id=user_id,
        session_id=None if is_others else asks.session,
        code=code,
        address=caller.address,
        user_agent=caller.user_agent,
        request_id=call.request_id,
    )


def check_room(call: Call) -> None:
    """Raise the 503 of a full queue or of too quick a pace. In a flood most are refused here, which costs no query."""
    try:
        call.parts.identity.hashing.check_room()
    except HashingBusy as busy:
        raise Problem(PASSWORDS_BUSY, headers=retry_after(busy.retry_after_s)) from None


async def begin(call: Call, account: str, user_id: str | None) -> Attempt:
    """Count an attempt on what is counted under this name. Raises the 429 of whoever has to wait."""
    identity = call.parts.identity
    try:
        return await identity.attempts.begin(account, caller_of(call).address, identity.clock())
    except LogInHeldBack as held:
        note(call, AuthEventKind.LOG_IN_DELAYED, user_id=user_id, code=LOG_IN_HELD_BACK.code)
        raise Problem(LOG_IN_HELD_BACK, headers=retry_after(held.retry_after_s)) from None


async def compare(call: Call, email: str, user_id: str | None, password: str, refused: Refused) -> bytes:
    """The hash of the user's password, if this is it. Every answer that says no costs the same, known or not.

    Counted before it is compared, so that guesses are held back however many come at once.
    """
    identity = call.parts.identity
    caller = caller_of(call)
    check_secure(caller)
    check_room(call)
    attempt = await begin(call, email, user_id)
    try:
        password_hash = await identity.passwords.check(user_id, password)
    except HashingBusy as busy:
        await identity.attempts.not_compared(attempt, identity.clock())
        raise Problem(PASSWORDS_BUSY, headers=retry_after(busy.retry_after_s)) from None
    if password_hash is None:
        note(call, refused.kind, user_id=user_id, code=refused.problem.code)
        raise Problem(refused.problem)
    await identity.attempts.succeeded(attempt, identity.clock())
    return password_hash


async def hashed(call: Call, password: str, *, address: str, name: str) -> bytes:
    """What is kept of a new password. Raises InvalidPassword, WeakPassword, and the 503 of a full queue."""
    check_secure(caller_of(call))
    chosen = check_password(password, common=common_passwords(), address=address, name=name)
    try:
        return await call.parts.identity.hashing.hash(chosen)
    except HashingBusy as busy:
        raise Problem(PASSWORDS_BUSY, headers=retry_after(busy.retry_after_s)) from None


async def usable(call: Call, token: str, purpose: Purpose) -> UsableToken:
    """What a token from a link gives. It is used up by `used`, once what it permits is done: whoever is killed in
    between may come again, and the command is done once for its token all the same.
    """
    identity = call.parts.identity
    grant = await identity.one_time.look(token, purpose, identity.clock())
    if grant is None:
        note(call, AuthEventKind.TOKEN_REFUSED, code=ONE_TIME_TOKEN_INVALID.code)
        raise Problem(ONE_TIME_TOKEN_INVALID, param="token")
    return UsableToken(grant, f"{purpose.value}/{hashlib.sha256(token.encode()).hexdigest()}")


async def used(call: Call, token: str, purpose: Purpose) -> None:
    """The token is good no more."""
    await call.parts.identity.one_time.use(token, purpose, call.parts.identity.clock())


async def profile(call: Call, user_id: str) -> Profile:
    """What the vault holds of a user."""
    async with call.parts.reader.of(PLATFORM) as connection:
        return await profile_of(call.parts.vault, connection, user_id)
