"""A name is found by its words, however they are typed, and an address as a whole."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity.search_terms import WORD_CHARS_MAX, WORDS_MAX, is_found, searched, terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada Lovelace", ["ada", "lovelace"]),
        ("  LOVELACE,  Ada!", ["lovelace", "ada"]),
        ("Müller-Lüdenscheidt GmbH & Co. KG", ["muller", "ludenscheidt", "gmbh", "co", "kg"]),
        ("Straße STRASSE", ["strasse"]),
        ("Łódź", ["łodz"]),
        ("ﬁrma ＡＢＣ", ["firma", "abc"]),
        ("O'Brien", ["o", "brien"]),
        ("Зоя Ёлкина", ["зоя", "елкина"]),
        ("東京 2026", ["東京", "2026"]),
        ("", []),
        ("--- !", []),
    ],
)
def test_words_are_compared_without_case_accents_width_and_signs(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text(max_size=60))
def test_words_of_words_are_themselves(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words


@given(st.text(max_size=60))
def test_how_a_text_is_composed_makes_no_difference(text: str) -> None:
    found = {form: words_of(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert found["NFC"] == found["NFD"]


@given(st.text(max_size=2_000))
def test_what_is_looked_at_is_bounded(text: str) -> None:
    words = words_of(text)
    assert len(words) <= WORDS_MAX
    assert all(0 < len(word) <= WORD_CHARS_MAX for word in words)


@given(st.lists(st.sampled_from(["Ada", "Lovelace", "GmbH", "König"]), min_size=1, unique=True))
def test_whoever_has_all_the_words_is_found_in_any_order(words: list[str]) -> None:
    known = terms_of("Ada König Lovelace GmbH", "ada@example.com")
    assert is_found(known, searched(" ".join(reversed(words)).upper()))
    assert not is_found(known, searched(" ".join([*words, "Babbage"])))


@pytest.mark.parametrize("typed", ["ada@example.com", " Ada@Example.COM "])
def test_an_address_is_found_as_a_whole(typed: str) -> None:
    assert is_found(terms_of(None, "ada@example.com"), searched(typed))
    for part in ("ada", "example.com", "da@example.com", "ada@example.co"):
        assert not is_found(terms_of(None, "ada@example.com"), searched(part))


def test_a_name_is_no_address() -> None:
    assert not is_found(terms_of("ada example com", None), searched("ada@example.com"))
    assert terms_of(None, None) == []
