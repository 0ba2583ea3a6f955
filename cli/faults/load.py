"""The load: actors who do what a billing's clients do, at random, on what they and others have made before."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cli.faults.client import FaultClient, Told
from cli.faults.credits import Credits
from cli.faults.discounting import Discounting
from cli.faults.drafting import Drafting
from cli.faults.migrating import Migrating
from cli.faults.races import Races, a_part, other_items
from cli.faults.usage import Usage
from cli.faults.world import CURRENCIES, Person, World

ACTORS: Final = 3
"""Of each tenant; each has one command under way, or a race of them."""

THINK_S: Final = 0.15
"""Longest pause of an actor between two actions (s)."""

NO_PAYMENT: Final = "payment_not_found"
NO_INVOICE: Final = "invoice_not_found"
GONE: Final = frozenset({"test_clock_deleted", "customer_deleted"})
REPEAT_RATE: Final = 0.08
CLOCK_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
MONTH: Final = timedelta(days=31)
KEPT_MAX: Final = 200
"""Things of a kind that the actors remember; older ones are left alone."""

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
        self._races = Races(client, self._world, self._discounting.race)
        self._credits = Credits(client, self._world)
        self._drafting = Drafting(client, self._world)
        self._migrating = Migrating(client, self._world)
        self.usage = Usage(client)
        self._actions: dict[str, tuple[int, Action]] = {
            "join": (14, self._join),
            "subscribe": (10, self._subscribe),
            "pay": (24, self._pay),
            "intend": (5, self._intend),
            "refund": (14, self._refund),
            "bill": (6, self._bill),
            "bring in": (3, self._bring_in),
            "settle": (8, self._settle),
            "pay in part": (8, self._pay_in_part),
            "draft": (8, self._drafting.run),
            "apply": (3, self._apply_balance),
            "void": (4, self._void),
            "write off": (3, self._write_off),
            "credit": (8, self._credits.credit),
            "credit twice": (2, self._credits.credit_twice),
            "reopen": (6, self._credits.reopen),
            "cancel": (4, self._cancel),
            "transfer": (5, self._transfer),
            "hold up": (5, self._hold_up),
            "other items": (5, self._other_items),
            "migrate": (2, self._migrating.run),
            "discount": (6, self._discounting.run),
            "change": (6, self._change),
            "advance": (3, self._advance),
            "stop": (2, self._stop_clock),
            "throw away": (1, self._throw_clock_away),
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
            await self._made("/v1/tax-rates", rate)
            await self._made(
                "/v1/tax-registrations", {"country": country, "number": "0815", "valid_from": "2020-01-01"}
            )
        product = await self._made("/v1/products", {"name": "Faults"})
        plan = await self._made(
            "/v1/plans", {"product": product["id"], "name": "Monthly", "interval": {"unit": "month"}}
        )
        self._world.plan = plan["id"]
        for price in PRICES:
            self._world.prices.append((await self._made("/v1/prices", {"plan": plan["id"], **price}))["id"])
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
        clock = await self._clock(chance) if chance.random() < 1 / 3 else None
        if clock is not None:
            body["test_clock"] = clock
        customer = await self._post("/v1/customers", body)
        if _is_gone(customer):
            return
        person = Person(customer.body["id"], currency, clock=clock)
        token = chance.choices(list(TOKENS), list(TOKENS.values()))[0]
        method = {"customer": person.customer_id, "type": "card", "token": token, "set_default": True}
        attached = await self._post("/v1/payment-methods", method)
        if _is_gone(attached):
            return
        person.payment_method = attached.body["id"]
        _keep(self._world.people, person)

    async def _clock(self, chance: random.Random) -> str:
        clocks = self._world.clocks
        if not clocks or chance.random() < 1 / 6:
            made = await self._made("/v1/test-clocks", {"name": "faults", "frozen_time": CLOCK_START.isoformat()})
            clocks[made["id"]] = CLOCK_START
        return chance.choice(list(clocks))

    async def _subscribe(self, chance: random.Random) -> None:
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
        told = await self._post("/v1/subscriptions", order)
        if told.accepted:
            _keep(self._world.subscriptions, told.body["id"])
            if told.body["latest_invoice"] is not None:
                _keep(self._world.invoices, told.body["latest_invoice"])

    async def _pay(self, chance: random.Random) -> None:
        await self._payment(chance, confirm=True)

    async def _intend(self, chance: random.Random) -> None:
        told = await self._payment(chance, confirm=False)
        if told.accepted:
            await self._post(f"/v1/payments/{told.body['id']}/{chance.choice(('confirm', 'confirm', 'cancel'))}", {})

    async def _payment(self, chance: random.Random, *, confirm: bool) -> Told:
        person = chance.choice(self._world.people)
        amount = {"amount": chance.randint(100, 99_999), "currency": person.currency}
        told = await self._post(
            "/v1/payments",
            {
                "customer": person.customer_id,
                "amount": amount,
                "payment_method": person.payment_method,
                "confirm": confirm,
            },
        )
        if told.accepted:
            _keep(self._world.payments, told.body["id"])
        return told

    async def _refund(self, chance: random.Random) -> None:
        if not self._world.payments:
            return
        body: dict[str, object] = {"payment": chance.choice(self._world.payments)}
        if chance.random() < 1 / 2:
            body["amount"] = {"amount": chance.randint(1, 20_000), "currency": chance.choice(CURRENCIES)}
        await self._post("/v1/refunds", body)

    async def _bill(self, chance: random.Random) -> None:
        person = chance.choice(self._world.people)
        line = {"description": "Set-up", "amount": {"amount": chance.randint(1, 5_000), "currency": person.currency}}
        drafted = await self._post(
            "/v1/invoices",
            {
                "customer": person.customer_id,
                "currency": person.currency,
                "collection_method": chance.choice(("charge_automatically", "send_invoice")),
                "lines": [line],
            },
        )
        if drafted.accepted:
            _keep(self._world.invoices, drafted.body["id"])
            await self._post(f"/v1/invoices/{drafted.body['id']}/finalize", {})

    async def _bring_in(self, chance: random.Random) -> None:
        """An invoice of another system; then it is paid, written off and taken back like any other."""
        person = chance.choice(self._world.people)
        billed = chance.randrange(100, 100_000)
        imported = await self._post(
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
            _keep(self._world.invoices, imported.body["id"])
            paid = {"amount": {"amount": chance.randrange(1, billed), "currency": person.currency}}
            path = f"/v1/invoices/{imported.body['id']}/import-payment"
            await self._post(path, paid | {"paid_at": "2020-01-10T00:00:00Z"})

    async def _settle(self, chance: random.Random) -> None:
        if self._world.invoices:
            body = {"paid_out_of_band": True} if chance.random() < 1 / 3 else {}
            await self._post(f"/v1/invoices/{chance.choice(self._world.invoices)}/pay", body)

    async def _pay_in_part(self, chance: random.Random) -> None:
        """A part, or more than is due, of what may be being charged or written off; it is never void after that."""
        chosen = self._some_invoice(chance)
        if chosen is None:
            return
        path = f"/v1/invoices/{chosen}"
        told = await self._post(f"{path}/pay", a_part(chance))
        if told.accepted and chance.random() < 1 / 4:
            told = await self._post(f"{path}/void", {})
            self._client.must(told, "an invoice was voided on which something was paid", holds=not told.accepted)

    async def _apply_balance(self, chance: random.Random) -> None:
        """There may be none, and the invoice may be being charged: what that takes too much is balance again."""
        chosen = self._some_invoice(chance)
        if chosen is not None:
            await self._post(f"/v1/invoices/{chosen}/apply-balance", {})

    async def _void(self, chance: random.Random) -> None:
        """Its charge may be on its way, and what it takes must go back."""
        chosen = self._some_invoice(chance)
        if chosen is not None:
            await self._post(f"/v1/invoices/{chosen}/void", {})

    async def _write_off(self, chance: random.Random) -> None:
        """Its charge may be on its way, and what it takes is recovered, as is what others pay of it later."""
        chosen = self._some_invoice(chance)
        if chosen is not None:
            await self._post(f"/v1/invoices/{chosen}/mark-uncollectible", {})

    def _some_invoice(self, chance: random.Random) -> str | None:
        """Mostly a new one."""
        invoices = self._world.invoices
        if not invoices:
            return None
        return invoices[-1] if chance.random() < 2 / 3 else chance.choice(invoices)

    async def _cancel(self, chance: random.Random) -> None:
        if self._world.subscriptions:
            chosen = chance.choice(self._world.subscriptions)
            body = {"at_period_end": chance.random() < 1 / 2, "credit_unused": chance.random() < 1 / 2}
            await self._post(f"/v1/subscriptions/{chosen}/cancel", body)

    async def _transfer(self, chance: random.Random) -> None:
        """To somebody else, who may live on another clock or pay in another currency: then it is refused."""
        if self._world.subscriptions:
            chosen = chance.choice(self._world.subscriptions)
            later = chance.random() < 1 / 3
            body = {
                "customer": chance.choice(self._world.people).customer_id,
                "at_period_end": later,
                "credit_unused": not later and chance.random() < 1 / 2,
            }
            told = await self._post(f"/v1/subscriptions/{chosen}/transfer", body)
            if told.accepted and told.body["transferred_to"] is not None:
                _keep(self._world.subscriptions, told.body["transferred_to"])

    async def _hold_up(self, chance: random.Random) -> None:
        """Whatever becomes of a subscription that runs, and what takes it back; most of it comes at the wrong time."""
        if self._world.subscriptions:
            chosen = chance.choice(self._world.subscriptions)
            what, body = chance.choice(CHANGES_OF_MIND)
            await self._post(f"/v1/subscriptions/{chosen}/{what}", body)

    async def _other_items(self, chance: random.Random) -> None:
        """A subscription consists of other things, at once or later; or what is to be later is taken back."""
        if self._world.subscriptions:
            subscription = f"/v1/subscriptions/{chance.choice(self._world.subscriptions)}"
            if chance.random() < 1 / 6:
                await self._post(f"{subscription}/unschedule-change", {})
            else:
                await self._post(f"{subscription}/change", other_items(self._world, chance))

    async def _change(self, chance: random.Random) -> None:
        person = chance.choice(self._world.people)
        told = await self._client.command(
            "PATCH", f"/v1/customers/{person.customer_id}", {"name": f"M{chance.random()}"}
        )
        assert told.accepted or _is_gone(told), told

    async def _advance(self, chance: random.Random) -> None:
        clocks = self._world.clocks
        if not clocks:
            return
        clock = chance.choice(list(clocks))
        goal = clocks[clock] + MONTH
        told = await self._post(f"/v1/test-clocks/{clock}/advance", {"frozen_time": goal.isoformat()})
        if told.accepted and clock in clocks:
            clocks[clock] = max(goal, clocks[clock])

    async def _stop_clock(self, chance: random.Random) -> None:
        """Cancel an advance, which may have ended, or never begun."""
        if self._world.clocks:
            await self._post(f"/v1/test-clocks/{chance.choice(list(self._world.clocks))}/cancel-advance", {})

    async def _throw_clock_away(self, chance: random.Random) -> None:
        """Delete a clock with everything on it, whatever is under way there; others may be acting on it just now."""
        world = self._world
        clock = chance.choice(list(world.clocks)) if world.clocks else None
        left = [person for person in world.people if person.clock != clock]
        if clock is not None and left:
            del world.clocks[clock]
            world.people[:] = left
            await self._client.command("DELETE", f"/v1/test-clocks/{clock}", {})

    async def _err(self, chance: random.Random) -> None:
        """Refused for good, and remembered as refused."""
        person = chance.choice(self._world.people)
        unknown = f"pay_{'0' * 26}"
        await self._post("/v1/refunds", {"payment": unknown})
        await self._post(
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
            told = await self._post("/v1/refunds", {"payment": chance.choice(world.payments)})
            self._client.must(told, "another tenant's payment was found", holds=told.body.get("code") == NO_PAYMENT)
            told = await self._post(f"/v1/invoices/{chance.choice(world.invoices)}/void", {})
            self._client.must(told, "another tenant's invoice was found", holds=told.body.get("code") == NO_INVOICE)

    async def _post(self, path: str, body: Mapping[str, object]) -> Told:
        return await self._client.command("POST", path, body)

    async def _made(self, path: str, body: Mapping[str, object]) -> Mapping[str, Any]:
        told = await self._post(path, body)
        if not told.accepted:
            raise RuntimeError(f"POST {path} was refused, and should not have been: {told.body}")
        return told.body


def _is_gone(told: Told) -> bool:
    """Whether it was refused because its test clock was thrown away meanwhile."""
    return told.body.get("code") in GONE


def _keep(things: list[Any], thing: object) -> None:
    things.append(thing)
    if len(things) > KEPT_MAX:
        del things[0]
