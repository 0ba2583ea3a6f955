"""Usage through the API: what is answered with 202 the brokers have, and nothing that is told to be refused."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from domain.identity.permissions import Scope
from host.embedded.kafka import EmbeddedKafka
from host.embedded.process import free_port
from infra.settings import ApiSettings, KafkaSettings, UsageSettings
from testing.api_client import Api, Client, running_api
from testing.projection_stack import until
from testing.services import FreshDatabase, KafkaServer
from usage.wire import WireEvent, decode, partition_of_customer, tenant_of, topic_of

PATH = "/v1/usage/events"
PARTITIONS = 3
USAGE = UsageSettings(partitions=PARTITIONS)


class Scene:
    """A tenant with a meter and a customer, and the topic."""

    def __init__(self, api: Api, client: Client, kafka: KafkaSettings) -> None:
        self.api = api
        self.client = client
        self.kafka = kafka
        self.customer = ""

    async def begin(self) -> None:
        self.customer = await self.made_customer()
        await self.client.made(
            "/v1/meters", {"code": "bytes", "name": "B", "aggregation": "sum", "value_property": "bytes"}
        )
        await until(self._is_connected, what="the producer to be connected")

    async def _is_connected(self) -> bool:
        return (await self.send([self.event("probe")], headers={"Tallybook-Dry-Run": "true"})).status_code == 200 and (
            await self.send(self.event("connects"))
        ).status_code == 202

    async def made_customer(self, **facts: Any) -> str:
        return str((await self.client.made("/v1/customers", {"currency": "EUR"} | facts))["id"])

    def event(self, event_id: str, **fields: Any) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        return {
            "id": event_id, "meter": "bytes", "customer": self.customer, "timestamp": now, "properties": {"bytes": 7},
        } | fields  # fmt: skip

    async def send(
        self, body: object, *, client: Client | None = None, headers: dict[str, str] | None = None, kind: str = "json"
    ) -> httpx2.Response:
        asks = client or self.client
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {asks.key}", "Content-Type": f"application/{kind}", **(headers or {})}
        return await asks.http.request("POST", PATH, content=raw, headers=sent)

    async def kept(self) -> list[tuple[str, int, WireEvent]]:
        """What the topic holds: tenant, partition, event; in the order of partitions and offsets."""
        topic = topic_of(self.kafka.topic_prefix)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            found: list[tuple[str, int, WireEvent]] = []
            for place in places:
                await consumer.seek_to_beginning(place)
                while await consumer.position(place) < ends[place]:
                    for record in (await consumer.getmany(place, timeout_ms=1_000)).get(place, ()):
                        tenant = tenant_of(record.headers)
                        found += [(tenant, place.partition, each) for each in decode(record.value)]
            return found
        finally:
            await consumer.stop()

    async def ids(self) -> Sequence[str]:
        """Those of the events that the topic holds, without the one that the scene begins with."""
        return sorted(each.id for _, _, each in await self.kept() if each.id != "connects")


@pytest.fixture
def kafka(kafka_server: KafkaServer, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka_server.bootstrap, topic_prefix=topic_prefix)


@pytest.fixture
async def scene(database: FreshDatabase, kafka: KafkaSettings) -> AsyncIterator[Scene]:
    async with running_api(database, kafka=kafka, usage=USAGE) as api:
        scene = Scene(api, await api.tenant("acme"), kafka)
        await scene.begin()
        yield scene


async def test_what_is_accepted_is_on_the_topic_at_its_customers_place(scene: Scene) -> None:
    """Nothing is projected here: meters and customers are known by the log as soon as they are made."""
    other = await scene.made_customer()
    events = [scene.event(f"e{nth}", customer=(scene.customer, other)[nth % 2]) for nth in range(100)]
    answer = await scene.send(events)
    assert (answer.status_code, answer.json()) == (202, {"object": "usage_events", "accepted": 100, "errors": []})
    kept = [each for each in await scene.kept() if each[2].id != "connects"]
    assert sorted(each.id for _, _, each in kept) == sorted(each["id"] for each in events)
    for tenant, partition, each in kept:
        assert tenant == "acme"
        assert partition == partition_of_customer("acme", each.customer, PARTITIONS)
        assert (each.kind, each.value, each.properties) == ("event", 7 * 10**9, {"bytes": "7"})
    of_one = [each.id for _, _, each in kept if each.customer == other]
    assert of_one == [each["id"] for each in events if each["customer"] == other], "in their order"


async def test_bad_events_are_told_and_the_others_are_taken(scene: Scene) -> None:
    sent = [scene.event("a"), scene.event("b", meter="nothing"), scene.event("c"), {"id": "d"}]
    answer = await scene.send(sent)
    assert answer.status_code == 202
    told = answer.json()
    assert told["accepted"] == 2
    assert [(each["index"], each["id"], each["param"], each["code"]) for each in told["errors"]] == [
        (1, "b", "meter", "unknown_meter"),
        (3, "d", "meter", "required"),
    ]
    assert await scene.ids() == ["a", "c"]


async def test_all_or_nothing_takes_nothing_where_one_is_bad(scene: Scene) -> None:
    sent = [scene.event("a"), scene.event("b", meter="nothing")]
    answer = await scene.send(sent, headers={"Tallybook-All-Or-Nothing": "true"})
    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["code"], problem["param"]) == ("usage_events_refused", "1.meter")
    assert [(each["param"], each["code"]) for each in problem["errors"]] == [("1.meter", "unknown_meter")]
    assert await scene.ids() == []
    assert (await scene.send(sent[:1], headers={"Tallybook-All-Or-Nothing": "true"})).status_code == 202
    assert (await scene.send(sent[:1], headers={"Tallybook-All-Or-Nothing": "yes"})).status_code == 400
    assert await scene.ids() == ["a"]


async def test_a_request_of_which_nothing_can_be_taken_is_a_problem(scene: Scene) -> None:
    answer = await scene.send(scene.event("a", customer="cus_nobody"))
    assert (answer.status_code, answer.json()["code"]) == (422, "usage_events_refused")
    for body, code in ((b"[]", "validation_failed"), (b"{", "malformed_json"), (b"", "malformed_json")):
        assert (await scene.send(body)).json()["code"] == code
    assert (await scene.send(scene.event("a"), kind="xml")).status_code == 415
    assert await scene.ids() == []


async def test_a_dry_run_checks_and_sends_nothing(scene: Scene) -> None:
    answer = await scene.send([scene.event("a"), {}], headers={"Tallybook-Dry-Run": "true"})
    told = answer.json()
    assert (answer.status_code, told["object"], told["status"]) == (200, "dry_run", 202)
    assert (told["result"]["accepted"], told["result"]["errors"][0]["code"]) == (1, "required")
    assert await scene.ids() == []


async def test_cloud_events_come_by_their_type_of_content(scene: Scene) -> None:
    cloud = {
        "specversion": "1.0", "id": "1", "source": "/gw", "type": "bytes", "subject": scene.customer,
        "time": datetime.now(UTC).isoformat(), "data": {"bytes": "2.5"},
    }  # fmt: skip
    assert (await scene.send(cloud, kind="cloudevents+json")).json()["accepted"] == 1
    assert (await scene.send([cloud | {"id": "2"}], kind="cloudevents-batch+json; charset=utf-8")).status_code == 202
    assert await scene.ids() == ["/gw 1", "/gw 2"]


async def test_a_tenant_sees_nothing_of_anothers_meters_and_customers(scene: Scene) -> None:
    stranger = await scene.api.tenant("other")
    bytes_too = {"code": "bytes", "name": "B", "aggregation": "sum", "value_property": "bytes"}
    for expected in ("unknown_meter", "unknown_customer"):
        answer = await scene.send(scene.event("a"), client=stranger)
        assert [each["code"] for each in answer.json()["errors"]] == [expected]
        await stranger.post("/v1/meters", bytes_too)
    assert (
        await scene.send(scene.event("a"), client=await scene.api.tenant("acme", scope=Scope.READ))
    ).status_code == 403


async def test_a_customer_on_a_test_clock_counts_by_it_and_a_deleted_one_uses_nothing(scene: Scene) -> None:
    frozen = datetime(2030, 1, 1, tzinfo=UTC)
    clock = await scene.client.made("/v1/test-clocks", {"name": "C", "frozen_time": frozen.isoformat()})
    on_clock = await scene.made_customer(test_clock=clock["id"])

    async def code(**fields: Any) -> str | None:
        errors = (await scene.send([scene.event("x", **fields), scene.event("y")])).json()["errors"]
        return str(errors[0]["code"]) if errors else None

    assert await code(customer=on_clock) == "timestamp_too_old"
    assert await code(customer=on_clock, timestamp=frozen.isoformat()) is None
    later = frozen + timedelta(minutes=6)
    assert await code(customer=on_clock, timestamp=later.isoformat()) == "timestamp_ahead"
    gone = await scene.made_customer()
    assert (await scene.client.send("DELETE", f"/v1/customers/{gone}", {})).status_code == 200
    assert await code(customer=gone) == "customer_deleted"


async def test_usage_has_a_rate_of_its_own(database: FreshDatabase, kafka: KafkaSettings) -> None:
    limited = ApiSettings(usage_requests_per_hour=2)
    async with running_api(database, api=limited, kafka=kafka, usage=USAGE) as api:
        scene = Scene(api, await api.tenant("acme"), kafka)
        answers = [await scene.send([{}]) for _ in range(3)]
        assert [each.status_code for each in answers] == [422, 422, 429]
        assert '"usage"' in answers[0].headers["ratelimit-policy"]
        assert (await scene.client.get("/v1/meters")).status_code == 200
        await scene.made_customer()


async def test_beyond_what_fits_into_memory_the_sender_waits(database: FreshDatabase, kafka: KafkaSettings) -> None:
    async with running_api(database, kafka=kafka, usage=USAGE.model_copy(update={"in_flight_max_bytes": 1})) as api:
        scene = Scene(api, await api.tenant("acme"), kafka)
        answer = await scene.send(scene.event("a"))
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "usage_busy", "1")


async def test_a_process_that_takes_no_usage_says_so(database: FreshDatabase) -> None:
    async with running_api(database, usage=UsageSettings(ingest_in_api=False)) as api:
        scene = Scene(api, await api.tenant("acme"), KafkaSettings())
        answer = await scene.send(scene.event("a"))
        assert (answer.status_code, answer.json()["code"]) == (421, "usage_taken_elsewhere")


async def test_while_the_brokers_are_away_nothing_is_claimed_and_then_it_goes_on(
    database: FreshDatabase, own_kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    """Every 202 is on the topic, also of events that were sent while the brokers died."""
    kafka = KafkaSettings(bootstrap=own_kafka.bootstrap, topic_prefix=topic_prefix)
    usage = USAGE.model_copy(update={"ack_timeout_ms": 2_000})
    async with running_api(database, kafka=kafka, usage=usage) as api:
        scene = Scene(api, await api.tenant("acme"), kafka)
        await scene.begin()
        claimed: list[str] = []

        async def sent(event_id: str) -> int:
            answer = await scene.send(scene.event(event_id))
            if answer.status_code == 202:
                claimed.append(event_id)
            else:
                assert (answer.status_code, answer.json()["code"]) == (503, "usage_unavailable")
                assert answer.headers["retry-after"] == "1"
            return answer.status_code

        assert await sent("before") == 202
        own_kafka.kill()
        assert await sent("killed") == 503
        assert await sent("away") == 503
        own_kafka.start()

        async def goes_on() -> bool:
            return await sent("after") == 202

        await until(goes_on, what="events to be taken again")
        assert set(claimed) <= set(await scene.ids())


async def test_without_brokers_nothing_is_taken(database: FreshDatabase) -> None:
    nobody = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}")
    for kafka in (KafkaSettings(), nobody):
        async with running_api(database, kafka=kafka, usage=USAGE) as api:
            scene = Scene(api, await api.tenant("acme"), kafka)
            scene.customer = await scene.made_customer()
            await scene.client.post("/v1/meters", {"code": "calls", "name": "C", "aggregation": "count"})
            answer = await scene.send(scene.event("a", meter="calls"))
            assert (answer.status_code, answer.json()["code"]) == (503, "usage_unavailable")
