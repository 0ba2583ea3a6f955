"""What the property tests of money, periods and schedules draw their cases from."""

from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

from hypothesis import strategies as st

from domain.kernel.billing_period import BillingCycle, Interval, IntervalUnit, Period
from domain.kernel.currency import EXPONENTS
from domain.kernel.money import Money
from domain.kernel.rounding import Rounding
from domain.subscriptions.proration_basis import ProrationBasis, ServicePeriod
from testing.moments import local

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

ALL_AND_TRICKY_ZONES = [zone for pair in zip(ZONES, TRICKY_ZONES * len(ZONES), strict=False) for zone in pair]

# Most draws are one integer, mapped: many times quicker than the composed strategies, and there are many examples.
currencies = st.sampled_from(sorted(EXPONENTS))
roundings = st.sampled_from(list(Rounding))
minor_units = st.integers(min_value=-(10**12), max_value=10**12)
zones = st.sampled_from(ALL_AND_TRICKY_ZONES)
bases = st.sampled_from(list(ProrationBasis))
bases_that_tile = st.sampled_from([basis for basis in ProrationBasis if basis is not ProrationBasis.FIXED_30])


def _local_time(drawn: int) -> datetime:
    """A quarter of an hour between FIRST and LAST; every third one midnight, many of them late in a month."""
    days, quarter = divmod(drawn, 96)
    return FIRST + timedelta(days=days, minutes=0 if days % 3 == 0 else quarter * 15)


def _interval(drawn: int) -> Interval:
    unit = list(IntervalUnit)[drawn % 5]
    return Interval(unit, 1 + drawn // 5 % (60 if unit in {IntervalUnit.DAY, IntervalUnit.WEEK} else 13))


def _period(schedule: BillingCycle, k: int) -> ServicePeriod:
    while schedule.period(k).is_empty:
        k += 1
    return ServicePeriod.of(schedule, k)


def _instant_in(period: Period, drawn: int) -> datetime:
    microseconds = (period.end - period.start) // timedelta(microseconds=1)
    return period.start + timedelta(microseconds=microseconds * drawn // 2**20)


local_times = st.integers(0, (LAST - FIRST).days * 96).map(_local_time)
instants = st.integers(0, (LAST - FIRST).days * 86_400).map(
    lambda n: (FIRST + timedelta(seconds=n)).replace(tzinfo=UTC)
)
intervals = st.integers(0, 299).map(_interval)
month_intervals = st.sampled_from(
    [Interval(unit, count) for unit in (IntervalUnit.MONTH, IntervalUnit.QUARTER) for count in (1, 2, 3, 4)]
)
fractions_of_a_period = st.integers(0, 2**20 - 1)
amounts = st.builds(Money, minor_units, currencies)


def schedules(of: st.SearchStrategy[Interval] = intervals) -> st.SearchStrategy[BillingCycle]:
    return st.builds(BillingCycle, anchor_local=local_times, time_zone=zones, interval=of)


def service_periods(of: st.SearchStrategy[Interval] = month_intervals) -> st.SearchStrategy[ServicePeriod]:
    """A period near its anchor, never an empty one."""
    return st.builds(_period, schedules(of), st.integers(-3, 12))


def _divided(service: ServicePeriod, drawn: list[int]) -> tuple[ServicePeriod, list[datetime]]:
    return service, sorted(_instant_in(service.period, cut) for cut in drawn)


def divided_periods(
    of: st.SearchStrategy[Interval] = month_intervals,
) -> st.SearchStrategy[tuple[ServicePeriod, list[datetime]]]:
    """A period, and one to four instants in it in order of time; shrinks to its start."""
    return st.builds(_divided, service_periods(of), st.lists(fractions_of_a_period, min_size=1, max_size=4))
