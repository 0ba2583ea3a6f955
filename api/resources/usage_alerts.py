"""Usage alerts: thresholds of what is used, of which the log tells once a customer has reached one."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.changes import Change, Clearable, Kept
from api.http.fields import (
    Body,
    CustomerId,
    Line,
    MeterId,
    New,
    NoBody,
    PercentOfLimit,
    UsageAlertId,
    UsageQuantity,
    plain_decimal,
)
from api.http.listing import CreatedParameters
from api.http.operations import Intention
from api.http.resource import Detail, Resource
from api.resources.plans import FeatureKey
from api.resources.triggered_alert_resource import EXAMPLE as TRIGGERED_EXAMPLE
from api.resources.triggered_alert_resource import TriggeredAlertResource, triggered_alert_resource
from domain.customers.customer import CustomerIsDeleted, CustomerNotFound
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
    UsageAlert,
    UsageAlertIsArchived,
)
from domain.identity.permissions import Permission
from domain.kernel.identifiers import USAGE_ALERT as PREFIX
from domain.kernel.unchanged import Unchanged
from domain.metering.meter import MeterIsArchived, MeterNotFound
from infra.ids import new_id
from projections.models import triggered_alerts
from projections.models import usage_alerts as read
from projections.reading import Reader
from projections.stream_rows import Found

_ID: Final = "alrt_01m7ywe9z7e398x54gfbrtqnk7"


class ThresholdBody(Body):
    """Either a quantity in the meter's unit, or so many percent of the feature's limit."""

    quantity: UsageQuantity | None = None
    percent: PercentOfLimit | None = None


Thresholds = Annotated[tuple[ThresholdBody, ...], Field(max_length=MAX_THRESHOLDS)]
Every = Annotated[
    UsageQuantity,
    Field(description="Behind the greatest quantity of `thresholds`, or behind zero, each further so many, too."),
]


class NewUsageAlert(New):
    """A usage alert to be: of a `meter` or of a `feature` that a meter counts; of one customer, or of each."""

    name: Line
    meter: MeterId | None = None
    feature: FeatureKey | None = None
    customer: CustomerId | None = None
    period: Annotated[
        AlertPeriod,
        Field(
            strict=False,
            description="From when on is counted: the period of the subscription that bills or limits the meter, or "
            "the calendar month where none does; the calendar month at any rate; or all that was ever used.",
        ),
    ] = AlertPeriod.SUBSCRIPTION
    thresholds: Thresholds = ()
    every: Every | None = None


class UsageAlertChange(Change):
    """What is to change of a usage alert."""

    name: Kept[Line]
    thresholds: Kept[Thresholds]
    every: Clearable[Every]


class UsageAlertFilters(CreatedParameters):
    """Which usage alerts."""

    meter: MeterId | None = None
    feature: FeatureKey | None = None
    customer: CustomerId | None = None


class ThresholdResource(TypedDict):
    """One of the two."""

    quantity: str | None
    percent: str | None


class UsageAlertResource(TypedDict):
    """A usage alert. Without a customer it watches each of them. An archived one tells of nothing any more."""

    id: UsageAlertId
    object: Literal["usage_alert"]
    name: str
    meter: str | None
    feature: str | None
    customer: str | None
    period: AlertPeriod
    thresholds: list[ThresholdResource]
    every: str | None
    active: bool
    metadata: dict[str, str]
    created: datetime
    archived_at: datetime | None


class UsageAlertDetail(UsageAlertResource):
    """The same with what it told of: the latest 20 of customers and periods, the others in the list of them."""

    triggered: list[TriggeredAlertResource]


def usage_alert_resource(alert: UsageAlert) -> UsageAlertResource:
    """A usage alert as it is answered."""
    terms = alert.terms
    return {
        "id": alert.usage_alert_id,
        "object": "usage_alert",
        "name": terms.name,
        "meter": alert.meter_id,
        "feature": alert.feature,
        "customer": alert.customer_id,
        "period": alert.period,
        "thresholds": [
            {
                "quantity": None if each.quantity is None else plain_decimal(each.quantity),
                "percent": None if each.percent is None else plain_decimal(each.percent),
            }
            for each in terms.thresholds
        ],
        "every": None if terms.every is None else plain_decimal(terms.every),
        "active": alert.archived_at is None,
        "metadata": dict(alert.metadata),
        "created": alert.created_at,
        "archived_at": alert.archived_at,
    }


EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "usage_alert",
    "name": "Nearly used up",
    "meter": None,
    "feature": "api_calls",
    "customer": None,
    "period": "subscription",
    "thresholds": [{"quantity": None, "percent": "80"}, {"quantity": None, "percent": "100"}],
    "every": None,
    "active": True,
    "metadata": {"order": "4711"},
    "created": "2026-01-01T00:00:00Z",
    "archived_at": None,
}


async def _with_triggered(call: Call, connection: Reader, found: Found[UsageAlert]) -> UsageAlertDetail:
    told = await triggered_alerts.latest_of(connection, call.tenant_id, found.state.usage_alert_id)
    return {**usage_alert_resource(found.state), "triggered": [triggered_alert_resource(each) for each in told]}


USAGE_ALERTS: Final = Resource(
    tag="usage alerts",
    about="Thresholds of usage, and what was reached of them.",
    stream=USAGE_ALERT,
    table=read.TABLE,
    path="/v1/usage/alerts",
    prefix=PREFIX,
    seen_with=Permission.USAGE_READ,
    changed_with=Permission.USAGE_WRITE,
    shows=UsageAlertResource,
    render=usage_alert_resource,
    example=EXAMPLE,
    filters=UsageAlertFilters,
    detail=Detail(UsageAlertDetail, _with_triggered, EXAMPLE | {"triggered": [TRIGGERED_EXAMPLE]}),
)


def _thresholds(sent: tuple[ThresholdBody, ...]) -> tuple[Threshold, ...]:
    return tuple(Threshold(quantity=each.quantity, percent=each.percent) for each in sent)


@USAGE_ALERTS.creates(
    body=NewUsageAlert,
    body_example={"name": "Nearly used up", "feature": "api_calls", "thresholds": [{"percent": 80}, {"percent": 100}]},
    refusals=(InvalidUsageAlert, MeterNotFound, MeterIsArchived, CustomerNotFound, CustomerIsDeleted),
)
async def create_usage_alert(_call: Call, body: NewUsageAlert) -> Intention:
    """Create a usage alert.

    Each threshold that a customer has reached in a period is told of once, by an event `usage_alert.triggered`, within
    seconds of its being counted; what is used already counts, too. The alert shows what it told of.
    """
    usage_alert_id = new_id(PREFIX)
    command = CreateUsageAlert(
        usage_alert_id=usage_alert_id,
        meter_id=body.meter,
        feature=body.feature,
        customer_id=body.customer,
        period=body.period,
        terms=AlertTerms(name=body.name, thresholds=_thresholds(body.thresholds), every=body.every),
        metadata=body.kept,
    )
    return USAGE_ALERTS.created(usage_alert_id, command)


@USAGE_ALERTS.changes(
    "PATCH",
    body=UsageAlertChange,
    body_example={"thresholds": [{"percent": 90}]},
    example={"thresholds": [{"quantity": None, "percent": "90"}]},
    refusals=(UsageAlertIsArchived, InvalidUsageAlert),
)
async def update_usage_alert(call: Call, body: UsageAlertChange) -> Intention:
    """Change the name, the thresholds or the metadata of a usage alert.

    A threshold that was told of in a running period is not told of again, and a new one that is reached already is.
    """
    usage_alert_id = USAGE_ALERTS.id_of(call)
    command = ChangeUsageAlert(
        usage_alert_id=usage_alert_id,
        name=body.name,
        thresholds=body.thresholds if isinstance(body.thresholds, Unchanged) else _thresholds(body.thresholds),
        every=body.every,
    )
    return USAGE_ALERTS.patched(usage_alert_id, body, command)


@USAGE_ALERTS.changes(
    "POST",
    "archive",
    body=NoBody,
    example={"active": False, "archived_at": "2026-02-01T00:00:00Z"},
)
async def archive_usage_alert(call: Call, _body: NoBody) -> Intention:
    """Archive a usage alert: it tells of nothing any more. What it told of stays."""
    usage_alert_id = USAGE_ALERTS.id_of(call)
    return USAGE_ALERTS.changed(usage_alert_id, ArchiveUsageAlert(usage_alert_id=usage_alert_id))
