"""Meters: which usage events count, by the name that they say, and how they become one quantity."""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change, Clearable, Kept, Partial
from api.http.fields import Body, Instant, Line, MeterId, New, NoBody, ShortText, text
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.resource import Resource
from api.http.validation import form
from domain.identity.permissions import Permission
from domain.kernel.identifiers import METER as PREFIX
from domain.kernel.unchanged import Unchanged
from domain.metering.aggregation import Aggregation
from domain.metering.meter import (
    MAX_FILTER_VALUES,
    MAX_FILTERS,
    MAX_GROUPS,
    METER,
    ArchiveMeter,
    CreateMeter,
    InvalidMeter,
    Meter,
    MeterCodeTaken,
    MeterIsArchived,
    MeterKeepsGroups,
    MeterTerms,
    MeterVersion,
    MeterVersionNotAhead,
    PropertyFilter,
    RenameMeter,
    ReviseMeter,
    TooManyMeterVersions,
)
from infra.ids import new_id
from projections.models import meters as read

_ID: Final = "mtr_01m7ywe9z7e398x54gfbrtqnk7"
CODE_PATTERN: Final = "^[A-Za-z][A-Za-z0-9._-]{0,99}$"

MeterCode: TypeAlias = Annotated[
    str,
    form(CODE_PATTERN, "Must be a letter, and then letters, digits, dots, hyphens, underscores: 100 at most"),
    Field(examples=["api_calls"], description="What events say that are this meter's."),
]
PropertyName: TypeAlias = Annotated[str, text(100), Field(examples=["bytes"])]
ValueProperty: TypeAlias = Annotated[
    PropertyName, Field(description="Which property is summed, compared or held; of all but count and unique.")
]
UniqueProperty: TypeAlias = Annotated[
    PropertyName, Field(description="Of which property different values are counted; of unique alone.")
]


class FilterBody(Body):
    """An event counts where its property has one of these values."""

    property: PropertyName
    values: Annotated[tuple[Line, ...], Field(min_length=1, max_length=MAX_FILTER_VALUES)]


Filters: TypeAlias = Annotated[tuple[FilterBody, ...], Field(max_length=MAX_FILTERS)]
GroupBy: TypeAlias = Annotated[
    tuple[PropertyName, ...],
    Field(
        max_length=MAX_GROUPS,
        description="Usage is told for each group of their values, too. Of latest and time_weighted_sum each group has "
        "a value of its own, and the total is their sum.",
    ),
]


def _filters(sent: tuple[FilterBody, ...]) -> tuple[PropertyFilter, ...]:
    return tuple(PropertyFilter(name=each.property, values=each.values) for each in sent)


class NewMeter(New):
    """A meter to be. What it aggregates, its code and its unit never change."""

    code: MeterCode
    name: Line
    aggregation: Annotated[Aggregation, Field(strict=False)]
    unit: Annotated[ShortText | None, Field(examples=["GB"], description="What the figure counts, for people.")] = None
    value_property: ValueProperty | None = None
    unique_property: UniqueProperty | None = None
    filters: Filters = ()
    group_by: GroupBy = ()


class MeterChange(Change):
    """What is to change of a meter."""

    name: Kept[Line]


class MeterRevision(Partial):
    """What the next version reads otherwise of an event; what is left out stays as the newest version has it."""

    value_property: Clearable[ValueProperty]
    unique_property: Clearable[UniqueProperty]
    filters: Kept[Filters]
    group_by: Kept[GroupBy]
    effective_from: Annotated[
        Instant | None,
        Field(description="Which events it reads: those of that time and later. At least 15 minutes ahead."),
    ] = None


class MeterFilters(CreatedParameters):
    """Which meters."""

    code: MeterCode | None = None


class FilterResource(TypedDict):
    """An event counts where its property has one of these values."""

    property: str
    values: list[str]


class MeterVersionResource(TypedDict):
    """What is read of events from a time on; `effective_from` is null for the first, which reads all before, too."""

    version: int
    value_property: str | None
    unique_property: str | None
    filters: list[FilterResource]
    group_by: list[str]
    effective_from: datetime | None
    created: datetime


class MeterResource(TypedDict):
    """A meter. `versions` are in the order in which they begin. An archived one takes no events."""

    id: MeterId
    object: Literal["meter"]
    code: str
    name: str
    aggregation: Aggregation
    unit: str | None
    versions: list[MeterVersionResource]
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None


def _version_resource(version: MeterVersion) -> MeterVersionResource:
    terms = version.terms
    return {
        "version": version.version,
        "value_property": terms.value_property,
        "unique_property": terms.unique_property,
        "filters": [{"property": each.name, "values": list(each.values)} for each in terms.filters],
        "group_by": list(terms.group_by),
        "effective_from": version.effective_from,
        "created": version.added_at,
    }


