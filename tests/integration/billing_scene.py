"""A tenant that sells plans to customers on a test clock, through the API: what is billed when, and why."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from domain.customers.test_clock import CompleteTestClockAdvance
from domain.invoicing.usage_line import UsageSnapshot
from domain.invoicing.usage_request import BillUsage, CountedUsage, RecountedUsage
from infra.event_store.port import Request
from testing.api_client import Client

START = "2026-01-01T00:00:00Z"

TierRow = tuple[int | None, int, int]
"""Up to, unit amount, flat amount."""


def tiered(kind: str, *rows: TierRow) -> dict[str, Any]:
    tiers = [{"up_to": up_to, "unit_amount": unit, "flat_amount": flat} for up_to, unit, flat in rows]
    return {"type": kind, "currency": "EUR", "tiers": tiers}


def package(free_units: int = 0) -> dict[str, Any]:
    """1.00 for each ten."""
    return {"type": "package", "currency": "EUR", "package_size": 10, "package_amount": 100, "free_units": free_units}


def flat_price(amount: int) -> dict[str, Any]:
    return {"type": "flat", "amount": {"amount": amount, "currency": "EUR"}}


def per_unit(currency: str, unit_amount: str) -> dict[str, Any]:
    return {"type": "per_unit", "currency": currency, "unit_amount": unit_amount}


@dataclass(slots=True)
class Shop:
    """A tenant with a plan, whose customers are on a test clock."""

    client: Client
    plan: str
    clock: str
    advances: int = 0

    @classmethod
    async def opened(cls, client: Client, at: str = START, unit: str = "month", count: int = 1) -> "Shop":
        clock = await client.made("/v1/test-clocks", {"name": "A year", "frozen_time": at})
        product = await client.made("/v1/products", {"name": "Team"})
        terms = {"product": product["id"], "name": "Team", "interval": {"unit": unit, "count": count}}
        return cls(client, str((await client.made("/v1/plans", terms))["id"]), str(clock["id"]))

    async def price(self, model: dict[str, Any], **facts: Any) -> dict[str, Any]:
        return await self.client.made("/v1/prices", {"plan": self.plan, "model": model, **facts})

    async def customer(self, currency: str = "EUR", **facts: Any) -> str:
        person = {"currency": currency, "test_clock": self.clock, **facts}
        return str((await self.client.made("/v1/customers", person))["id"])

    async def subscribed(
        self, customer: str, price: dict[str, Any], quantity: str = "1", **facts: Any
    ) -> dict[str, Any]:
        items = [{"price": price["id"], "quantity": quantity}]
        order = {"customer": customer, "plan": self.plan, "items": items, "collection_method": "send_invoice"}
        return await self.client.made("/v1/subscriptions", {**order, **facts})

    async def changed(self, subscription: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        """The subscription with other items."""
        answer = await self.client.post(f"/v1/subscriptions/{subscription['id']}/change", body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def billed(self, invoice: object) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/invoices/{invoice}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def explained(self, invoice: object) -> dict[str, Any]:
        """The explanation, once it was seen that every line's portions add up to it and the lines to the total."""
        answer = await self.client.get(f"/v1/invoices/{invoice}/explanation")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        for line in found["lines"]:
            parts = [*(portion["amount"] for portion in line["portions"]), line["rounding_difference"]]
            is_stated = line["pricing"] is None and not line["portions"]
            assert is_stated or sum(map(Fraction, parts)) == line["amount"]["amount"]
        assert sum(line["total"]["amount"] for line in found["lines"]) == found["total"]["amount"]
        return found

    async def advance(self, to: str) -> None:
        """Time on the clock passes; no timer runs."""
        self.advances += 1
        answer = await self.client.post(f"/v1/test-clocks/{self.clock}/advance", {"frozen_time": to})
        assert answer.status_code == 200, answer.text
        await self.client.parts.writer.submit(
            Request(
                tenant_id=self.client.tenant_id,
                idempotency_key=f"{self.clock}/advance/{self.advances}",
                request_hash=bytes(32),
                command=CompleteTestClockAdvance(clock_id=self.clock, advance=self.advances),
                actor="test",
                correlation_id="test",
            )
        )

    async def renewed(self, subscription: dict[str, Any]) -> dict[str, Any]:
        """The subscription once its period is over on the clock."""
        await self.advance(subscription["current_period_end"])
        answer = await self.client.post(f"/v1/subscriptions/{subscription['id']}/renew", {})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def counted(
        self, invoice: object, quantity: int | Fraction, *late: RecountedUsage, amounts: tuple[Decimal, ...] = ()
    ) -> dict[str, Any]:
        """The invoice with what was counted of its one line of usage, and what had come late by then. `amounts` are
        those of the single events.
        """
        (line,) = (line["id"] for line in (await self.billed(invoice))["lines"] if line["kind"] == "usage")
        seen = UsageSnapshot(
            closing=1, partition=0, covers=1, sha256="", quantity=Fraction(quantity), events=int(quantity)
        )
        counted = CountedUsage(line_id=line, snapshot=seen, amounts=amounts, late=late)
        outcome = await self.client.parts.writer.submit(
            Request(
                tenant_id=self.client.tenant_id,
                idempotency_key=f"{invoice}/counted",
                request_hash=bytes(32),
                command=BillUsage(invoice_id=str(invoice), counted=(counted,)),
                actor="test",
                correlation_id="test",
            )
        )
        assert outcome.refusal_code is None
        return await self.billed(invoice)

    async def periods(self, subscription: dict[str, Any], count: int) -> list[tuple[datetime, datetime, int]]:
        """The first `count` periods of what begins now, each with what its invoice comes to; renewed one by one."""
        found: list[tuple[datetime, datetime, int]] = []
        while True:
            invoice = await self.billed(subscription["latest_invoice"])
            (line,) = invoice["lines"]
            assert (line["period_start"], line["period_end"]) == (
                subscription["current_period_start"],
                subscription["current_period_end"],
            )
            start, end = (datetime.fromisoformat(line[of]) for of in ("period_start", "period_end"))
            found.append((start, end, invoice["total"]["amount"]))
            if len(found) == count:
                return found
            subscription = await self.renewed(subscription)
