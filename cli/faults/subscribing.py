"""The load's subscriptions: sold, cancelled, transferred, held up, and made of other things."""

import random
from collections.abc import Mapping
from typing import Any, Final

from cli.faults.client import FaultClient
from cli.faults.clocks import CLOCK_START, MONTH
from cli.faults.discounting import Discounting
from cli.faults.races import other_items
from cli.faults.world import World, keep

_TIERS: Final = [
    {"up_to": 10, "unit_amount": "490.5", "flat_amount": 900},
    {"up_to": None, "unit_amount": "250.25", "flat_amount": 100},
]
_PACKAGES: Final = {"type": "package", "package_size": 5, "package_amount": 300, "free_units": 2}
PRICES: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "name": "Seats",
        "model": {"type": "graduated", "currency": "EUR", "tiers": _TIERS},
        "currency_options": [{"model": {"type": "volume", "currency": "JPY", "tiers": _TIERS}}],
    },
    {
        "name": "Storage",
        "timing": "in_arrears",
        "interval": {"unit": "quarter"},
        "model": {**_PACKAGES, "currency": "EUR"},
        "minimum": {"amount": 450, "currency": "EUR"},
        "maximum": {"amount": 1_450, "currency": "EUR"},
        "currency_options": [{"model": {**_PACKAGES, "currency": "JPY"}}],
    },
)
"""One is billed by the month, in advance, one by the quarter, in arrears; by tiers, by packages, and within bounds."""

FAR = "2100-01-01T00:00:00Z"
CHANGES_OF_MIND: tuple[tuple[str, dict[str, object]], ...] = (
    ("pause", {}),
    ("pause", {"credit_unused": True}),
    ("pause", {"resumes_at": (CLOCK_START + MONTH * 2).isoformat()}),
    ("resume", {}),
    ("resume", {}),
    ("suspend", {}),
    ("reactivate", {}),
    ("cancel", {"cancel_at": FAR}),
    ("undo-cancel", {}),
    ("undo-cancel", {}),
    ("extend-trial", {"trial_end": (CLOCK_START + MONTH * 2).isoformat()}),
    ("end-trial", {}),
    ("change-billing-date", {"billing_anchor": (CLOCK_START + MONTH / 2).isoformat()}),
)
"""On whichever clock a subscription lives."""


class Subscribing:
    """What the load does with subscriptions."""

    def __init__(self, client: FaultClient, world: World, discounting: Discounting) -> None:
        self._client = client
        self._world = world
        self._discounting = discounting

    async def prepare(self) -> None:
        """A product, and a plan with its prices."""
        product = await self._client.made("/v1/products", {"name": "Faults"})
        plan = await self._client.made(
            "/v1/plans", {"product": product["id"], "name": "Monthly", "interval": {"unit": "month"}}
        )
        self._world.plan = plan["id"]
        for price in PRICES:
            self._world.prices.append((await self._client.made("/v1/prices", {"plan": plan["id"], **price}))["id"])

    async def subscribe(self, chance: random.Random) -> None:
        """Somebody to all prices, at any time, some with a trial or coupons."""
        person = chance.choice(self._world.people)
        items = [{"price": price, "quantity": chance.randint(1, 30)} for price in self._world.prices]
        order: dict[str, object] = {"customer": person.customer_id, "plan": self._world.plan, "items": items}
        order["billed_together"] = chance.random() < 1 / 3
        order["period_alignment"] = chance.choice(("start", "calendar"))
        order["stub_period"] = chance.choice(("prorated", "free"))
        kind = chance.random()
        if kind < 1 / 10:
            order["starts_at"] = (CLOCK_START - MONTH * chance.randint(1, 3)).isoformat()
        elif kind < 1 / 5:
            order["trial_days"] = chance.randint(1, 40)
        if chance.random() < 1 / 3:
            order["coupons"] = self._discounting.chosen(chance)
        told = await self._client.post("/v1/subscriptions", order)
        if told.accepted:
            keep(self._world.subscriptions, told.body["id"])
            if told.body["latest_invoice"] is not None:
                keep(self._world.invoices, told.body["latest_invoice"])

    async def cancel(self, chance: random.Random) -> None:
        """Now, or with the period."""
        if self._world.subscriptions:
            chosen = chance.choice(self._world.subscriptions)
            body = {"at_period_end": chance.random() < 1 / 2, "credit_unused": chance.random() < 1 / 2}
            await self._client.post(f"/v1/subscriptions/{chosen}/cancel", body)

    async def transfer(self, chance: random.Random) -> None:
        """To somebody else, who may live on another clock or pay in another currency: then it is refused."""
        if self._world.subscriptions:
            chosen = chance.choice(self._world.subscriptions)
            later = chance.random() < 1 / 3
            body = {
                "customer": chance.choice(self._world.people).customer_id,
                "at_period_end": later,
                "credit_unused": not later and chance.random() < 1 / 2,
            }
            told = await self._client.post(f"/v1/subscriptions/{chosen}/transfer", body)
            if told.accepted and told.body["transferred_to"] is not None:
                keep(self._world.subscriptions, told.body["transferred_to"])

    async def hold_up(self, chance: random.Random) -> None:
        """Whatever becomes of a subscription that runs, and what takes it back; most of it comes at the wrong time."""
        if self._world.subscriptions:
            chosen = chance.choice(self._world.subscriptions)
            what, body = chance.choice(CHANGES_OF_MIND)
            await self._client.post(f"/v1/subscriptions/{chosen}/{what}", body)

    async def other_items(self, chance: random.Random) -> None:
        """A subscription consists of other things, at once or later; or what is to be later is taken back."""
        if self._world.subscriptions:
            subscription = f"/v1/subscriptions/{chance.choice(self._world.subscriptions)}"
            if chance.random() < 1 / 6:
                await self._client.post(f"{subscription}/unschedule-change", {})
            else:
                await self._client.post(f"{subscription}/change", other_items(self._world, chance))
