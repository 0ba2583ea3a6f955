"""Payment card numbers in text, found by one tokenizer: the API refuses them, and logs mask them.

A card number is one of 12 to 19 digits whose beginning and length are those of a brand (ISO/IEC 7812) and which passes
the Luhn check, in one run or in groups. Groups are parted by up to three signs out of spaces, dashes, dots, slashes,
plus signs and their like; what has no width parts nothing. Groups parted by one and the same sign may be of any
sizes, others must have a card's shape. A group that is cut in two hides nothing; a window inside a longer group is no
number. Not taken for one: ids of ours, UUIDs, hexadecimal digests, telephone numbers in international form (+49 …) and
the fractions of decimals.

The time is linear in the text: each pattern is possessive, and each group begins a bounded number of windows that
cost the same whatever lies in them.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

_PREFIX_DIGITS: Final = 4
_BRANDS: Final[tuple[tuple[str, str, Sequence[int]], ...]] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", range(14, 20)),  # Diners Club
    ("3095", "3095", range(14, 20)),
    ("36", "36", range(14, 20)),
    ("38", "39", range(14, 20)),
    ("6011", "6011", range(16, 20)),  # Discover
    ("644", "649", range(16, 20)),
    ("65", "65", range(16, 20)),  # Discover, RuPay, Troy
    ("62", "62", range(16, 20)),  # UnionPay
    ("81", "81", range(16, 20)),  # UnionPay, RuPay
    ("3528", "3589", range(16, 20)),  # JCB
    ("5018", "5018", range(12, 20)),  # Maestro
    ("5020", "5020", range(12, 20)),
    ("5038", "5038", range(12, 20)),
    ("5893", "5893", range(12, 20)),
    ("6304", "6304", range(12, 20)),
    ("6759", "6759", range(12, 20)),
    ("6761", "6763", range(12, 20)),
    ("2200", "2204", range(16, 20)),  # Mir
    ("60", "60", (16,)),  # RuPay
    ("82", "82", (16,)),
    ("508", "508", (16,)),
    ("9792", "9792", (16,)),  # Troy
    ("5060", "5061", (16, 18, 19)),  # Verve
    ("6500", "6500", (16, 18, 19)),
)
SHORTEST: Final = 12
LONGEST: Final = 19


def _lengths_by_prefix() -> tuple[tuple[int, ...], ...]:
    lengths: list[set[int]] = [set() for _ in range(10**_PREFIX_DIGITS)]
    for first, last, brand_lengths in _BRANDS:
        scale = 10 ** (_PREFIX_DIGITS - len(first))
        for prefix in range(int(first) * scale, (int(last) + 1) * scale):
            lengths[prefix].update(brand_lengths)
    return tuple(tuple(sorted(each)) for each in lengths)


LENGTHS: Final = _lengths_by_prefix()
"""The lengths of the cards that begin with these four digits."""

_WIDTHLESS: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
_SIGNS: Final = (
    r"\s\-._/\\+"
    "\u2010-\u2015\u2212\ufe58\ufe63\uff0d"  # dashes
    "\u00b7\u2022\u2219\u2024\u22c5\u30fb\u3002\uff0e\uff61"  # dots
    "\u2044\u2215\uff0f\u29f8\uff0b\uff3f"  # slashes, plus, underscore
)
_JOINT: Final = rf"(?:[{_WIDTHLESS}]*+[{_SIGNS}]){{0,3}}+[{_WIDTHLESS}]*+"
_RUN: Final = re.compile(rf"\d(?:{_JOINT}\d)*+")
_GROUP: Final = re.compile(rf"\d(?:[{_WIDTHLESS}]*+\d)*+")
_NOT_DIGITS: Final = re.compile(r"\D+")
_KNOWN: Final = re.compile(
    r"[a-z]{2,6}_[0-9a-hjkmnp-tv-z]{26}(?![0-9A-Za-z])"  # an id of ours
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"  # a UUID
    r"|\b(?=[0-9]*+[a-fA-F])[0-9a-fA-F]{24,}+\b"  # a digest
)
_SHAPES: Final = ((4, 6, 5), (4, 6, 4))
_PHONE_MAX_DIGITS: Final = 15  # E.164


class Span(NamedTuple):
    """Where a card number stands in a text."""

    start: int
    end: int


def holds_card_number(text: str) -> bool:
    """Whether a card number stands in a decoded text."""
    return next(card_numbers(text), None) is not None


def card_numbers(text: str) -> Iterator[Span]:
    """Where card numbers stand, from left to right; they do not overlap."""
    if not any(run.end() - run.start() >= SHORTEST for run in _RUN.finditer(text)):
        return
    text = _KNOWN.sub(_letters, text)
    for run in _RUN.finditer(text):
        if run.end() - run.start() < SHORTEST:
            continue
        free = 0
        for span in _Run(text, run.start(), run.end()).numbers():
            if span.start >= free:
                yield span
                free = span.end


def mask_card_numbers(text: str, mask: str) -> str:
    """The text with `mask` in place of each."""
    pieces: list[str] = []
    done = 0
    for span in card_numbers(text):
        pieces += (text[done : span.start], mask)
        done = span.end
    return "".join(pieces) + text[done:] if done else text


def _letters(known: re.Match[str]) -> str:
    """What stands for a known id, so that nothing after it moves."""
    return "x" * len(known.group())


class _Run:
    """Digits and the joints between them: the windows from a group's begin to a group's end that may be a number."""

    __slots__ = ("_ends", "_joints", "_offsets", "_sizes", "_start", "_starts", "_text", "digits")

    def __init__(self, text: str, start: int, end: int) -> None:
        groups = list(_GROUP.finditer(text, start, end))
        self._text = text
        self._start = start
        self._starts = [group.start() for group in groups]
        self._ends = [group.end() for group in groups]
        plain = [_NOT_DIGITS.sub("", group.group()) for group in groups]
        self._sizes = [len(each) for each in plain]
        self._offsets = [0, *accumulate(self._sizes)]
        self._joints = [text[a:b] for a, b in zip(self._ends, self._starts[1:], strict=False)]
        self.digits = "".join(plain)

    def numbers(self) -> Iterator[Span]:
        digits, offsets = self.digits, self._offsets
        count = len(digits)
        if count < SHORTEST or self._is_phone():
            return
        values = [int(digit) for digit in digits]
        doubled = [value * 2 - 9 * (value > 4) for value in values]
        # Sums up to each digit, with every second one doubled: those at even places, and those at odd ones.
        sums = [
            [0, *accumulate(doubled[at] if at % 2 == parity else values[at] for at in range(count))]
            for parity in (0, 1)
        ]
        last_alike, last_even = self._reaches()
        group_ending = [-1] * (count + 1)
        for group, offset in enumerate(offsets[1:]):
            group_ending[offset] = group
        for first in range(bisect_left(offsets, count - SHORTEST + 1)):
            offset = offsets[first]
            for length in LENGTHS[int(digits[offset : offset + _PREFIX_DIGITS])]:
                end = offset + length
                if end > count:
                    break
                last = group_ending[end]
                if last < 0 or (sums[end % 2][end] - sums[end % 2][offset]) % 10:
                    continue
                alike = last <= last_alike[first] or last <= last_even[first]
                if (alike or self._has_shape(first, last)) and not (first == last and self._is_fraction(first)):
                    yield Span(self._starts[first], self._ends[last])

    def _reaches(self) -> tuple[list[int], list[int]]:
        """For each group, the last one up to which all joints are the same, and up to which all sizes are."""
        groups = len(self._sizes)
        alike, even = list(range(groups)), list(range(groups))
        for group in range(groups - 2, -1, -1):
            same_joint = group + 2 < groups and self._joints[group] == self._joints[group + 1]
            alike[group] = alike[group + 1] if same_joint else group + 1
            if self._sizes[group] == self._sizes[group + 1]:
                even[group] = even[group + 1]
        return alike, even

    def _has_shape(self, first: int, last: int) -> bool:
        """Whether mixed joints part groups as on a card: even but for a shorter last one, or 4-6-5 or 4-6-4."""
        if last - first >= LONGEST:
            return False
        sizes = tuple(self._sizes[first : last + 1])
        return sizes in _SHAPES or (sizes[-1] < sizes[0] and len(set(sizes[:-1])) == 1)

    def _is_phone(self) -> bool:
        return self._text[self._start - 1 : self._start] == "+" and len(self.digits) <= _PHONE_MAX_DIGITS

    def _is_fraction(self, group: int) -> bool:
        """Whether the group stands behind a decimal point (or comma), which is the only one before and after it."""
        if group == 0:
            before = self._text[max(0, self._start - 2) : self._start]
            return len(before) == 2 and before[1] == "," and before[0].isdecimal()
        joints = self._joints
        if joints[group - 1] != ".":
            return False
        return "." not in (joints[group - 2] if group > 1 else "", joints[group] if group < len(joints) else "")
