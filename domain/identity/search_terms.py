"""What a person is found by: the words of a name, and an e-mail address as a whole.

Whole words only. An index of beginnings would be several times as large, and would tell whoever reads it much more of
how names are spelt.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

from domain.identity.addresses import normalized_address

WORDS_MAX: Final = 12
"""Words of one name, or of one search, that are looked at."""
WORD_CHARS_MAX: Final = 64


def words_of(text: str) -> list[str]:
    """A text's words in the form in which they are compared: without case, accents, width or signs; each once.

    NFKD takes accents off their letters (Unicode Standard Annex 15), and casefolding joins what only differs by case.
    """
    plain = "".join(char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char))
    words = "".join(char if char.isalnum() else " " for char in plain.casefold()).split()
    return list(dict.fromkeys(word[:WORD_CHARS_MAX] for word in words))[:WORDS_MAX]


def terms_of(name: object, email: object) -> list[str]:
    """All that a person is found by."""
    terms = [word_term(word) for word in words_of(name)] if isinstance(name, str) else []
    return [*terms, email_term(email)] if isinstance(email, str) else terms


def searched(text: str) -> list[str]:
    """The terms that whoever is meant by a search has all of; none for a text without a word in it."""
    if "@" in text:
        return [email_term(text)]
    return [word_term(word) for word in words_of(text)]


def word_term(word: str) -> str:
    """The term of a word, as `words_of` gives it."""
    return f"word:{word}"


def email_term(address: str) -> str:
    """The term of an e-mail address."""
    return f"email:{normalized_address(address)}"


def is_found(terms: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether somebody with these terms is meant."""
    return set(wanted) <= set(terms)
