"""The HTTP API under an open loop at rising rates, beside the bare framework, and how soon a write can be read.

`python -m benchmarks.http` starts the servers and the roles and prints a table;
`python -m benchmarks.http URL KEY` measures a stack that runs already.

api-post creates and confirms payments: each is recorded durably before it is answered. api-get reads payments by id.
Rates rise until more than one in a hundred fails or the 95th percentile passes its limit; the row is the highest rate
that held. The ceiling is FastAPI with the same server settings, body model and answer, and nothing behind it. visible
is the time from a command's answer to the first query that shows it, asked with Min-Ledger-Position.
"""

import asyncio
import contextlib
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from benchmarks.http_load import Load, Measured, measure, percentile_ms
from benchmarks.results import Row
from benchmarks.servers import bench_stack, found_by
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from host.configured import owner_dsn
from host.embedded.process import free_port

POST_RATES: Final = (100, 200, 300, 400, 600, 800, 1_000, 1_500)
GET_RATES: Final = (250, 500, 1_000, 1_500, 2_000, 3_000, 4_000)
CEILING_RATES: Final = (1_000, 2_000, 3_000, 4_000, 6_000)
DURATION_S: Final = 10.0
P95_MAX_MS: Final = 100.0
FAILED_MAX: Final = 0.01
READ_PAYMENTS: Final = 200
VISIBLE_SAMPLES: Final = 300
START_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running API and one of its keys."""

    host: str
    port: int
    key: str

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


async def rows(url: str | None = None, key: str | None = None) -> list[Row]:
    """api-post, api-get and visible; of a stack of our own unless one is named."""
    if url is not None and key is not None:
        parts = urlsplit(url)
        return await _rows(Target(host=parts.hostname or "127.0.0.1", port=parts.port or 80, key=key))
    async with _own_stack() as target:
        return await _rows(target)


@contextlib.asynccontextmanager
async def _own_stack() -> AsyncIterator[Target]:
    async with bench_stack() as stack:
        dsn = owner_dsn(stack.settings)
        tenant = await create_tenant(dsn, stack.settings, tenant_id="bench", name="Benchmark", mode=TenantMode.TEST)
        settings = stack.settings.api
        yield Target(host=settings.host, port=settings.port, key=tenant.key.secret)


async def _rows(target: Target) -> list[Row]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {target.key}"}) as session:
        client = Client(session, target)
        customer, method = await client.customer()
        visible = await _visible(client, customer, method)
        payments = [await client.payment(customer, method) for _ in range(READ_PAYMENTS)]
        await client.until_visible(payments[-1])
    body = payment_body(customer, method)
    keys = {"Idempotency-Key": f"bench-{uuid.uuid4().hex[:8]}-{{n}}"}
    authorization = {"Authorization": f"Bearer {target.key}"}
    post = Load(
        host=target.host,
        port=target.port,
        method="POST",
        paths=["/v1/payments"],
        headers=authorization | keys,
        body=body,
        requests_per_s=1,
        duration_s=DURATION_S,
    )
    get = replace(
        post,
        method="GET",
        paths=[f"/v1/payments/{payment.payment_id}" for payment in payments],
        headers=authorization,
        body=None,
    )
    async with ceiling() as port:
        bare_post = await _climb(replace(post, host="127.0.0.1", port=port), CEILING_RATES)
        bare_get = await _climb(replace(get, host="127.0.0.1", port=port), CEILING_RATES)
    ours_get = await _climb(get, GET_RATES)
    ours_post = await _climb(post, POST_RATES)
    return [
        _row("api-post", "payments/s", ours_post, bare_post),
        _row("api-get", "reads/s", ours_get, bare_get),
        visible,
    ]


def payment_body(customer: str, method: str) -> str:
    """A payment that is confirmed at once."""
    return (
        f'{{"customer":"{customer}","amount":{{"amount":1999,"currency":"EUR"}},"payment_method":"{method}",'
        f'"description":"Order {{n}}","confirm":true}}'
    )


async def _climb(load: Load, rates: Sequence[int]) -> list[Measured]:
    """Measure at each rate until one does not hold; that one is kept, too."""
    found: list[Measured] = []
    for place, rate in enumerate(rates):
        prefix = f"{place}-"
        headers = {
            name: value.replace("{n}", prefix + "{n}") if name == "Idempotency-Key" else value
            for name, value in load.headers.items()
        }
        measured = await measure(replace(load, requests_per_s=rate, headers=headers))
        found.append(measured)
        if not _held(measured):
            break
    return found


def _held(measured: Measured) -> bool:
    asked = measured.asked_per_s * DURATION_S
    return measured.failed <= asked * FAILED_MAX and measured.p95_ms <= P95_MAX_MS


def _row(name: str, unit: str, ours: Sequence[Measured], bare: Sequence[Measured]) -> Row:
    best, ceiling = _best(ours), _best(bare)
    steps = [f"{each.asked_per_s:.0f}/s: {latencies(each)}, {each.failed} failed" for each in ours]
    bare_steps = [f"{each.asked_per_s:.0f}/s: {latencies(each)}" for each in bare]
    notes = "; ".join(steps) + " | bare FastAPI: " + "; ".join(bare_steps)
    ratio = round(best.done_per_s / ceiling.done_per_s, 2)
    return Row(name, best.done_per_s, unit, {"bare-fastapi": ratio}, notes)


def _best(found: Sequence[Measured]) -> Measured:
    held = [each for each in found if _held(each)]
    return held[-1] if held else found[0]


def latencies(measured: Measured) -> str:
    """As the notes of a row tell them."""
    return f"p50 {measured.p50_ms} p95 {measured.p95_ms} p99 {measured.p99_ms} ms"


@dataclass(frozen=True, slots=True)
class _Payment:
    payment_id: str
    position: str
    answered_at: float


class Client:
    """The few calls that prepare a measurement."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._target = target

    async def post(self, path: str, body: object) -> tuple[dict[str, Any], str]:
        """The answer and its position."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        async with self._session.post(self._target.url + path, json=body, headers=headers) as response:
            answer = await response.json()
            if response.status >= 300:
                raise RuntimeError(f"POST {path}: {response.status} {answer}")
            return answer, response.headers["Ledger-Position"]

    async def customer(self) -> tuple[str, str]:
        """A customer and their payment method."""
        customer, _ = await self.post("/v1/customers", {"currency": "EUR"})
        method, _ = await self.post(
            "/v1/payment-methods", {"customer": customer["id"], "type": "card", "token": "tok_visa"}
        )
        return customer["id"], method["id"]

    async def payment(self, customer: str, method: str) -> _Payment:
        """A payment intent, not yet confirmed."""
        amount = {"amount": 1999, "currency": "EUR"}
        body = {"customer": customer, "payment_method": method, "amount": amount}
        made, position = await self.post("/v1/payments", body)
        return _Payment(made["id"], position, time.perf_counter())

    async def until_visible(self, payment: _Payment) -> float:
        """Seconds from the command's answer to the query's."""
        path = f"/v1/payments/{payment.payment_id}"
        headers = {"Min-Ledger-Position": payment.position}
        async with self._session.get(self._target.url + path, headers=headers) as response:
            if response.status != 200:
                raise RuntimeError(f"GET {path}: {response.status} {await response.text()}")
            await response.read()
        return time.perf_counter() - payment.answered_at


async def _visible(client: Client, customer: str, method: str) -> Row:
    found = sorted([await client.until_visible(await client.payment(customer, method)) for _ in range(VISIBLE_SAMPLES)])
    p50, p95, p99 = (percentile_ms(found, percent) for percent in (50, 95, 99))
    return Row("visible", p50, "ms (p50)", {}, f"p50 {p50} p95 {p95} p99 {p99} ms, one at a time, {len(found)} samples")


@contextlib.asynccontextmanager
async def ceiling() -> AsyncIterator[int]:
    """The port of the bare framework."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.http_ceiling", str(port))
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):  # a Ctrl-C reaches it, too
            process.terminate()
        await process.wait()


def main() -> None:
    """Print the table."""
    arguments = sys.argv[1:3]
    for row in found_by(rows(*arguments)):
        print(f"{row.id:10} {row.ours:>10} {row.unit:12} {row.ratios}")
        for note in row.notes.split("; "):
            print(f"           {note}")


if __name__ == "__main__":
    main()
