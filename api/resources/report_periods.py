"""The periods of a report: from one day to another, by calendar days or months of UTC."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Final, NamedTuple

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.http.fields import Day
from api.http.listing import Parameters
from projections.models.mrr_days import ReportInterval

MAX_PERIODS: Final = 400
"""Of one report: a year by day, or a third of a century by month."""


class ReportPeriod(NamedTuple):
    """Its days, both included: a whole month or day, cut to the days that were asked for."""

    first_day: date
    last_day: date


def check_days(first: date | None, last: date) -> date:
    """The last day. Raises PydanticCustomError where it comes before the first."""
    if first is not None and last < first:
        raise PydanticCustomError("empty_period", "The last day must not be before the first")
    return last


class PeriodParameters(Parameters):
    """Which days (UTC), both ends included, and by which periods."""

    first_day: Annotated[Day, Field(alias="from", description="The first day.")]
    last_day: Annotated[Day, Field(alias="to", description="The last day.")]
    interval: Annotated[ReportInterval, Field(description="By which periods.", validate_default=True)] = (
        ReportInterval.MONTH
    )

    @field_validator("last_day")
    @classmethod
    def _in_order(cls, last_day: date, info: ValidationInfo) -> date:
        return check_days(info.data.get("first_day"), last_day)

    @field_validator("interval")
    @classmethod
    def _not_too_many(cls, interval: ReportInterval, info: ValidationInfo) -> ReportInterval:
        return check_count(info.data.get("first_day"), info.data.get("last_day"), interval)


def check_count(first: date | None, last: date | None, interval: ReportInterval) -> ReportInterval:
    """The interval. Raises PydanticCustomError where a report would have more than MAX_PERIODS of them."""
    days = 0 if first is None or last is None else (last - first).days
    shortest = 28 if interval is ReportInterval.MONTH else 1
    if days // shortest >= MAX_PERIODS:
        raise PydanticCustomError("too_many_periods", "A report has at most 400 periods: ask for fewer, or by month")
    return interval


def periods_of(first: date, last: date, interval: ReportInterval) -> Iterator[tuple[date, ReportPeriod]]:
    """Each period with the first day of its whole month, or its day, in the order of time."""
    starts_on = first.replace(day=1) if interval is ReportInterval.MONTH else first
    while starts_on <= last:
        following = starts_on + timedelta(days=1)
        if interval is ReportInterval.MONTH:
            following = (starts_on + timedelta(days=31)).replace(day=1)
        yield starts_on, ReportPeriod(max(starts_on, first), min(following - timedelta(days=1), last))
        starts_on = following
