"""Credit notes in the load: of invoices in every state, given back both ways, taken back, and two at once; and refunds
without one, after which an invoice is due again.
"""

import asyncio
import random
from typing import Final

from cli.faults.client import FaultClient
from cli.faults.world import CURRENCIES, World
from domain.payments.payment import collected_by

PATH: Final = "/v1/credit-notes"
REFUNDS: Final = "/v1/refunds"
A_CREDIT_MAX: Final = 2_500
NEW: Final = 10
"""Of the invoices the latest, which are open or just paid."""


class Credits:
    """Credits what the load has billed."""

    def __init__(self, client: FaultClient, world: World) -> None:
        self._client = client
        self._world = world

    async def credit(self, chance: random.Random) -> None:
        """A part, or all that is left; its invoice may be being charged, and its refund may come to nothing. Some are
        taken back at once, if nothing rests on them."""
        invoice = self._invoice(chance)
        if invoice is None:
            return
        part = {"amount": {"amount": chance.randint(1, A_CREDIT_MAX), "currency": chance.choice(CURRENCIES)}}
        told = await self._client.command(
            "POST", PATH, _credit(invoice, chance) | (part if chance.random() < 0.8 else {})
        )
        if told.accepted and chance.random() < 1 / 3:
            await self._client.command("POST", f"{PATH}/{told.body['id']}/void", {})

    async def credit_twice(self, chance: random.Random) -> None:
        """All that is left, by two at once: one of them finds nothing."""
        invoice = self._invoice(chance)
        if invoice is None:
            return
        self._client.counts["races"] += 1
        body = _credit(invoice, chance)
        told = await asyncio.gather(*(self._client.command("POST", PATH, body) for _ in range(2)))
        winners = [each for each in told if each.accepted]
        if len(winners) > 1:
            self._client.must(winners[-1], "an invoice was credited twice", holds=False)

    async def reopen(self, chance: random.Random) -> None:
        """A refund of what collected an invoice, if anything did: it is due again, and some are paid again at once."""
        invoice = self._invoice(chance)
        if invoice is None:
            return
        part = {"amount": {"amount": chance.randint(1, A_CREDIT_MAX), "currency": chance.choice(CURRENCIES)}}
        body: dict[str, object] = {"payment": collected_by(invoice), "treatment": "reopen"}
        await self._client.command("POST", REFUNDS, body | (part if chance.random() < 1 / 2 else {}))
        if chance.random() < 1 / 2:
            await self._client.command("POST", f"/v1/invoices/{invoice}/pay", {})

    def _invoice(self, chance: random.Random) -> str | None:
        invoices = self._world.invoices
        return chance.choice(invoices[-NEW:]) if invoices else None


def _credit(invoice: str, chance: random.Random) -> dict[str, object]:
    return {"invoice": invoice, "give_back": chance.choice(("customer_balance", "refund"))}
