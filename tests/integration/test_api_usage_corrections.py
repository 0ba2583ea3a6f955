"""Usage that was sent by mistake is found, taken away and replaced, and the figures are as if it had been right."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from aiokafka import AIOKafkaConsumer

from domain.metering.usage_value import units
from testing.api_client import Api, Client
from testing.projection_stack import until
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_scene import counting_api
from usage.wire import VOID, decode, original_appended_of, topic_of

PATH = "/v1/usage/events"
PARTITIONS = 2


class Scene:
    """An API, an aggregator, and a meter with a customer."""

    def __init__(self, api: Api, client: Client, database: FreshDatabase) -> None:
        self.api, self.client, self.database = api, client, database
        self.customer = ""

    async def begin(self) -> None:
        self.customer = str((await self.client.made("/v1/customers", {"currency": "EUR"}))["id"])
        meter = {"code": "bytes", "name": "B", "aggregation": "sum", "value_property": "bytes"}
        await self.client.made("/v1/meters", meter)

        async def connected() -> bool:
            return (await self.send(self.event("first", 1))).status_code == 202

        await until(connected, what="the producer to be connected")
        await self.total_is(1)

    def event(self, event_id: str, value: object) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        whose = {"id": event_id, "meter": "bytes", "customer": self.customer}
        return {**whose, "timestamp": now, "properties": {"bytes": value}}

    async def send(self, body: object, path: str = PATH) -> httpx2.Response:
        return await self.client.post(path, body)

    async def void(self, event_id: str) -> httpx2.Response:
        return await self.send({"customer": self.customer, "id": event_id}, f"{PATH}/void")

    async def correct(self, event_id: str, instead: dict[str, Any]) -> httpx2.Response:
        return await self.send({"customer": self.customer, "id": event_id, "instead": instead}, f"{PATH}/correct")

    async def found(self, event_id: str) -> list[dict[str, Any]]:
        answer = await self.client.http.get(
            PATH,
            params={"customer": self.customer, "id": event_id},
            headers={"Authorization": f"Bearer {self.client.key}"},
        )
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    async def total_is(self, expected: int | Decimal) -> None:
        """Wait until the events add up to that."""
        connection = await asyncpg.connect(self.database.dsn)
        try:

            async def is_reached() -> bool:
                found = await connection.fetchval("SELECT coalesce(sum(total), 0) FROM usage.aggregates")
                return bool(units(found) == expected)

            await until(is_reached, what=f"a total of {expected}")
        finally:
            await connection.close()


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with counting_api(database, kafka_server, topic_prefix, tmp_path, partitions=PARTITIONS) as api:
        scene = Scene(api, await api.tenant("acme"), database)
        await scene.begin()
        yield scene


async def test_what_was_sent_by_mistake_is_taken_away_once_and_replaced(scene: Scene) -> None:
    assert (await scene.send([scene.event("a", 100), scene.event("b", 7)])).status_code == 202
    await scene.total_is(108)
    (shown,) = await scene.found("a")
    assert (shown["value"], shown["properties"], shown["voided"]) == ("100", {"bytes": "100"}, False)

    answer = await scene.void("a")
    assert (answer.status_code, answer.json()["voided"]) == (202, True)
    await scene.total_is(8)
    assert [each["voided"] for each in await scene.found("a")] == [True]
    assert (await scene.void("a")).status_code == 202
    assert (await scene.send(scene.event("a", 100))).status_code == 202, "its id is used up"

    other = scene.event("b2", "2.0")
    assert (await scene.correct("b", other)).json()["value"] == "2"
    await scene.total_is(3)
    assert (await scene.correct("b", other)).status_code == 202, "the same again does no more"
    await scene.send(scene.event("c", 10))
    await scene.total_is(13)


async def test_a_value_beyond_64_bits_is_counted_shown_and_taken_away(scene: Scene) -> None:
    sent = [
        scene.event("ten gigabytes", 10_000_000_000),
        scene.event("large", "123456789012345678901.123456789"),
        scene.event("minus", -(10**20)),
    ]
    assert (await scene.send(sent)).json()["accepted"] == 3
    await scene.total_is(Decimal("23456789022345678902.123456789"))
    (shown,) = await scene.found("large")
    assert shown["value"] == "123456789012345678901.123456789"
    assert (await scene.correct("minus", scene.event("smaller", "-0.123456789"))).json()["value"] == "-0.123456789"
    await scene.total_is(Decimal("123456789022345678902"))
    assert (await scene.void("large")).status_code == 202
    await scene.total_is(Decimal("10000000000.876543211"))
    answer = await scene.send(scene.event("too large", "1e21"))
    assert answer.json()["errors"][0]["code"] == "invalid_value"


async def test_numbers_of_a_correction_keep_all_their_digits(scene: Scene) -> None:
    assert (await scene.send(scene.event("a", 100))).status_code == 202
    await scene.total_is(101)
    body = {"customer": scene.customer, "id": "a", "instead": scene.event("b", 1.5)}
    raw = json.dumps(body).replace("1.5", "12345678901234567.123456789")
    answer = await scene.client.http.post(
        f"{PATH}/correct",
        content=raw,
        headers={"Authorization": f"Bearer {scene.client.key}", "Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["value"]) == (202, "12345678901234567.123456789")
    await scene.total_is(Decimal("12345678901234568.123456789"))


async def test_of_two_corrections_at_the_same_time_one_counts(scene: Scene) -> None:
    """Both are taken, as neither sees the other; the topic's order decides."""
    assert (await scene.send(scene.event("a", 100))).status_code == 202
    await scene.total_is(101)
    others = {f"a{nth}": 10**nth for nth in range(1, 5)}
    events = {name: scene.event(name, value) for name, value in others.items()}
    answers = await asyncio.gather(*(scene.correct("a", event) for event in events.values()))
    taken = [name for name, answer in zip(others, answers, strict=True) if answer.status_code == 202]
    assert taken
    assert (await scene.send(scene.event("last", 50_000))).status_code == 202

    async def is_counted() -> bool:
        return bool(await scene.found("last"))

    await until(is_counted, what="what came last to be counted")
    became = {name: (await scene.found(name))[0]["status"] for name in taken}
    (counted,) = [name for name, status in became.items() if status == "counted"]
    assert {status for name, status in became.items() if name != counted} <= {"conflict"}, (
        "each can see what it came to"
    )
    assert [each["replaced_by"] for each in await scene.found("a")] == [counted]
    for name in others.keys() - {counted}:
        again = await scene.correct("a", events[name])
        assert (again.status_code, again.json()["code"]) == (409, "usage_event_voided")
    await scene.total_is(50_001 + others[counted])
    assert (await scene.correct("a", events[counted])).status_code == 202
    assert (await scene.void(counted)).status_code == 202
    await scene.total_is(50_001)


