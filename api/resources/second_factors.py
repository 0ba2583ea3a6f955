"""A user's own second factors: authenticator apps, passkeys, and recovery codes for when both are lost."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from typing_extensions import TypedDict

from api import letters
from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import Body, NoBody, text
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.problems import (
    LOG_IN_HELD_BACK,
    NO_PASSKEY,
    PASSWORDS_BUSY,
    SECOND_FACTOR_NOT_SHOWN,
    WRONG_CREDENTIALS,
    Problem,
)
from api.http.proving import Refused, caller_of, check_room, compare, profile
from api.http.second_step import PasskeyAnswer
from api.http.signing_in import Extras, issue
from api.http.validation import form
from api.resources.auth import Password
from api.resources.personal_data import Email
from domain.identity.auth_event import AuthEventKind
from domain.identity.permissions import Permission
from domain.identity.second_factors import (
    FactorKind,
    SecondFactorAlreadyExists,
    SecondFactorNotFound,
    TooManySecondFactors,
)
from domain.identity.user import AddSecondFactor, RemoveSecondFactor, UserIsErased, UserStatus
from domain.kernel.identifiers import ID_CHARS, SECOND_FACTOR
from infra.event_store.port import Credential, CredentialKind
from infra.identity.second_factors import OwnFactor
from infra.mail.port import Letter

_ID: Final = "fac_01m7ywe9z7e398x54gfbrtqnk7"
FactorId = Annotated[
    str, form(rf"^{SECOND_FACTOR}[0-9a-hjkmnp-tv-z]{{{ID_CHARS}}}$", "Must be the id of a second factor")
]

FACTORS: Final = Operations(
    tag="second factors",
    about="What a user shows besides the password: a code of an authenticator app, or a passkey.",
    path_ids={"second_factor_id": SECOND_FACTOR},
    seen_with=Permission.PROFILE_READ,
    changed_with=Permission.PROFILE_WRITE,
)
Name = Annotated[str, text(60)]


class SecondFactorResource(TypedDict):
    """A second factor. From its first one on, a user does not sign in by the password alone."""

    id: str
    object: Literal["second_factor"]
    kind: FactorKind
    name: str
    created: datetime
    last_used_at: datetime | None


class SecondFactorsResource(TypedDict):
    """A user's second factors, and how many recovery codes are left."""

    object: Literal["second_factors"]
    data: list[SecondFactorResource]
    recovery_codes_left: int


class AddedResource(TypedDict):
    """A second factor that was added. With the first one come recovery codes, which are shown once."""

    object: Literal["second_factor_added"]
    id: str
    recovery_codes: list[str] | None


class RecoveryCodesResource(TypedDict):
    """Ten codes, each good once, in the place of a second factor that is lost. Shown once."""

    object: Literal["recovery_codes"]
    recovery_codes: list[str]


class AppOfferResource(TypedDict):
    """The secret of a new authenticator app, shown once: `uri` is what the QR code holds, `secret` what is typed."""

    object: Literal["totp_offer"]
    id: str
    secret: str
    uri: str


class RemovedResource(TypedDict):
    """It is gone, and what proved it."""

    object: Literal["second_factor_removed"]
    id: str


_FACTOR: Final = {
    "id": _ID,
    "object": "second_factor",
    "kind": "totp",
    "name": "Telephone",
    "created": "2026-03-01T12:00:00Z",
    "last_used_at": None,
}
_CODES: Final = ["mfrgg-zdfmz", "twq2l-kmfrg"]
_ADDED: Final = {"object": "second_factor_added", "id": _ID, "recovery_codes": _CODES}


class NewApp(Body):
    """An app to be: what its user calls it."""

    name: Name = "Authenticator app"


class AppCode(Body):
    """The first code that the app shows."""

    id: FactorId
    code: Annotated[str, text(16), OpaqueId()]


class NewPasskey(Body):
    """The answer of `navigator.credentials.create()` as JSON text, and what its user calls the device."""

    name: Name = "Passkey"
    answer: PasskeyAnswer


class PasskeyLogIn(Body):
    """Who is about to sign in with a passkey as second factor."""

    email: Email
    password: Password


def _resource(factor: OwnFactor) -> SecondFactorResource:
    return {
        "id": factor.factor_id,
        "object": "second_factor",
        "kind": factor.kind,
        "name": factor.name,
        "created": factor.made_at,
        "last_used_at": factor.used_at,
    }


