"""Texts as the fonts can print them. Whatever somebody is called, the page is made, and says what it could not show."""

import unicodedata
from collections.abc import Set
from pathlib import Path
from typing import Any, Final, NamedTuple

FONTS: Final = Path(__file__).with_name("fonts")
CHARACTERS: Final = FONTS / "characters.txt"
UNKNOWN: Final = "\ufffd"
"""Stands for a character that no font has."""
RUN_MAX_CHARS: Final = 32
"""After so many characters without a place for a line to end, one is made: a cell is as wide as it is."""
_BREAK: Final = "\u200b"
_JOINERS: Final = frozenset("\u200c\u200d")
"""Of the characters that only format, those that Persian and Indic words are spelt with."""
_UNSEEN: Final = frozenset({"Cf", "Cc", "Cs", "Zl", "Zp"})


def characters() -> frozenset[int]:
    """What the fonts have, as `python -m testing.font_characters` found: to look into the fonts takes a second."""
    found: set[int] = set()
    for line in CHARACTERS.read_text(encoding="ascii").splitlines():
        first, _, last = line.partition("-")
        found.update(range(int(first, 16), int(last, 16) + 1))
    return frozenset(found)


class Printable(NamedTuple):
    """A value with every text in it made printable, and whether something was lost."""

    value: Any
    has_lost: bool


def printable(value: Any, characters: Set[int]) -> Printable:
    """The value, with what the fonts do not have replaced in each of its texts.

    What has no look of its own goes without a trace: controls, overrides of the direction (with which a name would turn
    the figures beside it around), variants of emoji.
    """
    lost = False

    def text(of: str) -> str:
        nonlocal lost
        found: list[str] = []
        run = 0
        for each in of:
            if each == "\n" or each == "\t":
                each = " "
            if each not in _JOINERS and (unicodedata.category(each) in _UNSEEN or _selects_variant(each)):
                continue
            if ord(each) not in characters:
                each, lost = UNKNOWN, True
            run = 0 if each.isspace() else run + 1
            if run > RUN_MAX_CHARS:
                found.append(_BREAK)
                run = 1
            found.append(each)
        return "".join(found)

    def walk(of: Any) -> Any:
        if isinstance(of, str):
            return text(of)
        if isinstance(of, dict):
            return {name: walk(each) for name, each in of.items()}
        if isinstance(of, list):
            return [walk(each) for each in of]
        return of

    found = walk(value)
    return Printable(found, lost)


def plain(value: Any, characters: Set[int]) -> Printable:
    """The same, for what could not be set even so: letters, figures and signs, each by itself, none that joins another.

    A mark of one script on a letter of another has no font that has both.
    """
    alone = frozenset(each for each in characters if unicodedata.category(chr(each))[0] not in "MC")
    return printable(value, alone)


def _selects_variant(character: str) -> bool:
    return 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF
