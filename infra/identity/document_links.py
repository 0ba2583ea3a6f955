"""Links to documents: whoever has one is shown one document, without signing in, until it is over.

A link is not kept: it says what it is for and until when, and a MAC under a key of ours says that we made it. So
nothing in a database or a backup opens anything; and a link ends by its time, or with the person whose document it is.
"""

import base64
import binascii
import hmac
import json
from datetime import UTC, datetime
from typing import Final, NamedTuple

from infra.identity.keyring import Keyring, Use

LINK_MAX_CHARS: Final = 512
_MAC_BYTES: Final = 32


class DocumentLink(NamedTuple):
    """Which invoice of which tenant, and until when."""

    tenant_id: str
    invoice_id: str
    expires_at: datetime


def link_token(keyring: Keyring, link: DocumentLink) -> str:
    """What stands in the URL: letters, digits, hyphens and underscores."""
    until = int(link.expires_at.timestamp())
    said = json.dumps([link.tenant_id, link.invoice_id, until], separators=(",", ":")).encode()
    mac = keyring.mac(Use.DOCUMENT_LINKS, link.tenant_id, link.invoice_id, until)
    return base64.urlsafe_b64encode(mac + said).rstrip(b"=").decode()


def link_of(keyring: Keyring, token: str, now: datetime) -> DocumentLink | None:
    """The link that we made so; None for any other token, and for one that is over."""
    if len(token) > LINK_MAX_CHARS:
        return None
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        tenant_id, invoice_id, until = json.loads(raw[_MAC_BYTES:])
        link = DocumentLink(tenant_id, invoice_id, datetime.fromtimestamp(until, UTC))
    except (ValueError, TypeError, OverflowError, OSError, RecursionError, binascii.Error):
        return None
    # What is made again of what was read is compared whole: there is one token of a link.
    if not hmac.compare_digest(link_token(keyring, link).encode(), token.encode()) or now >= link.expires_at:
        return None
    return link
