"""Passwords: entered again before what is dangerous, changed, forgotten, chosen anew by a link."""

from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

from typing_extensions import TypedDict

from api import letters
from api.http.call import Call, Parts
from api.http.fields import Body
from api.http.operations import Operations
from api.http.problems import (
    INSECURE_CONNECTION,
    LOG_IN_HELD_BACK,
    ONE_TIME_TOKEN_INVALID,
    PASSWORDS_BUSY,
    WRONG_PASSWORD,
    Problem,
)
from api.http.proving import Refused, caller_of, compare, hashed, note, profile, usable, used
from api.http.replies import Header, Reply, json_reply
from api.http.second_step import SECOND_STEP, SecondStep, check_second_step
from api.http.signing_in import Extras, address_of, cookie_of, ended_here, issue
from api.resources.auth import TOKEN_EXAMPLE, Password, Secret
from api.resources.own_sessions import NothingResource
from api.resources.personal_data import Email
from domain.identity.auth_event import AuthEventKind
from domain.identity.passwords import InvalidPassword, WeakPassword
from domain.identity.permissions import Permission
from domain.identity.refreshing import SessionKind
from domain.identity.user import ChangePassword, UserStatus, VerifyUser
from infra.event_store.port import Credential, CredentialKind
from infra.identity.one_time_tokens import Grant, Purpose
from infra.ids import new_id
from infra.mail.port import Letter

PAUSE: Final = timedelta(minutes=1)
"""Between two letters to one address: nobody fills another's mailbox."""
_NOTHING: Final = {"object": "done"}
_CHECKED: Final = (INSECURE_CONNECTION, LOG_IN_HELD_BACK, PASSWORDS_BUSY, WRONG_PASSWORD)

PASSWORDS: Final = Operations(
    tag="passwords", about="Passwords of people who sign in.", changed_with=Permission.PROFILE_WRITE
)


class PasswordConfirmation(SecondStep):
    """The password, entered again, and a second factor of whoever has one."""

    password: Password


class ConfirmationResource(TypedDict):
    """Until when what asks for a password that was entered lately is open."""

    object: Literal["confirmation"]
    confirmed_at: datetime
    confirmed_until: datetime


@PASSWORDS.unstored(
    "POST",
    "/v1/auth/confirm-password",
    body=PasswordConfirmation,
    body_example={"password": "a sentence that I know"},
    answers=ConfirmationResource,
    example={
        "object": "confirmation",
        "confirmed_at": "2026-03-01T12:00:00Z",
        "confirmed_until": "2026-03-01T12:15:00Z",
    },
    problems=(*_CHECKED, *SECOND_STEP),
)
async def confirm_password(call: Call, body: PasswordConfirmation) -> Reply:
    """Enter your password again, before what is dangerous (403 `password_confirmation_required`).

    The session may do it for 15 minutes from then. A browser's gets a new secret.
    """
    await _compare_own(call, body.password)
    await check_second_step(call, call.principal.id, body)
    identity, session_id = call.parts.identity, _session_of(call)
    now = identity.clock()
    await identity.sessions.confirm(session_id, now)
    call.parts.credentials.forget_sessions()
    until = now + timedelta(seconds=call.parts.settings.auth.confirmed_s)
    value: ConfirmationResource = {"object": "confirmation", "confirmed_at": now, "confirmed_until": until}
    return json_reply(200, value, await _renewed(call, session_id))


class PasswordChange(Body):
    """The password as it is, and as it is to be."""

    current_password: Password
    new_password: Password


@PASSWORDS.unstored(
    "POST",
    "/v1/auth/change-password",
    body=PasswordChange,
    body_example={"current_password": "a sentence that I know", "new_password": "another sentence that I know"},
    answers=NothingResource,
    example=_NOTHING,
    refusals=(InvalidPassword, WeakPassword),
    problems=_CHECKED,
)
async def change_password(call: Call, body: PasswordChange) -> Reply:
    """Change your password. All your other sessions are over with it."""
    user_id, session_id = call.principal.id, _session_of(call)
    await _compare_own(call, body.current_password)
    known = await profile(call, user_id)
    new = await hashed(call, body.new_password, address=known.text("email"), name=known.text("name"))
    await issue(
        call.parts,
        ChangePassword(user_id=user_id),
        actor=call.actor,
        correlation_id=call.request_id,
        key=f"changed/{new_id('pwd_')}",
        extras=Extras(credentials=(Credential(CredentialKind.PASSWORD, user_id, new, keeps=session_id),)),
    )
    # A link that was asked for before would set yet another one.
    await call.parts.identity.one_time.withdraw(user_id, Purpose.RESET_PASSWORD)
    await ended_here(call.parts)
    return json_reply(200, _NOTHING, await _renewed(call, session_id))


