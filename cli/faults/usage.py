"""The load of usage: events that are sent, sent again, taken back and replaced, for customers whose clocks bill them.

There is a meter of every aggregation. What the API has acknowledged is kept, and nothing else: it is the model that
`cli.faults.usage_proof` holds counters and invoices against.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from cli.faults.client import USAGE_PATH as PATH
from cli.faults.client import FaultClient, Told
from cli.faults.watching import Watching, feature, threshold_of
from domain.metering.aggregation import Aggregation, PartialAggregate, UsageEvent, aggregate
from usage.partials import bucket_of

USERS: Final = 2
"""Of each tenant; each is on a clock of its own, which nobody else advances."""
EVENTS_MAX: Final = 25
THINK_S: Final = 0.1
"""Longest pause of a user (s)."""
STARTED: Final = datetime(2026, 1, 1, tzinfo=UTC)
BACK_MAX: Final = timedelta(days=14)
STEP_MAX: Final = timedelta(days=16)
"""Together less than an event may be old, so one that is sent again while its clock moves is never too old."""
EMPLOYEES: Final = 9
VOIDERS: Final = 2
"""One user of so many voids invoices of usage."""

AHEAD: Final = "timestamp_ahead"
REFUSED: Final = "usage_events_refused"
NOT_COUNTED: Final = "usage_event_not_counted"

UNITS, CALLS, EMPLOYED = "units", "calls", "employed"
_COUNTED: Final = ("employee 0", "employee 1", "employee 2", "employee 3", "employee 4")
"""Whose calls the meter of calls counts, each apart."""
_CALLERS: Final = [{"property": "employee", "values": list(_COUNTED)}]
_READS: Final[Mapping[str, Mapping[str, object]]] = {
    UNITS: {"aggregation": "sum", "value_property": "units"},
    CALLS: {"aggregation": "count", "filters": _CALLERS, "group_by": ["employee"]},
    EMPLOYED: {"aggregation": "unique", "unique_property": "employee"},
    "peak": {"aggregation": "max", "value_property": "units"},
    "last": {"aggregation": "latest", "value_property": "units"},
    "level": {"aggregation": "time_weighted_sum", "value_property": "units"},
}
"""The meters by their codes."""
_TIERS: Final = [{"up_to": 3, "unit_amount": "100"}, {"up_to": None, "unit_amount": "70"}]
_BY_UNIT: Final[Mapping[str, object]] = {"type": "per_unit", "currency": "EUR", "unit_amount": "1"}
_MODELS: Final[Mapping[str, Mapping[str, object]]] = {
    EMPLOYED: {"type": "graduated", "currency": "EUR", "tiers": _TIERS},
}
"""How a meter is billed that is not billed by the unit."""

Place = tuple[tuple[str, ...], int]
"""A group of a meter's, and a quarter hour since 1970."""


class Used(NamedTuple):
    """What an event says: its meter's code, its time, how many units, and by which employee."""

    meter: str
    at: datetime
    units: int
    employee: str

    def of(self, event_id: str) -> UsageEvent:
        """What its meter takes of it."""
        reads = _READS[self.meter]
        value = Decimal(self.units) if "value_property" in reads else Decimal(0)
        return UsageEvent(event_id=event_id, at=self.at, value=value, key=self.employee * ("unique_property" in reads))


@dataclass(slots=True)
class User:
    """A customer who uses: what was acknowledged of it and not taken back, and all ids. One does one thing after
    another, or nobody could tell what came first. One who `voids` takes back invoices of usage.
    """

    customer_id: str
    clock_id: str
    subscription_id: str
    voids: bool = False
    now: datetime = STARTED
    used: dict[str, Used] = field(default_factory=dict)
    ids: dict[str, None] = field(default_factory=dict)

    def counted(self, meter: str) -> dict[Place, PartialAggregate]:
        """What the meter has to show, of each of its groups in each quarter hour."""
        found: dict[Place, list[UsageEvent]] = {}
        for event_id, used in self.used.items():
            if used.meter == meter and (meter != CALLS or used.employee in _COUNTED):
                group = (used.employee,) if meter == CALLS else ()
                found.setdefault((group, bucket_of(used.at)), []).append(used.of(event_id))
        kind = Aggregation(str(_READS[meter]["aggregation"]))
        return {place: aggregate(kind, events) for place, events in found.items()}


