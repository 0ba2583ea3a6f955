"""A card number is refused wherever it is sent and however it is written, and is never logged."""

import json

import pytest

from tests.attack.target import Target

DIGITS = "4242424242424242"
WRITTEN = {
    "plain": DIGITS,
    "plus": "4242+4242+4242+4242",
    "encoded digits": "%34%32" * 8,
    "encoded spaces": "4242%204242%204242%204242",
    "encoded plus": "4242%2B4242%2B4242%2B4242",
    "no-break spaces": "4242%C2%A04242%C2%A04242%C2%A04242",
    "dots": "4242.4242.4242.4242",
    "zero width": "4242%E2%80%8B4242%E2%80%8B4242%E2%80%8B4242",
    "slashes": "4242%2F4242%2F4242%2F4242",
    "hyphens": "4242-4242-4242-4242",
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
async def test_a_card_number_in_a_query_is_refused_however_it_is_written(target: Target, written: str) -> None:
    for path in (f"/v1/customers?email={written}", f"/v1/customers?{written}=1", f"/v1/products?name={written}"):
        answer = await target.send("GET", path)
        assert (answer.status, answer.code) == (422, "card_number_refused"), (path, answer)
        assert DIGITS not in answer.body.decode()


@pytest.mark.parametrize("joint", ["", " ", "-", "\u00a0", ".", "/", "\u200b", "+", "\u2013"])
async def test_a_card_number_in_a_body_is_refused_however_it_is_written(target: Target, joint: str) -> None:
    before = await target.head_position()
    written = joint.join(["4242"] * 4)
    for body in ({"name": written}, {"name": "P", "description": f"card {written}."}, {"name": "P", written: 1}):
        answer = await target.send("POST", "/v1/products", json.dumps(body).encode())
        assert (answer.status, answer.code) == (422, "card_number_refused"), (body, answer)
    assert await target.head_position() == before
    assert DIGITS not in target.process.log
    assert "4242 4242" not in target.process.log


async def test_numeric_ids_are_not_refused_by_chance(target: Target) -> None:
    """Every check digit of an id of 19 digits, IMEIs, and any number where another system's ids stand."""
    for last in range(10):
        metadata = {"order": f"176370000000000000{last}", "imei": f"35693803564380{last}"}
        body = {"currency": "EUR", "external_id": f"42424242424242{last}{last}", "metadata": metadata}
        await target.made("/v1/customers", body)
        found = await target.send("GET", f"/v1/customers?external_id=42424242424242{last}{last}")
        assert found.status == 200
