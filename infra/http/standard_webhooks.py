"""Signatures of webhooks by the Standard Webhooks convention, version v1 (HMAC-SHA256), both ways.

Source: the Standard Webhooks specification. Signed is `id.timestamp.body`; the header `webhook-signature` holds
one or more `v1,<base64>` separated by spaces, so that a secret can be changed with an overlap.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

KEY_PREFIX: Final = "whsec_"
ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"


class SignatureCheck(Enum):
    """The outcome of a check."""

    VALID = "valid"
    MISSING_HEADER = "missing_header"
    BAD_SIGNATURE = "bad_signature"
    TOO_OLD = "too_old"
    """The timestamp is further from now than the tolerance, in either direction: perhaps a replay."""


def listed_secrets(text: str) -> tuple[str, ...]:
    """The secrets of a list with commas, as a setting holds them; none of an empty text."""
    return tuple(filter(None, text.split(",")))


def secret_bytes(secret: str) -> bytes:
    """The key inside `whsec_<base64>`. Raises ValueError for anything else."""
    if not secret.startswith(KEY_PREFIX):
        raise ValueError(f"a webhook secret starts with {KEY_PREFIX}")
    try:
        return base64.b64decode(secret.removeprefix(KEY_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("the part of a webhook secret after its prefix is base64") from error


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,<base64>` over the message."""
    signed = f"{message_id}.{timestamp_s}.".encode(errors="replace") + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def signed_headers(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of one delivery, with a signature per key."""
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: " ".join(signature(key, message_id, timestamp_s, body) for key in keys),
    }


def check(
    keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, *, now_s: int, tolerance_s: int
) -> SignatureCheck:
    """Whether any of the keys signed this message within `tolerance_s` seconds of now. Header names: any case."""
    found = {name.lower(): value for name, value in headers.items()}
    message_id, sent, signatures = found.get(ID_HEADER), found.get(TIMESTAMP_HEADER), found.get(SIGNATURE_HEADER)
    if not message_id or not sent or not signatures:
        return SignatureCheck.MISSING_HEADER
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 12):
        return SignatureCheck.BAD_SIGNATURE
    timestamp_s = int(sent)
    offered = [candidate.encode(errors="replace") for candidate in signatures.split(" ")]
    expected = [signature(key, message_id, timestamp_s, body).encode() for key in keys]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in offered):
        return SignatureCheck.BAD_SIGNATURE
    return SignatureCheck.VALID if abs(now_s - timestamp_s) <= tolerance_s else SignatureCheck.TOO_OLD
