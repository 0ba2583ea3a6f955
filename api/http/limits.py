"""How often may be asked: by principals, by tenants, by addresses; and the headers that tell it."""

from collections.abc import Callable
from math import ceil
from time import monotonic
from typing import Final, Literal, NamedTuple

from api.http.addresses import limited_as
from api.http.principal import Principal
from api.http.problems import RATE_LIMITED, Problem, retry_after
from api.http.replies import Header
from domain.identity.permissions import Scope
from infra.rate_limits.buckets import Bucket, OwnBuckets, bucket_of
from infra.rate_limits.shared import SharedRates, Taken
from infra.settings import ApiSettings

MINUTE_S: Final = 60
ADDRESS, LOG_IN, TENANT = "address", "log_in", "tenant"
"""Names of policies, besides the classes of operations."""
USAGE: Final = "usage"
RateClass = Scope | Literal["usage"]
"""Classes of operations: what reads, changes and administers, and what brings usage in."""


class Allowance(NamedTuple):
    """Whether the request may pass, by which policy, how many more may at once, and seconds until it is full again."""

    allowed: bool
    policy: str
    bucket: Bucket
    remaining: int
    reset_s: int
    retry_after_s: int

    def headers(self) -> tuple[Header, ...]:
        """The RateLimit fields (draft-ietf-httpapi-ratelimit-headers-10)."""
        policy = f'"{self.policy}";q={self.bucket.depth};w={ceil(self.bucket.window_s)}'
        state = f'"{self.policy}";r={self.remaining};t={self.reset_s}'
        return (b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())

    def checked(self) -> "Allowance":
        """Itself. Raises the 429 of one that may not pass."""
        if not self.allowed:
            raise Problem(RATE_LIMITED, headers=(*retry_after(self.retry_after_s), *self.headers()))
        return self


class RateLimiter:
    """Up to `per_min` requests a minute for each name, kept by this process alone.

    For addresses without a credential: that whoever comes from anywhere makes a row in the database is no limit.
    """

    def __init__(self, per_min: int, *, max_names: int, clock: Callable[[], float] = monotonic) -> None:
        self._bucket = Bucket(per_min, MINUTE_S)
        self._own = OwnBuckets(names_max=max_names, clock=clock)

    def take(self, name: str) -> Allowance:
        """Count one request."""
        given = self._own.take_now(name, self._bucket, 1)
        retry_after_s = 0 if given.taken else max(1, ceil(given.next_in_s))
        return Allowance(bool(given.taken), ADDRESS, self._bucket, given.left, ceil(given.full_in_s), retry_after_s)

    def give_back(self, name: str) -> None:
        """Uncount one request: it turned out not to be for this limit."""
        self._own.give_back(name, self._bucket)


class Limits:
    """The limits that all processes of a cell keep together."""

    def __init__(self, rates: SharedRates, api: ApiSettings) -> None:
        self._rates = rates
        self._of_class: dict[RateClass, int] = {
            USAGE: api.usage_requests_per_hour,
            Scope.READ: api.reads_per_hour,
            Scope.WRITE: api.writes_per_hour,
            Scope.ADMIN: api.admin_per_hour,
        }
        self._tenant = bucket_of(api.tenant_requests_per_hour)
        self._log_in = Bucket(api.log_ins_per_min, MINUTE_S)

    async def admit(self, principal: Principal, of_class: RateClass) -> Allowance:
        """Count one request of a principal, and of its tenant. Raises the 429 of one too many."""
        own = None if of_class == USAGE else principal.hourly.get(of_class)
        per_hour = own or self._of_class[of_class]
        # A limit that was changed begins anew.
        name = f"{principal.id}/{of_class}/{per_hour}"
        allowance = (await self._take(name, of_class, bucket_of(per_hour))).checked()
        if principal.tenant_id:
            of_tenant = await self._rates.take(f"{TENANT}/{principal.tenant_id}", self._tenant)
            if not of_tenant.allowed:
                self._rates.give_back(name)
                _allowance(of_tenant, TENANT, self._tenant).checked()
        return allowance

    async def log_in(self, address: str) -> None:
        """Count one try to sign in, or to be sent a letter about it, of an address. Raises the 429 of one too many."""
        (await self._take(f"{LOG_IN}/{limited_as(address)}", LOG_IN, self._log_in)).checked()

    async def _take(self, name: str, policy: str, bucket: Bucket) -> Allowance:
        return _allowance(await self._rates.take(name, bucket), policy, bucket)


def _allowance(taken: Taken, policy: str, bucket: Bucket) -> Allowance:
    retry_after_s = 0 if taken.allowed else max(1, ceil(taken.next_in_s))
    return Allowance(taken.allowed, policy, bucket, taken.left, ceil(taken.full_in_s), retry_after_s)
