"""An API over a real database, and a client that speaks to it in this process."""

import asyncio
import contextlib
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx2
from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app, open_parts
from api.http.call import Parts
from api.http.reading import TenantReader
from cli.api_keys import EVERYTHING, create_key
from cli.tenants import TenantExists, create_tenant
from domain.identity.permissions import Scope
from domain.kernel.frozen import replace
from domain.kernel.tenant_mode import TenantMode
from domain.payments.commands import RecordPaymentCaptured
from infra.event_store.port import Request
from infra.settings import (
    ApiSettings,
    AuthSettings,
    DatabaseSettings,
    GatewaySettings,
    KafkaSettings,
    Settings,
    UsageSettings,
    VaultSettings,
    gateway_api_key,
)
from projections.catalogue import READ_MODELS
from projections.folding.log_fold import Slice, fold_slice, whole_log
from projections.folding.tables import prepare
from sandbox_gateway.server import serve
from sandbox_gateway.settings import SandboxServerSettings
from testing.histories import History, write_log
from testing.services import FreshDatabase

MASTER_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One tenant's client. Every command gets a fresh Idempotency-Key unless the test names one."""

    http: httpx2.AsyncClient
    key: str
    tenant_id: str
    parts: Parts

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Any request, authenticated."""
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        if method != "GET":
            sent.setdefault("Idempotency-Key", idempotency_key or uuid.uuid4().hex)
        return await self.http.request(method, path, json=body, headers=sent)

    async def post(self, path: str, body: object = None, *, idempotency_key: str | None = None) -> httpx2.Response:
        """A command."""
        return await self.send("POST", path, {} if body is None else body, idempotency_key=idempotency_key)

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """A query."""
        return await self.send("GET", path, headers=headers)

    async def made(self, path: str, body: object) -> dict[str, object]:
        """What a POST made; it must have succeeded."""
        response = await self.post(path, body)
        assert response.status_code == 201, response.text
        made: dict[str, object] = response.json()
        return made

    async def captured(self, payment_id: str) -> None:
        """The gateway's answer to a payment's first attempt, as the processors record it."""
        await self.parts.writer.submit(
            Request(
                tenant_id=self.tenant_id,
                idempotency_key=f"captured/{payment_id}",
                request_hash=bytes(32),
                command=RecordPaymentCaptured(payment_id=payment_id, attempt=1, gateway_payment_id="gw_1"),
                actor="saga:charge",
                correlation_id="test",
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """An API and the database under it."""

    app: FastAPI
    parts: Parts
    database: FreshDatabase
    http: httpx2.AsyncClient

    async def tenant(self, tenant_id: str, mode: TenantMode = TenantMode.TEST, scope: Scope = Scope.ADMIN) -> Client:
        """A client of a tenant of this name, made if it is not there, with a key of this scope."""
        dsn, settings = self.database.dsn, self.parts.settings
        try:
            key = (await create_tenant(dsn, settings, tenant_id=tenant_id, name=tenant_id, mode=mode)).key
            if scope is not Scope.ADMIN:
                key = await create_key(dsn, settings, tenant_id=tenant_id, terms=replace(EVERYTHING, scope=scope))
        except TenantExists:
            key = await create_key(dsn, settings, tenant_id=tenant_id, terms=replace(EVERYTHING, scope=scope))
        return Client(http=self.http, key=key.secret, tenant_id=tenant_id, parts=self.parts)

    async def head(self) -> int:
        """The log's head."""
        position: int = await self.parts.reader.pool.fetchval("SELECT position FROM log.head")
        return position


@contextlib.asynccontextmanager
async def running_api(
    database: FreshDatabase,
    api: ApiSettings | None = None,
    kafka: KafkaSettings | None = None,
    auth: AuthSettings | None = None,
    usage: UsageSettings | None = None,
) -> AsyncIterator[Api]:
    """An API in this process, over the database."""
    async with contextlib.AsyncExitStack() as stack:
        gateway = GatewaySettings(url=await stack.enter_async_context(_sandbox()))
        yield await stack.enter_async_context(_api(database, api, kafka, gateway, auth, usage))


@contextlib.asynccontextmanager
async def _sandbox() -> AsyncIterator[str]:
    """The sandbox gateway in this process, and its address."""
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with tempfile.TemporaryDirectory() as folder:
        served = SandboxServerSettings(
            store_path=Path(folder) / "sandbox.sqlite3", api_key=gateway_api_key(Settings()), port=0
        )
        serving = asyncio.create_task(serve(served, on_ready=port.set_result, stop=stop))
        try:
            yield f"http://127.0.0.1:{await port}"
        finally:
            stop.set()
            await serving


@contextlib.asynccontextmanager
async def _api(
    database: FreshDatabase,
    api: ApiSettings | None,
    kafka: KafkaSettings | None,
    gateway: GatewaySettings,
    auth: AuthSettings | None,
    usage: UsageSettings | None,
) -> AsyncIterator[Api]:
    settings = Settings(
        gateway=gateway,
        api=api or ApiSettings(anonymous_rate_per_min=100_000, log_ins_per_min=100_000),
        kafka=kafka or KafkaSettings(),
        usage=usage or UsageSettings(),
        auth=(auth or AuthSettings()).model_copy(update={"hashing_per_s": 1_000}),
        vault=VaultSettings(master_key=SecretStr(MASTER_KEY)),
    )
    async with open_parts(settings, dsn=database.dsn) as parts:
        app = create_app(parts)
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=True)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as http:
            yield Api(app=app, parts=parts, database=database, http=http)


async def project(database: FreshDatabase, settings: Settings) -> None:
    """Fold the whole log into the read models, as if everything had come through Kafka."""
    await prepare(database.dsn, settings.database)
    connection = await asyncpg.connect(database.dsn)
    try:
        tables = ", ".join(f"read.{model.name}_v1" for model in READ_MODELS)
        await connection.execute(f"TRUNCATE {tables}")
        head = await connection.fetchval("SELECT position FROM log.head")
        bounds = whole_log(head, settings.kafka.partitions)
        versions = {model.name: 1 for model in READ_MODELS}
        part = Slice(number=0, of=1, tables=versions, bounds=bounds, page_events=1_000)
        await fold_slice(connection, part, lambda _upto: None)
        await connection.execute("UPDATE relay.state SET position = $1", head)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def projected(database: FreshDatabase, history: History) -> AsyncIterator[TenantReader]:
    """A reader of the read models of a log that holds this history."""
    connection = await asyncpg.connect(database.dsn)
    await write_log(connection, history.events)
    await connection.close()
    await project(database, Settings())
    reader = await TenantReader.open(database.dsn, DatabaseSettings(pool_min_connections=1, pool_max_connections=1))
    try:
        yield reader
    finally:
        await reader.close()
