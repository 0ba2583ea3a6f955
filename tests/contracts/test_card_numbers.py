"""Card numbers are found wherever they stand, what only looks like one is left alone, and no text costs more than its
length."""

import uuid
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.card_numbers import LENGTHS, Span, card_numbers, holds_card_number, mask_card_numbers
from infra.ids import new_id
from infra.telemetry import mask_text
from testing.growth import grows_linearly
from tests.lengths import LENGTH

BRANDS = {
    "4": (13, 16, 19),
    "5105": (16,),
    "2223": (16,),
    "37": (15,),
    "3056": (14, 16),
    "6011": (16, 19),
    "62": (16, 17, 18, 19),
    "3530": (16,),
    "6759": (12, 13, 19),
    "2200": (16,),
}
JOINTS = [
    " ",
    "-",
    ".",
    "/",
    "+",
    "_",
    "\t",
    "\u00a0",
    "\u2009",
    "\u202f",
    "\u3000",
    "\u2011",
    "\u2013",
    "\u2212",
    "\u00b7",
    "\u2022",
    "\uff0f",
    "\\",
    "  ",
    " - ",
    " / ",
]
WIDTHLESS = ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "\ufe0f"]


def luhn(digits: str) -> str:
    """The digits with a check digit that makes them pass."""
    doubled = [int(d) * 2 - 9 * (int(d) > 4) if place % 2 == 0 else int(d) for place, d in enumerate(reversed(digits))]
    return digits + str(-sum(doubled) % 10)


@st.composite
def card_number(draw: st.DrawFn) -> str:
    prefix = draw(st.sampled_from(sorted(BRANDS)))
    length = draw(st.sampled_from(BRANDS[prefix]))
    rest = length - len(prefix) - 1
    return luhn(prefix + draw(st.text("0123456789", min_size=rest, max_size=rest)))


numbers = card_number()


def grouped(number: str, size: int, joint: str) -> str:
    return joint.join(number[start : start + size] for start in range(0, len(number), size))


@given(number=numbers, before=st.text("abc XYZ:(\n", max_size=5), after=st.text("abc XYZ:)\n", max_size=5))
def test_a_number_is_found_in_any_text(number: str, before: str, after: str) -> None:
    assert holds_card_number(before + number + after)
    assert mask_card_numbers(before + number + after, "#") == f"{before}#{after}"


@given(number=numbers, joint=st.sampled_from(JOINTS), size=st.sampled_from([1, 2, 3, 4, 5, 6, 8]))
def test_a_number_is_found_in_groups_whatever_parts_them_also_beside_other_numbers(
    number: str, joint: str, size: int
) -> None:
    text = grouped(number, size, joint)
    assert holds_card_number(text)
    assert holds_card_number(f"{text} 12/30")
    assert holds_card_number(f"12 {text}")


@given(number=numbers, joint=st.sampled_from(JOINTS), cuts=st.lists(st.integers(1, 11), max_size=4, unique=True))
def test_groups_of_any_sizes_are_joined_where_one_sign_parts_them(number: str, joint: str, cuts: Sequence[int]) -> None:
    edges = [0, *sorted(cuts), len(number)]
    assert holds_card_number(joint.join(number[a:b] for a, b in pairwise(edges)))


@given(number=numbers, joints=st.lists(st.sampled_from(JOINTS), min_size=6, max_size=6))
def test_even_groups_are_joined_whatever_signs_part_them(number: str, joints: list[str]) -> None:
    groups = grouped(number, 4, "|").split("|")
    assert holds_card_number("".join(group + joint for group, joint in zip(groups, joints, strict=False)))


@given(number=numbers, hidden=st.lists(st.tuples(st.integers(1, 11), st.sampled_from(WIDTHLESS)), max_size=12))
def test_what_has_no_width_hides_nothing(number: str, hidden: list[tuple[int, str]]) -> None:
    text = number
    for place, sign in hidden:
        text = text[:place] + sign + text[place:]
    assert holds_card_number(text)


