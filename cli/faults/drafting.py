"""The load on drafts: they wait a moment, items come and go meanwhile, and somebody may race the timer."""

import random
from typing import Any, Final

from cli.faults.client import FaultClient
from cli.faults.world import World

GRACE_S: Final = (0, 1, 1, 2)
"""Drafts of renewals wait so long on their customer's clock; sometimes not at all."""


class Drafting:
    """Acts on drafts, and on what waits for next invoices. Most of it comes too late, and is refused."""

    def __init__(self, client: FaultClient, world: World) -> None:
        self._client = client
        self._world = world

    async def run(self, chance: random.Random) -> None:
        """One of them."""
        await chance.choice((self._grace, self._item, self._item, self._wait, self._wait, self._end))(chance)

    async def _grace(self, chance: random.Random) -> None:
        path = f"/v1/tenants/{self._client.tenant_id}/billing-settings"
        settings = {"grace_seconds": chance.choice(GRACE_S), "memo": chance.choice((None, "Thank you"))}
        told = await self._client.command("PATCH", path, settings)
        self._client.must(told, "the settings of drafts were refused", holds=told.accepted)

    async def _item(self, chance: random.Random) -> None:
        """On the newest invoice, if it still is a draft; half of them are taken off again."""
        if not self._world.invoices:
            return
        path = f"/v1/invoices/{self._world.invoices[-1]}"
        told = await self._client.command("POST", f"{path}/items", _some(chance, chance.choice(("EUR", "JPY"))))
        if told.accepted and chance.random() < 1 / 2:
            await self._client.command("DELETE", f"{path}/items/{told.body['lines'][-1]['id']}", {})

    async def _wait(self, chance: random.Random) -> None:
        """For the next invoice of somebody; some is billed at once with an invoice of its own."""
        person = chance.choice(self._world.people)
        path = f"/v1/customers/{person.customer_id}/waiting-items"
        told = await self._client.command("POST", path, _some(chance, person.currency))
        what = chance.random()
        if told.accepted and what < 1 / 4:
            await self._client.command("DELETE", f"{path}/{told.body['items'][-1]['id']}", {})
        elif told.accepted and what < 1 / 2:
            alone = {"customer": person.customer_id, "currency": person.currency, "with_waiting_items": True}
            drafted = await self._client.command("POST", "/v1/invoices", alone)
            if drafted.accepted:
                self._world.invoices[:] = [*self._world.invoices[-100:], drafted.body["id"]]

    async def _end(self, chance: random.Random) -> None:
        """By hand, while its timer may be about to."""
        if self._world.invoices:
            chosen = chance.choice(self._world.invoices[-10:])
            await self._client.command("POST", f"/v1/invoices/{chosen}/{chance.choice(('finalize', 'void'))}", {})


def _some(chance: random.Random, currency: str) -> dict[str, Any]:
    amount = {"amount": chance.randint(-300, 2_000), "currency": currency}
    return {"description": "Extra", "amount": amount}
