"""Every PATCH there is: a field that is left out stays as it was, null clears it where it may be empty."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import pytest

from api.app import RESOURCES
from api.http.changes import Partial
from api.http.operations import Operation
from domain.identity.permissions import Permission
from testing.api_client import Client, running_api
from testing.services import FreshDatabase

OF_PEOPLE: Final = {Permission.APPROVAL_LIMITS_WRITE, Permission.BILLING_SETTINGS_WRITE}
PATCHES: Final = {
    operation.path: operation
    for each in RESOURCES
    for operation in each.declared
    if operation.method == "PATCH" and operation.is_command and operation.needs not in OF_PEOPLE
}
"""What no API key changes: a user's own profile (test_api_own_sessions.py), limits (test_api_approval_limits.py);
and settings, which have no id (test_api_invoice_pdf.py)."""


class Sample(NamedTuple):
    """How one is made with every changeable field given, another value of each, and what each moves besides."""

    make: Callable[[Client], Awaitable[Mapping[str, object]]]
    other: Mapping[str, object]
    moves: Mapping[str, frozenset[str]] = {}


KEPT: Final[dict[str, Any]] = {"metadata": {"segment": "smb"}}


async def _product(client: Client) -> Mapping[str, object]:
    named = {"name": "Team", "description": "For teams", "tax_category": "saas"}
    return await client.made("/v1/products", named | KEPT)


async def _plan(client: Client) -> Mapping[str, object]:
    product = await _product(client)
    interval = {"unit": "month", "count": 3}
    return await client.made(
        "/v1/plans", {"product": product["id"], "name": "Quarterly", "interval": interval, "trial_days": 14} | KEPT
    )


async def _plan_migration(client: Client) -> Mapping[str, object]:
    plan = await _plan(client)
    return await client.made(f"/v1/plans/{plan['id']}/migrations", KEPT)


async def _price(client: Client) -> Mapping[str, object]:
    plan = await _plan(client)
    model = {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}}
    return await client.made("/v1/prices", {"plan": plan["id"], "model": model} | KEPT)


async def _coupon(client: Client) -> Mapping[str, object]:
    return await client.made("/v1/coupons", {"name": "Ten", "percent_off": 10} | KEPT)


async def _discount(client: Client) -> Mapping[str, object]:
    coupon, customer = await _coupon(client), await _customer(client)
    return await client.made("/v1/discounts", {"coupon": coupon["id"], "customer": customer["id"]} | KEPT)


async def _meter(client: Client) -> Mapping[str, object]:
    return await client.made("/v1/meters", {"code": "calls", "name": "Calls", "aggregation": "count"} | KEPT)


async def _usage_alert(client: Client) -> Mapping[str, object]:
    watched = {"name": "Much", "meter": (await _meter(client))["id"], "thresholds": [{"quantity": 10}], "every": 5}
    return await client.made("/v1/usage/alerts", watched | KEPT)


async def _subscription(client: Client) -> Mapping[str, object]:
    price, customer = await _price(client), await _customer(client)
    order = {"customer": customer["id"], "plan": price["plan"], "items": [{"price": price["id"]}]}
    return await client.made("/v1/subscriptions", order | KEPT)


async def _invoice(client: Client) -> Mapping[str, object]:
    customer = await _customer(client)
    lines = [{"description": "Set-up", "amount": {"amount": 25000, "currency": "EUR"}}]
    return await client.made(
        "/v1/invoices", {"customer": customer["id"], "currency": "EUR", "lines": lines, "memo": "Soon"} | KEPT
    )


async def _credit_note(client: Client) -> Mapping[str, object]:
    invoice = await _invoice(client)
    assert (await client.post(f"/v1/invoices/{invoice['id']}/finalize")).status_code == 200
    return await client.made("/v1/credit-notes", {"invoice": invoice["id"]} | KEPT)


async def _test_clock(client: Client) -> Mapping[str, object]:
    return await client.made("/v1/test-clocks", {"name": "Clock", "frozen_time": "2026-01-31T12:00:00Z"} | KEPT)


async def _customer(client: Client) -> Mapping[str, object]:
    person = {
        "name": "Ada",
        "email": "ada@example.com",
        "phone": "+44 20 7946 0958",
        "address": {"city": "London", "country": "GB"},
        "tax_ids": [{"type": "gb_vat", "value": "GB123"}],
        "locale": "en-GB",
    }
    return await client.made("/v1/customers", {"currency": "EUR", "time_zone": "Europe/London", **person, **KEPT})


async def _payment_method(client: Client) -> Mapping[str, object]:
    customer = await _customer(client)
    card = {"customer": customer["id"], "type": "card", "token": "tok_visa"}
    return await client.made("/v1/payment-methods", card | KEPT)


async def _payment(client: Client) -> Mapping[str, object]:
    customer = await _customer(client)
    amount = {"amount": 1999, "currency": "EUR"}
    return await client.made("/v1/payments", {"customer": customer["id"], "amount": amount} | KEPT)


async def _refund(client: Client) -> Mapping[str, object]:
    method = await _payment_method(client)
    order = {"customer": method["customer"], "payment_method": method["id"], "confirm": True}
    payment = await client.made("/v1/payments", order | {"amount": {"amount": 1999, "currency": "EUR"}})
    await client.captured(str(payment["id"]))
    return await client.made("/v1/refunds", {"payment": payment["id"]} | KEPT)


async def _api_key(client: Client) -> Mapping[str, object]:
    limits = {"reads_per_hour": 10, "writes_per_hour": None, "admin_per_hour": 1}
    named = {"name": "imports", "scope": "write", "allowed_networks": ["192.0.2.0/24"], "limits": limits}
    made = await client.made("/v1/api-keys", named)
    return {**made, "secret": None}


async def _tax_settings(client: Client) -> Mapping[str, object]:
    path = f"/v1/tenants/{client.tenant_id}/tax-settings"
    answer = await client.send("PATCH", path, {"seller_country": "DE", "prices_include_tax": False})
    found: dict[str, object] = answer.json()
    return found


OTHER: Final[dict[str, Any]] = {"metadata": {"segment": "enterprise"}}
SAMPLES: Final[Mapping[str, Sample]] = {
    "/v1/products/{product_id}": Sample(
        _product, {"name": "Team Plus", "description": "For all", "tax_category": "software"} | OTHER
    ),
    "/v1/plans/{plan_id}": Sample(
        _plan,
        {
            "name": "Yearly",
            "interval": {"unit": "year", "count": 1},
            "trial_days": 30,
            "features": [
                {"key": "seats", "limit": 20, "meter": None, "limit_kind": "hard"},
                {"key": "audit_log", "limit": None, "meter": None, "limit_kind": "hard"},
            ],
        }
        | OTHER,
    ),
    "/v1/plan-migrations/{plan_migration_id}": Sample(_plan_migration, OTHER),
    "/v1/prices/{price_id}": Sample(_price, OTHER),
    "/v1/coupons/{coupon_id}": Sample(_coupon, OTHER),
    "/v1/discounts/{discount_id}": Sample(_discount, OTHER),
    "/v1/meters/{meter_id}": Sample(_meter, {"name": "API calls"} | OTHER),
    "/v1/usage/alerts/{usage_alert_id}": Sample(
        _usage_alert,
        {"name": "More", "thresholds": [{"quantity": "20.5", "percent": None}], "every": None} | OTHER,
    ),
    "/v1/subscriptions/{subscription_id}": Sample(_subscription, OTHER),
    "/v1/credit-notes/{credit_note_id}": Sample(_credit_note, OTHER),
    "/v1/invoices/{invoice_id}": Sample(_invoice, {"memo": "Thank you", "days_until_due": 7} | OTHER),
    "/v1/payments/{payment_id}": Sample(_payment, OTHER),
    "/v1/refunds/{refund_id}": Sample(_refund, OTHER),
    "/v1/test-clocks/{test_clock_id}": Sample(_test_clock, OTHER),
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
            "tax_ids": [{"type": "eu_vat", "value": "DE136695976"}],
            "time_zone": "Asia/Tokyo",
            "locale": "ja-JP",
            "tax_exempt": True,
        }
        | OTHER,
        moves={"address": frozenset({"tax_location"}), "tax_ids": frozenset({"vat_id_country"})},
    ),
    "/v1/payment-methods/{payment_method_id}": Sample(
        _payment_method,
        {"token": "tok_mastercard"} | OTHER,
        moves={"token": frozenset({"brand", "last4", "expires_month", "expires_year"})},
    ),
    "/v1/tenants/{tenant}/tax-settings": Sample(
        _tax_settings, {"seller_country": "FR", "prices_include_tax": True, "tax_calculator": "remote"}
    ),
    "/v1/api-keys/{api_key_id}": Sample(
        _api_key,
        {
            "name": "exports",
            "allowed_networks": ["198.51.100.0/24", "2001:db8::/32"],
            "limits": {"reads_per_hour": None, "writes_per_hour": 5, "admin_per_hour": None},
        },
    ),
}
NOT_SHOWN: Final = frozenset({"token"})
SHOWN_BY_ID_ALONE: Final = frozenset({"steps", "triggered"})
COUNTS_CHANGES: Final = frozenset({"version"})


@pytest.fixture
async def client(database: FreshDatabase) -> AsyncIterator[Client]:
    async with running_api(database) as api:
        yield await api.tenant("acme")


def fields_of(operation: Operation) -> set[str]:
    assert operation.body is not None
    return set(operation.body.model_fields)


def path_of(path: str, made: Mapping[str, object]) -> str:
    """Of the one that was made; a tenant's settings are named by the tenant."""
    return re.sub(r"\{\w+\}", str(made["id"] if "id" in made else made["tenant"]), path)


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
    assert issubclass(body, Partial)
    assert "required" not in body.model_json_schema()


@pytest.mark.parametrize("path", PATCHES)
async def test_what_a_change_leaves_out_stays_as_it_is(client: Client, path: str) -> None:
    sample = SAMPLES[path]
    before = await sample.make(client)
    one = path_of(path, before)
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
    one = path_of(path, before)
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
    shown = (await client.get(one)).json()
    assert {each: shown[each] for each in shown if each not in SHOWN_BY_ID_ALONE} == before
