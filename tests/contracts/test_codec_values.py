"""States and other values survive a snapshot, whatever they are made of; what has no exact form is refused by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from typing import Any, NamedTuple, NewType, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalogue import STREAMS
from domain.kernel.money import Money
from domain.kernel.stream import Stream
from domain.pricing.models import Price
from schemas.codec import decode_value, encode_value, fingerprint
from schemas.shapes import UnsupportedType, shape_of
from tests.contracts.codec_strategies import values_of
from tests.lengths import LENGTH

STATES = {name: get_type_hints(stream.evolve)["return"] for name, stream in STREAMS.items()}
LineId = NewType("LineId", str)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = -1
    HIGH = 300


class Mood(StrEnum):
    CALM = "calm"
    ANGRY = "angry"


class Point(NamedTuple):
    x: int
    label: str | None = None


@dataclass(frozen=True)
class WithDict:
    """No slots: built by its constructor."""

    points: list[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    text: str
    line_id: LineId
    amount: Money
    maybe: Money | None
    number_or_text: int | str
    either_or_none: int | str | None
    flag: bool
    raw: bytes
    rate: Decimal
    share: Fraction
    at: datetime
    on: date | None
    colour: Colour
    level: Level
    moods: frozenset[Mood]
    ids: set[str]
    by_line: dict[LineId, Money]
    by_level: dict[Level, tuple[int, ...]]
    by_pair: Mapping[tuple[str, str], int | None]
    metadata: tuple[tuple[str, str], ...]
    row: tuple[int, str, Money]
    price: Price
    maybe_price: Price | None
    nested: tuple[WithDict, ...]
    grid: tuple[tuple[int, ...], ...]


@settings(deadline=None)
@given(value=values_of(Everything))
def test_a_value_of_everything_reads_back_equal(value: Everything) -> None:
    back = decode_value(Everything, encode_value(value))
    assert back == value
    assert list(back.by_line) == list(value.by_line), "the order of a dict is kept"
    assert back.rate.as_tuple() == value.rate.as_tuple(), "the digits of a decimal are kept"


@pytest.mark.parametrize("name", sorted(STATES))
@settings(max_examples=LENGTH.scaled(30), deadline=None)
@given(data=st.data())
def test_every_state_of_the_domain_reads_back_equal(name: str, data: st.DataObject) -> None:
    state = data.draw(values_of(STATES[name]))
    assert decode_value(STATES[name], encode_value(state)) == state


@settings(deadline=None)
@given(ids=st.lists(st.text(max_size=5), unique=True))
def test_equal_sets_are_equal_bytes(ids: list[str]) -> None:
    @dataclass(frozen=True, slots=True)
    class Ids:
        ids: frozenset[str]

    assert encode_value(Ids(frozenset(ids))) == encode_value(Ids(frozenset(reversed(ids))))


def test_an_instant_in_another_zone_is_the_same_instant() -> None:
    @dataclass(frozen=True, slots=True)
    class Moment:
        at: datetime

    moment = Moment(datetime.fromisoformat("2026-07-01T02:00:00+02:00"))
    back = decode_value(Moment, encode_value(moment))
    assert back == moment
    assert back.at.tzinfo is UTC


def test_checks_of_the_constructor_hold_for_what_is_read() -> None:
    @dataclass(frozen=True, slots=True)
    class Even:
        value: int

        def __post_init__(self) -> None:
            if self.value % 2:
                raise ValueError("odd")

    @dataclass(frozen=True, slots=True)
    class Any_:  # noqa: N801 - the same layout without the check
        value: int

    assert decode_value(Even, encode_value(Any_(4))) == Even(4)
    with pytest.raises(ValueError, match="odd"):
        decode_value(Even, encode_value(Any_(5)))


@dataclass(frozen=True, slots=True)
class Tree:
    children: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Derived:
    total: int = field(init=False)


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing."""


class Mixed(Enum):
    ONE = 1
    TWO = "two"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (float, "float"),
        (Any, "Any"),
        (object, "object"),
        (str | Decimal, "a union is of dataclasses"),
        (Stream, "no exact form|contains|Callable"),
        (Tree, "Tree contains itself"),
        (Derived, "outside __init__"),
        (tuple[Empty, ...], "cannot be counted safely"),
        (Mixed, "neither all text nor all integers"),
    ],
)
def test_a_type_without_an_exact_form_is_refused_by_name(kind: object, why: str) -> None:
    with pytest.raises(UnsupportedType, match=why):
        shape_of(kind)


def test_a_fingerprint_is_stable_and_of_one_class() -> None:
    assert fingerprint(Money) == fingerprint(Money)
    assert len({fingerprint(state) for state in STATES.values()}) == len(STATES)
