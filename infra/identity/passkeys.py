"""Passkeys (WebAuthn level 3): a device signs a challenge of ours for the page of our origin, and for no other.

The private key never leaves the device, so neither a dump nor a page that looks like ours gets anything to sign in by.
What a challenge is for and that it is answered once is the matter of one-time tokens: the challenge is one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import webauthn
from asyncpg import UniqueViolationError
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from domain.kernel.identifiers import SECOND_FACTOR
from infra.database import Pool
from infra.identity.factor_proofs import FactorProof, proofs_of
from infra.identity.one_time_tokens import Grant, OneTimeTokens, Purpose
from infra.ids import new_id

NAME: Final = "Tallybook"
CHALLENGE_LASTS: Final = timedelta(minutes=5)
ANSWER_MAX_CHARS: Final = 16_384
"""Longest answer of a device that is looked at, as JSON."""

_THEIRS: Final = """
SELECT s.credential_id FROM access.factor_secrets s JOIN access.second_factors f USING (user_id, factor_id)
WHERE user_id = $1 AND s.kind = 'passkey' ORDER BY s.factor_id
"""
_KEEP: Final = """
INSERT INTO access.factor_secrets (factor_id, user_id, kind, name, credential_id, public_key, use_count, made_at)
VALUES ($1, $2, 'passkey', $3, $4, $5, $6, $7)
"""
# A count that did not rise tells of two devices with one key; two answers that were counted alike cannot both be taken.
_COUNT: Final = """
UPDATE access.factor_secrets SET use_count = $3, used_at = $4 WHERE factor_id = $1 AND use_count = $2 RETURNING true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeySite:
    """Where pages are served, as settings say it: the origin (`https://host[:port]`), never what a request says."""

    origin: str

    @property
    def rp_id(self) -> str:
        """The host, for which devices keep keys."""
        return urlsplit(self.origin).hostname or ""


class Passkeys:
    """The pool's role is `tallybook_access`. Answers of devices are the JSON of `PublicKeyCredential.toJSON()`."""

    def __init__(self, pool: Pool, one_time: OneTimeTokens, site: PasskeySite) -> None:
        self._pool = pool
        self._one_time = one_time
        self._site = site

    async def offer(self, user_id: str, *, account: str, now: datetime) -> Mapping[str, Any]:
        """Options for `navigator.credentials.create()`; good for 5 minutes, and the newest only."""
        # Not what was kept and never became a factor: the device would refuse to try once more.
        known = await self._pool.fetch(_THEIRS, user_id)
        options = webauthn.generate_registration_options(
            rp_id=self._site.rp_id,
            rp_name=NAME,
            user_id=user_id.encode(),
            user_name=account,
            challenge=await self._challenge(user_id, now),
            timeout=CHALLENGE_LASTS // timedelta(milliseconds=1),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.DISCOURAGED,
                user_verification=UserVerificationRequirement.PREFERRED,
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=row[0]) for row in known],
        )
        return _as_json(options)

    async def keep(self, user_id: str, answer: str, *, name: str, now: datetime) -> str | None:
        """Keep the public key that a device made; the id of the factor, None where the answer is not to our offer.

        It counts once `user.second_factor_added` is in the log.
        """
        challenge = await self._answered(user_id, answer, now)
        if challenge is None:
            return None
        try:
            made = webauthn.verify_registration_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=self._site.rp_id,
                expected_origin=self._site.origin,
            )
        except WebAuthnException:
            return None
        factor_id = new_id(SECOND_FACTOR)
        try:
            await self._pool.execute(
                _KEEP, factor_id, user_id, name, made.credential_id, made.credential_public_key, made.sign_count, now
            )
        except UniqueViolationError:
            return None  # somebody's already: devices draw ids that never meet, so it was copied
        return factor_id

    async def ask(self, user_id: str, now: datetime) -> Mapping[str, Any] | None:
        """Options for `navigator.credentials.get()`; None where the user has no passkey."""
        theirs = await self._pool.fetch(_THEIRS, user_id)
        if not theirs:
            return None
        options = webauthn.generate_authentication_options(
            rp_id=self._site.rp_id,
            challenge=await self._challenge(user_id, now),
            timeout=CHALLENGE_LASTS // timedelta(milliseconds=1),
            allow_credentials=[PublicKeyCredentialDescriptor(id=row[0]) for row in theirs],
            user_verification=UserVerificationRequirement.PREFERRED,
        )
        return _as_json(options)

    async def is_theirs(self, user_id: str, answer: str) -> bool:
        """Whether the answer is of a device whose passkey is one of the user's second factors already."""
        return proof_of(await proofs_of(self._pool, user_id), answer) is not None

    async def check(self, user_id: str, proofs: Sequence[FactorProof], answer: str, now: datetime) -> bool:
        """Whether a passkey of the user signed our newest challenge, on our page."""
        challenge = await self._answered(user_id, answer, now)
        proof = proof_of(proofs, answer)
        if challenge is None or proof is None or proof.public_key is None:
            return False
        try:
            verified = webauthn.verify_authentication_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=self._site.rp_id,
                expected_origin=self._site.origin,
                credential_public_key=proof.public_key,
                credential_current_sign_count=proof.use_count,
            )
        except WebAuthnException:
            return False
        counted = (proof.factor_id, proof.use_count, verified.new_sign_count, now)
        return bool(await self._pool.fetchval(_COUNT, *counted))

    async def _challenge(self, user_id: str, now: datetime) -> bytes:
        grant = Grant(purpose=Purpose.PASSKEY, subject_id=user_id)
        return (await self._one_time.make(grant, lasts=CHALLENGE_LASTS, now=now)).encode()

    async def _answered(self, user_id: str, answer: str, now: datetime) -> bytes | None:
        """The challenge that an answer says it answers, if it was made for this user and not answered before."""
        try:
            client_data = json.loads(base64url_to_bytes(_loaded(answer)["response"]["clientDataJSON"]))
            challenge = base64url_to_bytes(client_data["challenge"]).decode()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        grant = await self._one_time.use(challenge, Purpose.PASSKEY, now)
        return challenge.encode() if grant is not None and grant.subject_id == user_id else None


def _loaded(answer: str) -> Any:
    if len(answer) > ANSWER_MAX_CHARS:
        raise ValueError("longer than any device's answer")
    return json.loads(answer)


def proof_of(proofs: Sequence[FactorProof], answer: str) -> FactorProof | None:
    """That of the passkey which an answer says it is of."""
    try:
        credential_id = base64url_to_bytes(_loaded(answer)["id"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return next((each for each in proofs if each.credential_id == credential_id), None)


def _as_json(options: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(webauthn.options_to_json(options))
    return found
