"""A meter: which events it takes, by the name that they say, and how they become one quantity.

What it aggregates and in which unit never changes, as figures of one kind do not add to those of another. What it
reads of an event does, by a new version from an instant that lies ahead: no event of that time is counted yet, so no
figure depends on when it was computed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Stream, Take, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged
from domain.metering.aggregation import ADDED_BY_GROUP, Aggregation

CODE_CLAIM: Final = "meter.code"
MAX_FILTERS: Final = 10
MAX_FILTER_VALUES: Final = 50
MAX_GROUPS: Final = 5
"""Each group of values is a counter of its own for each customer."""
MAX_VERSIONS: Final = 100

VERSION_LEAD: Final = timedelta(minutes=15)
"""How far ahead a version begins at the least: further than an event's time may lie ahead."""
SETTLING: Final = timedelta(minutes=1)
"""Whoever counts knows of a version by then. What is recorded before is read by the version before it, for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyFilter:
    """An event counts where its property of this name has one of these values."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterTerms:
    """What is read of an event's properties.

    `value_property` names the one that is summed, compared or held; `unique_property` the one of which different values
    are counted. An event counts where all filters let it. A figure is told for each group of the values of `group_by`,
    too; what the groups come to together says `domain.metering.aggregation`.
    """

    value_property: str | None = None
    unique_property: str | None = None
    filters: tuple[PropertyFilter, ...] = ()
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMeter:
    """`unit` is what the figure counts, for people: GB, calls."""

    meter_id: str
    code: str
    name: str
    aggregation: Aggregation
    unit: str | None = None
    terms: MeterTerms
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviseMeter:
    """A new version from `effective_from` on; None: as soon as one can begin. None clears a property."""

    meter_id: str
    value_property: str | Unchanged | None = UNCHANGED
    unique_property: str | Unchanged | None = UNCHANGED
    filters: tuple[PropertyFilter, ...] | Unchanged = UNCHANGED
    group_by: tuple[str, ...] | Unchanged = UNCHANGED
    effective_from: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameMeter:
    meter_id: str
    name: str | Unchanged = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveMeter:
    meter_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterCreated:
    meter_id: str
    code: str
    name: str
    aggregation: Aggregation
    unit: str | None
    terms: MeterTerms
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRevised:
    meter_id: str
    version: int
    terms: MeterTerms
    effective_from: datetime
    revised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRenamed:
    meter_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterArchived:
    meter_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterMetadataSet(MetadataSet):
    meter_id: str


MeterEvent = MeterCreated | MeterRevised | MeterRenamed | MeterArchived | MeterMetadataSet


class MeterNotFound(Refusal):
    """There is no such meter."""

    code = "meter_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "meter"


class MeterAlreadyExists(Refusal):
    """A meter of this id exists already."""

    code = "meter_already_exists"


class MeterIsArchived(Refusal):
    """The meter is archived: it takes no events and is not changed any more."""

    code = "meter_archived"
    param = "meter"


class MeterCodeTaken(Refusal):
    """Another meter has this code, archived or not: events of that name are its own for ever."""

    code = "meter_code_taken"
    param = "code"


class InvalidMeter(Refusal):
    """A meter of unique reads a unique_property, one of count none, others a value_property; it names nothing twice."""

    code = "invalid_meter"
    kind = RefusalKind.INVALID
    param = "aggregation"


class MeterVersionNotAhead(Refusal):
    """A version begins at least 15 minutes ahead, and after every version that there is."""

    code = "meter_version_not_ahead"
    kind = RefusalKind.INVALID
    param = "effective_from"


class MeterKeepsGroups(Refusal):
    """A meter of latest or time_weighted_sum keeps its group_by, and with it its filters: create another meter.

    Its levels go on into the next version.
    """

    code = "meter_keeps_groups"
    kind = RefusalKind.INVALID
    param = "group_by"


class TooManyMeterVersions(Refusal):
    """A meter has at most 100 versions: create another meter."""

    code = "too_many_meter_versions"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterVersion:
    """`effective_from`: None for the first, which holds for all time before the second. `added_at` is real time."""

    version: int
    terms: MeterTerms
    effective_from: datetime | None
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """`versions` in their order, which is that of their beginnings."""

    meter_id: str
    code: str
    name: str
    aggregation: Aggregation
    unit: str | None
    versions: tuple[MeterVersion, ...]
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None

    def version_for(self, at: datetime, recorded_at: datetime) -> MeterVersion:
        """The version that reads an event of the time `at` whose record the topic took at `recorded_at`.

        It is the last that begins at or before `at` and was added a minute or more before the record was. A customer on
        a test clock may be ahead of real time, so a version could otherwise begin before events that are counted.
        """
        for version in reversed(self.versions[1:]):
            assert version.effective_from is not None, "every version but the first begins somewhere"
            if version.effective_from <= at and version.added_at + SETTLING <= recorded_at:
                return version
        return self.versions[0]


