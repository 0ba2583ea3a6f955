"""A device with passkeys, in software: it answers as a browser does (WebAuthn level 3, `PublicKeyCredential.toJSON`).

What it signs may be changed, to try what a page or a device that is not what it says would send.
"""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

_PRESENT: Final = 0x01
_VERIFIED: Final = 0x04
_ATTESTED: Final = 0x40


class Authenticator:
    """One device. `counts` says whether it counts its uses, as keys on a stick do and synced ones do not."""

    def __init__(self, origin: str, *, counts: bool = True) -> None:
        self.origin = origin
        self.counts = counts
        self.uses = 0
        self._keys: dict[bytes, EllipticCurvePrivateKey] = {}

    def create(self, options: Mapping[str, Any], **client: str) -> str:
        """The answer to options for `navigator.credentials.create()`."""
        credential_id, key = secrets.token_bytes(32), generate_private_key(SECP256R1())
        self._keys[credential_id] = key
        numbers = key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        attested = bytes(16) + len(credential_id).to_bytes(2) + credential_id + cbor2.dumps(cose)
        data = self._data(options["rp"]["id"], _PRESENT | _VERIFIED | _ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", options["challenge"], client)
        response = {"clientDataJSON": _text(client_data), "attestationObject": _text(attestation)}
        return _answer(credential_id, response)

    def get(self, options: Mapping[str, Any], *, rp_id: str | None = None, flags: int = _PRESENT, **client: str) -> str:
        """The answer to options for `navigator.credentials.get()`."""
        credential_id = next(
            known for each in options["allowCredentials"] if (known := _bytes(each["id"])) in self._keys
        )
        self.uses += self.counts
        data = self._data(rp_id or options["rpId"], flags)
        client_data = self._client_data("webauthn.get", options["challenge"], client)
        signed = data + hashlib.sha256(client_data).digest()
        signature = self._keys[credential_id].sign(signed, ECDSA(SHA256()))
        response = {
            "clientDataJSON": _text(client_data),
            "authenticatorData": _text(data),
            "signature": _text(signature),
        }
        return _answer(credential_id, response)

    def _data(self, rp_id: str, flags: int) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.uses.to_bytes(4)

    def _client_data(self, kind: str, challenge: str, changed: Mapping[str, str]) -> bytes:
        said = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps({**said, **changed}).encode()


def _answer(credential_id: bytes, response: Mapping[str, str]) -> str:
    text = _text(credential_id)
    return json.dumps(
        {"id": text, "rawId": text, "type": "public-key", "response": response, "clientExtensionResults": {}}
    )


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
