"""The public keys that access tokens are verified with (JWKS, RFC 7517)."""

from typing import Any, Final

from api.http.call import Call
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.http.replies import JSON, Header, Reply
from infra.identity.signing_keys import jwks_json

KEYS: Final = Operations(tag="signing keys", about="How others verify our access tokens.")
CACHED: Final[Header] = (b"cache-control", b"public, max-age=3600")
"""A key is published a day before it signs, so whoever looks once an hour is never late."""


@KEYS.query(
    "/.well-known/jwks.json",
    answers=dict[str, Any],
    example={"keys": [{"kty": "RSA", "kid": "…", "alg": "RS256", "use": "sig", "n": "…", "e": "AQAB"}]},
    parameters=NoParameters,
    is_open=True,
)
async def get_jwks(call: Call, _asked: NoParameters) -> Reply:
    """Get the keys that verify access tokens: the one that signs, the next one, and those whose tokens still live."""
    identity = call.parts.identity
    return Reply(200, (JSON, CACHED), jwks_json(await identity.keys_in_hand.to_sign(identity.clock())))
