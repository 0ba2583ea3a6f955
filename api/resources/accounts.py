"""How people come in: they register where that is allowed, verify their address, accept invitations. Their profile."""

import contextlib
from datetime import timedelta
from functools import partial
from typing import Annotated, Final

from api import letters
from api.http.call import Call, Parts
from api.http.changes import Clearable
from api.http.fields import Body, Line
from api.http.operations import Operations
from api.http.problems import (
    BUSY,
    INSECURE_CONNECTION,
    LOG_IN_HELD_BACK,
    ONE_TIME_TOKEN_INVALID,
    PASSWORDS_BUSY,
    REGISTRATION_CLOSED,
    WRONG_PASSWORD,
    FieldError,
    Problem,
    invalid,
    retry_after,
)
from api.http.proving import Refused, UsableToken, caller_of, compare, hashed, note, profile, usable, used
from api.http.signing_in import Extras, address_of, issue
from api.http.validation import form
from api.resources.auth import TOKEN_EXAMPLE, Password, Secret
from api.resources.own_sessions import NothingResource, ProfileResource, profile_resource
from api.resources.personal_data import Email, Phone
from domain.identity.auth_event import AuthEventKind
from domain.identity.passwords import InvalidPassword, WeakPassword
from domain.identity.permissions import Permission
from domain.identity.team import (
    AcceptInvitation,
    AlreadyMember,
    InvitationExpired,
    InvitationNotFound,
    TeamIsFull,
    TeamNeedsAdmin,
)
from domain.identity.user import ChangePassword, RegisterUser, UpdateUser, UserStatus, VerifyUser
from domain.kernel.identifiers import USER
from domain.kernel.personal_reference import PersonalDataMoved
from domain.kernel.unchanged import Unchanged
from infra.commitments import Person
from infra.event_store.port import Credential, CredentialKind
from infra.event_store.storage import CredentialMismatch, PersonKeyMismatch
from infra.identity.one_time_tokens import Grant, Purpose
from infra.identity.profiles import seal_profile
from infra.ids import new_id
from infra.mail.port import Letter

PROFILE_TRIES: Final = 30
PAUSE: Final = timedelta(minutes=1)
_NOTHING: Final = {"object": "done"}

ACCOUNTS: Final = Operations(
    tag="accounts", about="How people come in, and what is known of them.", changed_with=Permission.PROFILE_WRITE
)

JOINING: Final = (InvitationNotFound, InvitationExpired, AlreadyMember, TeamIsFull, TeamNeedsAdmin)
"""Why an invitation does not make whoever accepts it a member."""

Locale = Annotated[str, form(r"^[a-z]{2,3}(-[A-Z]{2})?$", "Must be a language like en or en-GB")]


class Registration(Body):
    """Who wants to come in."""

    email: Email
    password: Password
    name: Line


@ACCOUNTS.unstored(
    "POST",
    "/v1/auth/register",
    body=Registration,
    body_example={"email": "ada@example.com", "password": "a sentence that I know", "name": "Ada Lovelace"},
    answers=NothingResource,
    example=_NOTHING,
    status=202,
    refusals=(InvalidPassword, WeakPassword),
    problems=(REGISTRATION_CLOSED, INSECURE_CONNECTION, PASSWORDS_BUSY),
    is_open=True,
)
async def register(call: Call, body: Registration) -> NothingResource:
    """Register by yourself, where the cell allows it; a letter asks whether the address is yours.

    The answer is the same for an address that somebody signs in with already: its owner gets another letter.
    """
    if not call.parts.settings.auth.registration:
        raise Problem(REGISTRATION_CLOSED)
    await call.parts.limits.log_in(caller_of(call).address)
    new = await hashed(call, body.password, address=body.email, name=body.name)
    call.parts.post.send(partial(_registered, call.parts, call.request_id, body, new))
    return {"object": "done"}


async def _registered(parts: Parts, correlation_id: str, body: Registration, password_hash: bytes) -> Letter | None:
    """Register them after the answer, so that its time tells nobody who is known."""
    identity = parts.identity
    found = await identity.users.by_address(body.email)
    now = identity.clock()
    address = body.email if found is None else await address_of(parts, found.user_id)
    if found is not None and found.status == UserStatus.ACTIVE:
        return letters.registered_already(parts.settings, address) if address else None
    if found is not None and found.status != UserStatus.PENDING:
        return None
    user_id = new_id(USER) if found is None else found.user_id
    if found is None:
        await _register(parts, correlation_id, user_id, body.email, body.name, password_hash, is_verified=False)
    # Whoever registers a second time proves nothing by it: the first password stands until the address is verified.
    lasts = timedelta(seconds=parts.settings.auth.verification_lasts_s)
    grant = Grant(purpose=Purpose.VERIFY_EMAIL, subject_id=user_id)
    token = await identity.one_time.make_after_pause(grant, lasts=lasts, now=now, pause=PAUSE)
    return None if token is None else letters.verification(parts.settings, address, token)


