"""Fault switches: what goes wrong on purpose, at which rate, drawn from a seed.

A draw depends on the seed, the idempotency key and how often the key was tried, not on the order of arrival: the same
keys meet the same faults in every run, and a try repeated under the same key draws anew.
"""

import hashlib
import json
from collections import Counter, OrderedDict
from dataclasses import asdict, dataclass, fields

from sandbox_gateway.fields import Fields
from sandbox_gateway.tokens import Disturbance

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Rates are probabilities from 0 to 1 per call that moves money; the first four exclude one another."""

    seed: int = 0
    timeout_before_charge: float = 0.0
    timeout_after_charge: float = 0.0
    error_before_charge: float = 0.0
    error_after_charge: float = 0.0
    rate_limit: float = 0.0
    rate_limit_retry_after_ms: int = 100
    latency: float = 0.0
    latency_min_ms: int = 0
    latency_max_ms: int = 0
    webhook_duplicate: float = 0.0
    webhook_late: float = 0.0
    webhook_late_ms: int = 0
    webhook_shuffle_ms: int = 0
    """Each delivery waits a random time up to this, so that they arrive out of order."""

    @property
    def disturbs_calls(self) -> bool:
        return bool(
            self.timeout_before_charge
            or self.timeout_after_charge
            or self.error_before_charge
            or self.error_after_charge
            or self.rate_limit
            or self.latency
        )


PLAN_FIELDS = frozenset(field.name for field in fields(FaultPlan))


def read_plan(body: bytes) -> FaultPlan:
    """The plan in a JSON body; what it does not name is off. Raises ApiError."""
    given = Fields.of_body(body, PLAN_FIELDS, chars_max=64)

    def rate(name: str) -> float:
        return given.number(name, least=0.0, most=1.0, default=0.0)

    def milliseconds(name: str, default: int = 0) -> int:
        return given.integer(name, least=0, most=HOUR_MS, default=default)

    least_ms = milliseconds("latency_min_ms")
    return FaultPlan(
        seed=given.integer("seed", least=0, most=2**63 - 1, default=0),
        timeout_before_charge=rate("timeout_before_charge"),
        timeout_after_charge=rate("timeout_after_charge"),
        error_before_charge=rate("error_before_charge"),
        error_after_charge=rate("error_after_charge"),
        rate_limit=rate("rate_limit"),
        rate_limit_retry_after_ms=milliseconds("rate_limit_retry_after_ms", 100),
        latency=rate("latency"),
        latency_min_ms=least_ms,
        latency_max_ms=max(least_ms, milliseconds("latency_max_ms", least_ms)),
        webhook_duplicate=rate("webhook_duplicate"),
        webhook_late=rate("webhook_late"),
        webhook_late_ms=milliseconds("webhook_late_ms"),
        webhook_shuffle_ms=milliseconds("webhook_shuffle_ms"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What befalls one try."""

    disturbance: Disturbance | None = None
    rate_limited: bool = False
    delay_ms: int = 0


NO_FAULT = Drawn()


class Faults:
    """The plan in force and what it has done so far."""

    def __init__(self, plan: FaultPlan, keys_counted_max: int) -> None:
        self._keys_counted_max = keys_counted_max
        self.injected: Counter[str] = Counter()
        self.switch(plan)

    def switch(self, plan: FaultPlan) -> None:
        """Put another plan in force and start counting from zero."""
        self.plan = plan
        self.injected.clear()
        self._tries: OrderedDict[str, int] = OrderedDict()

    def draw(self, key: str) -> Drawn:
        """What befalls this try under `key`."""
        plan = self.plan
        if not plan.disturbs_calls:
            return NO_FAULT
        tries = self._tries.pop(key, 0)
        self._tries[key] = tries + 1
        if len(self._tries) > self._keys_counted_max:
            self._tries.popitem(last=False)
        kind, limited, slow, how_slow = _chances(plan.seed, f"{key}:{tries}")
        if limited < plan.rate_limit:
            self.injected["rate_limit"] += 1
            return Drawn(rate_limited=True)
        delay_ms = 0
        if slow < plan.latency:
            self.injected["latency"] += 1
            delay_ms = plan.latency_min_ms + int(how_slow * (plan.latency_max_ms - plan.latency_min_ms + 1))
        for disturbance, rate in (
            (Disturbance.TIMEOUT_BEFORE, plan.timeout_before_charge),
            (Disturbance.TIMEOUT_AFTER, plan.timeout_after_charge),
            (Disturbance.ERROR_BEFORE, plan.error_before_charge),
            (Disturbance.ERROR_AFTER, plan.error_after_charge),
        ):
            if kind < rate:
                self.injected[disturbance.value] += 1
                return Drawn(disturbance=disturbance, delay_ms=delay_ms)
            kind -= rate
        return Drawn(delay_ms=delay_ms)

    def delivery_delays_ms(self, event_id: str) -> list[int]:
        """When an event is delivered, in milliseconds from now: once, or twice when it is duplicated."""
        plan = self.plan
        duplicated, late, shuffled, again = _chances(plan.seed, event_id)
        first = int(shuffled * plan.webhook_shuffle_ms)
        if late < plan.webhook_late:
            self.injected["webhook_late"] += 1
            first += plan.webhook_late_ms
        if duplicated >= plan.webhook_duplicate:
            return [first]
        self.injected["webhook_duplicate"] += 1
        return [first, int(again * plan.webhook_shuffle_ms)]

    def body(self) -> bytes:
        """Plan and counts as JSON."""
        return json.dumps({"plan": asdict(self.plan), "injected": dict(self.injected)}).encode()


def _chances(seed: int, subject: str) -> list[float]:
    """Four numbers in [0, 1) that depend on seed and subject only."""
    digest = hashlib.blake2b(subject.encode(), key=seed.to_bytes(8, "big"), digest_size=32).digest()
    return [(int.from_bytes(digest[start : start + 8], "big") >> 11) / 2**53 for start in (0, 8, 16, 24)]
