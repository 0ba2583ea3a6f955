"""Access tokens: JWTs signed with RS256 (RFC 9068), for programs.

A token is looked at in an order that bounds what a stranger's costs: its length, its form, its header (exactly `alg`,
`kid` and `typ`: none that names or brings a key, and nothing critical), its key, its signature, and only then its
claims. What is wrong with it is for logs; whoever sent it is told that it is not valid.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from infra.identity.signing_keys import ALGORITHM, KeysAt
from infra.ids import new_id
from infra.settings import AuthSettings, SettingsError

TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  a media type
FOREIGN_TYPES: Final = ("at+jwt", "JWT")
TOKEN_ID: Final = "jti_"  # noqa: S105  a prefix
FOREIGN_KEY_MIN_BITS: Final = 2048
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_HEADER_NAMES: Final = {"alg", "kid", "typ"}
_HEADER_MAX_CHARS: Final = 512
_YEAR_S: Final = 365 * 86_400
_TEXT_CLAIMS: Final = ("sub", "tid", "role", "sid", "jti")
_REGISTRY: Final = JWSRegistry(algorithms=[ALGORITHM])


class InvalidToken(Exception):
    """The token is not valid; `reason` is for logs and tests, never for the answer."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What one of our tokens says. The role that counts is the membership's at the request."""

    user_id: str
    tenant_id: str
    role: str
    session_id: str
    token_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignToken:
    """What a token of a foreign issuer says: who it is there. What they may do here is ours to say."""

    issuer: str
    subject: str
    expires_at: datetime
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    header: Mapping[str, Any]
    issuer: object


