"""The second step of whoever has a second factor: at a log-in, and before what is dangerous."""

from typing import Annotated, Final

from pydantic import Field

from api.http.call import Call
from api.http.card_guard import OpaqueId
from api.http.fields import Body, text
from api.http.problems import SECOND_FACTOR_REQUIRED, WRONG_SECOND_FACTOR, Problem
from api.http.proving import begin, note
from api.http.validation import form
from domain.identity.auth_event import AuthEventKind
from infra.identity.passkeys import ANSWER_MAX_CHARS

SECOND_STEP: Final = (SECOND_FACTOR_REQUIRED, WRONG_SECOND_FACTOR)

PasskeyAnswer = Annotated[
    str,
    form(r"^[ -~]*$", "Must be the browser's answer, as JSON text", min_length=2, max_length=ANSWER_MAX_CHARS),
    OpaqueId(),
]
"""`JSON.stringify(credential)` of what `navigator.credentials` gives."""


class SecondStep(Body):
    """What shows a second factor, where the user has any."""

    code: Annotated[
        str | None,
        text(32),
        OpaqueId(),
        Field(description="Six digits from an authenticator app, or a recovery code."),
    ] = None
    passkey: Annotated[PasskeyAnswer | None, Field(description="The answer to POST /v1/auth/passkey-options.")] = None


async def check_second_step(call: Call, user_id: str, shown: SecondStep) -> None:
    """Raise unless the user has no second factor, or this is one of theirs.

    Its guesses are counted apart from those of the password: who has the password could else begin anew with each.
    """
    identity = call.parts.identity
    factors = identity.second_factors
    proofs = await factors.proofs_of(user_id)
    if not proofs:
        return
    if shown.code is None and shown.passkey is None:
        raise Problem(SECOND_FACTOR_REQUIRED)
    attempt = await begin(call, f"second factor of {user_id}", user_id)
    if not await factors.check(user_id, proofs, code=shown.code, passkey=shown.passkey, now=identity.clock()):
        note(call, AuthEventKind.SECOND_FACTOR_FAILED, user_id=user_id, code=WRONG_SECOND_FACTOR.code)
        raise Problem(WRONG_SECOND_FACTOR)
    await identity.attempts.succeeded(attempt, identity.clock())
