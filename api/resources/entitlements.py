"""What a customer may have, by the features of the plans and add-ons that they subscribe to."""

import re
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.customer_time import now_by
from api.http.fields import NoBody, plain_decimal
from api.http.listing import NoParameters
from api.http.operations import Intention, Operations
from api.http.problems import USAGE_UNAVAILABLE, Problem, retry_after
from api.resources.customers import CUSTOMERS
from api.resources.plans import FEATURE_PATTERN
from domain.catalog.feature import FeatureNotFound, LimitKind
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
from domain.entitlements.entitlement import (
    ENTITLEMENT,
    Entitlement,
    EntitlementNotMetered,
    EntitlementNotResettable,
    ResetEntitlement,
    entitlement_id_of,
    since_of,
)
from domain.identity.permissions import Permission
from domain.invoicing.usage_line import told_quantity
from domain.metering.aggregation import Window
from domain.metering.meter import METER, Meter
from projections.current import current
from projections.entitled import Granted, entitled
from projections.models import entitlements, meters
from usage.live import Metered
from usage.lookup import CannotLook
from usage.meter_usage import MeterUsage
from usage.partials import counted_up_to
from usage.used import summed_in, used_in
from usage.wire import partition_of_customer

_KEY: Final = re.compile(FEATURE_PATTERN[1:-1])

ENTITLEMENTS: Final = Operations(
    tag="entitlements",
    about="What customers may have by what they subscribe to.",
    path_ids=CUSTOMERS.path_ids,
    seen_with=Permission.SUBSCRIPTIONS_READ,
)


class EntitlementResource(TypedDict):
    """Whether a customer has a feature, by how many subscriptions, and up to which limit; null where there is none.

    What is not granted has the limit 0. With a `meter`, `used` of the limit is what that has counted of the customer in
    the period, and `remaining` what is left of it, null where there is no limit; once nothing is left, a `hard` limit
    grants no more, and a `soft` one does. Without a meter nothing is counted, and these are null.

    Where the counter was reset in the period, `used` is counted since `reset_at`. `limit_reached_at` is when the log
    told that this limit is reached.
    """

    object: Literal["entitlement"]
    customer: str
    feature: str
    granted: bool
    limit: int | None
    subscriptions: int
    meter: str | None
    limit_kind: LimitKind | None
    used: str | None
    remaining: str | None
    period_start: datetime | None
    period_end: datetime | None
    reset_at: datetime | None
    limit_reached_at: datetime | None


EXAMPLE: Final[dict[str, object]] = {
    "object": "entitlement",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "feature": "api_calls",
    "granted": True,
    "limit": 10_000,
    "subscriptions": 1,
    "meter": "mtr_01m7ywe9z7e398x54gfbrtqnk7",
    "limit_kind": "hard",
    "used": "9200",
    "remaining": "800",
    "period_start": "2026-01-01T00:00:00Z",
    "period_end": "2026-02-01T00:00:00Z",
    "reset_at": None,
    "limit_reached_at": None,
}


class _Looked(NamedTuple):
    """A customer's entitlement as it is found, with what its meter counts, if it has one."""

    customer_id: str
    found: Granted
    counted: "_Counted | None"


class _Counted(NamedTuple):
    """Which meter counts in which period, by which clock, and what the log says of the feature. `summed` is used of the
    whole period, where it is a sum.
    """

    metered: Metered
    period: Window
    test_clock_id: str | None
    entitlement: Entitlement | None
    summed: Fraction | None


@ENTITLEMENTS.query(
    f"{CUSTOMERS.path_of_one}/entitlements/{{feature}}",
    answers=EntitlementResource,
    example=EXAMPLE,
    parameters=NoParameters,
    refusals=(CustomerNotFound, FeatureNotFound),
    problems=(USAGE_UNAVAILABLE,),
    reads=(entitlements.TABLE.projection,),
)
async def get_entitlement(call: Call, _asked: NoParameters) -> EntitlementResource:
    """Show whether a customer has a feature, and how much of it is left.

    By their subscriptions that are not cancelled, trials and overdue ones included, as they were when they were made:
    limits of several add up, and one without a limit makes it endless. A feature that no subscription has is not
    granted. What a meter counts is as new as its figures, usually within a second.
    """
    looked = await _look(call)
    counted = looked.counted
    if counted is None:
        return _told(call.path["feature"], looked, None, Fraction(0))
    return _told(call.path["feature"], looked, counted.entitlement, await _used_since(call, counted))


