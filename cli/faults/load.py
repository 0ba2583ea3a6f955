"""The load: actors who do what a billing's clients do, at random, on what they and others have made before."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from cli.faults.billing import Billing
from cli.faults.client import FaultClient, Told
from cli.faults.clocks import Clocks
from cli.faults.credits import Credits
from cli.faults.discounting import Discounting
from cli.faults.drafting import Drafting
from cli.faults.migrating import Migrating
from cli.faults.races import Races
from cli.faults.subscribing import Subscribing
from cli.faults.usage import Usage
from cli.faults.world import CURRENCIES, Person, World, keep

ACTORS: Final = 3
"""Of each tenant; each has one command under way, or a race of them."""

THINK_S: Final = 0.15
"""Longest pause of an actor between two actions (s)."""

NO_PAYMENT: Final = "payment_not_found"
NO_INVOICE: Final = "invoice_not_found"
GONE: Final = frozenset({"test_clock_deleted", "customer_deleted"})
REPEAT_RATE: Final = 0.08
TOKENS: Final = {
    "tok_visa": 60,
    "tok_mastercard": 10,
    "tok_decline_insufficient_funds": 8,
    "tok_decline_insufficient_funds_then_succeed": 8,
    "tok_timeout_after_charge": 4,
    "tok_error_after_charge": 3,
    "tok_processing": 3,
    "tok_refund_fails_then_succeed": 2,
    "tok_refund_processing": 2,
}
"""How often each payment method is of a card with such a fate.