async def _compare_own(call: Call, password: str) -> None:
    """Raise unless it is the password of whoever asks; guesses are counted like those of a log-in."""
    user_id = call.principal.id
    address = (await profile(call, user_id)).text("email")
    refused = Refused(AuthEventKind.CONFIRMATION_FAILED, WRONG_PASSWORD)
    await compare(call, address, user_id, password, refused)


def _session_of(call: Call) -> str:
    assert call.principal.session is not None, "only users hold the permission"
    return call.principal.session


async def _renewed(call: Call, session_id: str) -> list[Header]:
    """The cookie with a new secret, where the session is a browser's: whoever has the old one has nothing."""
    identity = call.parts.identity
    now = identity.clock()
    session = await identity.sessions.by_id(session_id, now)
    if session is None or session.kind is not SessionKind.BROWSER:
        return []
    secret = await identity.sessions.renew_cookie(session_id, now)
    call.parts.credentials.forget_sessions()
    return [] if secret is None else [cookie_of(call, session, secret)]


class Forgotten(Body):
    """The address that the user signs in with."""

    email: Email


@PASSWORDS.unstored(
    "POST",
    "/v1/auth/forgot-password",
    body=Forgotten,
    body_example={"email": "ada@example.com"},
    answers=NothingResource,
    example=_NOTHING,
    status=202,
    is_open=True,
)
async def forgot_password(call: Call, body: Forgotten) -> NothingResource:
    """Ask for a link to choose another password: it is sent to the address, if somebody signs in with it.

    The answer is the same whether somebody does. The link is good once, for an hour, and the newest one alone.
    """
    await call.parts.limits.log_in(caller_of(call).address)
    note(call, AuthEventKind.RESET_ASKED)
    call.parts.post.send(partial(_reset_letter, call.parts, body.email))
    return {"object": "done"}


async def _reset_letter(parts: Parts, email: str) -> Letter | None:
    identity = parts.identity
    user = await identity.users.by_address(email)
    if user is None or user.status not in (UserStatus.ACTIVE, UserStatus.PENDING):
        return None
    now, address = identity.clock(), await address_of(parts, user.user_id)
    if not address:
        return None
    lasts = timedelta(seconds=parts.settings.auth.reset_lasts_s)
    grant = Grant(purpose=Purpose.RESET_PASSWORD, subject_id=user.user_id)
    token = await identity.one_time.make_after_pause(grant, lasts=lasts, now=now, pause=PAUSE)
    return None if token is None else letters.reset(parts.settings, address, token)


class Reset(Body):
    """What the link's fragment bears, and the new password."""

    token: Secret
    password: Password


@PASSWORDS.unstored(
    "POST",
    "/v1/auth/reset-password",
    body=Reset,
    body_example={"token": TOKEN_EXAMPLE, "password": "another sentence that I know"},
    answers=NothingResource,
    example=_NOTHING,
    refusals=(InvalidPassword, WeakPassword),
    problems=(ONE_TIME_TOKEN_INVALID, INSECURE_CONNECTION, PASSWORDS_BUSY),
    is_open=True,
)
async def reset_password(call: Call, body: Reset) -> NothingResource:
    """Choose another password, with the token of the link. All sessions of the user are over with it."""
    caller_of(call)
    token = await usable(call, body.token, Purpose.RESET_PASSWORD)
    user_id = token.grant.subject_id
    known = await profile(call, user_id)
    new = await hashed(call, body.password, address=known.text("email"), name=known.text("name"))
    outcome = await issue(
        call.parts,
        ChangePassword(user_id=user_id),
        actor=f"user:{user_id}",
        correlation_id=call.request_id,
        key=token.key,
        extras=Extras(credentials=(Credential(CredentialKind.PASSWORD, user_id, new),)),
    )
    await used(call, body.token, Purpose.RESET_PASSWORD)
    is_done = outcome.refusal_code is None
    if outcome.replayed:
        # Whoever did it before may have lost the answer, or have chosen another one.
        is_done = await call.parts.identity.passwords.check(user_id, body.password) is not None
    if not is_done:
        raise Problem(ONE_TIME_TOKEN_INVALID, param="token")
    # They had what was sent to the address, so it is theirs.
    await issue(
        call.parts,
        VerifyUser(user_id=user_id),
        actor=f"user:{user_id}",
        correlation_id=call.request_id,
        key=f"verified/{token.key}",
    )
    await ended_here(call.parts)
    return {"object": "done"}
