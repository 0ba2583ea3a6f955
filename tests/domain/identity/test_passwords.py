"""What a password may be, and that one password is the same from every keyboard."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity.passwords import InvalidPassword, WeakPassword, check_password, prepared

COMMON = frozenset({"password1", "correcthorsebattery", "qwertyuiop123456"})


def check(password: str, *, address: str = "ada@example.com", name: str = "Ada Lovelace") -> str:
    return check_password(password, common=COMMON, address=address, name=name)


@pytest.mark.parametrize(
    "password",
    [
        "Tr0ubadour",
        "aB3defgh",
        "a sentence of nothing but words",
        "111122223333444455",
        "Überraschung9",
        "пароль из многих слов",
        "x y" * 42 + "zz",
        "I once met Ada Lovelace in a garden",
    ],
)
def test_a_password_that_is_long_or_mixed_is_taken_as_it_is(password: str) -> None:
    assert check(password) == password


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("aB3defg", "at least 8 characters"),
        ("aB3" * 43, "at most 128 characters"),
        ("abcdefgh", "upper case, lower case and a digit, or 15 characters of anything"),
        ("ABCDEFG1", "upper case, lower case and a digit, or 15 characters of anything"),
        ("abcdefgh123456", "upper case, lower case and a digit, or 15 characters of anything"),
        ("Password1", "it is one of the commonest"),
        ("CorrectHorseBattery", "it is one of the commonest"),
        ("aaaaaaaaaaaaaaaa", "it repeats one or two characters"),
        ("abababababababab", "it repeats one or two characters"),
        ("Ada@Example.com", "it is the address or the name"),
        ("AdaLovelace1", "it is the address or the name"),
        ("ada lovelace 1815!", "it is the address or the name"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused_with_what_it_lacks(password: str, reason: str) -> None:
    with pytest.raises(WeakPassword) as refused:
        check(password)
    assert refused.value.details["reason"] == reason
    assert reason in refused.value.describe()
    assert password not in refused.value.describe()


def test_short_parts_of_a_name_forbid_nothing() -> None:
    assert check("Albatros7", address="al@example.com", name="Al") == "Albatros7"


def test_the_local_part_of_an_address_is_no_password() -> None:
    with pytest.raises(WeakPassword):
        check("Lovelace1815", address="lovelace1815@example.com", name="")


@pytest.mark.parametrize("password", ["", "tab\there", "line\nbreak", "nul\x00", "\ud800 alone", "private \ue000"])
def test_what_cannot_be_typed_as_text_is_no_password(password: str) -> None:
    with pytest.raises(InvalidPassword):
        prepared(password)


def test_a_password_without_end_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(InvalidPassword):
        prepared("é" * 1_000_000)


def test_every_space_is_one_space_and_letters_are_composed() -> None:
    assert prepared("cafe\u0301 au\u00a0lait\u3000noir") == "caf\u00e9 au lait noir"


def test_case_and_width_stay_as_they_are() -> None:
    assert prepared("Ａbc ﬁ") == "Ａbc ﬁ"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Co", "Cn"]), min_size=1, max_size=60))
def test_the_prepared_form_is_the_same_from_composed_and_decomposed_letters(text: str) -> None:
    once = prepared(text)
    assert prepared(once) == once
    assert prepared(unicodedata.normalize("NFD", text)) == prepared(unicodedata.normalize("NFC", text))
