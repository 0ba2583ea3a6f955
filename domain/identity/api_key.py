"""An API key: what a program may do in a tenant, from where, how often and until when. The key itself is no fact.

Its secret is drawn at the edge and shown once; only a digest is kept, beside the log and never in it. Expiry is looked
at when a key is used, so it needs no timer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Final

from domain.identity.permissions import Scope
from domain.kernel.access import AccessChange, ApiKeyAccess
from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic
from domain.kernel.unchanged import Unchanged

OVERLAP_MAX: Final = timedelta(days=7)
NETWORKS_MAX: Final = 50
LIMIT_MAX: Final = 3_600_000
"""Requests an hour that a key may be given: a thousand a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Requests an hour by the class of the operation; None: as the cell has it for every key."""

    reads_per_hour: int | None
    writes_per_hour: int | None
    admin_per_hour: int | None


CELLS_LIMITS: Final = KeyLimits(reads_per_hour=None, writes_per_hour=None, admin_per_hour=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """What a key is good for. `allowed_networks` are as in `192.0.2.0/24`; none: it works from everywhere.

    `is_end_given`: whoever asked for the key said when it ends, so its successor ends then, too. False: it ends as keys
    do, or when it is revoked.
    """

    name: str
    scope: Scope
    expires_at: datetime | None
    is_end_given: bool
    allowed_networks: tuple[str, ...]
    limits: KeyLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateApiKey:
    """`prefix` is the part of the key that is shown in lists, and tells nothing of the rest.

    `by` is the id of the user or the API key that asks, None for the platform; so it is in all commands here.
    """

    tenant_id: str
    key_id: str
    prefix: str
    terms: KeyTerms
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateApiKey:
    """Make a successor on the same terms; the key itself works for `overlap` more, at most until it expires.

    `is_end_given`: the successor ends as asked. False: as the key does if that was given, else at
    `successor_expires_at`.
    """

    tenant_id: str
    key_id: str
    successor_id: str
    successor_prefix: str
    successor_expires_at: datetime | None
    is_end_given: bool
    overlap: timedelta
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeApiKey:
    """For good, and at once. A key may revoke itself: it is the last thing that it does."""

    tenant_id: str
    key_id: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateApiKey:
    """What it is for and when it ends stays: that takes another key."""

    tenant_id: str
    key_id: str
    name: str | Unchanged
    allowed_networks: tuple[str, ...] | Unchanged
    limits: KeyLimits | Unchanged
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyCreated:
    """`made_by` is the id of whoever was shown the key: a user, a key that asked for it, None for the platform."""

    key_id: str
    prefix: str
    terms: KeyTerms
    rotated_from: str | None
    made_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRotated:
    key_id: str
    successor_id: str
    works_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRevoked:
    key_id: str
    revoked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyUpdated:
    """All that may change, as it is from now on."""

    key_id: str
    name: str
    allowed_networks: tuple[str, ...]
    limits: KeyLimits


ApiKeyEvent = ApiKeyCreated | ApiKeyRotated | ApiKeyRevoked | ApiKeyUpdated


class ApiKeyNotFound(Refusal):
    """There is no such API key."""

    code = "api_key_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "api_key"


class ApiKeyAlreadyExists(Refusal):
    """An API key of this id exists already."""

    code = "api_key_already_exists"


class ApiKeyIsOver(Refusal):
    """The API key was revoked or has expired: create another one."""

    code = "api_key_over"
    param = "api_key"


class ApiKeyIsRotated(Refusal):
    """The API key has a successor already: rotate that one."""

    code = "api_key_rotated"
    param = "api_key"


class InvalidApiKeyTerms(Refusal):
    """A key ends in the future, and has limits from 1 to 3,600,000 and networks such as 192.0.2.0/24 or 192.0.2.7."""

    code = "invalid_api_key_terms"
    kind = RefusalKind.INVALID


class InvalidOverlap(Refusal):
    """A rotated key works for 0 to 7 days more."""

    code = "invalid_overlap"
    kind = RefusalKind.INVALID
    param = "overlap"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """`terms.expires_at` is when it ends, by its terms or by the end of its overlap, whichever comes first."""

    key_id: str
    prefix: str
    terms: KeyTerms
    successor_id: str | None
    made_by: str | None
    created_at: datetime
    revoked_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        """Whether it works no more."""
        return self.revoked_at is not None or (self.terms.expires_at is not None and self.terms.expires_at <= now)


def check_terms(terms: KeyTerms, now: datetime) -> None:
    """Raises InvalidApiKeyTerms."""
    if terms.expires_at is not None and terms.expires_at <= now:
        raise InvalidApiKeyTerms(expires_at=terms.expires_at).at("expires_at")
    if len(terms.allowed_networks) > NETWORKS_MAX:
        raise InvalidApiKeyTerms(networks_max=NETWORKS_MAX).at("allowed_networks")
    for place, network in enumerate(terms.allowed_networks):
        try:
            ip_network(network)
        except ValueError:
            raise InvalidApiKeyTerms(network=network).at(f"allowed_networks.{place}") from None
    check_limits(terms.limits)


def check_limits(limits: KeyLimits) -> None:
    """Raises InvalidApiKeyTerms."""
    for name in ("reads_per_hour", "writes_per_hour", "admin_per_hour"):
        limit = getattr(limits, name)
        if limit is not None and not 1 <= limit <= LIMIT_MAX:
            raise InvalidApiKeyTerms(limit=limit).at(f"limits.{name}")


def evolve(key: ApiKey | None, event: ApiKeyEvent) -> ApiKey:
    if isinstance(event, ApiKeyCreated):
        return ApiKey(
            key_id=event.key_id,
            prefix=event.prefix,
            terms=event.terms,
            successor_id=None,
            made_by=event.made_by,
            created_at=event.created_at,
            revoked_at=None,
        )
    assert key is not None, "the first event of an API key is api_key.created"
    match event:
        case ApiKeyRotated():
            ends = event.works_until
            terms = replace(key.terms, expires_at=ends)
            return replace(key, successor_id=event.successor_id, terms=terms)
        case ApiKeyRevoked():
            return replace(key, revoked_at=event.revoked_at)
        case ApiKeyUpdated():
            terms = replace(key.terms, name=event.name, allowed_networks=event.allowed_networks, limits=event.limits)
            return replace(key, terms=terms)


def access(event: ApiKeyEvent, key: ApiKey) -> tuple[AccessChange, ...]:
    return (access_row(key),)


def access_row(key: ApiKey) -> ApiKeyAccess:
    """What the key may do, whole."""
    terms = key.terms
    return ApiKeyAccess(
        key_id=key.key_id,
        prefix=key.prefix,
        name=terms.name,
        scope=terms.scope.value,
        allowed_networks=terms.allowed_networks,
        reads_per_hour=terms.limits.reads_per_hour,
        writes_per_hour=terms.limits.writes_per_hour,
        admin_per_hour=terms.limits.admin_per_hour,
        created_at=key.created_at,
        expires_at=terms.expires_at,
        revoked_at=key.revoked_at,
        successor_id=key.successor_id,
    )


EVENTS: dict[str, type] = {
    "api_key.created": ApiKeyCreated,
    "api_key.rotated": ApiKeyRotated,
    "api_key.revoked": ApiKeyRevoked,
    "api_key.updated": ApiKeyUpdated,
}

API_KEY: Stream[ApiKey] = Stream(
    name="api_key",
    id_field="key_id",
    topic=Topic.IDENTITY,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda key: None,
    not_found=ApiKeyNotFound,
    already_exists=ApiKeyAlreadyExists,
    access=access,
)
