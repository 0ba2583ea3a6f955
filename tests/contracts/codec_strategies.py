"""Random values of any type that events and states are made of, from the type hints alone.

It reads the hints on its own, without `schemas.shapes`, so that the two readings check each other.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction

from hypothesis import strategies as st

from domain.kernel.accounts import CHART, Entry, Posting, Side
from domain.kernel.billing_period import MAX_INTERVAL_COUNT, Interval, IntervalUnit
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
SCALARS: dict[object, st.SearchStrategy[object]] = {
    str: TEXTS,
    int: st.one_of(st.integers(-300, 300), INT64),
    bool: st.booleans(),
    bytes: st.binary(max_size=200),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20),
    Fraction: st.fractions(),
    datetime: st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants naive bounds
    date: st.dates(),
}


@st.composite
def _entries(draw: st.DrawFn) -> Entry:
    """Balanced: each random posting stands beside one of the same amount on the other side."""
    postings: list[Posting] = []
    for _ in range(draw(st.integers(0, 3))):
        amount = Money(draw(st.integers(1, 2**63 - 1)), CurrencyCode(draw(st.sampled_from(["USD", "JPY", "KWD"]))))
        for side in Side:
            customer = draw(st.none() | TEXTS)
            postings.append(Posting(draw(st.sampled_from(sorted(CHART))), side, amount, customer))
    return Entry(tuple(draw(st.permutations(postings))))


PICKY: dict[object, st.SearchStrategy[object]] = {
    Entry: _entries(),
    Interval: st.builds(Interval, st.sampled_from(IntervalUnit), st.integers(1, MAX_INTERVAL_COUNT)),
}
"""Classes that refuse most values."""


def values_of(annotation: object) -> st.SearchStrategy[typing.Any]:
    """Random values of a resolved type hint."""
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    for known in (SCALARS, PICKY):
        if annotation in known:
            return known[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(st.none() if part is types.NoneType else values_of(part) for part in arguments))
    if origin is tuple and arguments[-1] is Ellipsis:
        pair = typing.get_args(arguments[0])
        unique = (lambda item: item[0]) if typing.get_origin(arguments[0]) is tuple and pair[0] is str else None
        return st.lists(values_of(arguments[0]), max_size=4, unique_by=unique).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(part) for part in arguments))
    if origin in (list, set, frozenset):
        return st.lists(values_of(arguments[0]), max_size=4).map(origin)
    if origin in (dict, Mapping):
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=4)
    assert isinstance(annotation, type), annotation
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    hints = typing.get_type_hints(annotation)
    names = [field.name for field in dataclasses.fields(annotation)] if dataclasses.is_dataclass(annotation) else hints
    return st.builds(annotation, **{name: values_of(hints[name]) for name in names})
