"""Specifications of meters: what they may read of events, and from when on they read something else."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.metering.aggregation import Aggregation
from domain.metering.meter import (
    MAX_FILTER_VALUES,
    MAX_FILTERS,
    MAX_GROUPS,
    MAX_VERSIONS,
    METER,
    SETTLING,
    VERSION_LEAD,
    ArchiveMeter,
    CreateMeter,
    InvalidMeter,
    Meter,
    MeterAlreadyExists,
    MeterArchived,
    MeterCodeTaken,
    MeterCreated,
    MeterIsArchived,
    MeterKeepsGroups,
    MeterNotFound,
    MeterRenamed,
    MeterRevised,
    MeterTerms,
    MeterVersion,
    MeterVersionNotAhead,
    PropertyFilter,
    RenameMeter,
    ReviseMeter,
    TooManyMeterVersions,
)
from testing.examples.streams import id_of
from testing.specification import NOW, Claimed, given

METER_ID, OTHER_ID = id_of("mtr_"), id_of("mtr_", 2)
OUT = PropertyFilter(name="direction", values=("out",))
TERMS = MeterTerms(value_property="bytes", filters=(OUT,), group_by=("region",))
CREATE = CreateMeter(
    meter_id=METER_ID, code="traffic", name="Traffic", aggregation=Aggregation.SUM, unit="bytes", terms=TERMS
)
REVISE = ReviseMeter(meter_id=METER_ID, filters=())
ARCHIVE = ArchiveMeter(meter_id=METER_ID)
EARLIEST = NOW + VERSION_LEAD
ALL = MeterTerms(value_property="bytes", group_by=("region",))


def revised(version: int = 2, terms: MeterTerms = ALL, effective_from: datetime = EARLIEST) -> MeterRevised:
    return MeterRevised(meter_id=METER_ID, version=version, terms=terms, effective_from=effective_from, revised_at=NOW)


def test_a_meter_takes_its_code_for_ever() -> None:
    created = MeterCreated(
        meter_id=METER_ID,
        code="traffic",
        name="Traffic",
        aggregation=Aggregation.SUM,
        unit="bytes",
        terms=TERMS,
        created_at=NOW,
    )
    given().when(CREATE).then(created).then_claims(Claimed("meter.code", "traffic", METER_ID))
    given(CREATE).when(CREATE).then_refused(MeterAlreadyExists)
    again = replace(CREATE, meter_id=OTHER_ID)
    given(CREATE).when(again).then_refused(MeterCodeTaken, code="traffic").then_is_about("code")
    given(CREATE, ARCHIVE).when(again).then_refused(MeterCodeTaken)


@pytest.mark.parametrize(
    ("aggregation", "terms", "param"),
    [
        (Aggregation.SUM, MeterTerms(), "value_property"),
        (Aggregation.TIME_WEIGHTED_SUM, MeterTerms(), "value_property"),
        (Aggregation.MAX, MeterTerms(value_property="n", unique_property="who"), "unique_property"),
        (Aggregation.LATEST, MeterTerms(unique_property="who"), "value_property"),
        (Aggregation.COUNT, MeterTerms(value_property="n"), "value_property"),
        (Aggregation.COUNT, MeterTerms(unique_property="who"), "unique_property"),
        (Aggregation.UNIQUE, MeterTerms(), "unique_property"),
        (Aggregation.UNIQUE, MeterTerms(value_property="n", unique_property="who"), "value_property"),
        (Aggregation.COUNT, MeterTerms(group_by=("a", "b", "a")), "group_by.2"),
        (Aggregation.COUNT, MeterTerms(group_by=tuple(map(str, range(MAX_GROUPS + 1)))), "group_by"),
        (Aggregation.COUNT, MeterTerms(filters=(OUT, OUT)), "filters.1.property"),
        (Aggregation.COUNT, MeterTerms(filters=(replace(OUT, values=()),)), "filters.0.values"),
        (Aggregation.COUNT, MeterTerms(filters=(replace(OUT, values=("a", "a")),)), "filters.0.values.1"),
        (
            Aggregation.COUNT,
            MeterTerms(filters=(replace(OUT, values=tuple(map(str, range(MAX_FILTER_VALUES + 1)))),)),
            "filters.0.values",
        ),
        (
            Aggregation.COUNT,
            MeterTerms(filters=tuple(replace(OUT, name=str(nth)) for nth in range(MAX_FILTERS + 1))),
            "filters",
        ),
    ],
)
def test_what_does_not_fit_the_aggregation_or_says_something_twice_is_refused(
    aggregation: Aggregation, terms: MeterTerms, param: str
) -> None:
    given().when(replace(CREATE, aggregation=aggregation, terms=terms)).then_refused(InvalidMeter).then_is_about(param)


@pytest.mark.parametrize(
    ("aggregation", "terms"),
    [
        (Aggregation.COUNT, MeterTerms()),
        (Aggregation.UNIQUE, MeterTerms(unique_property="who")),
        *((each, MeterTerms(value_property="n")) for each in ("sum", "max", "latest", "time_weighted_sum")),
    ],
)
def test_each_aggregation_has_what_it_needs(aggregation: str, terms: MeterTerms) -> None:
    made = given(replace(CREATE, aggregation=Aggregation(aggregation), terms=terms))
    assert made.books.states["meter", METER_ID].versions[0].terms == terms


def test_a_revision_begins_ahead_and_leaves_alone_what_it_does_not_name() -> None:
    given(CREATE).when(REVISE).then(revised())
    later = EARLIEST + timedelta(days=1)
    given(CREATE).when(replace(REVISE, effective_from=later)).then(revised(effective_from=later))
    given(CREATE).when(replace(REVISE, value_property="octets", filters=(OUT,), group_by=())).then(
        revised(terms=MeterTerms(value_property="octets", filters=(OUT,)))
    )
    given(CREATE).when(replace(REVISE, filters=(OUT,))).then_nothing()
    given(CREATE, REVISE).when(replace(REVISE, effective_from=EARLIEST)).then_nothing()


def test_a_beginning_that_cannot_be_is_refused_also_where_nothing_else_changes() -> None:
    for same in (
        given(CREATE).when(replace(REVISE, filters=(OUT,), effective_from=NOW)),
        given(CREATE, REVISE).when(replace(REVISE, effective_from=NOW)),
    ):
        same.then_refused(MeterVersionNotAhead, earliest="2026-01-31T10:15:00Z").then_is_about("effective_from")
    later = replace(REVISE, effective_from=EARLIEST + timedelta(days=2))
    between = replace(REVISE, effective_from=EARLIEST + timedelta(days=1))
    given(CREATE, later).when(between).then_refused(MeterVersionNotAhead).then_is_about("effective_from")


def test_a_revision_must_fit_too() -> None:
    given(CREATE).when(replace(REVISE, value_property=None)).then_refused(InvalidMeter).then_is_about("value_property")


@pytest.mark.parametrize("aggregation", [Aggregation.LATEST, Aggregation.TIME_WEIGHTED_SUM])
def test_groups_that_have_levels_of_their_own_are_kept(aggregation: Aggregation) -> None:
    made = given(replace(CREATE, aggregation=aggregation))
    for change, param in (
        (replace(REVISE, filters=(OUT,), group_by=()), "group_by"),
        (replace(REVISE, filters=(OUT,), group_by=("region", "disk")), "group_by"),
        (replace(REVISE, filters=()), "filters"),
    ):
        made.when(change).then_refused(MeterKeepsGroups).then_is_about(param)
    octets = MeterTerms(value_property="octets", filters=(OUT,), group_by=("region",))
    made.when(replace(REVISE, value_property="octets", filters=(OUT,))).then(revised(terms=octets))
    alone = MeterTerms(value_property="bytes", filters=(OUT,))
    one_level = given(replace(CREATE, aggregation=aggregation, terms=alone))
    one_level.when(REVISE).then(revised(terms=MeterTerms(value_property="bytes")))


def test_no_version_begins_before_what_may_be_counted_or_before_another() -> None:
    soon = replace(REVISE, effective_from=EARLIEST - timedelta(microseconds=1))
    given(CREATE).when(soon).then_refused(MeterVersionNotAhead, earliest="2026-01-31T10:15:00Z").then_is_about(
        "effective_from"
    )
    begun = given(CREATE, replace(REVISE, effective_from=EARLIEST + timedelta(hours=1)))
    back = replace(REVISE, filters=(OUT,))
    begun.when(back).then_refused(MeterVersionNotAhead, newest_begins="2026-01-31T11:15:00Z")
    same = replace(back, effective_from=EARLIEST + timedelta(hours=1))
    begun.when(same).then_refused(MeterVersionNotAhead)


def test_versions_are_bounded() -> None:
    history = given(CREATE)
    for nth in range(MAX_VERSIONS - 1):
        history.and_then(
            ReviseMeter(meter_id=METER_ID, group_by=(f"g{nth}",), effective_from=EARLIEST + timedelta(minutes=nth))
        )
    more = ReviseMeter(meter_id=METER_ID, group_by=(), effective_from=EARLIEST + timedelta(days=9))
    history.when(more).then_refused(TooManyMeterVersions)


def test_an_archived_meter_is_not_changed_any_more() -> None:
    given(CREATE).when(ARCHIVE).then(MeterArchived(meter_id=METER_ID, archived_at=NOW))
    archived = given(CREATE, ARCHIVE)
    archived.when(ARCHIVE).then_nothing()
    archived.when(REVISE).then_refused(MeterIsArchived)
    archived.when(RenameMeter(meter_id=METER_ID, name="More")).then_refused(MeterIsArchived)


def test_a_meter_is_renamed() -> None:
    given(CREATE).when(RenameMeter(meter_id=METER_ID, name="More")).then(MeterRenamed(meter_id=METER_ID, name="More"))
    given(CREATE).when(RenameMeter(meter_id=METER_ID, name="Traffic")).then_nothing()
    for command in (RenameMeter(meter_id=METER_ID, name="More"), REVISE, ARCHIVE):
        given().when(command).then_refused(MeterNotFound)


def test_the_time_of_an_event_and_that_of_its_record_say_which_version_reads_it() -> None:
    history = given(CREATE, REVISE)
    meter: Meter = history.books.states[METER.name, METER_ID]
    first, second = meter.versions
    later = EARLIEST + timedelta(days=1)
    assert meter.version_for(EARLIEST - timedelta(microseconds=1), later) is first
    assert meter.version_for(EARLIEST, later) is second
    # A test clock may be past its beginning before anybody knows of it.
    assert meter.version_for(later, NOW + SETTLING - timedelta(microseconds=1)) is first
    assert meter.version_for(later, NOW + SETTLING) is second
    assert meter.version_for(NOW - timedelta(days=400), later) is first


@for_all(
    begins=st.lists(st.integers(15, 10_000), unique=True, min_size=1, max_size=5).map(sorted),
    offset=st.integers(-5, 5),
    delay=st.integers(0, 35 * 24 * 60),
)
def test_what_is_accepted_on_time_is_read_by_the_version_of_its_time_however_late_it_is_counted(
    begins: list[int], offset: int, delay: int
) -> None:
    """Without test clocks the time of the record says nothing: an event lies 5 minutes ahead of it at most."""
    versions = [MeterVersion(version=1, terms=TERMS, effective_from=None, added_at=NOW)]
    for nth, minutes in enumerate(begins):
        versions.append(
            MeterVersion(version=nth + 2, terms=TERMS, effective_from=NOW + timedelta(minutes=minutes), added_at=NOW)
        )
    history = given(CREATE)
    meter = replace(history.books.states[METER.name, METER_ID], versions=tuple(versions))
    for begin in begins:
        at = NOW + timedelta(minutes=begin + offset)
        begun = [each for each in versions if each.effective_from is None or each.effective_from <= at]
        assert meter.version_for(at, at + timedelta(minutes=delay - 5)) is begun[-1]
