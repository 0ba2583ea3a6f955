"""The load's coupons: made once, redeemed for customers and subscriptions, and their discounts removed again."""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

from cli.faults.client import FaultClient
from cli.faults.world import CURRENCIES, World

COUPONS: Final[tuple[Mapping[str, object], ...]] = (
    {"name": "Ten", "percent_off": 10},
    {"name": "A third", "percent_off": "33.33", "duration": "repeating", "periods": 3},
    {"name": "Always", "percent_off": 5, "duration": "forever"},
    *(
        {"name": "Fixed", "amount_off": {"amount": 777, "currency": currency}, "duration": "repeating", "periods": 2}
        for currency in CURRENCIES
    ),
)
LAST_ONES: Final = 2
AT_ONCE: Final = 5


class Discounting:
    """What the load does with coupons."""

    def __init__(self, client: FaultClient, world: World) -> None:
        self._client = client
        self._world = world

    async def prepare(self) -> None:
        """Coupons of every sort."""
        for coupon in COUPONS:
            made = await self._client.command("POST", "/v1/coupons", coupon)
            assert made.accepted, made
            self._world.coupons.append(made.body["id"])

    def chosen(self, chance: random.Random) -> list[str]:
        """Coupons that a subscription begins with; of another currency than its customer's one is refused."""
        return chance.sample(self._world.coupons[:3], chance.randint(1, 2))

    async def run(self, chance: random.Random) -> None:
        """A coupon is redeemed for somebody or something, or what came of one is removed, which it may be already."""
        world, kind = self._world, chance.random()
        if kind < 1 / 4 and world.discounts:
            await self._client.command("DELETE", f"/v1/discounts/{chance.choice(world.discounts)}", {})
            return
        body: dict[str, object] = {"coupon": chance.choice(world.coupons)}
        if kind < 1 / 2 and world.subscriptions:
            body["subscription"] = chance.choice(world.subscriptions)
        else:
            body["customer"] = chance.choice(world.people).customer_id
        told = await self._client.command("POST", "/v1/discounts", body)
        if told.accepted:
            world.discounts.append(told.body["id"])

    async def race(self, chance: random.Random) -> None:
        """More at once than may, at different processes: a coupon is redeemed as often as it may be, not once more."""
        limited = {"name": "The last ones", "percent_off": 1, "max_redemptions": LAST_ONES}
        made = await self._client.command("POST", "/v1/coupons", limited)
        assert made.accepted, made
        people = chance.sample(self._world.people, min(AT_ONCE, len(self._world.people)))
        self._client.counts["races"] += 1
        told = await asyncio.gather(
            *(
                self._client.command(
                    "POST", "/v1/discounts", {"coupon": made.body["id"], "customer": person.customer_id}
                )
                for person in people
            )
        )
        redeemed = [each for each in told if each.accepted]
        if len(redeemed) > LAST_ONES:
            self._client.must(redeemed[-1], f"a coupon was redeemed {len(redeemed)} times of {LAST_ONES}", holds=False)
