"""What a password may be, and the one form in which it is compared (RFC 8265, OpaqueString)."""

import unicodedata
from collections.abc import Collection
from typing import Final

from domain.kernel.refusal import Refusal, RefusalKind

SHORTEST_CHARS: Final = 8
PASSPHRASE_CHARS: Final = 15
"""From here on a password may be of anything: length does what a mixture does for a short one."""
LONGEST_CHARS: Final = 128
_OF_A_PERSON_CHARS: Final = 4
"""Shorter parts of an address or a name ("Al", "de") say nothing of a password that holds them."""
_NOT_TEXT: Final = frozenset({"Cc", "Cs", "Co", "Cn"})


class InvalidPassword(Refusal):
    """The password holds characters that cannot be typed as text, or none at all."""

    code = "invalid_password"
    kind = RefusalKind.INVALID
    param = "password"


class WeakPassword(Refusal):
    """The password is too easily guessed: `reason` says what it lacks, or what it is."""

    code = "weak_password"
    kind = RefusalKind.INVALID
    param = "password"


def prepared(password: str) -> str:
    """The form that is hashed: every space as U+0020, and NFC, so that one password is the same from every keyboard.

    Raises InvalidPassword. Case and width stay as they are; nothing is cut off.
    """
    if not password or len(password) > LONGEST_CHARS * 4:
        raise InvalidPassword(chars=len(password))
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in password)
    if any(unicodedata.category(char) in _NOT_TEXT for char in spaced):
        raise InvalidPassword()
    return unicodedata.normalize("NFC", spaced)


def check_password(password: str, *, common: Collection[str], address: str, name: str) -> str:
    """The prepared form of a new password. Raises InvalidPassword, WeakPassword.

    `common` holds the commonest passwords in lower case; `address` and `name` are those of whoever will use it.
    """
    chosen = prepared(password)
    reason = _weakness(chosen, common, address, name)
    if reason is not None:
        raise WeakPassword(reason=reason)
    return chosen


def _weakness(chosen: str, common: Collection[str], address: str, name: str) -> str | None:
    if len(chosen) < SHORTEST_CHARS:
        return f"at least {SHORTEST_CHARS} characters"
    if len(chosen) > LONGEST_CHARS:
        return f"at most {LONGEST_CHARS} characters"
    is_mixed = any(map(str.isupper, chosen)) and any(map(str.islower, chosen)) and any(map(str.isdigit, chosen))
    if len(chosen) < PASSPHRASE_CHARS and not is_mixed:
        return f"upper case, lower case and a digit, or {PASSPHRASE_CHARS} characters of anything"
    plain = chosen.casefold()
    if plain in common or chosen.lower() in common:
        return "it is one of the commonest"
    if len(set(plain)) <= 2:
        return "it repeats one or two characters"
    if _is_of_person(plain, address, name):
        return "it is the address or the name"
    return None


def _is_of_person(plain: str, address: str, name: str) -> bool:
    """Whether the password is an address, its local part, or a name, with at most a few characters put around it."""
    whole = _prepared_or_empty(address).casefold()
    for part in (whole, whole.partition("@")[0], _prepared_or_empty(name).casefold()):
        for written in (part, part.replace(" ", ""), part.replace(".", "")):
            # "ada.lovelace1!" is her address to anybody who guesses; a sentence that mentions her is not.
            if len(written) >= _OF_A_PERSON_CHARS and written in plain and len(plain) - len(written) < SHORTEST_CHARS:
                return True
    return False


def _prepared_or_empty(text: str) -> str:
    """An address or a name in the form of a password, as far as it has one."""
    try:
        return prepared(text.strip()) if text.strip() else ""
    except InvalidPassword:
        return ""