_NEEDS_VALUE: Final = frozenset(Aggregation) - {Aggregation.COUNT, Aggregation.UNIQUE}


def check_terms(aggregation: Aggregation, terms: MeterTerms) -> None:
    """Raises InvalidMeter, about the field that does not fit."""
    needs_value, needs_unique = aggregation in _NEEDS_VALUE, aggregation is Aggregation.UNIQUE
    if (terms.value_property is not None) is not needs_value:
        raise InvalidMeter(aggregation=aggregation.value).at("value_property")
    if (terms.unique_property is not None) is not needs_unique:
        raise InvalidMeter(aggregation=aggregation.value).at("unique_property")
    _check_filters(terms.filters)
    if len(terms.group_by) > MAX_GROUPS:
        raise InvalidMeter(properties=len(terms.group_by), most=MAX_GROUPS).at("group_by")
    _check_once(terms.group_by, "group_by")


def check_goes_on(aggregation: Aggregation, before: MeterTerms, after: MeterTerms) -> None:
    """Whether what groups have come to can go on by other terms. A level that nothing reads any more would be held for
    ever, and one under another name twice. Raises MeterKeepsGroups.
    """
    if aggregation not in ADDED_BY_GROUP:
        return
    if after.group_by != before.group_by:
        raise MeterKeepsGroups(aggregation=aggregation.value, group_by=", ".join(before.group_by))
    if after.group_by and after.filters != before.filters:
        raise MeterKeepsGroups(aggregation=aggregation.value, group_by=", ".join(before.group_by)).at("filters")


def _check_filters(filters: tuple[PropertyFilter, ...]) -> None:
    if len(filters) > MAX_FILTERS:
        raise InvalidMeter(filters=len(filters), most=MAX_FILTERS).at("filters")
    _check_once(tuple(each.name for each in filters), "filters", ".property")
    for nth, each in enumerate(filters):
        where = f"filters.{nth}.values"
        if not 1 <= len(each.values) <= MAX_FILTER_VALUES:
            raise InvalidMeter(values=len(each.values), most=MAX_FILTER_VALUES).at(where)
        _check_once(each.values, where)


def _check_once(named: tuple[str, ...], where: str, field: str = "") -> None:
    for nth, name in enumerate(named):
        if name in named[:nth]:
            raise InvalidMeter(name=name, reason="named twice").at(f"{where}.{nth}{field}")


def evolve(meter: Meter | None, event: MeterEvent) -> Meter:
    if isinstance(event, MeterCreated):
        first = MeterVersion(version=1, terms=event.terms, effective_from=None, added_at=event.created_at)
        return Meter(
            meter_id=event.meter_id,
            code=event.code,
            name=event.name,
            aggregation=event.aggregation,
            unit=event.unit,
            versions=(first,),
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
        )
    assert meter is not None, "the first event of a meter is meter.created"
    match event:
        case MeterRevised():
            added = MeterVersion(
                version=event.version,
                terms=event.terms,
                effective_from=event.effective_from,
                added_at=event.revised_at,
            )
            return replace(meter, versions=(*meter.versions, added))
        case MeterRenamed():
            return replace(meter, name=event.name)
        case MeterArchived():
            return replace(meter, archived_at=event.archived_at)
        case MeterMetadataSet():
            return replace(meter, metadata=event.metadata)


def claims(event: MeterEvent, meter: Meter) -> tuple[Claim, ...]:
    """A code belongs to one meter for ever, so what an event means never depends on when it is read."""
    if isinstance(event, MeterCreated):
        code = event.code
        return (Take(CODE_CLAIM, code, event.meter_id, lambda: MeterCodeTaken(code=code)),)
    return ()


EVENTS: dict[str, type] = {
    "meter.created": MeterCreated,
    "meter.revised": MeterRevised,
    "meter.renamed": MeterRenamed,
    "meter.archived": MeterArchived,
    "meter.metadata_set": MeterMetadataSet,
}

METER: Stream[Meter] = Stream(
    name="meter",
    id_field="meter_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda meter: None,
    not_found=MeterNotFound,
    already_exists=MeterAlreadyExists,
    metadata_set=MeterMetadataSet,
    claims=claims,
)
