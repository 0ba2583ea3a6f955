"""Random secrets that are shown once: 256 bits in base32, of which only the SHA-256 is stored.

A hash without salt or stretching is enough: nobody guesses 256 bits.
"""

import hashlib
import re
import secrets
from base64 import b32encode
from typing import Final

SECRET_BYTES: Final = 32
SECRET_CHARS: Final = 52
_SECRET: Final = re.compile(rf"[a-z2-7]{{{SECRET_CHARS}}}")


def draw() -> str:
    """A new secret."""
    return base32(secrets.token_bytes(SECRET_BYTES))


def digest_of(secret: str) -> bytes | None:
    """What is stored of a secret; None where the text has not even its form, which spares a query."""
    return hashlib.sha256(secret.encode()).digest() if _SECRET.fullmatch(secret) else None


def base32(value: bytes) -> str:
    """Lower case, without padding: it survives being copied, and stands in a URL as it is."""
    return b32encode(value).decode().rstrip("=").lower()
