"""What came in, through the API: whoever asks why a figure is what it is finds each event and what became of it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from domain.identity.browser import PORTAL_COOKIE
from testing.people import Browser
from testing.projection_stack import until
from testing.services import FreshDatabase, KafkaServer
from tests.integration.usage_scene import counting_api
from tests.integration.usage_shop import PARTITIONS, UsageShop, at, utc

PATH = "/v1/usage/events"


@pytest.fixture
async def scene(
    database: FreshDatabase, kafka_server: KafkaServer, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[UsageShop]:
    async with counting_api(database, kafka_server, topic_prefix, tmp_path, partitions=PARTITIONS) as api:
        yield UsageShop(api, await api.tenant("acme"))


async def listed(scene: UsageShop, **asked: object) -> list[dict[str, Any]]:
    """Of all pages."""
    found: list[dict[str, Any]] = []
    while True:
        page = await scene.found(f"{PATH}?{urlencode(asked)}")
        found += page["data"]
        if not page["has_more"]:
            return found
        asked["starting_after"] = page["next_cursor"]


def fates(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["id"], each["status"]) for each in found]


async def test_support_sees_what_was_counted_repeated_left_out_taken_back_and_replaced(scene: UsageShop) -> None:
    filters = [{"property": "direction", "values": ["out"]}]
    meter, customer = await scene.meter("traffic", filters=filters), await scene.customer()
    await scene.used(customer, "traffic", (at(1), 1), (at(2), 2), direction="out")
    await scene.used(customer, "traffic", (at(3), 3), direction="in")
    again: dict[str, Any] = {"id": "e1", "meter": "traffic", "customer": customer, "timestamp": at(1).isoformat()}
    again["properties"] = {"gb": 1, "direction": "out"}
    await scene.counted(customer, "traffic", [again])
    await scene.counted(customer, "traffic", [{**again, "properties": {"gb": 7, "direction": "out"}}])
    await scene.counted(customer, "traffic", [{**again, "id": "e4"}, {**again, "id": "e5"}])
    gone = await scene.client.post(f"{PATH}/void", {"customer": customer, "id": "e2"})
    assert (gone.status_code, gone.json()["status"], gone.json()["voided"]) == (202, "counted", True)
    put = await scene.client.post(
        f"{PATH}/correct", {"customer": customer, "id": "e4", "instead": {**again, "id": "e6"}}
    )
    assert (put.status_code, put.json()["status"], put.json()["received_at"]) == (202, "pending", None)

    async def is_counted() -> bool:
        return ("e6", "counted") in fates(await listed(scene, customer=customer))

    await until(is_counted, what="the correction to be counted")
    found = await listed(scene, customer=customer, limit=2)
    assert fates(found) == [
        ("e6", "counted"),
        ("e5", "counted"),
        ("e4", "counted"),
        ("e1", "conflict"),
        ("e1", "duplicate"),
        ("e3", "left_out"),
        ("e2", "counted"),
        ("e1", "counted"),
    ]
    taken_back = {each["id"]: each["replaced_by"] for each in found if each["voided"]}
    assert taken_back == {"e2": None, "e4": "e6"}
    (e2,) = await listed(scene, customer=customer, id="e2")
    assert e2 == found[6]
    assert (e2["meter"], e2["value"], e2["timestamp"], e2["properties"]["gb"]) == (meter, "2", utc(at(2)), "2")
    assert (await scene.shown(customer, "traffic", f"?from={at(0):%Y-%m-%d}"))["quantity"] == "3"
    gone_too = [{"customer": customer, "id": each} for each in ("e3", "e4")]
    voided = [(await scene.client.post(f"{PATH}/void", each)).json() for each in gone_too]
    assert [(each["status"], each["voided"], each["replaced_by"]) for each in voided] == [
        ("left_out", True, None),
        ("counted", True, "e6"),
    ], "as the list tells them"


async def test_events_are_found_by_meter_time_and_id_and_no_tenant_or_customer_sees_anothers(scene: UsageShop) -> None:
    ada, bob = await scene.customer(), await scene.customer()
    await scene.meter("traffic")
    calls = await scene.meter("calls", "count")
    await scene.used(ada, "traffic", (at(1), 1), (at(2), 2))
    await scene.used(ada, "calls", (at(3), 1))
    await scene.used(bob, "calls", (at(3), 1))
    ids = ["e4", "e3", "e2", "e1"]
    assert sorted(each["id"] for each in await listed(scene, limit=3)) == sorted(ids)
    for asked, wanted in (
        ({"meter": "calls"}, ["e4", "e3"]),
        ({"meter": calls, "customer": ada}, ["e3"]),
        ({"meter": "nothing"}, []),
        ({"id": "e2"}, ["e2"]),
        ({"customer": ada, "from": utc(at(2))}, ["e3", "e2"]),
        ({"customer": ada, "to": utc(at(2))}, ["e1"]),
        ({"customer": ada, "received_to": utc(at(3))}, []),
        ({"customer": ada, "id": "e4"}, []),
        ({"customer": ada, "id": "e2", "meter": "traffic"}, ["e2"]),
    ):
        assert sorted((each["id"] for each in await listed(scene, **asked)), reverse=True) == wanted, asked
    (newest,) = (await scene.found(f"{PATH}?customer={bob}&limit=1"))["data"]
    assert await listed(scene, received_from=newest["received_at"], customer=bob)

    other = await scene.api.tenant("bolt")
    for query in ("", f"?customer={ada}", f"?customer={ada}&id=e1"):
        assert (await other.get(f"{PATH}{query}")).json()["data"] == []
    link = await scene.client.made(f"/v1/customers/{ada}/portal-sessions", {})
    visitor = Browser(http=scene.api.http, keeps=PORTAL_COOKIE)
    assert (await visitor.send("POST", "/v1/portal/login", {"code": link["code"]})).status_code == 200
    for query, wanted in (("", ["e3", "e2", "e1"]), (f"?customer={bob}", []), (f"?customer={ada}&id=e1", ["e1"])):
        answer = await visitor.send("GET", f"{PATH}{query}")
        assert [each["id"] for each in answer.json()["data"]] == wanted, answer.text


async def test_what_is_no_question_is_refused(scene: UsageShop) -> None:
    await scene.meter("traffic")
    await scene.used(await scene.customer(), "traffic", (at(1), 1))
    for query, param in (
        ({"from": utc(at(2)), "to": utc(at(2))}, "to"),
        ({"received_from": utc(at(2)), "received_to": utc(at(2) - timedelta(days=1))}, "received_to"),
        ({"starting_after": "9.9.9"}, "starting_after"),
        ({"starting_after": "somewhere"}, "starting_after"),
        ({"meter": "1"}, "meter"),
        ({"since": utc(at(2))}, "since"),
    ):
        answer = await scene.client.get(f"{PATH}?{urlencode(query)}")
        assert (answer.status_code, answer.json()["errors"][0]["param"]) == (422, param), answer.text
