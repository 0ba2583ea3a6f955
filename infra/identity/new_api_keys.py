"""Drawing an API key: `tbk_live_<prefix>_<256 bits in base32>`, or `tbk_test_…` for a test tenant's."""

import hashlib
import secrets
from typing import Final, NamedTuple

from domain.kernel.identifiers import API_KEY
from domain.kernel.tenant_mode import TenantMode
from infra.identity.secret_tokens import base32
from infra.ids import new_id

PREFIX_BYTES: Final = 5
SECRET_BYTES: Final = 32


class NewKey(NamedTuple):
    """A key as it is made: `secret` is shown once and never stored."""

    key_id: str
    prefix: str
    secret: str
    sha256: bytes


def make_key(mode: TenantMode) -> NewKey:
    """Draw a new key of a tenant; it says itself what the tenant is for."""
    prefix = base32(secrets.token_bytes(PREFIX_BYTES))
    secret = f"tbk_{mode}_{prefix}_{base32(secrets.token_bytes(SECRET_BYTES))}"
    return NewKey(new_id(API_KEY), prefix, secret, hashlib.sha256(secret.encode()).digest())