async def test_a_correction_is_answered_as_taken_only_where_it_is_what_counts(scene: Scene) -> None:
    """An event that was replaced is corrected no more, whatever counts under the id of what was to come there."""
    await scene.client.made("/v1/meters", {"code": "calls", "name": "C", "aggregation": "count"})
    sent = [scene.event("a", 100), scene.event("gone", 20), scene.event("other", 7)]
    assert (await scene.send(sent)).status_code == 202
    await scene.total_is(128)
    wrote, right = scene.event("a2", 9), scene.event("a3", 10)
    assert (await scene.correct("a", wrote)).status_code == 202
    await scene.total_is(37)
    for changed in ({"properties": {"bytes": 11}}, {"timestamp": datetime.now(UTC).isoformat()}, {"meter": "calls"}):
        answer = await scene.correct("a", wrote | changed)
        problem = answer.json()
        assert (answer.status_code, problem["errors"][0]["code"]) == (422, "id_taken"), "not what stands there"
        assert problem["param"] == "instead.id"
    answer = await scene.correct("a", scene.event("other", 7))
    assert (answer.status_code, answer.json()["code"]) == (409, "usage_event_voided"), "it counts, but not there"
    assert "by a2:" in answer.json()["detail"], "what to correct instead"
    assert (await scene.correct("a", wrote)).status_code == 202, "the same again does no more"

    assert (await scene.correct("a2", right)).status_code == 202
    await scene.total_is(38)
    assert (await scene.correct("a", wrote)).status_code == 202, "what was replaced since was there"
    assert (await scene.correct("a2", right)).status_code == 202
    answer = await scene.correct("a2", wrote | {"id": "other"})
    assert (answer.status_code, answer.json()["code"]) == (409, "usage_event_voided")

    assert (await scene.void("gone")).status_code == 202
    await scene.total_is(18)
    unnamed = {name: value for name, value in scene.event("a4", 3).items() if name != "customer"}
    answer = await scene.correct("other", unnamed)
    assert (answer.status_code, answer.json()["customer"]) == (202, scene.customer), "whose it is was said"
    await scene.total_is(14)
    answer = await scene.correct("gone", scene.event("a4", 3))
    assert (answer.status_code, answer.json()["code"]) == (409, "usage_event_voided")
    assert "of its own" in answer.json()["detail"]
    await scene.total_is(14)


