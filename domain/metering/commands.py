"""What is decided about meters: making, revising from a time ahead, renaming, archiving."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.unchanged import changed
from domain.metering.meter import (
    MAX_VERSIONS,
    METER,
    VERSION_LEAD,
    ArchiveMeter,
    CreateMeter,
    Meter,
    MeterArchived,
    MeterCreated,
    MeterIsArchived,
    MeterRenamed,
    MeterRevised,
    MeterTerms,
    MeterVersion,
    MeterVersionNotAhead,
    RenameMeter,
    ReviseMeter,
    TooManyMeterVersions,
    check_goes_on,
    check_terms,
)


def create_meter(command: CreateMeter, streams: Streams, now: datetime) -> Decision:
    """Raises InvalidMeter."""
    METER.check_new(streams, command.meter_id)
    check_terms(command.aggregation, command.terms)
    created = MeterCreated(
        meter_id=command.meter_id,
        code=command.code,
        name=command.name,
        aggregation=command.aggregation,
        unit=command.unit,
        terms=command.terms,
        metadata=command.metadata,
        created_at=now,
    )
    return Decision(now, [METER.change(created)])


def revise_meter(command: ReviseMeter, streams: Streams, now: datetime) -> Decision:
    """Nothing happens where the newest version says the same and no other beginning is asked for than its own, or one
    that could be. Raises MeterIsArchived, InvalidMeter, MeterKeepsGroups, MeterVersionNotAhead, TooManyMeterVersions.
    """
    meter = _in_use(streams, command.meter_id)
    newest = meter.versions[-1]
    terms = MeterTerms(
        value_property=changed(command.value_property, newest.terms.value_property),
        unique_property=changed(command.unique_property, newest.terms.unique_property),
        filters=changed(command.filters, newest.terms.filters),
        group_by=changed(command.group_by, newest.terms.group_by),
    )
    check_terms(meter.aggregation, terms)
    is_same, begins = terms == newest.terms, command.effective_from
    if is_same and begins in (None, newest.effective_from):
        return Decision(now, [])
    effective_from = _begins_ahead(newest, begins, now)
    if is_same:
        return Decision(now, [])
    check_goes_on(meter.aggregation, newest.terms, terms)
    if len(meter.versions) >= MAX_VERSIONS:
        raise TooManyMeterVersions(meter=meter.meter_id, most=MAX_VERSIONS)
    revised = MeterRevised(
        meter_id=meter.meter_id,
        version=newest.version + 1,
        terms=terms,
        effective_from=effective_from,
        revised_at=now,
    )
    return Decision(now, [METER.change(revised)])


def _begins_ahead(newest: MeterVersion, begins: datetime | None, now: datetime) -> datetime:
    """When a version begins that is made now. Raises MeterVersionNotAhead."""
    earliest = now + VERSION_LEAD
    effective_from = earliest if begins is None else begins
    if effective_from < earliest:
        raise MeterVersionNotAhead(earliest=earliest)
    if newest.effective_from is not None and effective_from <= newest.effective_from:
        raise MeterVersionNotAhead(newest_begins=newest.effective_from)
    return effective_from


def rename_meter(command: RenameMeter, streams: Streams, now: datetime) -> Decision:
    """Raises MeterIsArchived."""
    meter = _in_use(streams, command.meter_id)
    name = changed(command.name, meter.name)
    if name == meter.name:
        return Decision(now, [])
    return Decision(now, [METER.change(MeterRenamed(meter_id=meter.meter_id, name=name))])


def archive_meter(command: ArchiveMeter, streams: Streams, now: datetime) -> Decision:
    if METER.of(streams, command.meter_id).archived_at is not None:
        return Decision(now, [])
    return Decision(now, [METER.change(MeterArchived(meter_id=command.meter_id, archived_at=now))])


def _in_use(streams: Streams, meter_id: str) -> Meter:
    meter = METER.of(streams, meter_id)
    if meter.archived_at is not None:
        raise MeterIsArchived(meter=meter_id)
    return meter


HANDLERS: Final[Mapping[type, Handler]] = {
    CreateMeter: create_meter,
    ReviseMeter: revise_meter,
    RenameMeter: rename_meter,
    ArchiveMeter: archive_meter,
}
