"""The small tenant of `tallybook dev`: made once, found again by the key kept in the data folder."""

from pathlib import Path

from cli.api_client import ApiClient
from cli.api_keys import create_key
from cli.tenants import TenantExists, create_tenant
from cli.users import create_admin
from domain.kernel.tenant_mode import TenantMode
from host.configured import owner_dsn
from host.stack import Stack
from infra.identity.one_time_tokens import Purpose
from infra.settings import data_dir

TENANT = "dev"
ADMIN = "developer@example.com"
KEY_FILE = "dev.key"
CUSTOMERS = (
    ("Ada Lovelace", "ada@example.com", "tok_visa"),
    ("Grace Hopper", "grace@example.com", "tok_mastercard"),
    ("Alan Turing", "alan@example.com", "tok_decline_insufficient_funds_then_succeed"),
)
METERED = ("Katherine Johnson", "katherine@example.com", "tok_visa")
METER = "pages"
"""What is counted of her besides: her usage events say it."""


async def seed(stack: Stack) -> str:
    """Make the tenant, a plan, a meter and four subscribed customers, unless they are there; return an API key."""
    key = await _key(stack)
    async with ApiClient(stack.api_url, key, certificate_file=stack.certificate_file) as api:
        product = await api.post("/v1/products", {"name": "Notebook"}, key="seed:product")
        plan = await api.post(
            "/v1/plans",
            {"product": product["id"], "name": "Notebook, monthly", "interval": {"unit": "month"}},
            key="seed:plan",
        )
        price = await api.post(
            "/v1/prices",
            {"plan": plan["id"], "model": {"type": "flat", "amount": {"amount": 1999, "currency": "USD"}}},
            key="seed:price",
        )
        for each in CUSTOMERS:
            await _subscribe(api, each, plan["id"], price["id"])
        meter = await api.post(
            "/v1/meters",
            {"code": METER, "name": "Printed pages", "aggregation": "sum", "unit": "pages", "value_property": "pages"},
            key="seed:meter",
        )
        metered = await api.post(
            "/v1/prices",
            {
                "plan": plan["id"],
                "name": "Printed pages",
                "timing": "in_arrears",
                "meter": meter["id"],
                "model": {"type": "per_unit", "currency": "USD", "unit_amount": "2.5"},
            },
            key="seed:metered-price",
        )
        await _subscribe(api, METERED, plan["id"], price["id"], metered["id"])
    return key


async def _subscribe(api: ApiClient, who: tuple[str, str, str], plan: str, *prices: str) -> None:
    name, email, token = who
    customer = await api.post(
        "/v1/customers", {"name": name, "email": email, "currency": "USD"}, key=f"seed:customer:{email}"
    )
    await api.post(
        "/v1/payment-methods",
        {"customer": customer["id"], "type": "card", "token": token, "set_default": True},
        key=f"seed:method:{email}",
    )
    await api.post(
        "/v1/subscriptions",
        {"customer": customer["id"], "plan": plan, "items": [{"price": price} for price in prices]},
        key=f"seed:subscription:{email}",
    )


async def sign_in_link(stack: Stack) -> str:
    """A link that signs its reader in once, from this machine, within 10 minutes: nobody has to think of a password."""
    made = await create_admin(
        owner_dsn(stack.settings),
        stack.settings,
        tenant_id=TENANT,
        email=ADMIN,
        name="Developer",
        link=Purpose.FIRST_LOG_IN,
    )
    return f"{stack.api_url}/sign-in#token={made.token}"


async def _key(stack: Stack) -> str:
    file = data_dir(stack.settings) / KEY_FILE
    if file.exists():
        return file.read_text(encoding="utf-8")
    dsn = owner_dsn(stack.settings)
    try:
        key = (await create_tenant(dsn, stack.settings, tenant_id=TENANT, name="Development", mode=TenantMode.TEST)).key
    except TenantExists:  # its file is gone: a start that was stopped between the two, or somebody removed it
        key = await create_key(dsn, stack.settings, tenant_id=TENANT)
    _write_secret(file, key.secret)
    return key.secret


def _write_secret(file: Path, secret: str) -> None:
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")
