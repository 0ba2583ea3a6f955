"""Specifications of usage alerts: which are made, and of which thresholds the log tells, each once."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.customers.customer import DeleteCustomer
from domain.entitlements.triggered_alert import (
    TRIGGERED_ALERT,
    Counted,
    TriggerAlert,
    UsageAlertTriggered,
    due_thresholds,
    next_threshold,
    trigger_id_of,
)
from domain.entitlements.usage_alert import (
    MAX_THRESHOLDS,
    USAGE_ALERT,
    AlertPeriod,
    AlertTerms,
    ArchiveUsageAlert,
    ChangeUsageAlert,
    CreateUsageAlert,
    InvalidUsageAlert,
    Threshold,
    UsageAlertAlreadyExists,
    UsageAlertArchived,
    UsageAlertChanged,
    UsageAlertCreated,
    UsageAlertIsArchived,
    UsageAlertNotFound,
)
from domain.metering.meter import ArchiveMeter, MeterIsArchived, MeterNotFound
from testing.examples.streams import CUSTOMER_ID, create_customer, id_of
from testing.examples.usage import METER_ID, create_meter
from testing.specification import NOW, Given, given

ALERT_ID = id_of("alrt_")


def quantities(*values: object, every: object = None) -> AlertTerms:
    thresholds = tuple(Threshold(quantity=Decimal(str(value))) for value in values)
    return AlertTerms(name="Much", thresholds=thresholds, every=None if every is None else Decimal(str(every)))


def percents(*values: int) -> AlertTerms:
    return AlertTerms(name="Nearly", thresholds=tuple(Threshold(percent=Decimal(value)) for value in values))


BOTH = Threshold(quantity=Decimal(1), percent=Decimal(1))
CREATE = CreateUsageAlert(usage_alert_id=ALERT_ID, meter_id=METER_ID, terms=quantities(100, 200))
OF_FEATURE = CreateUsageAlert(usage_alert_id=ALERT_ID, feature="calls", terms=percents(80, 100))
COUNTED = Counted(
    customer_id=CUSTOMER_ID,
    meter_id=METER_ID,
    feature=None,
    period_start=NOW,
    period_end=NOW + timedelta(days=31),
    since=NOW,
    limit=None,
    used=Fraction(0),
)


def watched(create: CreateUsageAlert = CREATE) -> Given:
    return given(create_customer(), create_meter(), create)


def used(quantity: object, **facts: object) -> TriggerAlert:
    counted = replace(COUNTED, used=Fraction(str(quantity)), **facts)  # type: ignore[arg-type]
    return TriggerAlert(usage_alert_id=ALERT_ID, counted=counted)


def triggered(threshold: object, quantity: object, **facts: object) -> UsageAlertTriggered:
    event = UsageAlertTriggered(
        trigger_id=trigger_id_of(ALERT_ID, COUNTED),
        usage_alert_id=ALERT_ID,
        customer_id=CUSTOMER_ID,
        meter_id=METER_ID,
        feature=None,
        period_start=COUNTED.period_start,
        period_end=COUNTED.period_end,
        since=COUNTED.since,
        threshold=Decimal(str(threshold)),
        percent=None,
        limit=None,
        used=Decimal(str(quantity)),
        triggered_at=NOW,
    )
    return replace(event, **facts)  # type: ignore[arg-type]


def test_an_alert_is_made_changed_and_archived() -> None:
    created = UsageAlertCreated(
        usage_alert_id=ALERT_ID,
        meter_id=METER_ID,
        feature=None,
        customer_id=None,
        period=AlertPeriod.SUBSCRIPTION,
        terms=CREATE.terms,
        created_at=NOW,
    )
    given(create_meter()).when(CREATE).then(created)
    change = ChangeUsageAlert(usage_alert_id=ALERT_ID, name="More", every=Decimal(5))
    terms = replace(CREATE.terms, name="More", every=Decimal(5))
    watched().when(change).then(UsageAlertChanged(usage_alert_id=ALERT_ID, terms=terms))
    watched().and_then(change).when(change).then_nothing()
    archive = ArchiveUsageAlert(usage_alert_id=ALERT_ID)
    ended = watched().when(archive).then(UsageAlertArchived(usage_alert_id=ALERT_ID, archived_at=NOW))
    ended.when(archive).then_nothing()
    ended.when(change).then_refused(UsageAlertIsArchived)
    watched().when(CREATE).then_refused(UsageAlertAlreadyExists)
    given().when(archive).then_refused(UsageAlertNotFound)


@pytest.mark.parametrize(
    ("facts", "param"),
    [
        ({"meter_id": None}, "meter"),
        ({"feature": "calls"}, "meter"),
        ({"meter_id": None, "feature": "calls", "period": AlertPeriod.MONTH}, "period"),
        ({"terms": quantities()}, "thresholds"),
        ({"terms": quantities(*range(1, MAX_THRESHOLDS + 2))}, "thresholds"),
        ({"terms": quantities(5, 7, 5)}, "thresholds.2"),
        ({"terms": quantities(5, 0)}, "thresholds.1"),
        ({"terms": quantities(5, every=0)}, "every"),
        ({"terms": percents(80)}, "thresholds.0.percent"),
        ({"terms": AlertTerms(name="No", thresholds=(Threshold(),))}, "thresholds.0"),
        ({"terms": AlertTerms(name="No", thresholds=(BOTH,))}, "thresholds.0"),
    ],
)
def test_an_alert_that_tells_of_nothing_or_of_two_things_is_refused(facts: dict[str, object], param: str) -> None:
    alert = replace(CREATE, **facts)  # type: ignore[arg-type]
    given(create_meter()).when(alert).then_refused(InvalidUsageAlert).then_is_about(param)


def test_an_alert_is_of_a_meter_that_takes_events() -> None:
    given().when(CREATE).then_refused(MeterNotFound)
    given(create_meter(), ArchiveMeter(meter_id=METER_ID)).when(CREATE).then_refused(MeterIsArchived)


def test_each_threshold_that_is_reached_is_told_of_once_the_least_first() -> None:
    below = watched().when(used("99.999999999"))
    below.then_nothing()
    first = below.when(used(100)).then(triggered(100, 100))
    first.when(used(150)).then_nothing()
    second = first.when(used("200.5")).then(triggered(200, "200.5"))
    watched().when(used(1000)).then(triggered(100, 1000), triggered(200, 1000))
    second.when(used(50)).then_nothing()
    second.when(used(50)).when(used(250)).then_nothing()


def test_a_new_period_begins_anew() -> None:
    later = {"period_start": COUNTED.period_end, "since": COUNTED.period_end, "period_end": NOW + timedelta(days=60)}
    told = watched().when(used(150))
    trigger_id = trigger_id_of(ALERT_ID, replace(COUNTED, **later))  # type: ignore[arg-type]
    assert trigger_id != trigger_id_of(ALERT_ID, COUNTED)
    told.when(used(150, **later)).then(triggered(100, 150, trigger_id=trigger_id, **later))


def test_behind_the_last_threshold_every_further_one_is_told_of_but_none_that_is_passed_over() -> None:
    alert = watched(replace(CREATE, terms=quantities(100, every=50)))
    told = alert.when(used(149)).then(triggered(100, 149))
    told = told.when(used(150)).then(triggered(150, 150, recurring=True))
    told = told.when(used(1_020)).then(triggered(1_000, "1020", recurring=True))
    told.when(used(300)).then_nothing()
    told.when(used(300)).when(used(1_049)).then_nothing()
    told = told.when(used(1_050)).then(triggered(1_050, "1050", recurring=True))
    state = told.books.states[TRIGGERED_ALERT.name, trigger_id_of(ALERT_ID, COUNTED)]
    assert [each.threshold for each in state.reached] == [100, 1_050], "the stream of what recurs stays small"
    only = watched(replace(CREATE, terms=quantities(every=10)))
    only.when(used(9)).then_nothing()
    only.when(used(25)).then(triggered(20, 25, recurring=True))


def test_a_calendar_month_is_the_same_in_another_time_zone() -> None:
    in_utc = replace(COUNTED, month=date(2026, 1, 1))
    in_tokyo = replace(in_utc, since=NOW - timedelta(hours=9), period_start=NOW - timedelta(hours=9))
    assert trigger_id_of(ALERT_ID, in_utc) == trigger_id_of(ALERT_ID, in_tokyo)
    assert trigger_id_of(ALERT_ID, in_utc) != trigger_id_of(ALERT_ID, replace(in_utc, month=date(2026, 2, 1)))
    assert trigger_id_of(ALERT_ID, in_utc) != trigger_id_of(ALERT_ID, COUNTED)


def test_percentages_are_of_the_limit_as_it_is() -> None:
    alert = given(create_customer(), create_meter(), OF_FEATURE)
    of = {"feature": "calls", "limit": 1_000}
    first = alert.when(used(800, **of)).then(triggered(800, 800, percent=Decimal(80), **of))
    more = {"feature": "calls", "limit": 2_000}
    raised = first.when(used(1_000, **more))
    raised.then_nothing()
    raised.when(used(1_600, **more)).then(triggered(1600, 1600, percent=Decimal(80), **more))
    first.when(used(1_000, **of)).then(triggered(1000, 1000, percent=Decimal(100), **of))
    alert.when(used(5, feature="calls", limit=None)).then_nothing()
    alert.when(used(5, feature="calls", limit=0)).then_nothing()


def test_a_threshold_that_is_named_later_is_told_of_though_greater_ones_were() -> None:
    told = watched().when(used(500))
    lower = ChangeUsageAlert(
        usage_alert_id=ALERT_ID, thresholds=(Threshold(quantity=Decimal(50)), Threshold(quantity=Decimal(200)))
    )
    told.and_then(lower).when(used(500)).then(triggered(50, 500))


def test_nothing_is_told_of_an_archived_alert_or_a_deleted_customer() -> None:
    watched().and_then(ArchiveUsageAlert(usage_alert_id=ALERT_ID)).when(used(500)).then_nothing()
    watched().and_then(DeleteCustomer(customer_id=CUSTOMER_ID)).when(used(500)).then_nothing()


def test_an_alert_shows_what_was_reached() -> None:
    told = watched().when(used(500))
    state = told.books.states[TRIGGERED_ALERT.name, trigger_id_of(ALERT_ID, COUNTED)]
    assert [each.threshold for each in state.reached] == [100, 200]
    told.then_shows(USAGE_ALERT, ALERT_ID, terms=CREATE.terms)


values = st.integers(1, 400).map(lambda tenths: Decimal(tenths) / 10)


@for_all(
    st.lists(values, max_size=4, unique=True),
    st.none() | values,
    st.lists(st.integers(0, 600), min_size=1, max_size=12),
)
def test_whatever_is_used_each_fixed_threshold_is_told_once_and_every_one_is_greater_than_the_last(
    fixed: list[Decimal], every: Decimal | None, tenths: list[int]
) -> None:
    """The model keeps the greatest figure that was ever seen."""
    terms = AlertTerms(name="It", thresholds=tuple(Threshold(quantity=each) for each in fixed), every=every)
    last = max(fixed, default=Decimal(0))
    told: list[Decimal] = []
    greatest = Decimal(0)
    for figure in tenths:
        quantity = Decimal(figure) / 10
        due = [each.threshold for each in due_thresholds(terms, replace(COUNTED, used=Fraction(quantity)), told)]
        assert due == sorted(set(due))
        newly = [each for each in fixed if greatest < each <= quantity]
        further = [] if every is None or quantity <= last else [last + every * ((quantity - last) // every)]
        newly += [each for each in further if each > max(greatest, last)]
        assert due == sorted(newly)
        told += due
        greatest = max(greatest, quantity)
        ahead = next_threshold(terms, replace(COUNTED, used=Fraction(quantity)), told)
        behind = max([greatest, last]) if every is not None else greatest
        wanted = [each for each in fixed if each > greatest]
        wanted += [] if every is None else [last + every * ((behind - last) // every + 1)]
        assert ahead == min(wanted, default=None)
