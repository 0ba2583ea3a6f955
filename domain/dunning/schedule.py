"""When a failed payment is tried again: days after the failure, at the same local time, on working days if wished."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.kernel.billing_period import instant_of_local, local_of_instant, zone_of
from domain.kernel.refusal import Refusal, RefusalKind

DEFAULT_RETRY_DAYS = (1, 3, 5, 7)
MAX_RETRIES = 20
MAX_RETRY_DAYS = 365
SATURDAY_AND_SUNDAY = frozenset({5, 6})
"""Weekdays as `date.weekday()` counts them, Monday 0."""


class InvalidDunningSchedule(Refusal):
    """Retries are at most 20 rising counts of days, up to 365, and a week has a working day."""

    code = "invalid_dunning_schedule"
    kind = RefusalKind.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class DunningSchedule:
    """Retries `days_after` the first failure, counted on the tenant's calendar. Empty means that nothing is retried.

    `days_off` are weekdays without retries (none by default; SATURDAY_AND_SUNDAY skips weekends).
    """

    time_zone: str
    days_after: tuple[int, ...] = DEFAULT_RETRY_DAYS
    days_off: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        zone_of(self.time_zone)
        days = self.days_after
        rising = all(0 < day <= MAX_RETRY_DAYS for day in days) and list(days) == sorted(set(days))
        if not rising or len(days) > MAX_RETRIES or not _leaves_a_working_day(self.days_off):
            raise InvalidDunningSchedule(
                days_after=",".join(map(str, days[: MAX_RETRIES + 1])),
                days_off=",".join(map(str, sorted(self.days_off))),
            )

    def retries(self, failed_at: datetime) -> list[datetime]:
        """The instants (UTC) of all retries after a first failure, strictly rising.

        Same local time, by the fold 0 rule. A retry on a day off moves to the next working day; one that would fall
        on or before the retry before it moves on to the working day after that. Retrying a set number of days after
        the failure is this project's default (1, 3, 5, 7 days).
        """
        local = local_of_instant(failed_at, self.time_zone)
        instants: list[datetime] = []
        latest = failed_at
        for days in self.days_after:
            retry = local + timedelta(days=days)
            while retry.weekday() in self.days_off or instant_of_local(retry, self.time_zone) <= latest:
                retry += timedelta(days=1)
            latest = instant_of_local(retry, self.time_zone)
            instants.append(latest)
        return instants

    def next_retry(self, failed_at: datetime, retries_made: int) -> datetime | None:
        """The retry after `retries_made` of them, all counted from the first failure; None when no more are due."""
        return next(iter(self.retries(failed_at)[retries_made:]), None)


def _leaves_a_working_day(days_off: Collection[int]) -> bool:
    return len(days_off) < 7 and all(0 <= day <= 6 for day in days_off)
