"""Access tokens: JWTs signed with RS256 (RFC 9068), for programs.

A token is looked at in an order that bounds what a stranger's costs: its length, its form, its header, its key, its
signature, and only then its claims. Our header has exactly `alg`, `kid` and `typ`. Whatever else a foreign issuer's has
(Entra's `nonce` and `x5t`) is ignored, as RFC 7515 wants it, unless it is critical, or brings or names a key. What is
wrong with a token is for logs; whoever sent it is told that it is not valid.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from infra.identity.foreign_issuers import ForeignIssuers
from infra.identity.signing_keys import ALGORITHM, KeysAt
from infra.ids import new_id
from infra.settings import AuthSettings

TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  a media type
UNTYPED: Final = "JWT"
FOREIGN_TYPES: Final = frozenset({"at+jwt", "jwt"})
TOKEN_ID: Final = "jti_"  # noqa: S105  a prefix
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_HEADER_NAMES: Final = frozenset({"alg", "kid", "typ"})
_REFUSED_NAMES: Final = ("crit", "jku", "jwk", "x5u", "x5c")
"""What a header may not hold, whoever signed it: what must be understood and is not (RFC 7515, 4.1.11), and what brings
a key or says where one is, for keys are taken from nowhere but the issuer's file (RFC 8725, 3.10).
"""
_HEADER_MAX_CHARS: Final = 512
_YEAR_S: Final = 365 * 86_400
_TEXT_CLAIMS: Final = ("sub", "tid", "role", "sid", "jti")
_REGISTRY: Final = JWSRegistry(algorithms=[ALGORITHM])
_FOREIGN_REGISTRY: Final = JWSRegistry(algorithms=[ALGORITHM], strict_check_header=False)


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

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._foreign = ForeignIssuers(settings)

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
        if set(opened.header) != _HEADER_NAMES:
            raise InvalidToken("header")
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
        if not _is_foreign_type(header.get("typ", UNTYPED)):
            raise InvalidToken("typ")
        key = self._foreign.key(issuer, header["kid"])
        if key is None:
            raise InvalidToken("kid")
        claims = self._claims(token, key, issuer, now, ("sub",), registry=_FOREIGN_REGISTRY)
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
        for name in _REFUSED_NAMES:
            if name in header:
                raise InvalidToken(name)
        if not all(isinstance(header.get(name), str) for name in ("alg", "kid")):
            raise InvalidToken("header")
        if header["alg"] != ALGORITHM:
            raise InvalidToken("alg")
        return _Opened(header=header, issuer=claims.get("iss"))

    def _claims(
        self,
        token: str,
        key: RSAKey,
        issuer: str,
        now: datetime,
        texts: Sequence[str],
        *,
        registry: JWSRegistry = _REGISTRY,
    ) -> Mapping[str, Any]:
        try:
            claims = jwt.decode(token, key, registry=registry).claims
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


def _is_foreign_type(named: object) -> bool:
    """Whether a token is meant for an API: by its type, or by none, as Okta's are; never one of another purpose."""
    return isinstance(named, str) and named.lower().removeprefix("application/") in FOREIGN_TYPES


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