class Usage:
    """What so many users of one tenant do, with so many events a request at most. `meters` are their ids by code."""

    def __init__(self, client: FaultClient, users: int = USERS, events_max: int = EVENTS_MAX) -> None:
        self._client = client
        self._count = users
        self._events_max = events_max
        self._made = 0
        self.users: list[User] = []
        self.meters: dict[str, str] = {}
        self.watching = Watching(client)

    async def prepare(self) -> None:
        """Meters, a plan that bills them, and users who are subscribed to it, with alerts and thresholds."""
        product = await self._new("/v1/products", {"name": "Usage"})
        for code, reads in _READS.items():
            self.meters[code] = await self._new("/v1/meters", {"code": code, "name": code, **reads})
        terms = {"interval": {"unit": "month"}, "features": [feature(self.meters[UNITS])]}
        plan = await self._new("/v1/plans", {"product": product, "name": "Metered", **terms})
        prices = []
        for code, meter in self.meters.items():
            price = {"plan": plan, "name": code, "timing": "in_arrears", "meter": meter}
            prices.append(await self._new("/v1/prices", {**price, "model": _MODELS.get(code, _BY_UNIT)}))
        await self.watching.prepare(self.meters[UNITS], self.meters[CALLS])
        for nth in range(self._count):
            clock = await self._new("/v1/test-clocks", {"name": f"user {nth}", "frozen_time": STARTED.isoformat()})
            person = {"name": f"User {nth}", "currency": "EUR", "address": {"country": "CH"}, "test_clock": clock}
            customer = await self._new("/v1/customers", person)
            order: dict[str, object] = {"customer": customer, "plan": plan, "collection_method": "send_invoice"}
            items = [{"price": price} for price in prices]
            subscription = await self._new(
                "/v1/subscriptions", {**order, "items": items, "usage_threshold": threshold_of(nth)}
            )
            self.users.append(User(customer, clock, subscription, voids=nth % VOIDERS == VOIDERS - 1))

    async def _new(self, path: str, body: Mapping[str, object]) -> str:
        return str((await self._client.made(path, body))["id"])

    async def run(self, nth: int, chance: random.Random, enough: asyncio.Event) -> None:
        """What one user does, one thing after the other, until `enough`."""
        user = self.users[nth]
        deeds = (self._send, self._send_twice, self._void, self._correct, self._advance, self._reset, self._give_up)
        while not enough.is_set():
            await chance.choices(deeds, (8, 3, 3, 2, 8, 1, 4))[0](chance, user)
            await asyncio.sleep(chance.uniform(0, THINK_S))

    async def _reset(self, chance: random.Random, user: User) -> None:
        await self.watching.reset(user.customer_id)

    async def _give_up(self, chance: random.Random, user: User) -> None:
        """An invoice of usage so far is voided, or the threshold that leads to it is set anew."""
        if user.voids:
            await self.watching.void(chance, user.subscription_id)
        else:
            await self.watching.set_anew(chance, user.subscription_id)

    async def _send(self, chance: random.Random, user: User) -> None:
        """New events, some twice; old ones as they were, and other content under an old id: the first one counts."""
        batch = [self._event(chance, user) for _ in range(chance.randint(1, self._events_max))]
        batch += chance.sample(batch, chance.randrange(len(batch)))
        self._taken(user, batch, await self._client.command("POST", PATH, _bodies(user, batch + _old(chance, user))))

    async def _send_twice(self, chance: random.Random, user: User) -> None:
        """The same request at two processes at once."""
        batch = [self._event(chance, user) for _ in range(chance.randint(1, self._events_max))]
        bodies = _bodies(user, batch)
        for told in await asyncio.gather(*(self._client.command("POST", PATH, bodies) for _ in range(2))):
            self._taken(user, batch, told)

    def _event(self, chance: random.Random, user: User) -> tuple[str, Used]:
        self._made += 1
        at = max(STARTED, user.now - BACK_MAX * chance.random() ** 2)
        employee = f"employee {chance.randrange(EMPLOYEES)}"
        return f"u-{self._made}", Used(chance.choice(tuple(_READS)), at, chance.randrange(100), employee)

    def _taken(self, user: User, batch: list[tuple[str, Used]], told: Told) -> None:
        """Keep what is acknowledged. While a clock is on its way to where it was sent, some is ahead of it."""
        errors = told.body.get("errors", [])
        refused = {_place(each, is_problem=not told.accepted) for each in errors}
        codes = {each["code"] for each in errors}
        if not told.accepted:
            self._client.must(told, "usage was refused", holds=told.body.get("code") == REFUSED)
        self._client.must(told, f"events were refused: {codes}", holds=codes <= {AHEAD})
        for place, (event_id, used) in enumerate(batch):
            if place not in refused and event_id not in user.ids:
                user.used[event_id] = used
                user.ids[event_id] = None
        self._client.counts["usage events"] += len(batch) - len(refused)

    async def _void(self, chance: random.Random, user: User) -> None:
        """Also what is void already, which changes nothing, and what is not counted yet, which cannot be taken back."""
        if not user.ids:
            return
        event_id = chance.choice(list(user.ids))
        told = await self._client.command("POST", f"{PATH}/void", {"customer": user.customer_id, "id": event_id})
        if told.accepted:
            user.used.pop(event_id, None)
            self._client.counts["usage taken back"] += 1
        else:
            self._client.must(told, "a void was refused", holds=told.body.get("code") == NOT_COUNTED)

    async def _correct(self, chance: random.Random, user: User) -> None:
        """Something else in an event's place: the one goes and the other comes."""
        if not user.used:
            return
        event_id = chance.choice(list(user.used))
        other_id, other = self._event(chance, user)
        instead = _bodies(user, [(other_id, other)])[0]
        body = {"customer": user.customer_id, "id": event_id, "instead": instead}
        told = await self._client.command("POST", f"{PATH}/correct", body)
        if told.accepted:
            del user.used[event_id]
            user.used[other_id] = other
            user.ids[other_id] = None
            self._client.counts["usage taken back"] += 1
        else:
            code = told.body.get("code")
            self._client.must(told, "a correction was refused", holds=code in {NOT_COUNTED, REFUSED})

    async def _advance(self, chance: random.Random, user: User) -> None:
        """Days pass, and periods end; refused while the last ones are still passing."""
        goal = user.now + STEP_MAX * chance.uniform(0.5, 1)
        path = f"/v1/test-clocks/{user.clock_id}/advance"
        told = await self._client.command("POST", path, {"frozen_time": goal.isoformat()})
        if told.accepted:
            user.now = goal


def _old(chance: random.Random, user: User) -> list[tuple[str, Used]]:
    """Some that counted, again, and some whose id counted with something else."""
    young = [(event_id, used) for event_id, used in user.used.items() if used.at > user.now - BACK_MAX]
    found = chance.sample(young, min(len(young), chance.randrange(6)))
    return [
        (event_id, used if chance.random() < 2 / 3 else used._replace(units=used.units + 1)) for event_id, used in found
    ]


def _bodies(user: User, batch: list[tuple[str, Used]]) -> list[dict[str, Any]]:
    return [
        {
            "id": event_id,
            "meter": used.meter,
            "customer": user.customer_id,
            "timestamp": used.at.isoformat(),
            "properties": {"units": str(used.units), "employee": used.employee},
        }
        for event_id, used in batch
    ]


def _place(error: Mapping[str, Any], *, is_problem: bool) -> int:
    """Which event of a request an error is about."""
    return int(str(error["param"]).partition(".")[0]) if is_problem else int(error["index"])