async def _register(
    parts: Parts,
    correlation_id: str,
    user_id: str,
    email: str,
    name: str,
    password_hash: bytes,
    *,
    is_verified: bool,
) -> None:
    """Raises CredentialMismatch where another request was faster with the address."""
    sealed = seal_profile(parts.vault, user_id, {"email": email, "name": name}, None)
    credentials = (
        Credential(CredentialKind.EMAIL, user_id, parts.identity.users.index_of(email)),
        Credential(CredentialKind.PASSWORD, user_id, password_hash),
    )
    await issue(
        parts,
        RegisterUser(user_id=user_id, personal=sealed.reference, is_verified=is_verified),
        actor=f"user:{user_id}",
        correlation_id=correlation_id,
        key=f"registered/{user_id}",
        extras=Extras(seals=sealed.rows, credentials=credentials),
    )


class Verification(Body):
    """What the link's fragment bears, and the password that was registered."""

    token: Secret
    password: Password


@ACCOUNTS.unstored(
    "POST",
    "/v1/auth/verify-email",
    body=Verification,
    body_example={"token": TOKEN_EXAMPLE, "password": "a sentence that I know"},
    answers=NothingResource,
    example=_NOTHING,
    problems=(ONE_TIME_TOKEN_INVALID, WRONG_PASSWORD, LOG_IN_HELD_BACK, PASSWORDS_BUSY, INSECURE_CONNECTION),
    is_open=True,
)
async def verify_email(call: Call, body: Verification) -> NothingResource:
    """Say that the address is yours, with the token of the link and the password. From then on you may sign in.

    Somebody else may have registered your address with a password of theirs: it must not become yours. Whoever does not
    know it asks for another one by `forgot-password`, which verifies the address, too.
    """
    token = await usable(call, body.token, Purpose.VERIFY_EMAIL)
    user_id = token.grant.subject_id
    address = (await profile(call, user_id)).text("email")
    refused = Refused(AuthEventKind.LOG_IN_FAILED, WRONG_PASSWORD)
    await compare(call, address, user_id, body.password, refused)
    await _verify(call, token, user_id)
    await used(call, body.token, Purpose.VERIFY_EMAIL)
    return {"object": "done"}


async def _verify(call: Call, token: UsableToken, user_id: str) -> None:
    await issue(
        call.parts,
        VerifyUser(user_id=user_id),
        actor=f"user:{user_id}",
        correlation_id=call.request_id,
        key=f"verified/{token.key}",
    )


class Acceptance(Body):
    """What the link's fragment bears, and the address that was invited. Whoever does not sign in with it yet chooses a
    password.
    """

    token: Secret
    email: Email
    password: Password | None = None
    name: Line | None = None


@ACCOUNTS.unstored(
    "POST",
    "/v1/auth/accept-invitation",
    body=Acceptance,
    body_example={
        "token": TOKEN_EXAMPLE,
        "email": "ada@example.com",
        "password": "a sentence that I know",
        "name": "Ada Lovelace",
    },
    answers=NothingResource,
    example=_NOTHING,
    refusals=(
        InvalidPassword,
        WeakPassword,
        InvitationNotFound,
        InvitationExpired,
        AlreadyMember,
        TeamIsFull,
        TeamNeedsAdmin,
    ),
    problems=(ONE_TIME_TOKEN_INVALID, INSECURE_CONNECTION, PASSWORDS_BUSY),
    is_open=True,
)
async def accept_invitation(call: Call, body: Acceptance) -> NothingResource:
    """Join the team that you were invited to, with the token of the link and the address that it was sent to.

    Whoever signs in with that address already keeps their password; anybody else chooses one, and a name.
    """
    token = await usable(call, body.token, Purpose.INVITATION)
    grant, users = token.grant, call.parts.identity.users
    if grant.email_index != users.index_of(body.email) or grant.tenant_id is None:
        note(call, AuthEventKind.TOKEN_REFUSED, code=ONE_TIME_TOKEN_INVALID.code)
        raise Problem(ONE_TIME_TOKEN_INVALID, param="email")
    found = await users.by_address(body.email)
    if found is None:
        user_id = await _newcomer(call, body)
    else:
        user_id = found.user_id
        if found.status == UserStatus.PENDING:
            await _choose(call, body, token, user_id)
    outcome = await issue(
        call.parts,
        AcceptInvitation(tenant_id=grant.tenant_id, invitation_id=grant.subject_id, user_id=user_id),
        actor=f"user:{user_id}",
        correlation_id=call.request_id,
        key=token.key,
        tenant_id=grant.tenant_id,
    )
    refused = _REFUSALS.get(outcome.refusal_code or "")
    if refused is not None:
        raise refused(invitation=grant.subject_id)
    # They had what was sent to the address, so it is theirs.
    await _verify(call, token, user_id)
    await used(call, body.token, Purpose.INVITATION)
    return {"object": "done"}


