"""What an invoice owes, through the API: paid in parts, overpaid, drawn on the balance, written off and recovered."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from testing.api_client import Api, Client, project, running_api
from testing.services import FreshDatabase


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


def eur(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


async def customer(client: Client) -> str:
    return str((await client.made("/v1/customers", {"currency": "EUR"}))["id"])


async def invoice(client: Client, customer_id: str, amount: int = 1_000) -> str:
    """An open invoice; its path."""
    lines = [{"description": "Set-up", "amount": eur(amount)}]
    body = {"customer": customer_id, "currency": "EUR", "lines": lines}
    path = f"/v1/invoices/{(await client.made('/v1/invoices', body))['id']}"
    assert (await client.post(f"{path}/finalize")).status_code == 200
    return path


async def done(client: Client, path: str, body: object = None) -> dict[str, Any]:
    answer = await client.post(path, body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def came(client: Client, path: str, amount: int) -> dict[str, Any]:
    return await done(client, f"{path}/pay", {"paid_out_of_band": True, "amount": eur(amount)})


def owed(shown: dict[str, Any]) -> tuple[str, int, int, int, int]:
    """Status; applied, paid, overpaid, due."""
    figures = (shown[f"amount_{name}"]["amount"] for name in ("applied", "paid", "overpaid", "due"))
    return (shown["status"], *figures)


async def test_parts_are_paid_until_nothing_is_due_and_what_is_above_pays_the_next_invoice(
    api: Api, client: Client
) -> None:
    ada = await customer(client)
    first = await invoice(client, ada)
    assert owed(await came(client, first, 300)) == ("open", 0, 300, 0, 700)
    assert owed(await came(client, first, 950)) == ("paid", 0, 1_000, 250, 0)
    assert (await client.get(f"/v1/customers/{ada}")).json()["balance"] == eur(250)
    second = (await client.get(await invoice(client, ada))).json()
    assert owed(second) == ("open", 250, 0, 0, 750)
    assert (await client.get(f"/v1/customers/{ada}")).json()["balance"] == eur(0)
    await project(api.database, api.parts.settings)
    shown = (await client.get(f"/v1/invoices?customer={ada}")).json()["data"]
    assert [owed(each) for each in shown] == [owed(second), ("paid", 0, 1_000, 250, 0)]
    balance = (await client.get(f"/v1/customers/{ada}/balance")).json()
    assert (balance["owed"], balance["customer_balance"]) == ([eur(750)], [])
    figures = {each["measure"]: each for each in (await client.get("/v1/stats/dashboard")).json()["figures"]}
    assert [figures[name]["amount"] for name in ("invoices.open", "invoices.paid", "invoice.finalized")] == [
        750,
        1_000,
        2_000,
    ]


async def test_a_payment_that_is_sent_twice_comes_once(client: Client) -> None:
    path = await invoice(client, await customer(client))
    body = {"paid_out_of_band": True, "amount": eur(300)}
    told = [await client.post(f"{path}/pay", body, idempotency_key="transfer-1") for _ in range(2)]
    assert [each.json() for each in told] == [told[0].json()] * 2
    assert owed((await client.get(path)).json()) == ("open", 0, 300, 0, 700)


async def test_an_invoice_on_which_something_was_paid_is_not_taken_back(client: Client) -> None:
    path = await invoice(client, await customer(client))
    await came(client, path, 1)
    refused = await client.post(f"{path}/void")
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_partly_paid")
    assert "credit note" in refused.json()["detail"]


async def test_what_came_is_in_the_invoices_currency(client: Client) -> None:
    path = await invoice(client, await customer(client))
    wrong = {"paid_out_of_band": True, "amount": {"amount": 300, "currency": "USD"}}
    refused = await client.post(f"{path}/pay", wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, "not_customers_currency")
    assert refused.json()["param"] == "amount.currency"


async def test_what_is_written_off_may_come_in_after_all(api: Api, client: Client) -> None:
    ada = await customer(client)
    path = await invoice(client, ada)
    await came(client, path, 300)
    assert owed(await done(client, f"{path}/mark-uncollectible")) == ("uncollectible", 0, 300, 0, 700)
    again = await client.post(f"{path}/mark-uncollectible")
    assert (again.status_code, again.json()["code"]) == (409, "invoice_not_collectible")
    await project(api.database, api.parts.settings)
    assert (await client.get(f"/v1/customers/{ada}/balance")).json()["owed"] == []
    assert await held(client, "bad_debt") == 700
    assert owed(await came(client, path, 200)) == ("uncollectible", 0, 500, 0, 500)
    assert owed(await came(client, path, 500)) == ("paid", 0, 1_000, 0, 0)
    await project(api.database, api.parts.settings)
    assert (await held(client, "bad_debt"), await held(client, "cash")) == (0, 1_000)


async def test_a_digit_too_much_is_taken_back_before_the_next_invoice_spends_it(api: Api, client: Client) -> None:
    ada = await customer(client)
    path = await invoice(client, ada)
    assert owed(await came(client, path, 10_000)) == ("paid", 0, 1_000, 9_000, 0)
    wrong = await client.post(f"{path}/reverse-payment", {"amount": {"amount": 300, "currency": "USD"}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "not_customers_currency")
    assert owed(await done(client, f"{path}/reverse-payment")) == ("open", 0, 0, 0, 1_000)
    assert owed(await came(client, path, 1_000)) == ("paid", 0, 1_000, 0, 0)
    assert (await client.get(f"/v1/customers/{ada}")).json()["balance"] == eur(0)
    second = (await client.get(await invoice(client, ada))).json()
    assert owed(second) == ("open", 0, 0, 0, 1_000)
    await project(api.database, api.parts.settings)
    assert (await held(client, "cash"), await held(client, "receivable")) == (1_000, 1_000)
    assert await held(client, "customer_balance") == 0


async def test_one_wire_pays_two_open_invoices(api: Api, client: Client) -> None:
    ada = await customer(client)
    first, second = await invoice(client, ada, 500), await invoice(client, ada, 500)
    none = await client.post(f"{second}/apply-balance")
    assert (none.status_code, none.json()["code"]) == (409, "nothing_to_apply")
    await came(client, first, 1_000)
    assert owed(await done(client, f"{second}/apply-balance")) == ("paid", 500, 0, 0, 0)
    spent = await client.post(f"{first}/reverse-payment")
    assert (spent.status_code, spent.json()["code"]) == (409, "surplus_spent")
    await project(api.database, api.parts.settings)
    assert await held(client, "receivable") == 0


async def held(client: Client, account: str) -> int:
    """An account's balance in euros."""
    (euros,) = (await client.get("/v1/ledger/trial-balance")).json()["currencies"]
    return sum(each["balance"]["amount"] for each in euros["accounts"] if each["code"] == account)
