"""An e-mail address as it is known again."""

import unicodedata


def normalized_address(address: str) -> str:
    """The form by which an address is found: NFC, in small letters, without space around it.

    The part before the @ may in theory tell cases apart; no provider of mail does, and people do not. Not casefolded:
    that makes `ss` of `ß`, and `strasse.de` and `straße.de` are two domains, whose owners would be one user here.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", address.strip()).lower())
