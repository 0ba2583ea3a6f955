"""The periods of a report: from one day to another, by calendar days or months of UTC."""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from typing import Annotated, Final, NamedTuple

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.http.fields import Day
from api.http.listing import Parameters
from api.http.problems import FieldError, invalid
from projections.models.mrr_days import ReportInterval, next_month

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


class DaysParameters(Parameters):
    """Which days (UTC), both ends included."""

    first_day: Annotated[Day, Field(alias="from", description="The first day.")]
    last_day: Annotated[Day, Field(alias="to", description="The last day.")]

    @field_validator("last_day")
    @classmethod
    def _in_order(cls, last_day: date, info: ValidationInfo) -> date:
        return check_days(info.data.get("first_day"), last_day)


class PeriodParameters(DaysParameters):
    """Which days (UTC), both ends included, and by which periods."""

    interval: Annotated[ReportInterval, Field(description="By which periods.")] = ReportInterval.MONTH


def periods_between(first: date, last: date, interval: ReportInterval) -> list[tuple[date, ReportPeriod]]:
    """Each period with the first day of its whole month, or its day, in the order of time.

    Raises Problem where there are more than MAX_PERIODS of them.
    """
    found = list(islice(_periods(first, last, interval), MAX_PERIODS + 1))
    if len(found) > MAX_PERIODS:
        message = f"A report has at most {MAX_PERIODS} periods: ask for fewer, or by month"
        raise invalid([FieldError("to", "too_many_periods", message)])
    return found


def _periods(first: date, last: date, interval: ReportInterval) -> Iterator[tuple[date, ReportPeriod]]:
    starts_on = first.replace(day=1) if interval is ReportInterval.MONTH else first
    while starts_on <= last:
        following = starts_on + timedelta(days=1)
        if interval is ReportInterval.MONTH:
            following = next_month(starts_on)
        yield starts_on, ReportPeriod(max(starts_on, first), min(following - timedelta(days=1), last))
        starts_on = following
