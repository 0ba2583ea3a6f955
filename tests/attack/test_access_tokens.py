"""Access tokens that are not ours, not for us, not now, or that bring a key along: each is refused, and cheaply."""

import base64
import hmac
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet, RSAKey
from structlog.testing import capture_logs

from domain.identity.key_rotation import KeyState
from infra.identity.access_tokens import AccessToken, AccessTokens, ForeignToken, InvalidToken
from infra.identity.foreign_issuers import ForeignIssuers
from infra.identity.signing_keys import KeysAt, SigningKey
from infra.settings import AuthSettings, SettingsError
from testing.credentials import DAY, NOW, SECOND, USER

ISSUER = "https://login.example.com"


@cache
def rsa(kid: str) -> RSAKey:
    """A key of this name, made when it is first used."""
    return RSAKey.generate_key(2048, {"kid": kid, "alg": "RS256", "use": "sig"}, private=True)


@cache
def keys() -> KeysAt:
    """One that verifies still, the one that signs, and one that does not yet."""
    states = {"retired": KeyState.RETIRED, "ours": KeyState.ACTIVE, "next": KeyState.NEXT}
    return KeysAt(
        at=NOW,
        keys=[
            SigningKey(number=number, kid=kid, key=rsa(kid), state=state)
            for number, (kid, state) in enumerate(states.items(), start=1)
        ],
    )


def public(kid: str) -> dict[str, Any]:
    """What everybody may know of a key."""
    return dict(rsa(kid).as_dict(private=False))


SETTINGS = AuthSettings()
TOKENS = AccessTokens(SETTINGS)
ISSUED = int(NOW.timestamp())
HEADER = {"alg": "RS256", "kid": "ours", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": "tallybook",
    "aud": "tallybook-api",
    "sub": USER,
    "tid": "acme",
    "role": "admin",
    "sid": "ses_1",
    "iat": ISSUED,
    "exp": ISSUED + 3600,
    "jti": "jti_1",
}


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def signed(header: object, claims: object, key: str = "ours") -> str:
    """A token with whatever header and claims, rightly signed."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{b64(head)}.{b64(body)}"
    algorithm = jws.JWSRegistry.algorithms["RS256"]
    return f"{text}.{b64(algorithm.sign(text.encode(), rsa(key)))}"


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key != name}


def hmac_signed(secret: bytes) -> str:
    """HS256 under the bytes of our public key, which everybody has: right for whoever believes the header's alg."""
    header = {"alg": "HS256", "kid": "ours", "typ": "at+jwt"}
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(CLAIMS).encode())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"


def test_a_token_of_ours_says_who_it_is() -> None:
    token = TOKENS.sign(keys(), user_id=USER, tenant_id="acme", role="admin", session_id="ses_1", now=NOW)
    told = TOKENS.verify(keys(), token, NOW)
    assert isinstance(told, AccessToken)
    assert (told.user_id, told.tenant_id, told.role, told.session_id) == (USER, "acme", "admin", "ses_1")
    assert told.expires_at == NOW + 3600 * SECOND
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]
    )
    assert header == HEADER
    assert set(claims) == set(CLAIMS)
    assert TOKENS.key_id(token) == "ours"
    assert len(token) < SETTINGS.token_max_chars / 2


def test_the_tokens_that_the_attacks_are_made_of_would_pass() -> None:
    assert isinstance(TOKENS.verify(keys(), signed(HEADER, CLAIMS), NOW), AccessToken)
    assert isinstance(TOKENS.verify(keys(), signed({**HEADER, "kid": "retired"}, CLAIMS, "retired"), NOW), AccessToken)
    assert isinstance(TOKENS.verify(keys(), signed(HEADER, {**CLAIMS, "nbf": ISSUED}), NOW), AccessToken)


