"""What the property tests of money, periods and schedules draw their cases from."""

from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

from hypothesis import strategies as st

from domain.billing_period import Interval, IntervalUnit, Period, Schedule
from domain.currency import EXPONENTS
from domain.money import Money
from domain.proration_basis import ProrationBasis, ServicePeriod
from domain.rounding import Rounding
from tests.domain.moments import local

FIRST, LAST = local("1975-01-01"), local("2035-01-01")
ZONES = sorted(available_timezones() - {"localtime", "Factory"})
TRICKY_ZONES = [
    "America/New_York",
    "America/Sao_Paulo",  # gaps at midnight
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Pacific/Apia",  # a day that never was
    "Europe/Paris",
    "Asia/Kathmandu",
    "UTC",
]

currencies = st.sampled_from(sorted(EXPONENTS))
roundings = st.sampled_from(list(Rounding))
minor_units = st.integers(min_value=-(10**12), max_value=10**12)
zones = st.one_of(st.sampled_from(TRICKY_ZONES), st.sampled_from(ZONES))
local_times = st.one_of(
    st.datetimes(min_value=FIRST, max_value=LAST),
    st.datetimes(min_value=FIRST, max_value=LAST).map(
        lambda local: local.replace(hour=0, minute=0, second=0, microsecond=0)
    ),
)
instants = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))
intervals = st.one_of(
    st.builds(Interval, st.sampled_from([IntervalUnit.DAY, IntervalUnit.WEEK]), st.integers(1, 60)),
    st.builds(
        Interval, st.sampled_from([IntervalUnit.MONTH, IntervalUnit.QUARTER, IntervalUnit.YEAR]), st.integers(1, 13)
    ),
)
month_intervals = st.builds(Interval, st.sampled_from([IntervalUnit.MONTH, IntervalUnit.QUARTER]), st.integers(1, 4))
bases = st.sampled_from(list(ProrationBasis))
bases_that_tile = st.sampled_from([basis for basis in ProrationBasis if basis is not ProrationBasis.FIXED_30])


@st.composite
def amounts(draw: st.DrawFn) -> Money:
    return Money(draw(minor_units), draw(currencies))


@st.composite
def schedules(draw: st.DrawFn, of: st.SearchStrategy[Interval] = intervals) -> Schedule:
    return Schedule(anchor_local=draw(local_times), time_zone=draw(zones), interval=draw(of))


@st.composite
def service_periods(draw: st.DrawFn, of: st.SearchStrategy[Interval] = month_intervals) -> ServicePeriod:
    """One of the first periods after an anchor, never an empty one."""
    schedule, k = draw(schedules(of)), draw(st.integers(-3, 12))
    while schedule.period(k).is_empty:
        k += 1
    return ServicePeriod.of(schedule, k)


def instants_in(period: Period) -> st.SearchStrategy[datetime]:
    """Any microsecond of a period, its start more often than chance would have it."""
    last = (period.end - period.start) // timedelta(microseconds=1) - 1
    return st.one_of(st.just(0), st.integers(0, last)).map(
        lambda microseconds: period.start + timedelta(microseconds=microseconds)
    )
