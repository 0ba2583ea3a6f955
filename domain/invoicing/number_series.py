"""Series of document numbers: which counts there are, and how the numbers of each are printed."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Free, Take

MAX_SERIES: Final = 20
MAX_DIGITS: Final = 12

SERIES_NAME_PATTERN: Final = "^[A-Z][A-Z0-9]{0,11}$"
PREFIX_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._/-]{0,19}$"
FORMAT_PATTERN: Final = r"^\{prefix\}(\{year\}[-./]?)?\{number\}$"

YEAR: Final = "{year}"

PREFIX_CLAIM: Final = "document.number_prefix"
"""The kind of claim by which numbers of imported invoices and of series keep apart: both hold prefixes."""

_PREFIX_CHARACTERS_MAX: Final = 20
_OF_A_YEAR: Final = re.compile(r"([0-9]{4})[-./]?([0-9]+)")
_COUNTED_ON: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSeries:
    """One count of documents. A number is printed with at least `digits` digits; where the format names the year, each
    year has a count of its own that begins with 1.

    `former_prefixes` are what it was printed with before: no other series may take them.
    """

    name: str
    prefix: str
    format: str = "{prefix}{number}"
    digits: int = 6
    former_prefixes: tuple[str, ...] = ()

    @property
    def is_yearly(self) -> bool:
        """Whether it counts anew each year."""
        return YEAR in self.format

    def text(self, number: int, year: int | None) -> str:
        """How a number is printed: INV-000042, or R2026-0042."""
        printed = self.format.replace("{prefix}", self.prefix).replace("{number}", f"{number:0{self.digits}d}")
        return printed if year is None else printed.replace(YEAR, f"{year:04d}")


INVOICES: Final = NumberSeries(name="INV", prefix="INV-")
CREDIT_NOTES: Final = NumberSeries(name="CN", prefix="CN-")
SERIES_AT_FIRST: Final = (INVOICES, CREDIT_NOTES)


class InvalidNumberSeries(Refusal):
    """A series has a name, a prefix, 1 to 12 digits, and the format {prefix}{number} or {prefix}{year}-{number}."""

    code = "invalid_number_series"
    kind = RefusalKind.INVALID
    param = "number_series"


class NumberSeriesKept(Refusal):
    """A series that was made stays, as documents are numbered by it: name it among the others."""

    code = "number_series_kept"
    kind = RefusalKind.INVALID
    param = "number_series"


class NumberSeriesOverlap(Refusal):
    """Two series would print the same number some day: give one of them another prefix."""

    code = "number_series_overlap"
    kind = RefusalKind.INVALID
    param = "number_series"


class NumberSeriesImported(Refusal):
    """Imported invoices bear numbers as this series would print them: give it another prefix."""

    code = "number_series_imported"
    kind = RefusalKind.INVALID
    param = "number_series"


class UnknownNumberSeries(Refusal):
    """There is no such series of invoices: name one of the billing settings', not that of credit notes."""

    code = "unknown_number_series"
    kind = RefusalKind.INVALID
    param = "series"


def changed_series(wanted: tuple[NumberSeries, ...], before: tuple[NumberSeries, ...]) -> tuple[NumberSeries, ...]:
    """The series as they are from now on, each with the prefixes that it ever had.

    Raises InvalidNumberSeries, NumberSeriesKept, NumberSeriesOverlap.
    """
    for nth, series in enumerate(wanted):
        _check(series, nth)
    named = {series.name: series for series in wanted}
    if len(named) < len(wanted) or len(wanted) > MAX_SERIES:
        raise InvalidNumberSeries(series=len(wanted), names=len(named), most=MAX_SERIES)
    known = {series.name: series for series in before}
    for name in known:
        if name not in named:
            raise NumberSeriesKept(series=name)
    series_now = tuple(_with_history(series, known.get(series.name)) for series in wanted)
    for one, other in permutations(series_now, 2):
        for prefix in _prefixes(one):
            for longer in _prefixes(other):
                if _may_print_the_same(prefix, longer):
                    raise NumberSeriesOverlap(series=other.name, prefix=longer, beside=one.name, beside_prefix=prefix)
    return series_now


def _check(series: NumberSeries, nth: int) -> None:
    for field, value, pattern in (
        ("name", series.name, SERIES_NAME_PATTERN),
        ("prefix", series.prefix, PREFIX_PATTERN),
        ("format", series.format, FORMAT_PATTERN),
    ):
        if re.fullmatch(pattern, value) is None:
            raise InvalidNumberSeries(**{field: value[:64]}).at(f"number_series.{nth}.{field}")
    if not 1 <= series.digits <= MAX_DIGITS:
        raise InvalidNumberSeries(digits=series.digits).at(f"number_series.{nth}.digits")


def _with_history(series: NumberSeries, before: NumberSeries | None) -> NumberSeries:
    had = () if before is None else (*before.former_prefixes, before.prefix)
    former = tuple(prefix for prefix in dict.fromkeys(had) if prefix != series.prefix)
    return replace(series, former_prefixes=former)


def _prefixes(series: NumberSeries) -> tuple[str, ...]:
    return (series.prefix, *series.former_prefixes)


def _may_print_the_same(prefix: str, longer: str) -> bool:
    """After a prefix comes a digit, always: so a longer one is told apart by what it has there, unless that is one."""
    rest = longer.removeprefix(prefix)
    return longer.startswith(prefix) and (not rest or rest[0].isdigit())


def readings(prefix: str, text: str) -> tuple[tuple[int | None, int], ...]:
    """As which numbers, of which year (None: of a count that goes on), a series with this prefix may print the text,
    with however many digits; none where it never does.
    """
    if not text.startswith(prefix):
        return ()
    rest = text[len(prefix) :]
    found: list[tuple[int | None, int]] = []
    if _COUNTED_ON.fullmatch(rest):
        found.append((None, int(rest)))
    if (of_a_year := _OF_A_YEAR.fullmatch(rest)) is not None:
        found.append((int(of_a_year[1]), int(of_a_year[2])))
    return tuple(found)


def prefixes_of(text: str) -> tuple[str, ...]:
    """The prefixes with which a series might print it."""
    beginnings = (text[:length] for length in range(1, min(len(text), _PREFIX_CHARACTERS_MAX + 1)))
    return tuple(each for each in beginnings if re.fullmatch(PREFIX_PATTERN, each) and readings(each, text))


def prefix_held(prefix: str, owner: str, refusal: Callable[[], Refusal]) -> tuple[Claim, ...]:
    """The prefix is this owner's, who may have held it before."""
    return Free(PREFIX_CLAIM, prefix, owner), Take(PREFIX_CLAIM, prefix, owner, refusal)