def meter_resource(meter: Meter) -> MeterResource:
    """A meter as it is answered."""
    return {
        "id": meter.meter_id,
        "object": "meter",
        "code": meter.code,
        "name": meter.name,
        "aggregation": meter.aggregation,
        "unit": meter.unit,
        "versions": [_version_resource(version) for version in meter.versions],
        "active": meter.archived_at is None,
        "metadata": dict(meter.metadata),
        "created": meter.created_at,
        "archived_at": meter.archived_at,
    }


_FIRST: Final[dict[str, object]] = {
    "version": 1,
    "value_property": "bytes",
    "unique_property": None,
    "filters": [{"property": "direction", "values": ["out"]}],
    "group_by": ["region"],
    "effective_from": None,
    "created": "2026-01-01T00:00:00Z",
}
EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "meter",
    "code": "traffic",
    "name": "Outgoing traffic",
    "aggregation": "sum",
    "unit": "bytes",
    "versions": [_FIRST],
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
}

METERS: Final = Resource(
    tag="meters",
    about="How usage becomes quantities.",
    stream=METER,
    table=read.TABLE,
    path="/v1/meters",
    prefix=PREFIX,
    seen_with=Permission.CATALOGUE_READ,
    changed_with=Permission.CATALOGUE_WRITE,
    shows=MeterResource,
    render=meter_resource,
    example=EXAMPLE,
    filters=MeterFilters,
)


@METERS.creates(
    body=NewMeter,
    body_example={
        "code": "traffic",
        "name": "Outgoing traffic",
        "aggregation": "sum",
        "unit": "bytes",
        "value_property": "bytes",
        "filters": [{"property": "direction", "values": ["out"]}],
        "group_by": ["region"],
    },
    refusals=(InvalidMeter, MeterCodeTaken),
)
async def create_meter(_call: Call, body: NewMeter) -> Intention:
    """Create a meter.

    Events that say its code are counted from then on, also those of before that are still accepted. `count` counts
    events, `sum` adds up a property, `max` takes its greatest value, `latest` its last one, `unique` counts different
    values of a property, and `time_weighted_sum` adds up how long each level was held, in hours. `amounts` adds up,
    too, and keeps each event's value, for prices of percentages of single events.
    """
    meter_id = new_id(PREFIX)
    terms = MeterTerms(
        value_property=body.value_property,
        unique_property=body.unique_property,
        filters=_filters(body.filters),
        group_by=body.group_by,
    )
    return METERS.created(
        meter_id,
        CreateMeter(
            meter_id=meter_id,
            code=body.code,
            name=body.name,
            aggregation=body.aggregation,
            unit=body.unit,
            terms=terms,
            metadata=body.kept,
        ),
    )


@METERS.changes(
    "PATCH",
    body=MeterChange,
    body_example={"name": "Traffic"},
    example={"name": "Traffic"},
    refusals=(MeterIsArchived,),
)
async def update_meter(call: Call, body: MeterChange) -> Intention:
    """Change the name of a meter, or its metadata. What it reads of events is changed by a revision."""
    meter_id = METERS.id_of(call)
    return METERS.patched(meter_id, body, RenameMeter(meter_id=meter_id, name=body.name))


@METERS.changes(
    "POST",
    "revise",
    body=MeterRevision,
    body_example={"filters": [], "effective_from": "2026-02-01T00:00:00Z"},
    example={
        "versions": [
            _FIRST,
            _FIRST
            | {
                "version": 2,
                "filters": [],
                "effective_from": "2026-02-01T00:00:00Z",
                "created": "2026-01-20T00:00:00Z",
            },
        ]
    },
    refusals=(MeterIsArchived, InvalidMeter, MeterKeepsGroups, MeterVersionNotAhead, TooManyMeterVersions),
)
async def revise_meter(call: Call, body: MeterRevision) -> Intention:
    """Read something else of events, from a time ahead on.

    The time that events say decides which version reads them. Without `effective_from` it begins in 15 minutes. A meter
    of latest or time_weighted_sum keeps its groups.
    """
    meter_id = METERS.id_of(call)
    command = ReviseMeter(
        meter_id=meter_id,
        value_property=body.value_property,
        unique_property=body.unique_property,
        filters=body.filters if isinstance(body.filters, Unchanged) else _filters(body.filters),
        group_by=body.group_by,
        effective_from=body.effective_from,
    )
    return METERS.changed(meter_id, command)


@METERS.changes(
    "POST",
    "archive",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z"},
)
async def archive_meter(call: Call, _body: NoBody) -> Intention:
    """Archive a meter: it takes no events any more. Its figures stay, and so does its code."""
    meter_id = METERS.id_of(call)
    return METERS.changed(meter_id, ArchiveMeter(meter_id=meter_id))
