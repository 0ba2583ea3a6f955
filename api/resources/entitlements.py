"""What a customer may have, by the features of the plans and add-ons that they subscribe to."""

import re
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.customer_time import customer_now
from api.http.fields import plain_decimal
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.resources.customers import CUSTOMERS
from api.resources.plans import FEATURE_PATTERN
from domain.catalog.feature import FeatureNotFound, LimitKind
from domain.customers.customer import Customer, CustomerNotFound
from domain.identity.permissions import Permission
from domain.invoicing.usage_line import told_quantity
from domain.metering.aggregation import Window
from projections.models import subscriptions as read
from usage.live import Metered
from usage.used import used_in

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


@ENTITLEMENTS.query(
    f"{CUSTOMERS.path_of_one}/entitlements/{{feature}}",
    answers=EntitlementResource,
    example={
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
    },
    parameters=NoParameters,
    refusals=(CustomerNotFound, FeatureNotFound),
    reads=(read.TABLE.projection,),
)
async def get_entitlement(call: Call, _asked: NoParameters) -> EntitlementResource:
    """Show whether a customer has a feature, and how much of it is left.

    By their subscriptions that are not cancelled, trials and overdue ones included, as they were when they were made:
    limits of several add up, and one without a limit makes it endless. A feature that no subscription has is not
    granted. What a meter counts is as new as its figures, usually within a second.
    """
    wanted, feature = CUSTOMERS.id_of(call), call.path["feature"]
    if not _KEY.fullmatch(feature):
        raise FeatureNotFound
    async with call.reading() as connection:
        customer: Customer = (await CUSTOMERS.row(call, connection, wanted)).state
        found = await read.entitled(connection, call.tenant_id, wanted, feature)
    told: EntitlementResource = {
        "object": "entitlement",
        "customer": wanted,
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
    }
    return told if found.meter_id is None else await _measured(call, customer, found, told)


async def _measured(
    call: Call, customer: Customer, found: read.Entitled, told: EntitlementResource
) -> EntitlementResource:
    """The same with what its meter has counted."""
    assert found.meter_id is not None, "a meter counts it"
    assert found.start is not None, "what runs began"
    assert found.end is not None, "what runs has a period, or a trial"
    now = await customer_now(call, customer)
    metered = Metered(call.tenant_id, customer.customer_id, found.meter_id)
    async with call.reading() as connection:
        figure = await used_in(connection, metered, Window(start=found.start, end=found.end), held_until=now)
    used = Fraction(figure.quantity)
    left = None if found.limit is None else max(found.limit - used, Fraction(0))
    return {
        **told,
        "granted": told["granted"] and (left != 0 or not found.is_hard),
        "limit_kind": LimitKind.HARD if found.is_hard else LimitKind.SOFT,
        "used": plain_decimal(told_quantity(used)),
        "remaining": None if left is None else plain_decimal(told_quantity(left)),
    }
