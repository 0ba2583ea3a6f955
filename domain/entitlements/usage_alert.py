"""A usage alert: thresholds of what is used, of which the log tells once a customer has reached one.

It watches a meter, or a feature that a meter counts, of one customer or of each. Thresholds are quantities in the
meter's unit, or percentages of the feature's limit; behind the last quantity one may come again and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata, MetadataSet
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged

MAX_THRESHOLDS: Final = 20


class AlertPeriod(StrEnum):
    """From when on is counted. `subscription`: the period of the subscription that bills or limits what is watched, or
    the calendar month where none does. `month`: the calendar month in the customer's time zone. `lifetime`: ever.
    """

    SUBSCRIPTION = "subscription"
    MONTH = "month"
    LIFETIME = "lifetime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Either a quantity in the meter's unit, or so many percent of the feature's limit; above zero."""

    quantity: Decimal | None = None
    percent: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTerms:
    """What is told of. `every`: behind the greatest quantity of `thresholds`, or behind zero, each further so many."""

    name: str
    thresholds: tuple[Threshold, ...]
    every: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateUsageAlert:
    """Of a meter or of a feature; of one customer, or of each where that is None."""

    usage_alert_id: str
    meter_id: str | None = None
    feature: str | None = None
    customer_id: str | None = None
    period: AlertPeriod = AlertPeriod.SUBSCRIPTION
    terms: AlertTerms
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeUsageAlert:
    """Thresholds that were told of in the running period are not told of again."""

    usage_alert_id: str
    name: str | Unchanged = UNCHANGED
    thresholds: tuple[Threshold, ...] | Unchanged = UNCHANGED
    every: Decimal | Unchanged | None = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveUsageAlert:
    usage_alert_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAlertCreated:
    usage_alert_id: str
    meter_id: str | None
    feature: str | None
    customer_id: str | None
    period: AlertPeriod
    terms: AlertTerms
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAlertChanged:
    usage_alert_id: str
    terms: AlertTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAlertArchived:
    usage_alert_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAlertMetadataSet(MetadataSet):
    usage_alert_id: str


UsageAlertEvent = UsageAlertCreated | UsageAlertChanged | UsageAlertArchived | UsageAlertMetadataSet


class UsageAlertNotFound(Refusal):
    """There is no such usage alert."""

    code = "usage_alert_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "usage_alert"


class UsageAlertAlreadyExists(Refusal):
    """A usage alert of this id exists already."""

    code = "usage_alert_already_exists"


class UsageAlertIsArchived(Refusal):
    """The usage alert is archived: it tells of nothing any more, and is not changed."""

    code = "usage_alert_archived"


class InvalidUsageAlert(Refusal):
    """An alert watches a meter or a feature, and names a threshold or `every`: at most 20, each above zero and once.

    Percentages are of a feature's limit, and that is of the subscription's period.
    """

    code = "invalid_usage_alert"
    kind = RefusalKind.INVALID
    param = "thresholds"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAlert:
    usage_alert_id: str
    meter_id: str | None
    feature: str | None
    customer_id: str | None
    period: AlertPeriod
    terms: AlertTerms
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None


def check_terms(terms: AlertTerms, *, of_feature: bool) -> None:
    """Raises InvalidUsageAlert, about the field that does not fit."""
    if not terms.thresholds and terms.every is None:
        raise InvalidUsageAlert(reason="nothing is to be told of")
    if len(terms.thresholds) > MAX_THRESHOLDS:
        raise InvalidUsageAlert(thresholds=len(terms.thresholds), most=MAX_THRESHOLDS)
    for nth, threshold in enumerate(terms.thresholds):
        where = f"thresholds.{nth}"
        if (threshold.quantity is None) is (threshold.percent is None):
            raise InvalidUsageAlert(reason="a quantity or percent, one of them").at(where)
        if threshold.percent is not None and not of_feature:
            raise InvalidUsageAlert(reason="a meter has no limit: name a feature").at(f"{where}.percent")
        if threshold.quantity == 0 or threshold.percent == 0:
            raise InvalidUsageAlert(reason="above zero").at(where)
        if threshold in terms.thresholds[:nth]:
            raise InvalidUsageAlert(reason="named twice").at(where)
    if terms.every == 0:
        raise InvalidUsageAlert(reason="above zero").at("every")


def last_quantity(thresholds: Sequence[Threshold]) -> Decimal:
    """Behind which `every` begins to count: the greatest quantity, or zero."""
    return max((each.quantity for each in thresholds if each.quantity is not None), default=Decimal(0))


def evolve(alert: UsageAlert | None, event: UsageAlertEvent) -> UsageAlert:
    if isinstance(event, UsageAlertCreated):
        return UsageAlert(
            usage_alert_id=event.usage_alert_id,
            meter_id=event.meter_id,
            feature=event.feature,
            customer_id=event.customer_id,
            period=event.period,
            terms=event.terms,
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
        )
    assert alert is not None, "the first event of a usage alert is usage_alert.created"
    match event:
        case UsageAlertChanged():
            return replace(alert, terms=event.terms)
        case UsageAlertArchived():
            return replace(alert, archived_at=event.archived_at)
        case UsageAlertMetadataSet():
            return replace(alert, metadata=event.metadata)


EVENTS: dict[str, type] = {
    "usage_alert.created": UsageAlertCreated,
    "usage_alert.changed": UsageAlertChanged,
    "usage_alert.archived": UsageAlertArchived,
    "usage_alert.metadata_set": UsageAlertMetadataSet,
}

USAGE_ALERT: Stream[UsageAlert] = Stream(
    name="usage_alert",
    id_field="usage_alert_id",
    topic=Topic.BILLING,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda alert: alert.customer_id,
    not_found=UsageAlertNotFound,
    already_exists=UsageAlertAlreadyExists,
    metadata_set=UsageAlertMetadataSet,
)
