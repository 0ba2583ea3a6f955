"""What is no access token, presented to the API as one: each is answered like a stranger's, and lets nobody in.

What is wrong with them in detail is tried in test_access_tokens.py; here the whole way is gone.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from domain.identity.browser import SESSION_COOKIE
from testing.api_client import Api, running_api
from testing.people import PAGE, Program, admin, program
from testing.services import FreshDatabase

ADA = "ada@example.com"
REGISTRY = JWSRegistry(algorithms=["RS256", "HS256"])


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def asks(api: Api) -> Program:
    await admin(api, ADA)
    return await program(api, ADA)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (json.loads(base64.urlsafe_b64decode(each + "==")) for each in token.split(".")[:2])
    return header, claims


async def refused(api: Api, token: str) -> None:
    answer = await api.http.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}", "X-Request-Id": "same"})
    stranger = await api.http.get("/v1/auth/me", headers={"Authorization": "Bearer x", "X-Request-Id": "same"})
    assert answer.status_code == 401, answer.text
    assert answer.content == stranger.content, "what is wrong with a token is told to nobody"


async def test_a_token_without_a_signature_or_signed_with_what_everybody_knows_is_none(api: Api, asks: Program) -> None:
    header, claims = opened(asks.access_token)
    body = asks.access_token.split(".")[1]
    for alg in ("none", "None", "NONE", ""):
        await refused(api, f"{part({**header, 'alg': alg})}.{body}.")
        await refused(api, f"{part({**header, 'alg': alg})}.{body}.{asks.access_token.split('.')[2]}")
    (published,) = (await api.http.get("/.well-known/jwks.json")).json()["keys"]
    public = RSAKey.import_key(published)
    for secret in (public.as_pem(private=False), public.as_der(private=False), json.dumps(published).encode()):
        signed = f"{part({**header, 'alg': 'HS256'})}.{part(claims)}"
        proof = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode().rstrip("=")
        await refused(api, f"{signed}.{proof}")


@pytest.mark.parametrize(
    ("in_header", "in_claims"),
    [
        ({}, {"aud": "another-api"}),
        ({}, {"iss": "another"}),
        ({}, {"exp": 1}),
        ({}, {"exp": None}),
        ({}, {"sub": "user_01m7ywe9z7e398x54gfbrtqnk7"}),
        ({}, {"sid": "ses_01m7ywe9z7e398x54gfbrtqnk7"}),
        ({}, {"tid": "other"}),
        ({"typ": "JWT"}, {}),
        ({"kid": "another"}, {}),
        ({"jku": "https://evil.example/keys"}, {}),
        ({"jwk": {"kty": "RSA"}}, {}),
        ({"crit": ["exp"]}, {}),
    ],
    ids=str,
)
async def test_a_token_that_says_anything_else_is_none_even_with_our_signature(
    api: Api, asks: Program, in_header: dict[str, object], in_claims: dict[str, object]
) -> None:
    """Signed with the key itself, so that nothing but what it says is wrong."""
    await api.tenant("other")
    header, claims = opened(asks.access_token)
    identity = api.parts.identity
    key = (await identity.signing.at(identity.clock())).active.key
    told = {name: value for name, value in {**claims, **in_claims}.items() if value is not None}
    same = jwt.encode(header, claims, key, registry=REGISTRY)
    assert (await api.http.get("/v1/auth/me", headers={"Authorization": f"Bearer {same}"})).status_code == 200
    # The library keeps unknown names out of a header; whoever attacks us does not.
    signed = f"{part({**header, **in_header})}.{part(told)}".encode()
    proof = base64.urlsafe_b64encode(_rs256(key, signed)).decode().rstrip("=")
    await refused(api, f"{signed.decode()}.{proof}")


def _rs256(key: RSAKey, signed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    assert key.private_key is not None
    return key.private_key.sign(signed, PKCS1v15(), SHA256())


async def test_a_token_of_a_key_that_is_distrusted_or_of_anothers_is_none(api: Api, asks: Program) -> None:
    header, claims = opened(asks.access_token)
    other = RSAKey.generate_key(2048, {"kid": header["kid"]}, private=True)
    await refused(api, jwt.encode(header, claims, other, registry=REGISTRY))
    assert (await asks.send("GET", "/v1/auth/me")).status_code == 200
    identity = api.parts.identity
    now = identity.clock()
    await identity.signing.rotate(now, distrust=True)
    api.parts.credentials.forget_sessions()
    # This process looks at its keys once a minute; the minute is handed in.
    await identity.keys_in_hand.get(now + timedelta(seconds=api.parts.settings.auth.signing_keys_cache_s))
    await refused(api, asks.access_token)
    again = await api.http.post("/v1/auth/refresh", json={"refresh_token": asks.refresh_token})
    asks.access_token = again.json()["access_token"]
    assert (await asks.send("GET", "/v1/auth/me")).status_code == 200, "programs get another one by themselves"


async def test_a_token_in_a_url_a_cookie_or_of_another_kind_is_no_credential(api: Api, asks: Program) -> None:
    for query in ("access_token", "token", "authorization"):
        answer = await api.http.get(f"/v1/auth/me?{query}={asks.access_token}")
        assert answer.status_code == 401
    for headers in (
        {"Cookie": f"{SESSION_COOKIE}={asks.access_token}", **PAGE},
        {"Cookie": f"access_token={asks.access_token}", **PAGE},
        {"Authorization": f"Bearer {asks.refresh_token}"},
        {"Authorization": f"Basic {asks.access_token}"},
        {"Authorization": f"DPoP {asks.access_token}"},
        {"Authorization": asks.access_token},
    ):
        assert (await api.http.get("/v1/auth/me", headers=headers)).status_code == 401, headers