UNSIGNED = f"{b64(json.dumps({**HEADER, 'alg': 'none'}).encode())}.{b64(json.dumps(CLAIMS).encode())}"
ATTACKS: dict[str, Callable[[], str]] = {
    "none, without a signature": lambda: UNSIGNED + ".",
    "none, with any signature": lambda: UNSIGNED + ".AAAA",
    "None in other cases": lambda: signed({**HEADER, "alg": "nOnE"}, CLAIMS),
    "HS256 under the public key as PEM": lambda: hmac_signed(rsa("ours").as_pem(private=False)),
    "HS256 under the public key as DER": lambda: hmac_signed(rsa("ours").as_der(private=False)),
    "HS256 under the public key as JWK": lambda: hmac_signed(json.dumps(public("ours")).encode()),
    "RS512": lambda: signed({**HEADER, "alg": "RS512"}, CLAIMS),
    "PS256": lambda: signed({**HEADER, "alg": "PS256"}, CLAIMS),
    "an alg that is no text": lambda: signed({**HEADER, "alg": ["RS256"]}, CLAIMS),
    "no alg": lambda: signed({"kid": "ours", "typ": "at+jwt"}, CLAIMS),
    "signed by another key under our kid": lambda: signed(HEADER, CLAIMS, "eve"),
    "an unknown kid": lambda: signed({**HEADER, "kid": "eve"}, CLAIMS, "eve"),
    "a kid that is a path": lambda: signed({**HEADER, "kid": "../../dev/null"}, CLAIMS, "eve"),
    "a kid that is SQL": lambda: signed({**HEADER, "kid": "' OR '1'='1"}, CLAIMS, "eve"),
    "a key that does not sign yet": lambda: signed({**HEADER, "kid": "next"}, CLAIMS, "next"),
    "no kid": lambda: signed({"alg": "RS256", "typ": "at+jwt"}, CLAIMS),
    "typ JWT": lambda: signed({**HEADER, "typ": "JWT"}, CLAIMS),
    "typ of an ID token": lambda: signed({**HEADER, "typ": "id+jwt"}, CLAIMS),
    "no typ": lambda: signed({"alg": "RS256", "kid": "ours"}, CLAIMS),
    "jku": lambda: signed({**HEADER, "jku": "https://evil.example/jwks.json"}, CLAIMS, "eve"),
    "jwk": lambda: signed({**HEADER, "jwk": public("eve")}, CLAIMS, "eve"),
    "jwk beside a right signature": lambda: signed({**HEADER, "jwk": public("eve")}, CLAIMS),
    "x5u": lambda: signed({**HEADER, "x5u": "https://evil.example/cert.pem"}, CLAIMS, "eve"),
    "x5c": lambda: signed({**HEADER, "x5c": ["AAAA"]}, CLAIMS, "eve"),
    "crit": lambda: signed({**HEADER, "crit": ["exp"]}, CLAIMS),
    "crit of b64": lambda: signed({**HEADER, "crit": ["b64"], "b64": False}, CLAIMS),
    "a name twice in the header": lambda: signed(b'{"alg":"none","alg":"RS256","kid":"ours","typ":"at+jwt"}', CLAIMS),
    "a name twice in the claims": lambda: signed(HEADER, json.dumps(CLAIMS)[:-1].encode() + b',"sub":"usr_eve"}'),
    "wrong iss": lambda: signed(HEADER, {**CLAIMS, "iss": "tallybook-staging"}),
    "iss as a list": lambda: signed(HEADER, {**CLAIMS, "iss": ["tallybook"]}),
    "wrong aud": lambda: signed(HEADER, {**CLAIMS, "aud": "another-api"}),
    "aud of others": lambda: signed(HEADER, {**CLAIMS, "aud": ["another-api", "a-third"]}),
    "aud that only begins like ours": lambda: signed(HEADER, {**CLAIMS, "aud": "tallybook-api.evil.example"}),
    "expired": lambda: signed(HEADER, {**CLAIMS, "iat": ISSUED - 7200, "exp": ISSUED - 31}),
    "expired to the second of the leeway": lambda: signed(HEADER, {**CLAIMS, "exp": ISSUED - 30}),
    "issued in the future": lambda: signed(HEADER, {**CLAIMS, "iat": ISSUED + 31}),
    "not yet valid": lambda: signed(HEADER, {**CLAIMS, "nbf": ISSUED + 31}),
    "exp that is no number": lambda: signed(HEADER, {**CLAIMS, "exp": "never"}),
    "exp that is NaN": lambda: signed(HEADER, {**CLAIMS, "exp": float("nan")}),
    "exp that is true": lambda: signed(HEADER, {**CLAIMS, "exp": True}),
    "exp that is Infinity": lambda: signed(HEADER, {**CLAIMS, "exp": float("inf")}),
    **{f"no {name}": lambda name=name: signed(HEADER, without(name)) for name in CLAIMS},  # type: ignore[misc]
    **{
        f"{name} that is null": lambda name=name: signed(HEADER, {**CLAIMS, name: None})  # type: ignore[misc]
        for name in CLAIMS
    },
    **{
        f"{name} that is an object": lambda name=name: signed(HEADER, {**CLAIMS, name: {"a": 1}})  # type: ignore[misc]
        for name in CLAIMS
    },
    "empty sub": lambda: signed(HEADER, {**CLAIMS, "sub": ""}),
    "claims that are a list": lambda: signed(HEADER, [CLAIMS]),
    "claims that are no JSON": lambda: signed(HEADER, b"iss=tallybook"),
    "claims that are not UTF-8": lambda: signed(HEADER, b'{"iss":"\xff"}'),
    "a header that is a list": lambda: signed([HEADER], CLAIMS),
    "a header nested without end": lambda: signed(b"[" * 380, CLAIMS),
    "claims nested without end": lambda: signed(HEADER, b'{"iss":' + b"[" * 2_000),
    "a number without end": lambda: signed(HEADER, b'{"exp":' + b"9" * 2_500 + b"}"),
    "nothing": lambda: "",
    "two parts": lambda: "a.b",
    "five parts, which is encryption": lambda: "a.b.c.d.e",
    "another alphabet": lambda: signed(HEADER, CLAIMS).replace("_", "/").replace("-", "+") + "=",
    "a line's end behind it": lambda: signed(HEADER, CLAIMS) + "\n",
    "a space before it": lambda: " " + signed(HEADER, CLAIMS),
    "letters that look like it": lambda: signed(HEADER, CLAIMS).replace("e", "е", 1),
    "a changed claim": lambda: ".".join(
        (
            signed(HEADER, CLAIMS).split(".")[0],
            b64(json.dumps({**CLAIMS, "sub": "usr_eve"}).encode()),
            signed(HEADER, CLAIMS).split(".")[2],
        )
    ),
    "a cut signature": lambda: signed(HEADER, CLAIMS)[:-8],
    "overlong, rightly signed": lambda: signed(HEADER, {**CLAIMS, "more": "x" * 4_096}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_refused(attack: str) -> None:
    with pytest.raises(InvalidToken):
        TOKENS.verify(keys(), ATTACKS[attack](), NOW)


def test_a_retired_key_that_is_gone_verifies_nothing() -> None:
    token = signed({**HEADER, "kid": "retired"}, CLAIMS, "retired")
    with pytest.raises(InvalidToken, match="kid"):
        TOKENS.verify(KeysAt(at=NOW, keys=keys().keys[1:]), token, NOW)


def test_every_single_changed_character_is_noticed() -> None:
    token = signed(HEADER, CLAIMS)
    last = len(token) - 1  # of which a decoder ignores four bits
    for place in range(0, last, 7):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(InvalidToken):
            TOKENS.verify(keys(), token[:place] + other + token[place + 1 :], NOW)


def test_an_overlong_token_is_refused_before_anything_of_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("infra.identity.access_tokens._json", looked.append)
    for token in ("a" * 50_000_000, "." * 4_097, signed(HEADER, {**CLAIMS, "more": "x" * 10_000})):
        with pytest.raises(InvalidToken, match="length"):
            TOKENS.verify(keys(), token, NOW)
    assert looked == []


@pytest.fixture
def foreign(tmp_path: Path) -> AccessTokens:
    path = tmp_path / "login.jwks"
    path.write_text(json.dumps(KeySet([rsa("eve")]).as_dict(private=False)))
    return AccessTokens(AuthSettings(foreign_issuers=f"{ISSUER}={path}"))


FOREIGN = {"iss": ISSUER, "aud": "tallybook-api", "sub": "ada", "iat": ISSUED, "exp": ISSUED + 3600}


def test_a_foreign_issuer_is_believed_for_its_own_tokens_only(foreign: AccessTokens) -> None:
    for media_type in ("JWT", "at+jwt"):
        told = foreign.verify(keys(), signed({"alg": "RS256", "kid": "eve", "typ": media_type}, FOREIGN, "eve"), NOW)
        assert isinstance(told, ForeignToken)
        assert (told.issuer, told.subject, told.expires_at) == (ISSUER, "ada", NOW + 3600 * SECOND)
    header = {"alg": "RS256", "kid": "eve", "typ": "at+jwt"}
    for token in (
        signed(header, CLAIMS, "eve"),  # in our name, by its key
        signed({**header, "kid": "ours"}, FOREIGN),  # in its name, by our key
        signed(header, FOREIGN),
        signed(header, {**FOREIGN, "aud": "another-api"}, "eve"),
        signed(header, {**FOREIGN, "iss": "https://other.example.com"}, "eve"),
        signed(header, {**FOREIGN, "exp": ISSUED - 31}, "eve"),
        signed(header, {key: value for key, value in FOREIGN.items() if key != "sub"}, "eve"),
        signed({**header, "jwk": public("eve")}, FOREIGN, "eve"),
        signed({**header, "typ": "logout+jwt"}, FOREIGN, "eve"),
    ):
        with pytest.raises(InvalidToken):
            foreign.verify(keys(), token, NOW)
    assert foreign.key_id(signed(header, FOREIGN, "eve")) is None


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256", "typ": "at+jwt", "kid": "eve"},  # Auth0, RFC 9068
        {"typ": "JWT", "nonce": "2fZb4u", "alg": "RS256", "x5t": "7nbVqbP0", "kid": "eve"},  # Entra
        {"kid": "eve", "alg": "RS256"},  # Okta
        {"alg": "RS256", "typ": "application/at+jwt", "kid": "eve"},
        {"alg": "RS256", "typ": "JWT", "kid": "eve", "cty": "json", "org": {"of": ["its", "own"]}},
    ],
)
def test_a_foreign_header_is_as_its_issuer_writes_it(foreign: AccessTokens, header: object) -> None:
    assert isinstance(foreign.verify(keys(), signed(header, FOREIGN, "eve"), NOW), ForeignToken)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crit", ["exp"]),
        ("jku", "https://login.example.com/jwks.json"),
        ("jwk", {"kty": "RSA"}),
        ("x5u", "https://login.example.com/cert.pem"),
        ("x5c", ["AAAA"]),
        ("typ", None),
        ("kid", 7),
    ],
)
def test_a_foreign_header_that_is_critical_or_brings_a_key_is_refused(
    foreign: AccessTokens, name: str, value: object
) -> None:
    header = {"alg": "RS256", "kid": "eve", "typ": "JWT", name: value}
    with pytest.raises(InvalidToken, match={"kid": "header"}.get(name, name)):
        foreign.verify(keys(), signed(header, FOREIGN, "eve"), NOW)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def of_file(path: Path, clock: Clock, *kids: str) -> ForeignIssuers:
    """The issuer, whose file holds these keys."""
    hold(path, *kids)
    return ForeignIssuers(AuthSettings(foreign_issuers=f"{ISSUER}={path}", foreign_issuers_look_s=5), now_s=clock)


