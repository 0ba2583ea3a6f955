"""Card numbers are found wherever they hide, and what only looks like one is let through."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.card_guard import body_holds_card_number, text_holds_card_number
from infra.ids import new_id


def luhn(digits: str) -> str:
    """The digits with a check digit that makes them pass."""
    doubled = [int(d) * 2 - 9 * (int(d) > 4) if place % 2 == 0 else int(d) for place, d in enumerate(reversed(digits))]
    return digits + str(-sum(doubled) % 10)


numbers = st.builds(
    lambda first, rest: luhn(first + rest),
    st.sampled_from("23456789"),
    st.text("0123456789", min_size=11, max_size=17),
)


@given(number=numbers, before=st.text("abc XYZ:/(\n", max_size=5), after=st.text("abc XYZ:/)\n", max_size=5))
def test_a_number_is_found_in_any_text(number: str, before: str, after: str) -> None:
    assert text_holds_card_number(before + number + after)


@given(number=numbers, separator=st.sampled_from([" ", "-"]))
def test_a_number_in_groups_of_four_is_found_also_before_its_expiry_date(number: str, separator: str) -> None:
    grouped = separator.join(number[start : start + 4] for start in range(0, len(number), 4))
    assert text_holds_card_number(grouped)
    assert text_holds_card_number(f"{grouped} 12/30")
    assert text_holds_card_number(f"12 {grouped}")


@given(number=numbers, depth=st.integers(0, 5))
def test_a_number_is_found_in_names_values_and_numbers_of_a_body_however_it_is_written(number: str, depth: int) -> None:
    escaped = "".join(f"\\u{ord(digit):04x}" for digit in number)
    for inner in (f'"{number}"', f'{{"{number}":1}}', number, f'"{escaped}"'):
        body = '{"a":[' * depth + inner + "]}" * depth
        assert body_holds_card_number(body.encode())


@given(number=numbers)
def test_one_digit_off_is_let_through(number: str) -> None:
    other = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not text_holds_card_number(other)


@pytest.mark.parametrize(
    "text",
    [
        "1763700000007",  # milliseconds
        "1763700000000003",  # microseconds
        "+4915123456784",  # a telephone number
        "0.4242424242424242",
        "550e8400-e29b-41d4-a716-4466554400004242"[:36],
        "424242424242",  # 12 digits
        "42424242424242424242",  # 20 digits
        "",
    ],
)
def test_what_only_looks_like_one_is_let_through(text: str) -> None:
    assert not text_holds_card_number(text)


def test_ids_and_digests_are_let_through() -> None:
    for number in range(20_000):
        assert not text_holds_card_number(new_id("cus_"))
        seeded = uuid.UUID(int=number * 0x1234_5678_9ABC_DEF0_1234_5678 % 2**128, version=4)
        assert not text_holds_card_number(str(seeded))
        assert not text_holds_card_number(seeded.hex if any(c in "abcdef" for c in seeded.hex) else "")


@given(st.binary(max_size=200))
def test_any_bytes_can_be_looked_through(raw: bytes) -> None:
    body_holds_card_number(raw)
    body_holds_card_number(b"4242424242424242" + raw)


def test_a_deep_body_is_looked_through() -> None:
    assert body_holds_card_number(b"[" * 150 + b'"4242424242424242"' + b"]" * 150)
    assert not body_holds_card_number(json.dumps({"amount": 999_999_999_999}).encode())
