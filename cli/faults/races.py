"""Races: commands that contradict one another, for one thing, at the same moment, at different processes."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from cli.faults.client import FaultClient, Told
from cli.faults.world import CURRENCIES, World

Race: TypeAlias = Callable[[random.Random], Awaitable[None]]

REFUNDS_AT_ONCE: Final = 4
A_PART_MAX: Final = 1_500
"""Minor units; most invoices come to more."""
PREFIXES: Final = ("INV-", "OLD-", "A")
"""Of numbers that are brought in, and of our own."""
PEOPLE_MIN: Final = 4
"""So many are left to act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command of a race: what is asked for, and with what."""

    path: str
    body: Mapping[str, object]
    method: str = "POST"


class Races:
    """Runs races on what the load has made."""

    def __init__(self, client: FaultClient, world: World, redeeming: Race) -> None:
        self._client = client
        self._world = world
        self._redeeming = redeeming

    async def run(self, chance: random.Random) -> None:
        """One race of a kind drawn at random, if there is anything to race for."""
        race = chance.choice(
            (
                self._pay_and_pay,
                self._pay_by_hand_twice,
                self._void_and_pay,
                self._parts_and_pay,
                self._part_and_void,
                self._write_off_and_pay,
                self._reverse_twice,
                self._refunds,
                self._give_up_twice,
                self._renew_and_cancel,
                self._change_and_renew,
                self._change_items,
                self._import_twice,
                self._delete_and_bill,
                self._redeeming,
            )
        )
        await race(chance)

    async def _pay_and_pay(self, chance: random.Random) -> None:
        """By card and by hand: the invoice is paid once, and what a card gave for nothing goes back."""
        invoice = self._invoice(chance)
        if invoice is not None:
            await self._race(
                chance, [Entry(path=f"{invoice}/pay", body={}), Entry(path=f"{invoice}/pay", body=_BY_HAND)]
            )

    async def _pay_by_hand_twice(self, chance: random.Random) -> None:
        invoice = self._invoice(chance)
        if invoice is not None:
            entry = Entry(path=f"{invoice}/pay", body=_BY_HAND)
            await self._race(chance, [entry, entry], winners_max=1)

    async def _void_and_pay(self, chance: random.Random) -> None:
        invoice = self._invoice(chance)
        if invoice is not None:
            pay = Entry(path=f"{invoice}/pay", body=_BY_HAND)
            await self._race(chance, [Entry(path=f"{invoice}/void", body={}), pay], winners_max=1)

    async def _parts_and_pay(self, chance: random.Random) -> None:
        """Parts by hand while it is charged: each is recorded once, and what is too much is the customer's balance."""
        invoice = self._invoice(chance)
        if invoice is not None:
            parts = [Entry(path=f"{invoice}/pay", body=a_part(chance)) for _ in range(2)]
            await self._race(chance, [*parts, Entry(path=f"{invoice}/pay", body={})])

    async def _part_and_void(self, chance: random.Random) -> None:
        """It is taken back, or something is paid on it, never both."""
        invoice = self._invoice(chance)
        if invoice is not None:
            part = Entry(path=f"{invoice}/pay", body=a_part(chance))
            await self._race(chance, [Entry(path=f"{invoice}/void", body={}), part], winners_max=1)

    async def _write_off_and_pay(self, chance: random.Random) -> None:
        """Whichever comes first: what is paid of what was written off is recovered."""
        invoice = self._invoice(chance)
        if invoice is not None:
            pays = [Entry(path=f"{invoice}/pay", body=body) for body in ({}, a_part(chance))]
            await self._race(chance, [Entry(path=f"{invoice}/mark-uncollectible", body={}), *pays])

    async def _reverse_twice(self, chance: random.Random) -> None:
        """What was recorded by mistake, on an invoice that nobody else acts on, while others may spend its surplus."""
        person = chance.choice(self._world.people)
        line = {"description": "Paid by mistake", "amount": {"amount": 100, "currency": person.currency}}
        invoice = {"customer": person.customer_id, "currency": person.currency, "lines": [line]}
        drafted = await self._client.command("POST", "/v1/invoices", invoice)
        if drafted.accepted:
            path = f"/v1/invoices/{drafted.body['id']}"
            await self._client.command("POST", f"{path}/finalize", {})
            came = {"paid_out_of_band": True, "amount": {"amount": 5_000, "currency": person.currency}}
            await self._client.command("POST", f"{path}/pay", came)
            entry = Entry(path=f"{path}/reverse-payment", body={})
            await self._race(chance, [entry, entry], winners_max=1)

    async def _refunds(self, chance: random.Random) -> None:
        """Each of the whole payment: together they must not give back more than was taken."""
        if self._world.payments:
            # The last ones: they may just be captured.
            body = {"payment": chance.choice(self._world.payments[-20:])}
            await self._race(chance, [Entry(path="/v1/refunds", body=body)] * REFUNDS_AT_ONCE)

    async def _give_up_twice(self, chance: random.Random) -> None:
        """Mostly one that is being charged: whoever is first, it is charged or it is not, and we say which."""
        if self._world.payments:
            body: dict[str, object] = {}
            payment = chance.choice(self._world.payments[-5:])
            await self._race(chance, [Entry(path=f"/v1/payments/{payment}/cancel", body=body)] * 2)

    async def _renew_and_cancel(self, chance: random.Random) -> None:
        """Or to pause, or to take one of them back. A subscription's own clock may be under way, too."""
        if self._world.subscriptions:
            subscription = f"/v1/subscriptions/{chance.choice(self._world.subscriptions)}"
            deeds: dict[str, dict[str, object]] = {
                "cancel": {"at_period_end": chance.random() < 1 / 2, "credit_unused": chance.random() < 1 / 2},
                "transfer": {"customer": chance.choice(self._world.people).customer_id},
            }
            what = chance.choice(("cancel", "undo-cancel", "pause", "resume", "transfer"))
            body = deeds.get(what, {})
            entries = [Entry(path=f"{subscription}/renew", body={}), Entry(path=f"{subscription}/{what}", body=body)]
            await self._race(chance, entries)

    async def _change_items(self, chance: random.Random) -> None:
        """Two changes of what a subscription consists of, and a renewal: one order, and nothing is billed twice."""
        if self._world.subscriptions:
            subscription = f"/v1/subscriptions/{chance.choice(self._world.subscriptions)}"
            changes = [Entry(path=f"{subscription}/change", body=other_items(self._world, chance)) for _ in range(2)]
            await self._race(chance, [*changes, Entry(path=f"{subscription}/renew", body={})])

    async def _change_and_renew(self, chance: random.Random) -> None:
        """Two changes of different keys and a renewal: none of them takes anything from another."""
        if self._world.subscriptions:
            subscription = f"/v1/subscriptions/{chance.choice(self._world.subscriptions)}"
            keys = [f"race-{chance.randrange(20)}" for _ in range(2)]
            changes = [Entry(path=subscription, body={"metadata": {key: "set"}}, method="PATCH") for key in keys]
            told = await self._race(chance, [*changes, Entry(path=f"{subscription}/renew", body={})])
            changed = [each for each in told if each.method == "PATCH" and each.accepted]
            if len(changed) == len(changes):
                last = max(changed, key=lambda each: int(each.position))
                self._client.must(last, "a change is lost", holds=set(keys) <= last.body["metadata"].keys())

    async def _import_twice(self, chance: random.Random) -> None:
        """One number is one invoice's, whoever brings it in; while our series may take its prefix, or not."""
        person = chance.choice(self._world.people)
        amount = {"amount": chance.randint(100, 9_999), "currency": person.currency}
        invoice: dict[str, object] = {
            "customer": person.customer_id,
            "number": f"{chance.choice(PREFIXES)}{chance.randrange(1_000_000)}",
            "currency": person.currency,
            "lines": [{"description": "Before", "amount": amount}],
            "issued_at": "2020-01-01T00:00:00Z",
            "due_at": "2020-01-15T00:00:00Z",
        }
        series = [
            {"name": "INV", "prefix": chance.choice(PREFIXES), "digits": 1},
            {"name": "CN", "prefix": "CN-"},
        ]
        settings = f"/v1/tenants/{self._client.tenant_id}/billing-settings"
        entries = [Entry(path="/v1/invoices/import", body=invoice)] * 2
        told = await self._race(
            chance, [*entries, Entry(path=settings, body={"number_series": series}, method="PATCH")]
        )
        imported = [each for each in told if each.method == "POST" and each.accepted]
        if len(imported) > 1:
            self._client.must(imported[-1], "one number was imported twice", holds=False)

    async def _delete_and_bill(self, chance: random.Random) -> None:
        """Somebody is deleted while something is put by for them, and others may be billing them."""
        person = chance.choice(self._world.people)
        if len(self._world.people) <= PEOPLE_MIN:
            return
        self._world.people.remove(person)
        customer = f"/v1/customers/{person.customer_id}"
        item = {"description": "Late", "amount": {"amount": chance.randint(1, 900), "currency": person.currency}}
        delete = Entry(path=customer, body={"leave_unsettled": chance.random() < 1 / 4}, method="DELETE")
        wait = Entry(path=f"{customer}/waiting-items", body=item)
        await self._race(chance, [delete, wait])

    def _invoice(self, chance: random.Random) -> str | None:
        """Mostly a new one, which is open and may be being charged."""
        invoices = self._world.invoices
        return f"/v1/invoices/{chance.choice(invoices[-10:])}" if invoices else None

    async def _race(
        self, chance: random.Random, entries: Sequence[Entry], *, winners_max: int | None = None
    ) -> list[Told]:
        order = chance.sample(entries, len(entries))
        self._client.counts["races"] += 1
        told: list[Told] = await asyncio.gather(
            *(self._client.command(entry.method, entry.path, entry.body) for entry in order)
        )
        winners = [each for each in told if each.accepted]
        if winners_max is not None and len(winners) > winners_max:
            self._client.must(winners[-1], f"{len(winners)} of {len(told)} were accepted", holds=False)
        return told


def other_items(world: World, chance: random.Random) -> Mapping[str, object]:
    """Some of the prices, in other quantities; much of it is refused."""
    prices = chance.sample(world.prices, chance.randrange(1, len(world.prices)))
    return {
        "items": [{"price": price, "quantity": str(chance.choice((1, 2, 7)))} for price in prices],
        "remove": [] if chance.random() < 1 / 2 else [price for price in world.prices if price not in prices][:1],
        "proration": chance.choice(("invoice_now", "next_invoice", "period_end", "none")),
        "reset_anchor": chance.random() < 1 / 4,
    }


def a_part(chance: random.Random) -> Mapping[str, object]:
    """Money that came by hand: mostly a part of what an invoice comes to, sometimes more than that; in the currency of
    some invoices."""
    amount = chance.randint(1, A_PART_MAX * (1 if chance.random() < 3 / 4 else 4))
    return {"paid_out_of_band": True, "amount": {"amount": amount, "currency": chance.choice(CURRENCIES)}}


_BY_HAND: Final = {"paid_out_of_band": True}
