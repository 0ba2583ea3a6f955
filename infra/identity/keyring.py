"""Keys of identity, each derived from the master key under a label of its own (HKDF, RFC 5869).

The database holds none of them: whoever has only a dump makes no refresh token, no CSRF token and no signature, and
tries no address on what is counted.
"""

import hmac
import json
import secrets
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.identity.addresses import normalized_address

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Use(StrEnum):
    """What a derived key is for. A label never changes, and none is used for two things."""

    REFRESH_TOKENS = "tallybook/identity/refresh-tokens/1"
    CSRF_TOKENS = "tallybook/identity/csrf-tokens/1"
    SIGNING_KEYS = "tallybook/identity/signing-keys/1"
    LOCKOUT = "tallybook/identity/lockout/1"
    SECOND_FACTORS = "tallybook/identity/second-factors/1"
    INVITATIONS = "tallybook/identity/invitations/1"
    EMAIL_INDEX = "tallybook/identity/email-index/1"
    FOREIGN_SUBJECTS = "tallybook/identity/foreign-subjects/1"
    DOCUMENT_LINKS = "tallybook/identity/document-links/1"


class NotSealedHere(Exception):
    """The sealed bytes were changed, belong elsewhere, or were sealed under another master key."""


class Keyring:
    """Derives from `master_key` (32 bytes, `infra.settings.vault_master_key`)."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise ValueError(f"the master key has {KEY_BYTES} bytes, not {len(master_key)}")
        self._keys = {use: _derived(master_key, use) for use in Use}

    def mac(self, use: Use, *parts: str | bytes | int) -> bytes:
        """32 bytes that only a holder of the master key can make of these parts."""
        return hmac.digest(self._keys[use], _apart(parts), "sha256")

    def seal(self, use: Use, text: bytes, *bound: str | int) -> bytes:
        """AES-256-GCM, bound to what it belongs to."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._keys[use]).encrypt(nonce, text, _apart(bound))

    def open(self, use: Use, sealed: bytes, *bound: str | int) -> bytes:
        """The inverse. Raises NotSealedHere."""
        try:
            return AESGCM(self._keys[use]).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _apart(bound))
        except (InvalidTag, ValueError) as error:
            raise NotSealedHere("the sealed bytes do not open") from error


def _derived(master_key: bytes, use: Use) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=use.value.encode()).derive(master_key)


def _apart(parts: tuple[str | bytes | int, ...]) -> bytes:
    # JSON keeps the parts apart: none can be chosen so that it runs into the next.
    return json.dumps([part.hex() if isinstance(part, bytes) else part for part in parts]).encode()


def email_index(keyring: Keyring, address: str) -> bytes:
    """32 bytes by which a user is found by their e-mail address, and which tell nobody the address."""
    return keyring.mac(Use.EMAIL_INDEX, normalized_address(address))


def subject_digest(keyring: Keyring, issuer: str, subject: str) -> str:
    """64 hex digits by which a foreign issuer's subject is found, and which tell nobody who that is."""
    return keyring.mac(Use.FOREIGN_SUBJECTS, issuer, subject).hex()
