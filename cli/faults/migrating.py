"""The load's migrations of its plan: to a version just made, by changes at once or later, and canceled or not."""

import random
from typing import Final

from cli.faults.client import FaultClient
from cli.faults.world import World

PRORATIONS: Final = ("period_end", "next_invoice", "invoice_now", "none")


class Migrating:
    """What the load does with its plan's subscriptions, all at once."""

    def __init__(self, client: FaultClient, world: World) -> None:
        self._client = client
        self._world = world
        self._latest: str | None = None

    async def run(self, chance: random.Random) -> None:
        """A version is made, and the plan migrated to it; or what came of the last one is canceled, if it still may."""
        if self._latest is not None and chance.random() < 1 / 3:
            await self._client.command("POST", f"/v1/plan-migrations/{self._latest}/cancel", {})
            return
        plan = f"/v1/plans/{self._world.plan}"
        await self._client.command("PATCH", plan, {"name": f"Monthly, {chance.random()}"})
        told = await self._client.command("POST", f"{plan}/migrations", {"proration": chance.choice(PRORATIONS)})
        if told.accepted:
            self._latest = str(told.body["id"])
