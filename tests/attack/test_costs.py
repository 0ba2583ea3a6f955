"""No request keeps the process from others: what is done for one grows with its length, and its length is bounded."""

import asyncio
import json
import re
from urllib.parse import quote

import pytest

from api.app import RESOURCES
from api.http.edge import SINGLE_HEADERS
from api.http.operations import Operation
from testing.growth import RATIO_MAX, TIMES
from tests.attack.target import Headers, Target

SHORT_CHARS = 800


def hostile_query(motif: str, chars: int) -> str:
    return "a=" + (motif * chars)[:chars]


@pytest.mark.parametrize("motif", ["1-", "4-", "4.4/", "a=1&", "%34", "%c2%a04", "+4", "[", "%"])
@pytest.mark.parametrize("path", ["/health/live", "/v1/customers"])
async def test_a_query_costs_the_process_its_length(target: Target, path: str, motif: str) -> None:
    """CPU time that the process itself counted, for queries of one length and of eight times that length."""

    async def cost(chars: int) -> float:
        before = target.process.cpu_s
        await asyncio.gather(*(target.send("GET", f"{path}?{hostile_query(motif, chars)}") for _ in range(20)))
        return target.process.cpu_s - before

    short = await cost(SHORT_CHARS)
    assert await cost(SHORT_CHARS * TIMES) <= RATIO_MAX * max(short, 0.02)


async def test_a_path_and_query_have_a_length_that_is_not_exceeded(target: Target) -> None:
    for path in ("/health?" + hostile_query("1-", 20_000), "/v1/customers/" + "1-" * 10_000):
        answer = await target.send("GET", path)
        assert (answer.status, answer.code) == (414, "uri_too_long"), answer


@pytest.mark.parametrize("motif", ["1-", "4-", "4 4-", "4242 4242-", "\u200b4", "3.6 "])
async def test_a_body_costs_the_process_its_length(target: Target, motif: str) -> None:
    async def cost(chars: int) -> float:
        before = target.process.cpu_s
        for _ in range(3):
            body = json.dumps({"name": (motif * chars)[:chars]}, ensure_ascii=False).encode()
            assert (await target.send("POST", "/v1/products", body)).status == 422
        return target.process.cpu_s - before

    short = await cost(8_000)
    assert await cost(8_000 * TIMES) <= RATIO_MAX * max(short, 0.02)


QUERIES = [operation for resource in RESOURCES for operation in resource.declared if operation.is_query]
MOTIFS = ("1-", "a.", "0a", "4 ", "2026-01-01T")


async def cost_of(target: Target, path: str, headers: Headers) -> float:
    """CPU time that the process itself counted for a few requests, whatever it answered."""
    before = target.process.cpu_s
    await asyncio.gather(*(target.send("GET", path, headers=headers) for _ in range(8)))
    return target.process.cpu_s - before


@pytest.mark.parametrize("operation", QUERIES, ids=lambda operation: operation.name)
async def test_ids_and_filters_cost_the_process_their_length(target: Target, operation: Operation) -> None:
    """Each part of a path and each parameter that an operation knows."""
    known = [field.alias or name for name, field in operation.parameters.model_fields.items()]  # type: ignore[union-attr]

    def asked(motif: str, chars: int) -> str:
        value = quote((motif * chars)[:chars], safe="")
        path = re.sub(r"\{[a-z_]+(:path)?\}", value, operation.path)
        share = max(1, len(known))
        return path + "?" + "&".join(f"{quote(name)}={value[: len(value) // share]}" for name in known)

    for motif in MOTIFS:
        short = await cost_of(target, asked(motif, SHORT_CHARS // 4), target.authorized())
        long = await cost_of(target, asked(motif, SHORT_CHARS // 4 * TIMES), target.authorized())
        assert long <= RATIO_MAX * max(short, 0.02), motif


@pytest.mark.parametrize("name", [*sorted(SINGLE_HEADERS.values()), "X-Forwarded-For", "Accept", "Cookie"])
async def test_headers_cost_the_process_their_length(target: Target, name: str) -> None:
    own = [pair for pair in target.authorized() if pair[0] != name]
    for motif in (*MOTIFS, "Bearer ", ",", ";", "::"):
        short = await cost_of(target, "/v1/products", [*own, (name, (motif * SHORT_CHARS)[:SHORT_CHARS])])
        chars = SHORT_CHARS * TIMES
        long = await cost_of(target, "/v1/products", [*own, (name, (motif * chars)[:chars])])
        assert long <= RATIO_MAX * max(short, 0.02), motif
