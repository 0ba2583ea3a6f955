"""Stories of usage, voids, resets, ends and looks at random, against a plain model: each threshold is told once, if it
was reached at a look.

The model keeps every event with the order in which it came, and knows nothing of buckets, looks and streams. Several
customers live through a story side by side on one test clock, each by draws of their own.
"""

import random
from calendar import monthrange
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.metering.usage_window import month_window
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_shop import STARTED, utc
from tests.integration.watched_shop import Watched, watched_shop
from tests.lengths import LENGTH

CUSTOMERS = 3
STEPS = 14
THRESHOLDS = (20, 45)
EVERY = 30
LIMIT = 40


@pytest.fixture
async def shop(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Watched]:
    async with watched_shop(database, kafka_server, topic_prefix, tmp_path) as opened:
        yield opened


@dataclass
class Event:
    """Something that was used; `came` says when, counted in events."""

    at: datetime
    value: int
    came: int
    is_voided: bool = False


@dataclass
class Life:
    """A customer as the model has it. `starts` are the beginnings of periods that were billed; the last of them ends at
    `ends_at`, and from then on there are months, once it is over for good.
    """

    customer: str
    subscription: str
    starts: list[datetime]
    ends_at: datetime
    events: dict[str, Event] = field(default_factory=dict)
    is_over: bool = False
    reset_at: dict[datetime, tuple[int, datetime]] = field(default_factory=dict)
    told: dict[datetime, list[int]] = field(default_factory=dict)
    limits: list[datetime] = field(default_factory=list)

    def period_of(self, at: datetime) -> datetime:
        """When the period of an instant began."""
        if at >= self.ends_at and self.is_over:
            return max(self.ends_at, month_window(at, "UTC").start)
        renewals = (months_later(nth) for nth in range(24))
        return max(each for each in (*self.starts, *renewals) if each <= at)

    def is_limited(self, since: str) -> bool:
        """Once it is over no limit is granted, so of its last period the model does not say."""
        return not self.is_over or datetime.fromisoformat(since) < self.starts[-1]

    def used(self) -> dict[datetime, int]:
        """What every period comes to."""
        found: dict[datetime, int] = {}
        for event in self.events.values():
            if not event.is_voided:
                start = self.period_of(event.at)
                found[start] = found.get(start, 0) + event.value
        return found

    def look(self) -> None:
        """What is reached now was reached at a look."""
        for start, used in self.used().items():
            told = self.told.setdefault(start, [])
            due = [each for each in THRESHOLDS if each <= used and each not in told]
            last = THRESHOLDS[-1] + EVERY * ((used - THRESHOLDS[-1]) // EVERY)
            if last > THRESHOLDS[-1] and last > max(told, default=0):
                due.append(last)
            told += due
            if start in self.starts and not self.is_over:
                self._limited(start)

    def _limited(self, start: datetime) -> None:
        first, since = self.reset_at.get(start, (0, start))
        counted = [each for each in self.events.values() if each.came >= first and not each.is_voided]
        used = sum(each.value for each in counted if self.period_of(each.at) == start)
        if used >= LIMIT and since not in self.limits:
            self.limits.append(since)


def months_later(months: int) -> datetime:
    """The same day so many months after the start, or the last one of a shorter month."""
    year, month = divmod(STARTED.year * 12 + STARTED.month - 1 + months, 12)
    return STARTED.replace(year=year, month=month + 1, day=min(STARTED.day, monthrange(year, month + 1)[1]))


@pytest.mark.parametrize("seed", range(LENGTH.scaled(2)))
async def test_each_threshold_is_told_once_if_it_was_reached_at_a_look(shop: Watched, seed: int) -> None:
    draw = random.Random(seed)
    meter = await shop.meter("traffic")
    clock = str((await shop.client.made("/v1/test-clocks", {"name": "C", "frozen_time": STARTED.isoformat()}))["id"])
    thresholds = [{"quantity": each} for each in THRESHOLDS]
    alert = await shop.alert(meter=meter, thresholds=thresholds, every=EVERY)
    lives = [await born(shop, clock, meter) for _ in range(CUSTOMERS)]
    now, moves = STARTED, 0
    for _ in range(STEPS):
        for life in lives:
            await live(shop, lives, life, draw, now)
        if draw.random() < 0.4:
            now, moves = now + timedelta(days=draw.randint(1, 25)), moves + 1
            await shop.advance(clock, moves, now)
            for life in lives:
                await renewed(shop, lives, life, now, draw)
        if draw.random() < 0.6:
            await looked(shop, lives)
    await looked(shop, lives)
    for life in lives:
        told = await shop.told(f"&usage_alert={alert}&customer={life.customer}")
        kept = {each["since"]: sorted(int(of["threshold"]) for of in each["reached"]) for each in told}
        assert kept == {utc(start): _kept(reached) for start, reached in life.told.items() if reached}
        events = [each["data"] for each in await shop.events("usage_alert.triggered")]
        all_told = [(each["since"], int(each["threshold"])) for each in events if each["customer_id"] == life.customer]
        assert sorted(all_told) == sorted((utc(start), each) for start, of in life.told.items() for each in of)
        limits = [each["data"] for each in await shop.events("entitlement.limit_reached")]
        own = [each["since"] for each in limits if each["customer_id"] == life.customer]
        assert sorted(filter(life.is_limited, own)) == sorted(filter(life.is_limited, map(utc, life.limits)))


def _kept(told: list[int]) -> list[int]:
    """What a triggered alert shows: of what recurs the last alone."""
    recurring = [each for each in told if each not in THRESHOLDS]
    return sorted([each for each in told if each in THRESHOLDS] + recurring[-1:])


async def born(shop: Watched, clock: str, meter: str) -> Life:
    customer = str((await shop.client.made("/v1/customers", {"currency": "EUR", "test_clock": clock}))["id"])
    features = [{"key": "burst", "limit": LIMIT, "meter": meter, "limit_kind": "soft"}]
    subscription = await shop.subscribed(customer, meter, features)
    shown = await shop.found(f"/v1/subscriptions/{subscription}")
    return Life(customer, subscription, [STARTED], datetime.fromisoformat(shown["current_period_end"]))


async def live(shop: Watched, lives: list[Life], life: Life, draw: random.Random, now: datetime) -> None:
    """One thing that a customer does, or two."""
    what = draw.random()
    if what < 0.6:
        oldest = max(STARTED, now - timedelta(days=30))
        events = []
        for _ in range(draw.randint(1, 3)):
            at = oldest + (now - oldest) * draw.random()
            events.append((at, draw.randint(1, 12)))
        await used(shop, life, events)
    elif what < 0.75:
        living = [name for name, each in life.events.items() if not each.is_voided]
        if living:
            name = draw.choice(living)
            await asked(shop, "/v1/usage/events/void", 202, customer=life.customer, id=name)
            life.events[name].is_voided = True
            await used(shop, life, [(now, 1)])  # behind which the void is counted
    elif what < 0.85 and not life.is_over:
        reset = await asked(shop, f"/v1/customers/{life.customer}/entitlements/burst/reset", 200)
        since = datetime.fromisoformat(reset["reset_at"])
        life.reset_at[life.starts[-1]] = shop.sent + 1, since
    elif what < 0.9 and not life.is_over:
        await looked(shop, lives)
        await asked(shop, f"/v1/subscriptions/{life.subscription}/cancel", 200, at_period_end=False)
        life.is_over = True
    await shop.hear()


async def used(shop: Watched, life: Life, events: list[tuple[datetime, int]]) -> None:
    for nth, (at, value) in enumerate(events, start=shop.sent + 1):
        life.events[f"e{nth}"] = Event(at, value, nth)
    await shop.used(life.customer, "traffic", *events)


async def renewed(shop: Watched, lives: list[Life], life: Life, now: datetime, draw: random.Random) -> None:
    """Its period may be over: its renewal comes, or somebody looks before it does."""
    if life.is_over or now < life.ends_at:
        return
    if draw.random() < 0.5:
        await looked(shop, lives)
    while now >= life.ends_at:
        await asked(shop, f"/v1/subscriptions/{life.subscription}/renew", 200)
        shown = await shop.found(f"/v1/subscriptions/{life.subscription}")
        life.starts.append(life.ends_at)
        life.ends_at = datetime.fromisoformat(shown["current_period_end"])
    await shop.hear()


async def looked(shop: Watched, lives: list[Life]) -> None:
    await shop.hear()
    await shop.look()
    for life in lives:
        life.look()


async def asked(shop: Watched, path: str, status: int, **body: object) -> dict[str, Any]:
    answer = await shop.client.post(path, body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told
