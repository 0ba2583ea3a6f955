"""How fast a program learns what is left of a metered limit: 500 questions a second, beside the bare framework.

So many customers subscribe to a plan with a limited feature, and have used it in every quarter hour of twenty days, all
of it sent through the API and counted. `GET /v1/customers/{id}/entitlements/{feature}` is asked in turn for each, in an
open loop. The row is the 95th percentile; the aim is below 5 ms. The ceiling answers a GET of its own at the same rate.
The notes tell the processor time a check, by part: what they do anyway is in it.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from benchmarks.http import Client, Target, ceiling, latencies
from benchmarks.http_load import Load, measure
from benchmarks.processor_time import ProcessorTime
from benchmarks.results import Row
from benchmarks.servers import bench_stack, found_by
from cli.tenants import create_tenant
from domain.kernel.tenant_mode import TenantMode
from host.configured import owner_dsn

CUSTOMERS: Final = 100
DAYS: Final = 20
EVENTS_AT_ONCE: Final = 1_000
QUARTER: Final = timedelta(minutes=15)
RATE: Final = 500.0
DURATION_S: Final = 20.0
START_TIMEOUT_S: Final = 120.0


async def rows() -> list[Row]:
    """entitlement-check."""
    async with bench_stack() as stack:
        tenant = await create_tenant(
            owner_dsn(stack.settings), stack.settings, tenant_id="bench", name="Benchmark", mode=TenantMode.TEST
        )
        api = stack.settings.api
        target = Target(host=api.host, port=api.port, key=tenant.key.secret)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {target.key}"}) as session:
            paths = await _prepared(session, target)
        load = Load(
            host=target.host,
            port=target.port,
            method="GET",
            paths=paths,
            headers={"Authorization": f"Bearer {target.key}"},
            body=None,
            requests_per_s=RATE,
            duration_s=DURATION_S,
        )
        await measure(replace(load, duration_s=3))
        processor = ProcessorTime(stack)
        with processor:
            ours = await measure(load)
        async with ceiling() as port:
            bare = await measure(
                replace(load, host="127.0.0.1", port=port, paths=["/v1/payments/pay_01m7ywe9z7e398x54gfbrtqnk7"])
            )
    notes = (
        f"{RATE:.0f}/s, {CUSTOMERS} customers with {DAYS * 96} quarter hours each: {latencies(ours)}, "
        f"{ours.failed} failed; processor time a check in µs: {_told(processor.used)} | bare FastAPI: {latencies(bare)}"
    )
    return [Row("entitlement-check", ours.p95_ms, "ms (p95)", {"bare-fastapi": bare.p95_ms / ours.p95_ms}, notes)]


def _told(used_s: Mapping[str, float]) -> str:
    """Microseconds of each part a check, the most first."""
    ranked = sorted(used_s.items(), key=lambda each: -each[1])
    return ", ".join(f"{name.removesuffix('-0')} {seconds * 1e6 / (RATE * DURATION_S):.0f}" for name, seconds in ranked)


async def _prepared(session: aiohttp.ClientSession, target: Target) -> list[str]:
    """What to ask, once all is counted."""
    client = Client(session, target)
    now = datetime.now(UTC)
    since = now - timedelta(days=DAYS)
    terms = {"code": "calls", "name": "Calls", "aggregation": "sum", "value_property": "calls"}
    meter, _ = await client.post("/v1/meters", terms)
    product, _ = await client.post("/v1/products", {"name": "Calls"})
    interval = {"unit": "month", "count": 1}
    feature = {"key": "calls", "limit": 1_000_000, "meter": meter["id"]}
    plan = {"product": product["id"], "name": "Calls", "interval": interval, "features": [feature]}
    made, _ = await client.post("/v1/plans", plan)
    model = {"type": "per_unit", "currency": "EUR", "unit_amount": "1"}
    terms_of_price = {"plan": made["id"], "timing": "in_arrears", "meter": meter["id"], "model": model}
    price, _ = await client.post("/v1/prices", terms_of_price)
    customers = []
    for _ in range(CUSTOMERS):
        customer, _ = await client.post("/v1/customers", {"currency": "EUR"})
        customers.append(customer["id"])
        items = [{"price": price["id"]}]
        order = {"customer": customer["id"], "plan": made["id"], "items": items, "collection_method": "send_invoice"}
        await client.post("/v1/subscriptions", {**order, "starts_at": since.isoformat()})
    times = [since + nth * QUARTER for nth in range(1, DAYS * 96)]
    for customer_id in customers:
        events = [_event(customer_id, at) for at in times]
        for first in range(0, len(events), EVENTS_AT_ONCE):
            await _send(session, target, events[first : first + EVENTS_AT_ONCE])
    paths = [f"/v1/customers/{customer_id}/entitlements/calls" for customer_id in customers]
    await _counted(session, target, paths, str(len(times)))
    return paths


def _event(customer_id: str, at: datetime) -> dict[str, Any]:
    name = {"id": at.isoformat(), "meter": "calls", "customer": customer_id}
    return {**name, "timestamp": at.isoformat(), "properties": {"calls": 1}}


async def _send(session: aiohttp.ClientSession, target: Target, events: list[dict[str, Any]]) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            async with session.post(f"{target.url}/v1/usage/events", json=events) as answer:
                if answer.status == 202:
                    return
            await asyncio.sleep(0.1)


async def _counted(session: aiohttp.ClientSession, target: Target, paths: list[str], used: str) -> None:
    """Wait until each customer's usage is counted."""
    async with asyncio.timeout(START_TIMEOUT_S):
        for path in paths:
            while True:
                async with session.get(target.url + path) as answer:
                    if answer.status == 200 and (await answer.json())["used"] == used:
                        break
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    for row in found_by(rows()):
        sys.stdout.write(f"{row.id} {row.ours} {row.unit} {row.ratios} {row.notes}\n")
