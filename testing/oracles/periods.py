"""Naive billing periods: dates by trial, instants by trying the offsets around, periods by walking."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

AROUND = timedelta(hours=36)  # no two changes of a zone's offset are as near as this


def add_months(anchor: datetime, months: int) -> datetime:
    """One month at a time, then the latest day that exists, at most the anchor's."""
    year, month = anchor.year, anchor.month
    for _ in range(abs(months)):
        month += 1 if months > 0 else -1
        if month == 13:
            year, month = year + 1, 1
        if month == 0:
            year, month = year - 1, 12
    for day in range(anchor.day, 0, -1):
        try:
            return anchor.replace(year=year, month=month, day=day)
        except ValueError:
            continue
    raise AssertionError("every month has a first day")


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the wall clock shows `local`; in a gap, by the offset before it. Without `fold`."""
    offsets = []
    for shift in (-AROUND, AROUND):
        probe = (local + shift).replace(tzinfo=UTC).astimezone(zone).utcoffset()
        assert probe is not None
        offsets.append(probe)
    candidates = [(local - offset).replace(tzinfo=UTC) for offset in offsets]
    shown = [instant for instant in candidates if instant.astimezone(zone).replace(tzinfo=None) == local]
    return min(shown) if shown else candidates[0]


def index_at(boundaries: list[datetime], instant: datetime) -> int:
    """The last of the boundaries that is not after the instant, by looking at each."""
    return max(k for k, boundary in enumerate(boundaries) if boundary <= instant)
