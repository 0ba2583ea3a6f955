"""What a customer may have, by the features of the plans and add-ons that they subscribe to."""

import re
from typing import Final, Literal

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.listing import NoParameters
from api.http.operations import Operations
from api.resources.customers import CUSTOMERS
from api.resources.plans import FEATURE_PATTERN
from domain.catalog.feature import FeatureNotFound
from domain.customers.customer import CustomerNotFound
from domain.identity.permissions import Permission
from projections.models import subscriptions as read

_KEY: Final = re.compile(FEATURE_PATTERN[1:-1])

ENTITLEMENTS: Final = Operations(
    tag="entitlements",
    about="What customers may have by what they subscribe to.",
    path_ids=CUSTOMERS.path_ids,
    seen_with=Permission.SUBSCRIPTIONS_READ,
)


class EntitlementResource(TypedDict):
    """Whether a customer has a feature, by how many subscriptions, and up to which limit; null where there is none.

    What is not granted has the limit 0.
    """

    object: Literal["entitlement"]
    customer: str
    feature: str
    granted: bool
    limit: int | None
    subscriptions: int


@ENTITLEMENTS.query(
    f"{CUSTOMERS.path_of_one}/entitlements/{{feature}}",
    answers=EntitlementResource,
    example={
        "object": "entitlement",
        "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
        "feature": "seats",
        "granted": True,
        "limit": 15,
        "subscriptions": 1,
    },
    parameters=NoParameters,
    refusals=(CustomerNotFound, FeatureNotFound),
    reads=(read.TABLE.projection,),
)
async def get_entitlement(call: Call, _asked: NoParameters) -> EntitlementResource:
    """Show whether a customer has a feature.

    By their subscriptions that are not cancelled, trials and overdue ones included, as they were when they were made:
    limits of several add up, and one without a limit makes it endless. A feature that no subscription has is not
    granted.
    """
    wanted, feature = CUSTOMERS.id_of(call), call.path["feature"]
    if not _KEY.fullmatch(feature):
        raise FeatureNotFound
    async with call.reading() as connection:
        await CUSTOMERS.row(call, connection, wanted)
        found = await read.entitled(connection, call.tenant_id, wanted, feature)
    return {
        "object": "entitlement",
        "customer": wanted,
        "feature": feature,
        "granted": found.subscriptions > 0 and found.limit != 0,
        "limit": found.limit,
        "subscriptions": found.subscriptions,
    }
