"""Every PATCH there is: a field that is left out stays as it was, null clears it where it may be empty."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, NamedTuple

import pytest

from api.app import RESOURCES
from api.http.changes import Change
from api.http.operations import Operation
from testing.api_client import Client, running_api
from testing.services import FreshDatabase

PATCHES: Final = {
    operation.path: operation for each in RESOURCES for operation in each.declared if operation.method == "PATCH"
}


class Sample(NamedTuple):
    """How one is made with every changeable field given, another value of each, and what each moves besides."""

    make: Callable[[Client], Awaitable[Mapping[str, object]]]
    other: Mapping[str, object]
    moves: Mapping[str, frozenset[str]] = {}


async def _product(client: Client) -> Mapping[str, object]:
    return await client.made("/v1/products", {"name": "Team", "description": "For teams", "tax_category": "saas"})


async def _plan(client: Client) -> Mapping[str, object]:
    product = await _product(client)
    interval = {"unit": "month", "count": 3}
    return await client.made(
        "/v1/plans", {"product": product["id"], "name": "Quarterly", "interval": interval, "trial_days": 14}
    )


async def _customer(client: Client) -> Mapping[str, object]:
    person = {
        "name": "Ada",
        "email": "ada@example.com",
        "phone": "+44 20 7946 0958",
        "address": {"city": "London", "country": "GB"},
        "tax_ids": [{"type": "gb_vat", "value": "GB123"}],
        "metadata": {"segment": "smb"},
    }
    return await client.made("/v1/customers", {"currency": "EUR", "time_zone": "Europe/London", **person})


async def _payment_method(client: Client) -> Mapping[str, object]:
    customer = await _customer(client)
    return await client.made("/v1/payment-methods", {"customer": customer["id"], "type": "card", "token": "tok_visa"})


SAMPLES: Final[Mapping[str, Sample]] = {
    "/v1/products/{product_id}": Sample(
        _product, {"name": "Team Plus", "description": "For all", "tax_category": "software"}
    ),
    "/v1/plans/{plan_id}": Sample(
        _plan, {"name": "Yearly", "interval": {"unit": "year", "count": 1}, "trial_days": 30}
    ),
    "/v1/customers/{customer_id}": Sample(
        _customer,
        {
            "name": "Countess",
            "email": "countess@example.com",
            "phone": "+49 30 901820",
            "address": {
                "line1": None,
                "line2": None,
                "city": "Berlin",
                "region": None,
                "postal_code": None,
                "country": "DE",
            },
            "tax_ids": [{"type": "eu_vat", "value": "DE123"}],
            "metadata": {"tier": "gold"},
            "time_zone": "Asia/Tokyo",
        },
        moves={"address": frozenset({"tax_location"})},
    ),
    "/v1/payment-methods/{payment_method_id}": Sample(
        _payment_method,
        {"token": "tok_mastercard"},
        moves={"token": frozenset({"brand", "last4", "expires_month", "expires_year"})},
    ),
}
NOT_SHOWN: Final = frozenset({"token"})
COUNTS_CHANGES: Final = frozenset({"version"})


@pytest.fixture
async def client(database: FreshDatabase) -> AsyncIterator[Client]:
    async with running_api(database) as api:
        yield await api.tenant("acme")


def fields_of(operation: Operation) -> set[str]:
    assert operation.body is not None
    return set(operation.body.model_fields)


def clears(operation: Operation, name: str) -> bool:
    """Whether the API's document says that null may be sent."""
    assert operation.body is not None
    field = operation.body.model_json_schema()["properties"][name]
    return {"type": "null"} in field.get("anyOf", [])


def test_every_change_of_the_api_is_sampled_here_with_all_of_its_fields() -> None:
    assert {path: set(sample.other) for path, sample in SAMPLES.items()} == {
        path: fields_of(operation) for path, operation in PATCHES.items()
    }


@pytest.mark.parametrize("path", PATCHES)
def test_every_field_of_a_change_may_be_left_out(path: str) -> None:
    body = PATCHES[path].body
    assert body is not None
    assert issubclass(body, Change)
    assert "required" not in body.model_json_schema()


@pytest.mark.parametrize("path", PATCHES)
async def test_what_a_change_leaves_out_stays_as_it_is(client: Client, path: str) -> None:
    sample = SAMPLES[path]
    before = await sample.make(client)
    one = path.partition("{")[0] + str(before["id"])
    nothing = await client.send("PATCH", one, {})
    assert (nothing.status_code, nothing.json()) == (200, before)
    for name, value in sample.other.items():
        changed = await client.send("PATCH", one, {name: value})
        assert changed.status_code == 200, changed.text
        after = changed.json()
        if name not in NOT_SHOWN:
            assert after[name] == value
        moved = {each for each in before if after[each] != before[each]} - COUNTS_CHANGES
        assert moved <= {name, *sample.moves.get(name, ())}
        before = after


@pytest.mark.parametrize("path", PATCHES)
async def test_null_clears_what_may_be_empty_and_is_refused_elsewhere(client: Client, path: str) -> None:
    sample = SAMPLES[path]
    before = await sample.make(client)
    one = path.partition("{")[0] + str(before["id"])
    for name in sample.other:
        answer = await client.send("PATCH", one, {name: None})
        after = answer.json()
        if clears(PATCHES[path], name):
            assert answer.status_code == 200, answer.text
            assert not after[name]
            moved = {each for each in before if after[each] != before[each]} - COUNTS_CHANGES
            assert moved <= {name, *sample.moves.get(name, ())}
            before = after
        else:
            assert answer.status_code == 422
            assert [error["param"] for error in after["errors"]] == [name]
    assert (await client.get(one)).json() == before
