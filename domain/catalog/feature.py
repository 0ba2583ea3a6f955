"""A feature: what a plan lets its customers have, as much as they like or up to a limit, which a meter may count."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Streams
from domain.metering.meter import METER, MeterIsArchived

MAX_FEATURES = 50


class LimitKind(StrEnum):
    """What is said once a meter has counted up to the limit: `hard` grants no more, `soft` goes on granting."""

    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """`key` is a name that programs ask for: "seats". `limit` counts whatever it is; None has no limit.

    With a meter the limit is of what that counts of the customer in a period of the subscription, in the meter's unit.
    """

    key: str
    limit: int | None = None
    meter_id: str | None = None
    limit_kind: LimitKind = LimitKind.HARD


class InvalidFeatures(Refusal):
    """A plan has at most 50 features, each named once, with limits of zero or more; soft ones are a meter's."""

    code = "invalid_features"
    kind = RefusalKind.INVALID
    param = "features"


class FeatureNotFound(Refusal):
    """No plan can have a feature of this name."""

    code = "feature_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "feature"


def check_features(features: tuple[Feature, ...]) -> None:
    """Raises InvalidFeatures."""
    if len(features) > MAX_FEATURES:
        raise InvalidFeatures(features=len(features), most=MAX_FEATURES)
    named: set[str] = set()
    for nth, feature in enumerate(features):
        if feature.key in named:
            raise InvalidFeatures(key=feature.key, reason="named twice").at(f"features.{nth}.key")
        if feature.limit is not None and feature.limit < 0:
            raise InvalidFeatures(key=feature.key, limit=feature.limit).at(f"features.{nth}.limit")
        if feature.limit_kind is LimitKind.SOFT and feature.meter_id is None:
            raise InvalidFeatures(key=feature.key, reason="nothing is counted").at(f"features.{nth}.limit_kind")
        named.add(feature.key)


def check_meters(features: tuple[Feature, ...], streams: Streams) -> None:
    """Raises MeterNotFound, MeterIsArchived, about the feature that names it."""
    for nth, feature in enumerate(features):
        if feature.meter_id is None:
            continue
        try:
            if METER.of(streams, feature.meter_id).archived_at is not None:
                raise MeterIsArchived(meter=feature.meter_id)
        except Refusal as refused:
            raise refused.at(f"features.{nth}.meter") from None


def together(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Each once, in the order of their keys: the limits of several add up, and without a limit stays without one. The
    first meter that is named counts, and one hard limit makes the whole of them hard.
    """
    limits: Counter[str] = Counter()
    endless: set[str] = set()
    meters: dict[str, str] = {}
    hard: set[str] = set()
    for feature in features:
        limits[feature.key] += feature.limit or 0
        if feature.limit is None:
            endless.add(feature.key)
        if feature.meter_id is not None:
            meters.setdefault(feature.key, feature.meter_id)
        if feature.limit_kind is LimitKind.HARD:
            hard.add(feature.key)
    return tuple(
        Feature(
            key=key,
            limit=None if key in endless else limits[key],
            meter_id=meters.get(key),
            limit_kind=LimitKind.HARD if key in hard else LimitKind.SOFT,
        )
        for key in sorted(limits)
    )
