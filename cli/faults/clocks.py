"""The load's test clocks, on which some of its customers live: they are advanced, stopped, and thrown away."""

import random
from datetime import UTC, datetime, timedelta
from typing import Final

from cli.faults.client import FaultClient
from cli.faults.world import World

CLOCK_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
MONTH: Final = timedelta(days=31)


class Clocks:
    """What the load does with test clocks."""

    def __init__(self, client: FaultClient, world: World) -> None:
        self._client = client
        self._world = world

    async def chosen(self, chance: random.Random) -> str:
        """One of those that there are, or a new one."""
        clocks = self._world.clocks
        if not clocks or chance.random() < 1 / 6:
            made = await self._client.made(
                "/v1/test-clocks", {"name": "faults", "frozen_time": CLOCK_START.isoformat()}
            )
            clocks[made["id"]] = CLOCK_START
        return chance.choice(list(clocks))

    async def advance(self, chance: random.Random) -> None:
        """By a month."""
        clocks = self._world.clocks
        if not clocks:
            return
        clock = chance.choice(list(clocks))
        goal = clocks[clock] + MONTH
        told = await self._client.post(f"/v1/test-clocks/{clock}/advance", {"frozen_time": goal.isoformat()})
        if told.accepted and clock in clocks:
            clocks[clock] = max(goal, clocks[clock])

    async def stop(self, chance: random.Random) -> None:
        """Cancel an advance, which may have ended, or never begun."""
        if self._world.clocks:
            await self._client.post(f"/v1/test-clocks/{chance.choice(list(self._world.clocks))}/cancel-advance", {})

    async def throw_away(self, chance: random.Random) -> None:
        """Delete a clock with everything on it, whatever is under way there; others may be acting on it just now."""
        world = self._world
        clock = chance.choice(list(world.clocks)) if world.clocks else None
        left = [person for person in world.people if person.clock != clock]
        if clock is not None and left:
            del world.clocks[clock]
            world.people[:] = left
            await self._client.command("DELETE", f"/v1/test-clocks/{clock}", {})