@FACTORS.query(
    "/v1/auth/second-factors",
    answers=SecondFactorsResource,
    example={"object": "second_factors", "data": [_FACTOR], "recovery_codes_left": 10},
    parameters=NoParameters,
)
async def list_second_factors(call: Call, _asked: NoParameters) -> SecondFactorsResource:
    """List your own second factors."""
    factors, user_id = call.parts.identity.second_factors, call.principal.id
    return {
        "object": "second_factors",
        "data": [_resource(each) for each in await factors.of_user(user_id)],
        "recovery_codes_left": await factors.recovery.left(user_id),
    }


@FACTORS.unstored(
    "POST",
    "/v1/auth/second-factors/totp",
    body=NewApp,
    body_example={"name": "Telephone"},
    answers=AppOfferResource,
    example={
        "object": "totp_offer",
        "id": _ID,
        "secret": "MFRGGZDFMZTWQ2LK",
        "uri": "otpauth://totp/Tallybook:ada%40example.com?secret=MFRGGZDFMZTWQ2LK&issuer=Tallybook",
    },
    wants_password=True,
)
async def offer_totp(call: Call, body: NewApp) -> AppOfferResource:
    """Begin to add an authenticator app: show the secret as a QR code, then confirm with the first code.

    Until then it is no second factor.
    """
    identity, user_id = call.parts.identity, call.principal.id
    account = (await profile(call, user_id)).text("email") or user_id
    offer = await identity.second_factors.apps.offer(user_id, account=account, name=body.name, now=identity.clock())
    return {"object": "totp_offer", "id": offer.factor_id, "secret": offer.secret, "uri": offer.uri}


@FACTORS.unstored(
    "POST",
    "/v1/auth/second-factors/totp/confirm",
    body=AppCode,
    body_example={"id": _ID, "code": "123456"},
    answers=AddedResource,
    example=_ADDED,
    refusals=(TooManySecondFactors, SecondFactorAlreadyExists),
    problems=(SECOND_FACTOR_NOT_SHOWN,),
    wants_password=True,
)
async def confirm_totp(call: Call, body: AppCode) -> AddedResource:
    """Add the authenticator app, by a code that it shows: from now on a log-in asks for one."""
    identity, user_id = call.parts.identity, call.principal.id
    if not await identity.second_factors.apps.confirm(user_id, body.id, body.code, identity.clock()):
        if any(each.factor_id == body.id for each in await identity.second_factors.proofs_of(user_id)):
            raise SecondFactorAlreadyExists(second_factor=body.id)
        raise Problem(SECOND_FACTOR_NOT_SHOWN, param="code")
    return await _added(call, body.id, FactorKind.TOTP)


@FACTORS.unstored(
    "POST",
    "/v1/auth/second-factors/passkey",
    body=NoBody,
    answers=dict[str, Any],
    example={"rp": {"id": "billing.example.com", "name": "Tallybook"}, "challenge": "bWZyZ2c…"},
    wants_password=True,
)
async def offer_passkey(call: Call, _body: NoBody) -> object:
    """Begin to add a passkey: the answer is what `navigator.credentials.create()` takes, good for 5 minutes."""
    identity, user_id = call.parts.identity, call.principal.id
    account = (await profile(call, user_id)).text("email") or user_id
    return await identity.second_factors.passkeys.offer(user_id, account=account, now=identity.clock())


@FACTORS.unstored(
    "POST",
    "/v1/auth/second-factors/passkey/confirm",
    body=NewPasskey,
    body_example={"name": "Key on my ring", "answer": "{}"},
    answers=AddedResource,
    example=_ADDED,
    refusals=(TooManySecondFactors, SecondFactorAlreadyExists),
    problems=(SECOND_FACTOR_NOT_SHOWN,),
    wants_password=True,
)
async def confirm_passkey(call: Call, body: NewPasskey) -> AddedResource:
    """Add the passkey that the device has made: from now on a log-in asks for it."""
    identity, user_id = call.parts.identity, call.principal.id
    factor_id = await identity.second_factors.passkeys.keep(user_id, body.answer, name=body.name, now=identity.clock())
    if factor_id is None:
        if await identity.second_factors.passkeys.is_theirs(user_id, body.answer):
            raise SecondFactorAlreadyExists
        raise Problem(SECOND_FACTOR_NOT_SHOWN, param="answer")
    return await _added(call, factor_id, FactorKind.PASSKEY)