_REFUSALS: Final = {
    refusal.code: refusal
    for refusal in (InvitationNotFound, InvitationExpired, AlreadyMember, TeamIsFull, TeamNeedsAdmin)
}


async def _newcomer(call: Call, body: Acceptance) -> str:
    """Register whoever was invited and is no user yet; their id."""
    missing = [name for name in ("password", "name") if getattr(body, name) is None]
    if body.password is None or body.name is None:
        raise invalid([FieldError(name, "required", "A new user needs it") for name in missing])
    new = await hashed(call, body.password, address=body.email, name=body.name)
    user_id = new_id(USER)
    try:
        await _register(call.parts, call.request_id, user_id, body.email, body.name, new, is_verified=True)
    except CredentialMismatch:
        # Sent twice, and the other request was faster.
        found = await call.parts.identity.users.by_address(body.email)
        if found is None:
            raise Problem(BUSY, headers=retry_after(1)) from None
        return found.user_id
    return user_id


async def _choose(call: Call, body: Acceptance, token: UsableToken, user_id: str) -> None:
    """Let whoever was invited choose the password of a user whose address nobody has verified: the one that is there
    may be that of somebody else, who registered it before them.
    """
    if body.password is None:
        raise invalid([FieldError("password", "required", "A user who was never verified needs a new one")])
    known = await profile(call, user_id)
    new = await hashed(call, body.password, address=body.email, name=known.text("name"))
    await issue(
        call.parts,
        ChangePassword(user_id=user_id),
        actor=f"user:{user_id}",
        correlation_id=call.request_id,
        key=f"chosen/{token.key}",
        extras=Extras(credentials=(Credential(CredentialKind.PASSWORD, user_id, new),)),
    )


class ProfileChange(Body):
    """What is to change of yourself; null clears it. The address that you sign in with is changed by an ADMIN."""

    name: Clearable[Line]
    phone: Clearable[Phone]
    locale: Clearable[Locale]


@ACCOUNTS.unstored(
    "PATCH",
    "/v1/auth/profile",
    body=ProfileChange,
    body_example={"locale": "en-GB"},
    answers=ProfileResource,
    example={
        "id": "user_01m7ywe9z7e398x54gfbrtqnk7",
        "object": "profile",
        "email": "ada@example.com",
        "name": "Ada Lovelace",
        "phone": None,
        "locale": "en-GB",
    },
)
async def update_profile(call: Call, body: ProfileChange) -> ProfileResource:
    """Change your name, telephone number or language. What is said a second time changes nothing."""
    named = {name: getattr(body, name) for name in ProfileChange.model_fields}
    given: Person = {name: value for name, value in named.items() if not isinstance(value, Unchanged)}
    for _ in range(PROFILE_TRIES):
        # Another request was faster: look at what it left.
        with contextlib.suppress(PersonKeyMismatch, PersonalDataMoved):
            await _update(call, given)
            return await profile_resource(call, call.principal.id)
    raise Problem(BUSY, headers=retry_after(1))


async def _update(call: Call, given: Person) -> None:
    user_id = call.principal.id
    known = await profile(call, user_id)
    if {**known.person, **given} == known.person:
        return
    sealed = seal_profile(call.parts.vault, user_id, {**known.person, **given}, known.key)
    command = UpdateUser(user_id=user_id, personal=sealed.reference, based_on=known.reference)
    await issue(
        call.parts,
        command,
        actor=call.actor,
        correlation_id=call.request_id,
        key=f"profile/{sealed.reference.reference}",
        extras=Extras(seals=sealed.rows),
    )
