"""An e-mail address as it is known again."""

import unicodedata


def normalized_address(address: str) -> str:
    """The form by which an address is found: NFC, without case or space around it.

    The part before the @ may in theory tell cases apart; no provider of mail does, and people do not.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", address.strip()).casefold())
