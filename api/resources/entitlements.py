"""What a customer may have, by the features of the plans and add-ons that they subscribe to."""

import re
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.customer_time import customer_now
from api.http.fields import NoBody, plain_decimal
from api.http.listing import NoParameters
from api.http.operations import Intention, Operations
from api.http.problems import USAGE_UNAVAILABLE, Problem, retry_after
from api.resources.customers import CUSTOMERS
from api.resources.plans import FEATURE_PATTERN
from domain.catalog.feature import FeatureNotFound, LimitKind
from domain.customers.customer import Customer, CustomerIsDeleted, CustomerNotFound
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
from projections.models import entitlements, meters
from projections.models import subscriptions as read
from usage.live import Metered
from usage.lookup import CannotLook
from usage.meter_usage import MeterUsage
from usage.partials import counted_up_to
from usage.used import used_in
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
    """A customer's entitlement as it is found, with what its meter has counted of the whole period by now."""

    customer: Customer
    found: read.Entitled
    metered: "_Metered | None"


class _Metered(NamedTuple):
    """What a meter has counted in a period by the records before `counted_to`, all of it and since the counter was
    reset, and what the log says of the feature.
    """

    meter_id: str
    period: Window
    used: Fraction
    counted_to: int
    used_since: Fraction
    entitlement: Entitlement | None


@ENTITLEMENTS.query(
    f"{CUSTOMERS.path_of_one}/entitlements/{{feature}}",
    answers=EntitlementResource,
    example=EXAMPLE,
    parameters=NoParameters,
    refusals=(CustomerNotFound, FeatureNotFound),
    problems=(USAGE_UNAVAILABLE,),
    reads=(read.TABLE.projection,),
)
async def get_entitlement(call: Call, _asked: NoParameters) -> EntitlementResource:
    """Show whether a customer has a feature, and how much of it is left.

    By their subscriptions that are not cancelled, trials and overdue ones included, as they were when they were made:
    limits of several add up, and one without a limit makes it endless. A feature that no subscription has is not
    granted. What a meter counts is as new as its figures, usually within a second.
    """
    looked = await _look(call)
    metered = looked.metered
    if metered is None:
        return _told(call.path["feature"], looked, None, Fraction(0))
    return _told(call.path["feature"], looked, metered.entitlement, metered.used_since)


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
    metered = looked.metered
    if metered is None:
        raise EntitlementNotMetered(feature=feature)
    meter, customer_id = await _meter(call, metered.meter_id), looked.customer.customer_id
    command = ResetEntitlement(
        customer_id=customer_id,
        feature=feature,
        meter_id=metered.meter_id,
        aggregation=meter.aggregation,
        period_start=metered.period.start,
        period_end=metered.period.end,
        used=metered.used,
        counted_to=metered.counted_to,
    )
    entitlement_id = entitlement_id_of(customer_id, feature)
    return Intention(
        command=command,
        render=lambda streams: _told(feature, looked, streams.get(ENTITLEMENT, entitlement_id), Fraction(0)),
    )


async def _look(call: Call) -> _Looked:
    wanted, feature = CUSTOMERS.id_of(call), call.path["feature"]
    if not _KEY.fullmatch(feature):
        raise FeatureNotFound
    async with call.reading() as connection:
        customer: Customer = (await CUSTOMERS.row(call, connection, wanted)).state
        found = await read.entitled(connection, call.tenant_id, wanted, feature)
    if found.meter_id is None:
        return _Looked(customer, found, None)
    assert found.start is not None, "what runs began"
    assert found.end is not None, "what runs has a period, or a trial"
    now, period = await customer_now(call, customer), Window(start=found.start, end=found.end)
    metered, entitlement_id = Metered(call.tenant_id, wanted, found.meter_id), entitlement_id_of(wanted, feature)
    partition = partition_of_customer(call.tenant_id, wanted, call.parts.settings.usage.partitions)
    async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
        row = await current(connection, entitlements.TABLE, ENTITLEMENT, call.tenant_id, entitlement_id)
        used = Fraction((await used_in(connection, metered, period, held_until=now)).quantity)
        counted_to = await counted_up_to(connection, partition)
    known = None if row is None else row.state
    reset, used_since = None if known is None else known.reset_in(found.meter_id, period.start), used
    if reset is not None:
        meter = await _meter(call, found.meter_id)
        try:
            async with call.parts.reader.snapshot(call.tenant_id, call.principal.customer_id) as connection:
                usage = MeterUsage(connection, metered, meter.aggregation, call.parts.taken_back, now)
                used_since = await usage.since(reset, period)
        except CannotLook:
            raise Problem(USAGE_UNAVAILABLE, headers=retry_after(1)) from None
    return _Looked(customer, found, _Metered(found.meter_id, period, used, counted_to, used_since, known))


async def _meter(call: Call, meter_id: str) -> Meter:
    async with call.parts.reader.of(call.tenant_id) as connection:  # a customer does not see the meters themselves
        row = await current(connection, meters.TABLE, METER, call.tenant_id, meter_id)
    assert row is not None, "a feature's meter exists"
    return row.state


def _told(feature: str, looked: _Looked, entitlement: Entitlement | None, used: Fraction) -> EntitlementResource:
    found, metered = looked.found, looked.metered
    told: EntitlementResource = {
        "object": "entitlement",
        "customer": looked.customer.customer_id,
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
    if metered is None:
        return told
    start = metered.period.start
    since = since_of(entitlement, metered.meter_id, start)
    left = None if found.limit is None else max(found.limit - used, Fraction(0))
    if entitlement is not None and found.limit is not None:
        told["limit_reached_at"] = entitlement.reached_at(metered.meter_id, since, found.limit)
    return {
        **told,
        "granted": told["granted"] and (left != 0 or not found.is_hard),
        "limit_kind": LimitKind.HARD if found.is_hard else LimitKind.SOFT,
        "used": plain_decimal(told_quantity(used)),
        "remaining": None if left is None else plain_decimal(told_quantity(left)),
        "reset_at": None if since == start else since,
    }
