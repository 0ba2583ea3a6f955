"""What a report is: rows over read models, with plain columns that say what they hold.

It is declared once, and shown twice: as a view of the schema `reporting`, which BI tools read, and as an export. So a
column has one name, one meaning and one place among the others, wherever it is read.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from projections.models import test_clocks
from projections.read_model import ReadModel


class Kind(StrEnum):
    """What a column holds. JSON is text of what has parts of its own; DECIMAL is exact, with a point."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    INSTANT = "instant"
    DAY = "day"
    FLAG = "flag"
    JSON = "json"


class Column(NamedTuple):
    """One column: `sql` computes it from the report's source, whose rows are called `r`."""

    name: str
    kind: Kind
    sql: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Rows over `source`, whose first table is called `r`.

    `order` is the order of its rows, in which each has a place of its own; `since` is the time that a range of times is
    about, the first of that order. `rests_on` are the read models that it reads, `customer` the column that says whose
    a row is, where it is a customer's. `lives_on_clocks`: what was on a test clock that is deleted is left out.
    """

    name: str
    about: str
    source: str
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    since: str | None
    rests_on: tuple[ReadModel[Any], ...]
    customer: str | None = None
    lives_on_clocks: bool = False

    @property
    def read_models(self) -> frozenset[str]:
        """The names of what it reads."""
        own = {model.name for model in self.rests_on}
        return frozenset(own | {test_clocks.TABLE.name} if self.lives_on_clocks else own)

    def rows(self, tenant: str) -> str:
        """FROM and WHERE: all rows of the tenant that this expression names."""
        conditions = [f"r.tenant_id = {tenant}"]
        if self.lives_on_clocks:
            conditions.append(
                f"(r.{test_clocks.COLUMN} IN (SELECT c.clock_id FROM read.test_clocks c "  # noqa: S608  our own names
                f"WHERE c.tenant_id = {tenant} AND c.is_deleting)) IS NOT TRUE"
            )
        return f"FROM {self.source} WHERE {' AND '.join(conditions)}"


def text(name: str, about: str, sql: str = "") -> Column:
    """Text as it is, or an id."""
    return Column(name, Kind.TEXT, sql or f"r.{name}", about)


def integer(name: str, about: str, sql: str = "") -> Column:
    """A whole number."""
    return Column(name, Kind.INTEGER, sql or f"r.{name}", about)


def decimal(name: str, about: str, sql: str = "") -> Column:
    """An exact number; the read models keep it as text."""
    return Column(name, Kind.DECIMAL, f"({sql or f'r.{name}'})::numeric", about)


def instant(name: str, about: str, sql: str = "") -> Column:
    """A moment, in UTC."""
    return Column(name, Kind.INSTANT, sql or f"r.{name}", about)


def day(name: str, about: str, sql: str = "") -> Column:
    """A calendar day."""
    return Column(name, Kind.DAY, sql or f"r.{name}", about)


def flag(name: str, about: str, sql: str = "") -> Column:
    """Yes or no."""
    return Column(name, Kind.FLAG, sql or f"r.{name}", about)


def json(name: str, about: str, sql: str = "") -> Column:
    """What has parts of its own."""
    return Column(name, Kind.JSON, sql or f"r.{name}", about)


def money(name: str, about: str, *, currency: str, minor: str = "") -> tuple[Column, Column]:
    """An amount, twice: in minor units, and as a decimal number of the currency that `currency` computes."""
    of = minor or f"r.{name}"
    return (
        Column(f"{name}_minor", Kind.INTEGER, of, f"{about} In minor units of the currency."),
        Column(name, Kind.DECIMAL, f"reporting.major_units({of}, {currency})", f"{about} As a decimal number."),
    )


def interval(of: str, missing: str = "") -> tuple[Column, Column]:
    """The length of a period, of the JSON that `of` computes; `missing` says what null means."""
    return (
        text("interval_unit", f"What a period counts: day, week, month, quarter or year.{missing}", f"{of} ->> 'unit'"),
        integer("interval_count", f"How many of them a period is.{missing}", f"({of} ->> 'count')::bigint"),
    )


METADATA: Final = json("metadata", "What the tenant keeps with it: names and texts.")
TEST_CLOCK: Final = text("test_clock_id", "The test clock that it lives on; null in real time.")
UPDATED: Final = instant("updated_at", "When its last event took effect.")
POSITION: Final = integer("position", "Its last event's position in the log: what rose since was changed since.")
