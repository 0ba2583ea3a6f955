"""Locales: the language that documents for somebody are written in, and the country whose form numbers and dates have.

A locale stands in the log, which cannot forget: it says no more of a person than their time zone does.
"""

from typing import Final

from domain.customers.countries import COUNTRIES
from domain.kernel.refusal import Refusal, RefusalKind

LANGUAGES: Final = frozenset({"de", "en", "es", "fr", "ja"})
"""Those that documents have words in (`documents/words`), by ISO 639-1."""
DEFAULT_LOCALE: Final = "en-US"


class UnknownLocale(Refusal):
    """Not a locale that documents are written in: a language (de, en, es, fr, ja), alone or with a country: de-AT."""

    code = "unknown_locale"
    kind = RefusalKind.INVALID
    param = "locale"


def check_locale(locale: str | None) -> None:
    """Raises UnknownLocale unless it is a language that documents have words in, alone or with a country."""
    if locale is None:
        return
    language, separator, country = locale.partition("-")
    if language not in LANGUAGES or (separator and country not in COUNTRIES):
        raise UnknownLocale(locale=locale)