@given(number=numbers, zero=st.sampled_from([0xFF10, 0x0660, 0x0966, 0x1D7CE]))
def test_digits_of_other_scripts_are_digits(number: str, zero: int) -> None:
    assert holds_card_number("".join(chr(zero + int(digit)) for digit in number))


@given(number=numbers)
def test_one_digit_off_is_let_through(number: str) -> None:
    assert not holds_card_number(number[:-1] + str((int(number[-1]) + 1) % 10))


@given(digits=st.text("0123456789", min_size=4, max_size=40))
def test_digits_whose_begin_and_length_are_no_brands_are_let_through(digits: str) -> None:
    """Whatever their check digit: the length in one run is that of the whole run."""
    if len(digits) not in LENGTHS[int(digits[:4])]:
        assert not holds_card_number(digits)


@pytest.mark.parametrize(
    "text",
    [
        "1763700000007",  # milliseconds
        "1763700000000003",  # microseconds
        "1763700000000000007",  # nanoseconds, or an id of 19 digits that begins with a time
        "1099511627776000008",
        "356938035643809",  # an IMEI, whose last digit is a Luhn check digit
        "490154203237518",
        "864691022349018",
        "89490200001234567897",  # a SIM card's number
        "+4915123456784",  # a telephone number
        "+44 20 7946 0958",
        "0.4242424242424242",
        "3,4242424242424242",
        "550e8400-e29b-41d4-a716-446655440000",
        "424242424242",  # 12 digits
        "42424242424242424242",  # 20 digits
        "2026-01-31 12.30.45",
        "Invoice 4200 2026-01-31 12.50",
        "4242x4242x4242x4242",
        "",
    ],
)
def test_what_only_looks_like_one_is_let_through(text: str) -> None:
    assert not holds_card_number(text)


def test_ids_and_digests_are_let_through() -> None:
    for number in range(20_000):
        assert not holds_card_number(new_id("cus_"))
        seeded = uuid.UUID(int=number * 0x1234_5678_9ABC_DEF0_1234_5678 % 2**128, version=4)
        assert not holds_card_number(str(seeded))
        assert not holds_card_number(seeded.hex if any(c in "abcdef" for c in seeded.hex) else "")


def test_two_numbers_are_two_spans() -> None:
    text = "4242 4242 4242 4242, 5555-5555-5555-4444"
    assert list(card_numbers(text)) == [Span(0, 19), Span(21, 40)]


HOSTILE = "0123456789" * 2 + '-- ..+/_\u00a0\u200b@:,ax=&%\\"'


@settings(max_examples=LENGTH.scaled(60), deadline=None)
@example(motif="1-")
@example(motif="4-")
@example(motif="4 4-")
@example(motif="4242 4242-")
@example(motif="3.6 ")
@example(motif="\u200b4")
@example(motif="\u200b")
@example(motif="4\u200b ")
@example(motif="+4")
@example(motif="a_0")
@example(motif="0a")
@example(motif="abcdef01-")
@given(motif=st.text(HOSTILE, min_size=1, max_size=6))
def test_no_text_costs_more_than_its_length(motif: str) -> None:
    """Whatever is repeated, eight times the text costs about eight times as much."""
    for ending in ("", "x", "4"):
        assert grows_linearly(holds_card_number, lambda size: (motif * size)[:size] + ending, size=2_000), (  # noqa: B023
            motif,
            ending,
        )


@settings(max_examples=LENGTH.scaled(40), deadline=None)
@example(motif="a")
@example(motif="a.")
@example(motif="a@")
@example(motif="://a:")
@example(motif="basic ")
@example(motif="@a.")
@given(motif=st.text("a1.-+@:/ _\n", min_size=1, max_size=5))
def test_no_line_costs_the_log_more_than_its_length(motif: str) -> None:
    assert grows_linearly(mask_text, lambda size: (motif * size)[:size], size=4_000), motif
