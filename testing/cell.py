"""Everything that `tallybook dev` runs, on the tests' servers: for tests that go in by HTTP and look at all of it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from host.embedded.databases import PostgresServer
from host.launch import Launch
from infra.ids import new_id
from processors.invariants.findings import Invariant
from testing.forked import fork_role
from testing.processors_cell import Cell, open_cell, until
from testing.requests import TENANT
from testing.services import KafkaServer

TRY_TIMEOUT_S = 10.0
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
IN_FLIGHT = "idempotency_key_in_flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it came, and what it says."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    body: Mapping[str, object]

    @property
    def id(self) -> str:
        """The resource's id."""
        assert self.status < 300, self.body
        return str(self.body["id"])


@dataclass(slots=True)
class Whole:
    """A cell with all roles, and a client that asks its APIs in turn until one answers."""

    cell: Cell
    http: aiohttp.ClientSession
    key: str
    asked: int = 0

    async def send(self, method: str, path: str, body: object = None, *, key: str | None = None) -> Answer:
        """A request, repeated under its key until it is answered."""
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": key or new_id("k_")}
        ports = [role.port for role in self.cell.supervisor.roles if role.role == "api"]
        found: list[Answer] = []

        async def answered() -> bool:
            self.asked += 1
            url = f"http://127.0.0.1:{ports[self.asked % len(ports)]}{path}"
            try:
                async with self.http.request(method, url, json=body, headers=headers) as answer:
                    content = await answer.read()
                    told = Answer(
                        status=answer.status,
                        content=content,
                        headers=dict(answer.headers),
                        body=await answer.json(content_type=None),
                    )
            except (aiohttp.ClientError, TimeoutError):
                return False
            found.append(told)
            return told.status not in TRY_AGAIN and told.body.get("code") != IN_FLIGHT

        await until(answered, f"an answer to {method} {path}")
        return found[-1]

    async def post(self, path: str, body: object, *, key: str | None = None) -> Answer:
        """A command."""
        return await self.send("POST", path, body, key=key)

    async def subscribed(self, person: Mapping[str, object], *, token: str, key: str | None = None) -> tuple[str, str]:
        """A customer with a card, subscribed: the customer's id and the first invoice's."""
        customer_id = (await self.post("/v1/customers", {"currency": "EUR", **person}, key=key)).id
        card = {"customer": customer_id, "type": "card", "token": token, "set_default": True}
        await self.post("/v1/payment-methods", card)
        product_id = (await self.post("/v1/products", {"name": "Team"})).id
        plan = {"product": product_id, "name": "Monthly", "interval": {"unit": "month"}}
        plan_id = (await self.post("/v1/plans", plan)).id
        model = {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}}
        price_id = (await self.post("/v1/prices", {"plan": plan_id, "model": model})).id
        items = [{"price": price_id}]
        told = await self.post("/v1/subscriptions", {"customer": customer_id, "plan": plan_id, "items": items})
        assert told.status == 201, told.body
        return customer_id, str(told.body["latest_invoice"])

    async def at_rest(self) -> None:
        """Every invariant holds."""
        await self.cell.prove(*Invariant)


@contextlib.asynccontextmanager
async def open_whole(
    server: PostgresServer,
    template: str,
    kafka: KafkaServer,
    folder: Path,
    launch: Launch = fork_role,
    /,
    *,
    instances: int,
    **environment: str,
) -> AsyncIterator[Whole]:
    """Start every role, this many processes of each."""
    async with open_cell(server, template, kafka, folder, launch, **environment) as cell:
        await cell.start("relay", "processors", "projections", "api", instances=instances)
        assert cell.settings.database.url is not None
        dsn = cell.settings.database.url.get_secret_value()
        tenant = await create_tenant(dsn, cell.settings, tenant_id=TENANT, name=TENANT, mode=TenantMode.TEST)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_TIMEOUT_S)) as http:
            yield Whole(cell=cell, http=http, key=tenant.key.secret)