def hold(path: Path, *kids: str) -> None:
    """Put another file in the place of the one before, as deployments do it."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(KeySet([rsa(kid) for kid in kids]).as_dict(private=False)))
    draft.replace(path)


def test_an_issuers_rotation_wants_no_restart_and_is_looked_for_at_a_bounded_pace(tmp_path: Path) -> None:
    path, clock = tmp_path / "login.jwks", Clock()
    issuers = of_file(path, clock, "eve")
    hold(path, "eve", "next")
    clock.s = 4.9
    assert issuers.key(ISSUER, "next") is None
    clock.s = 5.0
    assert issuers.key(ISSUER, "next") is not None
    hold(path, "next")
    clock.s = 10.0
    assert issuers.key(ISSUER, "eve") is None
    assert issuers.key(ISSUER, "next") is not None


def test_a_file_that_is_broken_keeps_the_keys_before_and_is_told_of_once(tmp_path: Path) -> None:
    path, clock = tmp_path / "login.jwks", Clock()
    issuers = of_file(path, clock, "eve")
    secret = json.dumps(KeySet([rsa("next")]).as_dict(private=True))
    for number, content in enumerate(('{"keys": [', secret, secret[:-2], None)):
        with capture_logs() as told:
            path.write_text(content) if content is not None else path.unlink()
            for _ in range(3):
                clock.s += 5
                assert issuers.key(ISSUER, "eve") is not None, number
                assert issuers.key(ISSUER, "next") is None, number
        (line,) = told
        assert (line["event"], line["log_level"], line["issuer"]) == ("foreign_issuer_keys_stay", "warning", ISSUER)
        assert str(path) in line["why"]
        assert json.loads(secret)["keys"][0]["d"][:20] not in str(told)
    hold(path, "next")
    clock.s += 5
    assert issuers.key(ISSUER, "next") is not None


def test_a_foreign_expiry_beyond_the_calendar_is_a_year(foreign: AccessTokens) -> None:
    header = {"alg": "RS256", "kid": "eve", "typ": "at+jwt"}
    for exp in (10**2_000, 1e300):
        assert foreign.verify(keys(), signed(header, {**FOREIGN, "exp": exp}, "eve"), NOW).expires_at == NOW + 365 * DAY


def test_where_no_foreign_issuer_is_named_none_is_believed() -> None:
    with pytest.raises(InvalidToken):
        TOKENS.verify(keys(), signed({"alg": "RS256", "kid": "eve", "typ": "at+jwt"}, FOREIGN, "eve"), NOW)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: "", "does not hold a JSON Web Key Set"),
        (lambda: "[]", "does not hold a JSON Web Key Set"),
        (lambda: '{"keys": [{"kty": "RSA"}]}', "does not hold a JSON Web Key Set"),
        (lambda: json.dumps({"keys": [{"kty": "oct", "kid": "a", "k": b64(b"secret" * 8)}]}), "nothing else"),
        (lambda: json.dumps(KeySet([rsa("eve")]).as_dict(private=True)), "private key"),
        (
            lambda: json.dumps({"keys": [{key: value for key, value in public("eve").items() if key != "kid"}]}),
            "without `kid`",
        ),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, content: Callable[[], str], words: str
) -> None:
    path = tmp_path / "login.jwks"
    path.write_text(content())
    with pytest.raises(SettingsError, match=words):
        ForeignIssuers(AuthSettings(foreign_issuers=f"{ISSUER}={path}"))


@pytest.mark.parametrize("text", ["https://login.example.com", "=file", "tallybook=keys.json", f"{ISSUER}=/none"])
def test_a_list_of_issuers_that_cannot_be_used_is_told_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="TALLYBOOK_AUTH_FOREIGN_ISSUERS"):
        ForeignIssuers(AuthSettings(foreign_issuers=text))