class AccessTokens:
    """Signs and verifies. Keys are handed in (`SigningKeys.at`), and so is the time."""

    def __init__(self, settings: AuthSettings, foreign: Mapping[str, KeySet] | None = None) -> None:
        self._settings = settings
        self._foreign = foreign if foreign is not None else foreign_issuers(settings)

    def believes(self, issuer: str) -> bool:
        """Whether tokens of this foreign issuer are verified."""
        return issuer in self._foreign

    def sign(self, keys: KeysAt, *, user_id: str, tenant_id: str, role: str, session_id: str, now: datetime) -> str:
        """A token of a session, until `access_token_s` from now. Raises NoSigningKey."""
        active = keys.active
        issued_at = int(now.timestamp())
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": user_id,
            "tid": tenant_id,
            "role": role,
            "sid": session_id,
            "iat": issued_at,
            "exp": issued_at + self._settings.access_token_s,
            "jti": new_id(TOKEN_ID),
        }
        header = {"alg": ALGORITHM, "kid": active.kid, "typ": TOKEN_TYPE}
        return jwt.encode(header, claims, active.key, registry=_REGISTRY)

    def key_id(self, token: str) -> str | None:
        """The key that it names, unless it is a foreign issuer's: for a look whether the keys at hand are too old."""
        opened = self._opened(token)
        return None if opened.issuer in self._foreign else str(opened.header["kid"])

    def verify(self, keys: KeysAt, token: str, now: datetime) -> AccessToken | ForeignToken:
        """What a token says. Raises InvalidToken."""
        opened = self._opened(token)
        if isinstance(opened.issuer, str) and opened.issuer in self._foreign:
            return self._verify_foreign(opened.issuer, opened.header, token, now)
        if opened.header["typ"] != TOKEN_TYPE:
            raise InvalidToken("typ")
        key = keys.verifying(opened.header["kid"])
        if key is None:
            raise InvalidToken("kid")
        claims = self._claims(token, key, self._settings.issuer, now, _TEXT_CLAIMS)
        return AccessToken(
            user_id=claims["sub"],
            tenant_id=claims["tid"],
            role=claims["role"],
            session_id=claims["sid"],
            token_id=claims["jti"],
            expires_at=_instant(claims["exp"], now),
        )

    def _verify_foreign(self, issuer: str, header: Mapping[str, Any], token: str, now: datetime) -> ForeignToken:
        if header["typ"] not in FOREIGN_TYPES:
            raise InvalidToken("typ")
        key = next((key for key in self._foreign[issuer] if key.kid == header["kid"]), None)
        if not isinstance(key, RSAKey):
            raise InvalidToken("kid")
        claims = self._claims(token, key, issuer, now, ("sub",))
        return ForeignToken(
            issuer=issuer, subject=claims["sub"], expires_at=_instant(claims["exp"], now), claims=claims
        )

    def _opened(self, token: str) -> _Opened:
        """The header, and the issuer that the claims name: which keys are to prove it, and nothing else."""
        if len(token) > self._settings.token_max_chars:
            raise InvalidToken("length")
        found = _FORM.fullmatch(token)
        if found is None or len(found[1]) > _HEADER_MAX_CHARS:
            raise InvalidToken("form")
        header, claims = _json(found[1]), _json(found[2])
        if set(header) != _HEADER_NAMES or not all(isinstance(value, str) for value in header.values()):
            raise InvalidToken("header")
        if header["alg"] != ALGORITHM:
            raise InvalidToken("alg")
        return _Opened(header=header, issuer=claims.get("iss"))

    def _claims(self, token: str, key: RSAKey, issuer: str, now: datetime, texts: Sequence[str]) -> Mapping[str, Any]:
        try:
            claims = jwt.decode(token, key, registry=_REGISTRY).claims
            JWTClaimsRegistry(
                now=int(now.timestamp()),
                leeway=self._settings.token_leeway_s,
                iss={"essential": True, "value": issuer},
                aud={"essential": True, "value": self._settings.audience},
                iat={"essential": True},
                exp={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken(getattr(error, "error", "") or type(error).__name__) from error
        for name in texts:
            if not isinstance(claims.get(name), str) or not claims[name]:
                raise InvalidToken(f"missing {name}")
        return claims


def foreign_issuers(settings: AuthSettings) -> Mapping[str, KeySet]:
    """The issuers of the setting, each with the keys of its file. Raises SettingsError."""
    found: dict[str, KeySet] = {}
    for pair in filter(None, (part.strip() for part in settings.foreign_issuers.split(","))):
        issuer, _, name = (part.strip() for part in pair.partition("="))
        if not issuer or not name or issuer == settings.issuer or issuer in found:
            raise SettingsError(
                "TALLYBOOK_AUTH_FOREIGN_ISSUERS is a list of issuer=file, such as "
                f"https://login.example.com=/etc/tallybook/login.jwks, each issuer once and not our own; not {pair!r}."
            )
        found[issuer] = _key_set(name)
    return found


def _key_set(name: str) -> KeySet:
    about = f"TALLYBOOK_AUTH_FOREIGN_ISSUERS: {name}"
    try:
        document = json.loads(Path(name).read_bytes())
        keys = KeySet.import_key_set(document)
        is_named = all(key.get("kid") for key in document["keys"])
    except (OSError, JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(f"{about} does not hold a JSON Web Key Set: {error}") from error
    for key in keys:
        if not isinstance(key, RSAKey) or key.public_key.key_size < FOREIGN_KEY_MIN_BITS:
            raise SettingsError(f"{about} may hold RSA keys of {FOREIGN_KEY_MIN_BITS} bits or more, and nothing else.")
        if key.is_private:
            raise SettingsError(f"{about} holds a private key, which is nobody's but the issuer's. Leave it out.")
    if not is_named:
        raise SettingsError(f"{about} holds a key without `kid`; tokens name their key by it.")
    return keys


def _json(text: str) -> dict[str, Any]:
    """A part of a token. Names that stand twice are refused: two readers could take one each."""
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), object_pairs_hook=_once)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidToken("json") from error
    if not isinstance(found, dict):
        raise InvalidToken("json")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _instant(unix_s: float, now: datetime) -> datetime:
    """An expiry; one beyond a year, and so beyond any calendar, is a year from now."""
    return datetime.fromtimestamp(min(unix_s, int(now.timestamp()) + _YEAR_S), tz=UTC)
