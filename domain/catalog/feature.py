"""A feature: what a plan lets its customers have, as much as they like or up to a limit."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from domain.kernel.refusal import Refusal, RefusalKind

MAX_FEATURES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """`key` is a name that programs ask for: "seats". `limit` counts whatever it is; None has no limit."""

    key: str
    limit: int | None = None


class InvalidFeatures(Refusal):
    """A plan has at most 50 features, each named once, with limits of zero or more."""

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
        named.add(feature.key)


def together(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Each once, in the order of their keys: the limits of several add up, and without a limit stays without one."""
    limits: Counter[str] = Counter()
    endless: set[str] = set()
    for feature in features:
        limits[feature.key] += feature.limit or 0
        if feature.limit is None:
            endless.add(feature.key)
    return tuple(Feature(key=key, limit=None if key in endless else limits[key]) for key in sorted(limits))
