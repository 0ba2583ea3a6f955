"""What a customer has used, meter by meter, as it is counted so far, and what it will be billed at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated, Final

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from api.http.call import Call
from api.http.customer_time import customer_now
from api.http.fields import Day, MeterId
from api.http.listing import Limit, ListResource, Parameters, list_example, list_resource, page_limit
from api.http.problems import FieldError, invalid
from api.resources.customer_usage_resource import (
    DETAIL_EXAMPLE,
    EXAMPLE,
    MeterUsageDetail,
    MeterUsageResource,
    meter_usage_detail,
    meter_usage_resource,
)
from api.resources.customers import CUSTOMERS
from api.resources.named_meters import current_meter, meter_named
from api.resources.report_periods import check_days
from api.resources.usage_events import USAGE_EVENTS
from domain.customers.customer import Customer, CustomerNotFound
from domain.invoicing.slices import billed_by_slice
from domain.kernel.billing_period import local_date_of
from domain.kernel.money import Money, sum_money
from domain.metering.aggregation import Window
from domain.metering.meter import Meter, MeterNotFound
from domain.metering.usage_window import WindowLength, days_window, month_window, windows_in
from domain.subscriptions.state import Subscription
from projections.billing_settings import billing_settings
from projections.models import invoices, subscriptions, triggered_alerts
from projections.read_model import Projection
from projections.reading import many
from usage.figures import Figure
from usage.live import LiveUsage, Metered, RunningBill, live_usage, meters_used, running_bill
from usage.partials import Connection, counted_up_to
from usage.wire import partition_of_customer

WINDOWS_MAX: Final = 750
"""A month of hours, also of one in which the clocks are put back."""
DAYS_MAX: Final = 3_660


class UsageZone(StrEnum):
    """Whose time zone days are of."""

    CUSTOMER = "customer"
    SELLER = "seller"


class UsageParameters(Parameters):
    """Of which days, both included; else of the period that is billed next, or of this calendar month."""

    first_day: Annotated[
        Day | None,
        Field(
            alias="from",
            description="The first day. Unless given it is the period that a subscription bills next of the meter, or "
            "else this calendar month.",
        ),
    ] = None
    last_day: Annotated[Day | None, Field(alias="to", description="The last day, itself too; else today.")] = None
    zone: Annotated[
        UsageZone, Field(description="Whose days: of the customer's `time_zone`, or of the billing settings'.")
    ] = UsageZone.CUSTOMER

    @field_validator("last_day")
    @classmethod
    def _in_order(cls, last_day: date | None, info: ValidationInfo) -> date | None:
        return None if last_day is None else check_days(info.data.get("first_day"), last_day)

    @field_validator("last_day")
    @classmethod
    def _from_somewhere(cls, last_day: date | None, info: ValidationInfo) -> date | None:
        if last_day is not None and info.data.get("first_day") is None:
            raise PydanticCustomError("first_day_missing", "Say from which day on, too")
        return last_day


class UsageListParameters(UsageParameters):
    """Of which days, and which part of the meters."""

    limit: Limit | None = None
    starting_after: Annotated[MeterId | None, Field(description="Only what follows this meter: the next page.")] = None


class MeterUsageParameters(UsageParameters):
    """Of which days, and by which windows."""

    interval: Annotated[WindowLength, Field(description="By hours, by days, or the whole time as one.")] = (
        WindowLength.PERIOD
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """Whose usage is asked for, of when, and what there is to know of them besides. `used` and `billed_by` name meters
    that count something of theirs, and those that one of their subscriptions bills.
    """

    tenant_id: str
    customer_id: str
    now: datetime
    time_zone: str
    days: Window | None
    partition: int
    used: frozenset[str]
    billed_by: Mapping[str, Subscription]

    @property
    def meter_ids(self) -> frozenset[str]:
        return self.used | frozenset(self.billed_by)


@USAGE_EVENTS.query(
    f"{CUSTOMERS.path_of_one}/usage",
    answers=ListResource[MeterUsageResource],
    example=list_example(EXAMPLE),
    parameters=UsageListParameters,
    refusals=(CustomerNotFound,),
    reads=(Projection.BILLING,),
)
async def get_customer_usage(call: Call, asked: UsageListParameters) -> ListResource[MeterUsageResource]:
    """List what a customer has used, by meter: every one that has counted something of theirs, or that one of their
    subscriptions bills.

    Figures are as new as what is counted, usually within a second. Each is of the period that is billed next, or of the
    days that are asked for.
    """
    limit = page_limit(call, asked.limit)
    scene = await _scene(call, asked)
    ids = [each for each in sorted(scene.meter_ids) if asked.starting_after is None or each > asked.starting_after]
    async with call.parts.reader.of(call.tenant_id) as reader:  # a customer does not see the meters themselves
        found = [await current_meter(reader, call.tenant_id, each) for each in ids[:limit]]
    async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
        data = [await _listed(call, connection, scene, meter) for meter in found if meter is not None]
    return list_resource(data, has_more=len(ids) > limit, next_cursor=data[-1]["meter"] if data else None)


@USAGE_EVENTS.query(
    f"{CUSTOMERS.path_of_one}/usage/{{meter}}",
    answers=MeterUsageDetail,
    example=DETAIL_EXAMPLE,
    parameters=MeterUsageParameters,
    refusals=(CustomerNotFound, MeterNotFound),
    reads=(Projection.BILLING,),
)
async def get_customer_meter_usage(call: Call, asked: MeterUsageParameters) -> MeterUsageDetail:
    """Show what a customer has used of one meter, named by its id or its code: by hour or day, and by the groups of
    its `group_by`.

    Days are those of the time zone, so one may have 23 or 25 hours. At most 750 windows are told at once.
    """
    scene = await _scene(call, asked)
    meter = await meter_named(call, call.path["meter"])
    if call.principal.customer_id is not None and meter.meter_id not in scene.meter_ids:
        raise MeterNotFound(meter=call.path["meter"])
    async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
        bill = await _bill(connection, scene, meter.meter_id)
        whole = _whole(scene, bill)
        windows = _windows(whole, asked.interval, scene.time_zone)
        live = await _live(connection, scene, meter.meter_id, bill, windows, by_group=True)
        shown = await _shown(call, connection, scene, meter, bill, whole, live.figure)
    return meter_usage_detail(shown, live)


async def _scene(call: Call, asked: UsageParameters) -> _Scene:
    customer_id = CUSTOMERS.id_of(call)
    async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
        customer: Customer = (await CUSTOMERS.row(call, connection, customer_id)).state
        bills = await subscriptions.billing_usage(connection, call.tenant_id, customer_id)
        used = await meters_used(connection, call.tenant_id, customer_id)
    now, time_zone = await customer_now(call, customer), customer.time_zone
    if asked.zone is UsageZone.SELLER:
        async with call.parts.reader.of(call.tenant_id) as reader:  # a customer does not see the settings
            time_zone = (await billing_settings(reader, call.tenant_id)).time_zone
    partition = partition_of_customer(call.tenant_id, customer_id, call.parts.settings.usage.partitions)
    if call.parts.freshness is not None:
        await call.parts.freshness.look(partition)
    return _Scene(
        tenant_id=call.tenant_id,
        customer_id=customer_id,
        now=now,
        time_zone=time_zone,
        days=_days(asked, now, time_zone),
        partition=partition,
        used=frozenset(used),
        billed_by={item.meter_id: each for each in bills for item in each.terms.items if item.meter_id is not None},
    )


def _days(asked: UsageParameters, now: datetime, time_zone: str) -> Window | None:
    if asked.first_day is None:
        return None
    last_day = asked.last_day or max(asked.first_day, local_date_of(now, time_zone))
    if (last_day - asked.first_day).days >= DAYS_MAX:
        raise invalid([FieldError("to", "too_many_days", f"Ask for at most {DAYS_MAX} days")])
    return days_window(asked.first_day, last_day, time_zone)


async def _listed(call: Call, connection: Connection, scene: _Scene, meter: Meter) -> MeterUsageResource:
    bill = await _bill(connection, scene, meter.meter_id)
    whole = _whole(scene, bill)
    live = await _live(connection, scene, meter.meter_id, bill, [whole], by_group=False)
    return await _shown(call, connection, scene, meter, bill, whole, live.figure)


async def _bill(connection: Connection, scene: _Scene, meter_id: str) -> RunningBill | None:
    subscription = scene.billed_by.get(meter_id)
    if subscription is None:
        return None
    metered = Metered(scene.tenant_id, scene.customer_id, meter_id)
    return await running_bill(connection, subscription, metered, partition=scene.partition)


def _whole(scene: _Scene, bill: RunningBill | None) -> Window:
    """The days that are asked for; else the running period, else this month."""
    if scene.days is not None:
        return scene.days
    return month_window(scene.now, scene.time_zone) if bill is None else bill.period


def _windows(whole: Window, length: WindowLength, time_zone: str) -> list[Window]:
    found = list(islice(windows_in(whole, length, time_zone), WINDOWS_MAX + 1))
    if len(found) > WINDOWS_MAX:
        message = f"At most {WINDOWS_MAX} windows are told at once: ask for fewer days, or by day"
        raise invalid([FieldError("interval", "too_many_windows", message)])
    return found


async def _live(
    connection: Connection,
    scene: _Scene,
    meter_id: str,
    bill: RunningBill | None,
    windows: Sequence[Window],
    *,
    by_group: bool,
) -> LiveUsage:
    return await live_usage(
        connection,
        Metered(scene.tenant_id, scene.customer_id, meter_id),
        windows,
        pieces=bill.pieces if bill is not None and scene.days is None else None,
        held_until=scene.now,
        by_group=by_group,
    )


async def _shown(
    call: Call,
    connection: Connection,
    scene: _Scene,
    meter: Meter,
    bill: RunningBill | None,
    whole: Window,
    figure: Figure,
) -> MeterUsageResource:
    freshness, counted_until = call.parts.freshness, None
    if freshness is not None:
        counted_until = freshness.counted_until(scene.partition, await counted_up_to(connection, scene.partition))
    invoiced = None if bill is None else await _invoiced(connection, scene, bill)
    told = await triggered_alerts.triggered_in(
        connection, scene.tenant_id, scene.customer_id, meter.meter_id, whole.start, whole.end
    )
    return meter_usage_resource(
        meter,
        whole,
        figure,
        bill,
        invoiced=invoiced,
        time_zone=scene.time_zone,
        counted_until=counted_until,
        triggered=told,
    )


async def _invoiced(connection: Connection, scene: _Scene, bill: RunningBill) -> Money:
    """What invoices have billed of a running period by now."""
    ids = {each.invoice_id for each in bill.slices}
    rows = await many(connection, invoices.TABLE, scene.tenant_id, sorted(ids)) if ids else []
    found = {row.state.invoice_id: row.state for row in rows}
    parts = (part for each in bill.slices for part in billed_by_slice(each, found[each.invoice_id]))
    return sum_money((part.amount for part in parts), bill.currency)
