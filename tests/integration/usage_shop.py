"""A tenant that meters and bills usage, through an API, with a role that counts what is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from testing.api_client import Api, Client, project
from testing.projection_stack import until
from tests.integration.billing_scene import Shop

PARTITIONS = 2
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
STARTED = TODAY - timedelta(days=10)
"""So long ago that events of its days are still taken."""
TIERS = [{"up_to": 10, "unit_amount": "100"}, {"up_to": None, "unit_amount": "50"}]


@dataclass
class UsageShop:
    """A tenant whose meter of gigabytes is billed by tiers, and sent usage is counted."""

    api: Api
    client: Client
    sent: int = 0

    async def meter(self, code: str, aggregation: str = "sum", **facts: Any) -> str:
        value = {} if aggregation in {"count", "unique"} else {"value_property": "gb"}
        made = {"code": code, "name": code.title(), "aggregation": aggregation, **value, **facts}
        return str((await self.client.made("/v1/meters", made))["id"])

    async def customer(self, time_zone: str = "UTC") -> str:
        return str((await self.client.made("/v1/customers", {"currency": "EUR", "time_zone": time_zone}))["id"])

    async def subscribed(self, customer: str, meter: str, features: Sequence[dict[str, Any]] = ()) -> str:
        product = await self.client.made("/v1/products", {"name": "Network"})
        interval = {"unit": "month", "count": 1}
        plan = await self.client.made("/v1/plans", {
            "product": product["id"], "name": "Network", "interval": interval, "features": list(features),
        })  # fmt: skip
        model = {"type": "graduated", "currency": "EUR", "tiers": TIERS}
        price = {"plan": plan["id"], "timing": "in_arrears", "meter": meter, "model": model}
        items = [{"price": (await self.client.made("/v1/prices", price))["id"]}]
        order = {"customer": customer, "plan": plan["id"], "items": items, "collection_method": "send_invoice"}
        made = await self.client.made("/v1/subscriptions", {**order, "starts_at": STARTED.isoformat()})
        await project(self.api.database, self.api.parts.settings)
        return str(made["id"])

    async def used(self, customer: str, meter: str, *used: tuple[datetime, object], **properties: str) -> None:
        """Send events of so many gigabytes, and wait until they are counted."""
        events = []
        for at, value in used:
            self.sent += 1
            facts = {"id": f"e{self.sent}", "meter": meter, "customer": customer, "timestamp": at.isoformat()}
            events.append({**facts, "properties": {"gb": value, **properties}})
        await self.counted(customer, meter, events)

    async def counted(self, customer: str, meter: str, events: Sequence[dict[str, Any]]) -> None:
        """Send a customer's events of a meter, and wait until the API says that they are counted."""

        async def taken() -> bool:
            answer = await self.client.post("/v1/usage/events", list(events))
            return answer.status_code == 202 and answer.json()["errors"] == []

        await until(taken, what="the events to be taken")
        accepted_at = datetime.now(UTC)

        async def told() -> bool:
            shown = (await self.shown(customer, meter))["counted_until"]
            return shown is not None and datetime.fromisoformat(shown) >= accepted_at

        await until(told, what="the events to be counted")

    async def send(self, customer: str, *used: tuple[str, int], meter: str = "traffic") -> None:
        """Events are taken, and not waited for: a clock waits until they are counted."""
        events: list[dict[str, Any]] = []
        for at, value in used:
            self.sent += 1
            facts = {"id": f"e{self.sent}", "meter": meter, "customer": customer, "timestamp": at}
            events.append({**facts, "properties": {"gb": value}})

        async def taken() -> bool:
            answer = await self.client.post("/v1/usage/events", events)
            return answer.status_code == 202 and answer.json()["errors"] == []

        await until(taken, what="the events to be taken")

    async def advanced(self, shop: Shop, to: str) -> None:
        """The shop's clock comes to a time, with everything that is due by then."""
        answer = await self.client.post(f"/v1/test-clocks/{shop.clock}/advance", {"frozen_time": to})
        assert answer.status_code == 200, answer.text

        async def is_there() -> bool:
            clock = (await self.client.get(f"/v1/test-clocks/{shop.clock}")).json()
            is_at = datetime.fromisoformat(clock["frozen_time"]) == datetime.fromisoformat(to)
            return bool(clock["status"] == "ready" and is_at)

        await until(is_there, what="the clock to be there")

    async def invoices(self, subscription: dict[str, Any]) -> list[dict[str, Any]]:
        """The subscription's, the first one first, and drafts last."""
        await project(self.api.database, self.api.parts.settings)
        listed = await self.found(f"/v1/invoices?subscription={subscription['id']}")
        return sorted(listed["data"], key=lambda invoice: str(invoice["finalized_at"]))

    async def shown(self, customer: str, meter: str, query: str = "") -> dict[str, Any]:
        return await self.found(f"/v1/customers/{customer}/usage/{meter}{query}")

    async def listed(self, customer: str, query: str = "") -> dict[str, Any]:
        return await self.found(f"/v1/customers/{customer}/usage{query}")

    async def found(self, path: str) -> dict[str, Any]:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


def at(day: int, hour: float = 12) -> datetime:
    """A time of a day since the subscription began."""
    return STARTED + timedelta(days=day, hours=hour)


def quantities(windows: list[dict[str, Any]]) -> dict[str, str]:
    """By when they begin, of the windows in which there is something."""
    return {each["start"]: each["quantity"] for each in windows if each["quantity"] != "0"}


def utc(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