@ENTITLEMENTS.command(
    "POST",
    f"{CUSTOMERS.path_of_one}/entitlements/{{feature}}/reset",
    body=NoBody,
    answers=EntitlementResource,
    example=EXAMPLE | {"used": "0", "remaining": "10000", "reset_at": "2026-01-20T12:00:00Z"},
    refusals=(
        CustomerNotFound,
        CustomerIsDeleted,
        FeatureNotFound,
        EntitlementNotMetered,
        EntitlementNotResettable,
    ),
    problems=(USAGE_UNAVAILABLE,),
    needs=Permission.USAGE_WRITE,
)
async def reset_entitlement(call: Call, _body: NoBody) -> Intention:
    """Begin a metered feature's counter anew within the running period.

    What is counted by now no longer counts towards the limit, and the limit and the alerts of the feature are told of
    again once they are reached anew. What is billed stays as it is.
    """
    feature, looked = call.path["feature"], await _look(call)
    customer_id, counted = looked.customer_id, looked.counted
    if counted is None:
        raise EntitlementNotMetered(feature=feature)
    meter, now = await _meter(call, counted.metered.meter_id), await now_by(call, counted.test_clock_id)
    partition = partition_of_customer(call.tenant_id, customer_id, call.parts.settings.usage.partitions)
    async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
        used = await used_in(connection, counted.metered, counted.period, held_until=now)
        counted_to = await counted_up_to(connection, partition)
    command = ResetEntitlement(
        customer_id=customer_id,
        feature=feature,
        meter_id=counted.metered.meter_id,
        aggregation=meter.aggregation,
        period_start=counted.period.start,
        period_end=counted.period.end,
        used=Fraction(used.quantity),
        counted_to=counted_to,
    )
    entitlement_id = entitlement_id_of(customer_id, feature)
    return Intention(
        command=command,
        render=lambda streams: _told(feature, looked, streams.get(ENTITLEMENT, entitlement_id), Fraction(0)),
    )


async def _look(call: Call) -> _Looked:
    customer_id, feature = CUSTOMERS.id_of(call), call.path["feature"]
    if not _KEY.fullmatch(feature):
        raise FeatureNotFound
    async with call.reading() as connection:
        found = await entitled(connection, call.tenant_id, customer_id, feature)
        if found is None:
            raise CustomerNotFound(customer=customer_id)
        granted = found.granted
        if granted.meter_id is None:
            return _Looked(customer_id, granted, None)
        assert granted.start is not None, "what runs began"
        assert granted.end is not None, "what runs has a period, or a trial"
        metered = Metered(call.tenant_id, customer_id, granted.meter_id)
        period = Window(start=granted.start, end=granted.end)
        figure = await summed_in(connection, metered, period)
    summed = None if figure is None else Fraction(figure.quantity)
    return _Looked(customer_id, granted, _Counted(metered, period, found.test_clock_id, found.entitlement, summed))


async def _used_since(call: Call, counted: _Counted) -> Fraction:
    """What is used of the period, or since the counter was reset in it."""
    metered, period, known = counted.metered, counted.period, counted.entitlement
    reset = None if known is None else known.reset_in(metered.meter_id, period.start)
    if reset is None and counted.summed is not None:
        return counted.summed
    now = await now_by(call, counted.test_clock_id)
    if reset is None:
        async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
            return Fraction((await used_in(connection, metered, period, held_until=now)).quantity)
    meter = await _meter(call, metered.meter_id)
    try:
        await call.parts.taken_back.learn(metered, reset.counted_to)
        async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
            usage = MeterUsage(connection, metered, meter.aggregation, call.parts.taken_back, now)
            return await usage.since(reset, period)
    except CannotLook:
        raise Problem(USAGE_UNAVAILABLE, headers=retry_after(1)) from None


async def _meter(call: Call, meter_id: str) -> Meter:
    async with call.parts.reader.of(call.tenant_id) as connection:  # a customer does not see the meters themselves
        row = await current(connection, meters.TABLE, METER, call.tenant_id, meter_id)
    assert row is not None, "a feature's meter exists"
    return row.state


def _told(feature: str, looked: _Looked, entitlement: Entitlement | None, used: Fraction) -> EntitlementResource:
    found, counted = looked.found, looked.counted
    told: EntitlementResource = {
        "object": "entitlement",
        "customer": looked.customer_id,
        "feature": feature,
        "granted": found.subscriptions > 0 and found.limit != 0,
        "limit": found.limit,
        "subscriptions": found.subscriptions,
        "meter": found.meter_id,
        "limit_kind": None,
        "used": None,
        "remaining": None,
        "period_start": found.start,
        "period_end": found.end,
        "reset_at": None,
        "limit_reached_at": None,
    }
    if counted is None:
        return told
    meter_id, start = counted.metered.meter_id, counted.period.start
    since = since_of(entitlement, meter_id, start)
    left = None if found.limit is None else max(found.limit - used, Fraction(0))
    if entitlement is not None and found.limit is not None:
        told["limit_reached_at"] = entitlement.reached_at(meter_id, since, found.limit)
    return {
        **told,
        "granted": told["granted"] and (left != 0 or not found.is_hard),
        "limit_kind": LimitKind.HARD if found.is_hard else LimitKind.SOFT,
        "used": plain_decimal(told_quantity(used)),
        "remaining": None if left is None else plain_decimal(told_quantity(left)),
        "reset_at": None if since == start else since,
    }