None that fails before its charge: with a switch that stores a 500 for the key, that would be an error before the
charge, which no look-up ever resolves and only a person can. Silence before a charge is among the switches.
"""

TAXED: Final = {"DE": "19", "FR": "5.5"}
"""Where tax is owed, and how much of it; elsewhere none is."""

Action = Callable[[random.Random], Awaitable[None]]


class Load:
    """The actors of one tenant. Call `prepare` once, then `run` for each round.

    `others` are what other tenants have: nothing of it may ever be reached.
    """

    def __init__(self, client: FaultClient, seed: int) -> None:
        self._client = client
        self._who = f"{seed}:{client.tenant_id}"
        self.world = self._world = World()
        self.others: list[World] = []
        self._discounting = Discounting(client, self._world)
        self._clocks = Clocks(client, self._world)
        self._subscribing = Subscribing(client, self._world, self._discounting)
        self._billing = Billing(client, self._world)
        self._races = Races(client, self._world, self._discounting.race)
        self._credits = Credits(client, self._world)
        self._drafting = Drafting(client, self._world)
        self._migrating = Migrating(client, self._world)
        self.usage = Usage(client)
        self._actions: dict[str, tuple[int, Action]] = {
            "join": (14, self._join),
            "subscribe": (10, self._subscribing.subscribe),
            "pay": (24, self._pay),
            "intend": (5, self._intend),
            "refund": (14, self._refund),
            "bill": (6, self._billing.bill),
            "bring in": (3, self._billing.bring_in),
            "settle": (8, self._billing.settle),
            "pay in part": (8, self._billing.pay_in_part),
            "draft": (8, self._drafting.run),
            "apply": (3, self._billing.apply_balance),
            "void": (4, self._billing.void),
            "write off": (3, self._billing.write_off),
            "credit": (8, self._credits.credit),
            "credit twice": (2, self._credits.credit_twice),
            "reopen": (6, self._credits.reopen),
            "cancel": (4, self._subscribing.cancel),
            "transfer": (5, self._subscribing.transfer),
            "hold up": (5, self._subscribing.hold_up),
            "other items": (5, self._subscribing.other_items),
            "migrate": (2, self._migrating.run),
            "discount": (6, self._discounting.run),
            "change": (6, self._change),
            "advance": (3, self._clocks.advance),
            "stop": (2, self._clocks.stop),
            "throw away": (1, self._clocks.throw_away),
            "err": (4, self._err),
            "race": (10, self._races.run),
            "leave": (6, self._leave),
            "trespass": (2, self._trespass),
        }

    async def prepare(self) -> None:
        """A product, a plan with its prices, and coupons."""
        settings = f"/v1/tenants/{self._client.tenant_id}/tax-settings"
        assert (await self._client.command("PATCH", settings, {"seller_country": "DE"})).accepted
        for country, percent in TAXED.items():
            rate = {"country": country, "percent": percent, "valid_from": "2020-01-01"}
            await self._client.made("/v1/tax-rates", rate)
            await self._client.made(
                "/v1/tax-registrations", {"country": country, "number": "0815", "valid_from": "2020-01-01"}
            )
        await self._subscribing.prepare()
        await self._discounting.prepare()
        await self.usage.prepare()
        chance = random.Random(f"{self._who}:first")  # noqa: S311  a schedule, not a secret
        for _ in range(ACTORS):
            await self._join(chance)

    async def run(self, number: int, enough: asyncio.Event) -> None:
        """All actors, until `enough`; each ends with its command acknowledged."""
        async with asyncio.TaskGroup() as actors:
            for actor in range(ACTORS):
                chance = random.Random(f"{self._who}:{number}:{actor}")  # noqa: S311
                actors.create_task(self._act(chance, enough))
            for user in range(len(self.usage.users)):
                chance = random.Random(f"{self._who}:{number}:user {user}")  # noqa: S311
                actors.create_task(self.usage.run(user, chance, enough))

    async def _act(self, chance: random.Random, enough: asyncio.Event) -> None:
        weights = [weight for weight, _ in self._actions.values()]
        actions = [action for _, action in self._actions.values()]
        while not enough.is_set():
            if chance.random() < REPEAT_RATE:
                await self._client.repeat_one(chance)
            else:
                await chance.choices(actions, weights)[0](chance)
            await asyncio.sleep(chance.uniform(0, THINK_S))

    # ── actions ──

    async def _join(self, chance: random.Random) -> None:
        currency = chance.choice(CURRENCIES)
        body: dict[str, object] = {"name": f"N{chance.random()}", "email": "n@example.com", "currency": currency}
        body["address"] = {"country": chance.choice((*TAXED, "CH"))}
        body["tax_exempt"] = chance.random() < 1 / 8
        clock = await self._clocks.chosen(chance) if chance.random() < 1 / 3 else None
        if clock is not None:
            body["test_clock"] = clock
        customer = await self._client.post("/v1/customers", body)
        if _is_gone(customer):
            return
        person = Person(customer.body["id"], currency, clock=clock)
        token = chance.choices(list(TOKENS), list(TOKENS.values()))[0]
        method = {"customer": person.customer_id, "type": "card", "token": token, "set_default": True}
        attached = await self._client.post("/v1/payment-methods", method)
        if _is_gone(attached):
            return
        person.payment_method = attached.body["id"]
        keep(self._world.people, person)

    async def _pay(self, chance: random.Random) -> None:
        await self._payment(chance, confirm=True)

    async def _intend(self, chance: random.Random) -> None:
        told = await self._payment(chance, confirm=False)
        if told.accepted:
            await self._client.post(
                f"/v1/payments/{told.body['id']}/{chance.choice(('confirm', 'confirm', 'cancel'))}", {}
            )

    async def _payment(self, chance: random.Random, *, confirm: bool) -> Told:
        person = chance.choice(self._world.people)
        amount = {"amount": chance.randint(100, 99_999), "currency": person.currency}
        told = await self._client.post(
            "/v1/payments",
            {
                "customer": person.customer_id,
                "amount": amount,
                "payment_method": person.payment_method,
                "confirm": confirm,
            },
        )
        if told.accepted:
            keep(self._world.payments, told.body["id"])
        return told

    async def _refund(self, chance: random.Random) -> None:
        if not self._world.payments:
            return
        body: dict[str, object] = {"payment": chance.choice(self._world.payments)}
        if chance.random() < 1 / 2:
            body["amount"] = {"amount": chance.randint(1, 20_000), "currency": chance.choice(CURRENCIES)}
        await self._client.post("/v1/refunds", body)

    async def _change(self, chance: random.Random) -> None:
        person = chance.choice(self._world.people)
        told = await self._client.command(
            "PATCH", f"/v1/customers/{person.customer_id}", {"name": f"M{chance.random()}"}
        )
        assert told.accepted or _is_gone(told), told

    async def _err(self, chance: random.Random) -> None:
        """Refused for good, and remembered as refused."""
        person = chance.choice(self._world.people)
        unknown = f"pay_{'0' * 26}"
        await self._client.post("/v1/refunds", {"payment": unknown})
        await self._client.post(
            "/v1/payments",
            {
                "customer": person.customer_id,
                "amount": {"amount": 100, "currency": person.currency},
                "payment_method": f"pm_{'0' * 26}",
                "confirm": True,
            },
        )

    async def _leave(self, chance: random.Random) -> None:
        """Pay or refund, and go away in the middle of asking."""
        if self._world.invoices and chance.random() < 1 / 2:
            path = f"/v1/invoices/{self._world.invoices[-1]}/pay"
            await self._client.leave("POST", path, {"paid_out_of_band": True}, chance)
        elif self._world.payments:
            await self._client.leave("POST", "/v1/refunds", {"payment": self._world.payments[-1]}, chance)

    async def _trespass(self, chance: random.Random) -> None:
        """Ask for what is another tenant's: to us it does not exist."""
        world = chance.choice(self.others)
        if world.payments and world.invoices:
            told = await self._client.post("/v1/refunds", {"payment": chance.choice(world.payments)})
            self._client.must(told, "another tenant's payment was found", holds=told.body.get("code") == NO_PAYMENT)
            told = await self._client.post(f"/v1/invoices/{chance.choice(world.invoices)}/void", {})
            self._client.must(told, "another tenant's invoice was found", holds=told.body.get("code") == NO_INVOICE)


def _is_gone(told: Told) -> bool:
    """Whether it was refused because its test clock was thrown away meanwhile."""
    return told.body.get("code") in GONE