async def test_what_cannot_be_taken_back_is_told(scene: Scene) -> None:
    async def code(answer: httpx2.Response) -> tuple[int, str, str]:
        problem = answer.json()
        return answer.status_code, problem["code"], problem["param"]

    assert await code(await scene.void("nothing")) == (404, "usage_event_not_counted", "id")
    assert await scene.found("nothing") == []
    assert await code(await scene.correct("nothing", scene.event("x", 1))) == (404, "usage_event_not_counted", "id")
    assert await code(await scene.correct("first", scene.event("first", 2))) == (422, "validation_failed", "instead.id")
    wrong = scene.event("x", 1) | {"meter": "nothing"}
    assert await code(await scene.correct("first", wrong)) == (422, "usage_events_refused", "instead.meter")
    stranger = scene.event("x", 1) | {"customer": "cus_01m7ywe9z7e398x54gfbrtqnk7"}
    assert await code(await scene.correct("first", stranger)) == (422, "validation_failed", "instead.customer")
    assert (await scene.send(scene.event("other", 2))).status_code == 202
    await scene.total_is(3)
    answer = await scene.correct("first", scene.event("other", 5))
    assert (*(await code(answer)), answer.json()["errors"][0]["code"]) == (
        422,
        "validation_failed",
        "instead.id",
        "id_taken",
    )
    assert (await scene.void("other")).status_code == 202
    await scene.total_is(1)
    assert (await scene.void("first")).status_code == 202
    await scene.total_is(0)
    assert await code(await scene.correct("first", scene.event("x", 1))) == (409, "usage_event_voided", "id")
    other = await scene.api.tenant("other")
    answer = await other.post(f"{PATH}/void", {"customer": scene.customer, "id": "first"})
    assert answer.status_code == 404


async def test_a_void_says_when_its_event_was_appended(
    scene: Scene, kafka_server: KafkaServer, topic_prefix: str
) -> None:
    """By that the meter's version is found that read it."""
    assert (await scene.send(scene.event("a", 100))).status_code == 202
    await scene.total_is(101)
    assert (await scene.void("a")).status_code == 202
    await scene.total_is(1)
    consumer = AIOKafkaConsumer(
        topic_of(topic_prefix), bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    appended_ms: dict[str, int] = {}
    said_ms = None
    try:
        while said_ms is None:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    (event,) = decode(record.value)
                    if event.kind == VOID:
                        said_ms = original_appended_of(record.headers)
                    else:
                        appended_ms[event.id] = record.timestamp
    finally:
        await consumer.stop()
    assert said_ms == appended_ms["a"]