async def _added(call: Call, factor_id: str, kind: FactorKind) -> AddedResource:
    """The recovery codes of a first factor are kept in its own commit, so that there is none without them."""
    recovery, user_id = call.parts.identity.second_factors.recovery, call.principal.id
    drawn = recovery.draw(user_id)
    outcome = await issue(
        call.parts,
        AddSecondFactor(user_id=user_id, factor_id=factor_id, kind=kind),
        actor=call.actor,
        correlation_id=call.request_id,
        key=f"factor/{factor_id}/{call.request_id}",
        extras=Extras(credentials=(Credential(CredentialKind.RECOVERY_CODES, user_id, drawn.digests),)),
    )
    for refusal in (TooManySecondFactors, SecondFactorAlreadyExists, UserIsErased):
        if outcome.refusal_code == refusal.code:
            raise refusal
    # Of first ones that came at once one was the first: only what is kept is shown.
    codes = [*drawn.codes] if await recovery.are_kept(user_id, drawn) else None
    await _tell(call)
    return {"object": "second_factor_added", "id": factor_id, "recovery_codes": codes}


@FACTORS.unstored(
    "DELETE",
    "/v1/auth/second-factors/{second_factor_id}",
    body=NoBody,
    answers=RemovedResource,
    example={"object": "second_factor_removed", "id": _ID},
    refusals=(SecondFactorNotFound,),
    wants_password=True,
)
async def remove_second_factor(call: Call, _body: NoBody) -> RemovedResource:
    """Remove a second factor of yours. With the last one go the recovery codes."""
    factor_id = call.id("second_factor_id", SECOND_FACTOR, SecondFactorNotFound)
    command = RemoveSecondFactor(user_id=call.principal.id, factor_id=factor_id)
    key = f"factor-removed/{factor_id}/{call.request_id}"
    outcome = await issue(call.parts, command, actor=call.actor, correlation_id=call.request_id, key=key)
    if outcome.refusal_code is not None:
        raise SecondFactorNotFound(second_factor=factor_id)
    await _tell(call)
    return {"object": "second_factor_removed", "id": factor_id}


@FACTORS.unstored(
    "POST",
    "/v1/auth/recovery-codes",
    body=NoBody,
    answers=RecoveryCodesResource,
    example={"object": "recovery_codes", "recovery_codes": _CODES},
    refusals=(SecondFactorNotFound,),
    wants_password=True,
)
async def make_recovery_codes(call: Call, _body: NoBody) -> RecoveryCodesResource:
    """Make ten new recovery codes; those before are good no more."""
    factors, user_id = call.parts.identity.second_factors, call.principal.id
    codes = await factors.recovery.replace(user_id)
    if codes is None:
        raise SecondFactorNotFound
    await _tell(call)
    return {"object": "recovery_codes", "recovery_codes": [*codes]}


@FACTORS.unstored(
    "POST",
    "/v1/auth/passkey-options",
    body=PasskeyLogIn,
    body_example={"email": "ada@example.com", "password": "a sentence that I know"},
    answers=dict[str, Any],
    example={"rpId": "billing.example.com", "challenge": "bWZyZ2c…", "allowCredentials": []},
    problems=(WRONG_CREDENTIALS, LOG_IN_HELD_BACK, PASSWORDS_BUSY, NO_PASSKEY),
    is_open=True,
)
async def ask_passkey(call: Call, body: PasskeyLogIn) -> object:
    """Ask for what `navigator.credentials.get()` takes, to sign in or to confirm with a passkey; good for 5 minutes.

    It takes the password: whose account has which passkeys is told to nobody else.
    """
    identity = call.parts.identity
    await call.parts.limits.log_in(caller_of(call).address)
    check_room(call)
    user = await identity.users.by_address(body.email)
    refused = Refused(AuthEventKind.LOG_IN_FAILED, WRONG_CREDENTIALS)
    await compare(call, body.email, None if user is None else user.user_id, body.password, refused)
    assert user is not None, "nobody's password is never right"
    options = None
    if user.status == UserStatus.ACTIVE:
        options = await identity.second_factors.passkeys.ask(user.user_id, identity.clock())
    if options is None:
        raise Problem(NO_PASSKEY)
    return options


async def _tell(call: Call) -> None:
    """Whoever did not do it themselves learns of it by mail."""
    address = (await profile(call, call.principal.id)).text("email")

    async def letter() -> Letter | None:
        return letters.second_factors_changed(call.parts.settings, address) if address else None

    call.parts.post.send(letter)
