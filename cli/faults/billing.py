"""The load's invoices: billed by hand, brought in, paid, settled, taken back and written off."""

import random

from cli.faults.client import FaultClient
from cli.faults.races import a_part
from cli.faults.world import World, keep


class Billing:
    """What the load does with invoices."""

    def __init__(self, client: FaultClient, world: World) -> None:
        self._client = client
        self._world = world

    async def bill(self, chance: random.Random) -> None:
        """One of a single line, finalized."""
        person = chance.choice(self._world.people)
        line = {"description": "Set-up", "amount": {"amount": chance.randint(1, 5_000), "currency": person.currency}}
        drafted = await self._client.post(
            "/v1/invoices",
            {
                "customer": person.customer_id,
                "currency": person.currency,
                "collection_method": chance.choice(("charge_automatically", "send_invoice")),
                "lines": [line],
            },
        )
        if drafted.accepted:
            keep(self._world.invoices, drafted.body["id"])
            await self._client.post(f"/v1/invoices/{drafted.body['id']}/finalize", {})

    async def bring_in(self, chance: random.Random) -> None:
        """An invoice of another system; then it is paid, written off and taken back like any other."""
        person = chance.choice(self._world.people)
        billed = chance.randrange(100, 100_000)
        imported = await self._client.post(
            "/v1/invoices/import",
            {
                "customer": person.customer_id,
                "number": f"OLD-{chance.getrandbits(60)}",
                "currency": person.currency,
                "lines": [{"description": "Before", "amount": {"amount": billed, "currency": person.currency}}],
                "issued_at": "2020-01-01T00:00:00Z",
                "due_at": "2020-01-15T00:00:00Z",
            },
        )
        if imported.accepted:
            keep(self._world.invoices, imported.body["id"])
            paid = {"amount": {"amount": chance.randrange(1, billed), "currency": person.currency}}
            path = f"/v1/invoices/{imported.body['id']}/import-payment"
            await self._client.post(path, paid | {"paid_at": "2020-01-10T00:00:00Z"})

    async def settle(self, chance: random.Random) -> None:
        """By card, or by hand."""
        if self._world.invoices:
            body = {"paid_out_of_band": True} if chance.random() < 1 / 3 else {}
            await self._client.post(f"/v1/invoices/{chance.choice(self._world.invoices)}/pay", body)

    async def pay_in_part(self, chance: random.Random) -> None:
        """A part, or more than is due, of what may be being charged or written off; it is never void after that."""
        chosen = self._some_invoice(chance)
        if chosen is None:
            return
        path = f"/v1/invoices/{chosen}"
        told = await self._client.post(f"{path}/pay", a_part(chance))
        if told.accepted and chance.random() < 1 / 4:
            told = await self._client.post(f"{path}/void", {})
            self._client.must(told, "an invoice was voided on which something was paid", holds=not told.accepted)

    async def apply_balance(self, chance: random.Random) -> None:
        """There may be none, and the invoice may be being charged: what that takes too much is balance again."""
        chosen = self._some_invoice(chance)
        if chosen is not None:
            await self._client.post(f"/v1/invoices/{chosen}/apply-balance", {})

    async def void(self, chance: random.Random) -> None:
        """Its charge may be on its way, and what it takes must go back."""
        chosen = self._some_invoice(chance)
        if chosen is not None:
            await self._client.post(f"/v1/invoices/{chosen}/void", {})

    async def write_off(self, chance: random.Random) -> None:
        """Its charge may be on its way, and what it takes is recovered, as is what others pay of it later."""
        chosen = self._some_invoice(chance)
        if chosen is not None:
            await self._client.post(f"/v1/invoices/{chosen}/mark-uncollectible", {})

    def _some_invoice(self, chance: random.Random) -> str | None:
        """Mostly a new one."""
        invoices = self._world.invoices
        if not invoices:
            return None
        return invoices[-1] if chance.random() < 2 / 3 else chance.choice(invoices)
