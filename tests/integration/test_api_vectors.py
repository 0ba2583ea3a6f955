"""The figures of billing_vectors.md through the API, on test clocks; and a table of which of them runs where.

Every vector runs against the function that computes it, in the `test_vectors_*` of tests/domain.
"""

import ast
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from domain.invoicing.usage_request import RecountedUsage
from domain.metering.aggregation import Aggregation, UsageEvent, Window, aggregate, quantity_of
from testing.api_client import Api, Client, project, running_api
from testing.moments import utc
from testing.services import FreshDatabase
from tests.integration.billing_scene import Shop, flat_price, package, per_unit, tiered

DOMAIN: Final = Path(__file__).parents[1] / "domain"


class Runs(NamedTuple):
    """What of a vector runs here, if anything, and what the API would need for the rest of it, if there is any."""

    here: str | None = None
    needs: str | None = None


ALL: Final = Runs(here="all of it")
TABLE: Final[dict[int, Runs]] = {
    1: ALL,
    2: ALL,
    3: ALL,
    4: ALL,
    5: ALL,
    6: ALL,
    7: ALL,
    8: ALL,
    9: ALL,
    10: ALL,
    11: ALL,
    12: ALL,
    13: ALL,
    14: ALL,
    15: ALL,
    16: ALL,
    17: ALL,
    18: Runs(here="quantities above zero", needs="quantities of zero: a subscription's item has at least some"),
    19: ALL,
    20: ALL,
    21: ALL,
    22: ALL,
    23: ALL,
    24: ALL,
    25: ALL,
    26: ALL,
    27: Runs(needs="disputes"),
    28: ALL,
    29: ALL,
    30: ALL,
    31: ALL,
    32: ALL,
    33: ALL,
    34: Runs(here="several rates", needs="prepaid credits"),
    35: ALL,
    36: ALL,
    37: Runs(needs="recognition of revenue"),
    38: ALL,
    39: ALL,
}


def vectors_of(*files: Path) -> set[int]:
    """The numbers of the vectors that these files have tests of."""
    functions = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    names = (node.name for node in functions if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {int(found[1]) for name in names if (found := re.match(r"test_vector_(\d+)_", name))}


def test_every_vector_runs_against_its_function_and_the_table_says_what_of_it_runs_here() -> None:
    numbers = {int(number) for number in re.findall(r"^(\d+)\. ", (DOMAIN / "billing_vectors.md").read_text(), re.M)}
    assert set(TABLE) == numbers == set(range(1, 40))
    assert vectors_of(*DOMAIN.rglob("test_vectors_*.py")) == numbers
    assert vectors_of(Path(__file__)) == {number for number, runs in TABLE.items() if runs.here}
    assert all(runs.here or runs.needs for runs in TABLE.values())


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


@pytest.fixture
async def client(api: Api) -> Client:
    return await api.tenant("acme")


# --- periods -----------------------------------------------------------------------------------------------------

FLAT: Final = {"type": "flat", "amount": {"amount": 100, "currency": "EUR"}}


class Boundaries(NamedTuple):
    """Where the periods of a subscription begin and end, from its start on, and what they come to together."""

    at: list[datetime]
    billed: int


async def boundaries(
    client: Client, start: str, count: int, unit: str = "month", units: int = 1, time_zone: str = "UTC"
) -> Boundaries:
    """The first `count` periods of 1.00 each."""
    shop = await Shop.opened(client, start, unit, units)
    price = await shop.price(FLAT)
    periods = await shop.periods(await shop.subscribed(await shop.customer(), price, time_zone=time_zone), count)
    starts, ends, totals = zip(*periods, strict=True)
    assert starts[1:] == ends[:-1], "each begins where the one before it ends"
    return Boundaries([*starts, ends[-1]], sum(totals))


def midnights(*dates: str) -> list[datetime]:
    return [utc(date) for date in dates]


async def test_vector_1_a_monthly_anniversary_on_the_31st_returns_to_the_31st(client: Client) -> None:
    found = (await boundaries(client, "2022-12-31T00:00:00Z", 15)).at
    assert found[:5] == midnights("2022-12-31", "2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30")
    assert found[14:] == midnights("2024-02-29", "2024-03-31")


async def test_vector_2_an_anchor_on_day_31_in_a_leap_year(client: Client) -> None:
    found = (await boundaries(client, "2024-01-31T00:00:00Z", 3)).at
    assert found == midnights("2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30")


async def test_vector_3_an_anchor_before_the_start_makes_the_first_period_a_stub(client: Client) -> None:
    shop = await Shop.opened(client, "2025-07-10T15:00:00Z")
    sold = await shop.subscribed(await shop.customer(), await shop.price(FLAT), billing_anchor="2025-01-31T15:00:00Z")
    periods = await shop.periods(sold, 3)
    assert [start for start, _, _ in periods] == [utc(f"2025-{day}T15:00") for day in ("07-10", "07-31", "08-31")]
    assert periods[-1][1] == utc("2025-09-30T15:00")
    # 21 of the 31 days from 30 June to 31 July
    assert [amount for _, _, amount in periods] == [68, 100, 100]


INCLUSIVE: Final = {"proration_basis": "day_inclusive", "period_alignment": "calendar"}


@pytest.mark.parametrize(
    ("start", "time_zone", "amount"),
    [
        ("2023-06-16T05:00:00Z", "America/Denver", 400),
        ("2023-06-16T05:00:00Z", "America/Halifax", 300),
        ("2023-06-16T20:00:00Z", "Europe/Paris", 300),
        ("2023-06-16T20:00:00Z", "Asia/Karachi", 200),
    ],
)
async def test_vector_4_a_calendar_week_is_begun_on_the_zones_date(
    client: Client, start: str, time_zone: str, amount: int
) -> None:
    shop = await Shop.opened(client, start, "week")
    price = await shop.price({"type": "flat", "amount": {"amount": 700, "currency": "EUR"}})
    sold = await shop.subscribed(await shop.customer(), price, time_zone=time_zone, **INCLUSIVE)
    assert [billed for _, _, billed in await shop.periods(sold, 2)] == [amount, 700]


async def test_vector_5_a_trial_that_ends_within_a_calendar_month(client: Client) -> None:
    shop = await Shop.opened(client, "2024-03-05T12:12:00Z")
    price = await shop.price({"type": "flat", "amount": {"amount": 5_000_000, "currency": "EUR"}})
    sold = await shop.subscribed(await shop.customer(), price, trial_days=10, **INCLUSIVE)
    assert sold["trial_end"] == "2024-03-15T12:12:00Z"
    path = f"/v1/subscriptions/{sold['id']}"
    await shop.advance("2024-03-15T12:02:00Z")
    assert (await client.post(f"{path}/renew", {})).json()["code"] == "renewal_not_due"
    await shop.advance("2024-03-15T13:02:00Z")
    begun = (await client.post(f"{path}/renew", {})).json()
    assert begun["current_period_end"] == "2024-04-01T00:00:00Z"
    explained = await shop.explained(begun["latest_invoice"])
    assert explained["total"]["amount"] == 2_741_935
    assert explained["lines"][0]["pricing"]["share"] == "17/31"


async def test_vector_6_a_change_in_arrears_bills_the_old_plan_to_the_day_before(client: Client) -> None:
    shop = await Shop.opened(client, "2024-02-01T00:00:00Z")
    (lines,) = await changed(shop, 2_900, ("2024-02-12T00:00:00Z", 29_000), timing="in_arrears", **INCLUSIVE)
    assert lines == [1_100]


async def test_vector_7_a_change_in_advance_within_a_calendar_month(client: Client) -> None:
    shop = await Shop.opened(client, "2024-02-01T00:00:00Z")
    assert await changed(shop, 2_900, ("2024-02-12T00:00:00Z", 29_000), **INCLUSIVE) == [[-1_800, 18_000]]


async def test_vector_8_an_end_on_the_first_day_bills_that_day(client: Client) -> None:
    start, at = "2024-02-01T00:00:00Z", "2024-02-01T00:01:00Z"
    assert await credited(client, 2_900, start, at, **INCLUSIVE) == -2_800


async def test_vector_9_a_calendar_quarter_in_arrears_bills_the_days_that_were_used(client: Client) -> None:
    shop = await Shop.opened(client, "2024-05-20T00:00:00Z", "quarter")
    model = {"type": "flat", "amount": {"amount": 91_000, "currency": "EUR"}}
    sold = await shop.subscribed(await shop.customer(), await shop.price(model, timing="in_arrears"), **INCLUSIVE)
    assert sold["current_period_end"] == "2024-07-01T00:00:00Z"
    await shop.advance("2024-06-20T00:00:00Z")
    ended = await client.post(f"/v1/subscriptions/{sold['id']}/cancel", {"at_period_end": False})
    assert ended.status_code == 200, ended.text
    assert (await shop.billed(ended.json()["latest_invoice"]))["total"]["amount"] == 32_000


@pytest.mark.parametrize(
    ("start", "anchor", "amount"), [("2023-05-15", "2023-05-23", 532), ("2023-05-23", "2023-06-15", 1_463)]
)
async def test_vector_15_a_stub_before_a_billing_day(client: Client, start: str, anchor: str, amount: int) -> None:
    shop = await Shop.opened(client, f"{start}T00:00:00Z")
    price = await shop.price({"type": "flat", "amount": {"amount": 1_995, "currency": "EUR"}})
    facts = {"proration_basis": "fixed_30", "billing_anchor": f"{anchor}T00:00:00Z"}
    sold = await shop.subscribed(await shop.customer(), price, **facts)
    assert sold["current_period_end"] == f"{anchor}T00:00:00Z"
    assert [billed for _, _, billed in await shop.periods(sold, 2)] == [amount, 1_995]


async def test_vector_29_a_boundary_in_a_gap_takes_the_offset_before_the_gap(client: Client) -> None:
    midnight = await boundaries(client, "2018-10-04T03:00:00Z", 2, time_zone="America/Sao_Paulo")
    assert midnight.at == [utc("2018-10-04T03:00"), utc("2018-11-04T03:00"), utc("2018-12-04T02:00")]
    half_past = await boundaries(client, "2018-10-04T03:30:00Z", 2, time_zone="America/Sao_Paulo")
    assert half_past.at == [utc("2018-10-04T03:30"), utc("2018-11-04T03:30"), utc("2018-12-04T02:30")]
    for basis, amount in (("day", -15000), ("second", -15021)):
        facts = {"time_zone": "America/Sao_Paulo", "proration_basis": basis}
        found = await credited(client, 30000, "2018-10-04T03:00:00Z", "2018-11-19T02:00:00Z", **facts)
        assert found == amount


async def test_vector_30_months_of_half_hour_daylight_saving(client: Client) -> None:
    for basis, lines in (("second", [-14990, 29979]), ("day", [-15000, 30000])):
        shop = await Shop.opened(client, "2024-03-31T13:00:00Z")
        facts = {"proration_basis": basis, "time_zone": "Australia/Lord_Howe"}
        assert await changed(shop, 30000, ("2024-04-15T13:30:00Z", 60000), **facts) == [lines]
    for basis, amount in (("day", -16000), ("second", -16011)):
        facts = {"proration_basis": basis, "time_zone": "Australia/Lord_Howe"}
        assert await credited(client, 31000, "2024-09-30T13:30:00Z", "2024-10-15T13:00:00Z", **facts) == amount
    for start, end, seconds in (
        ("2024-03-31T13:00:00Z", utc("2024-04-30T13:30"), 2_593_800),
        ("2024-09-30T13:30:00Z", utc("2024-10-31T13:00"), 2_676_600),
    ):
        found = (await boundaries(client, start, 1, time_zone="Australia/Lord_Howe")).at
        assert found[1] == end
        assert (found[1] - found[0]).total_seconds() == seconds


async def test_vector_31_a_day_that_was_skipped_is_never_billed(client: Client) -> None:
    monthly = await boundaries(client, "2011-11-30T10:00:00Z", 2, time_zone="Pacific/Apia")
    assert monthly.at == [utc("2011-11-30T10:00"), utc("2011-12-30T10:00"), utc("2012-01-29T10:00")]
    daily = await boundaries(client, "2011-12-28T10:00:00Z", 4, "day", time_zone="Pacific/Apia")
    assert daily.billed == 400
    for basis, amount in (("day", -16000), ("second", -15500)):
        facts = {"time_zone": "Pacific/Apia", "proration_basis": basis, "period_alignment": "calendar"}
        assert await credited(client, 31000, "2011-12-01T10:00:00Z", "2011-12-16T10:00:00Z", **facts) == amount
    assert daily.at == [
        utc(f"{day}T10:00") for day in ("2011-12-28", "2011-12-29", "2011-12-30", "2011-12-31", "2012-01-01")
    ]


@pytest.mark.parametrize(
    ("unit", "units", "dates"),
    [
        ("quarter", 1, ["2024-05-29", "2024-08-29", "2024-11-29", "2025-02-28", "2025-05-29"]),
        ("month", 6, ["2024-08-29", "2025-02-28", "2025-08-29"]),
        ("week", 2, ["2024-03-14", "2024-03-28", "2024-04-11", "2024-04-25", "2024-05-09"]),
        ("year", 1, ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
    ],
)
async def test_vector_32_a_leap_day_anchor_by_every_interval(
    client: Client, unit: str, units: int, dates: list[str]
) -> None:
    found = await boundaries(client, "2024-02-29T00:00:00Z", len(dates), unit, units)
    assert found.at[1:] == midnights(*dates)


async def test_vector_32_a_year_from_a_leap_day_is_given_back_by_days(client: Client) -> None:
    start, at = "2024-02-29T00:00:00Z", "2027-08-28T00:00:00Z"
    assert await credited(client, 36600, start, at, "year") == -18500


async def test_vector_16_a_pause_gives_29_of_31_days_back_and_resuming_charges_27_of_30(client: Client) -> None:
    shop = await Shop.opened(client, "2012-03-02T00:00:00Z")
    price = await shop.price({"type": "flat", "amount": {"amount": 24995, "currency": "EUR"}})
    path = f"/v1/subscriptions/{(await shop.subscribed(await shop.customer(), price))['id']}"
    await shop.advance("2012-03-04T00:00:00Z")
    paused = (await client.post(f"{path}/pause", {"credit_unused": True})).json()
    assert (await shop.explained(paused["latest_invoice"]))["total"]["amount"] == -23382
    await shop.advance("2012-04-05T00:00:00Z")
    resumed = (await client.post(f"{path}/resume", {})).json()
    assert resumed["current_period_end"] == "2012-05-02T00:00:00Z"
    explained = await shop.explained(resumed["latest_invoice"])
    assert explained["total"]["amount"] == 22496
    assert explained["lines"][0]["pricing"]["share"] == "9/10"


async def credited(client: Client, price: int, start: str, at: str, interval: str = "month", **facts: Any) -> int:
    """What cancelling at that time gives back of a flat price in advance."""
    shop = await Shop.opened(client, start, interval)
    sold = await shop.price({"type": "flat", "amount": {"amount": price, "currency": "EUR"}})
    subscription = await shop.subscribed(await shop.customer(), sold, **facts)
    await shop.advance(at)
    path = f"/v1/subscriptions/{subscription['id']}"
    while (renewed := await client.post(f"{path}/renew", {})).status_code == 200:
        subscription = renewed.json()
    ended = await client.post(f"{path}/cancel", {"at_period_end": False, "credit_unused": True})
    assert ended.status_code == 200, ended.text
    if ended.json()["latest_invoice"] == subscription["latest_invoice"]:
        return 0
    amount: int = (await shop.explained(ended.json()["latest_invoice"]))["total"]["amount"]
    return amount


@pytest.mark.parametrize(
    ("basis", "amount"), [("second", -3629), ("day", -3871), ("day_inclusive", -3548), ("fixed_30", -3667), ("none", 0)]
)
async def test_vector_36_one_end_by_five_bases(client: Client, basis: str, amount: int) -> None:
    start, at = "2025-01-01T00:00:00Z", "2025-01-20T18:00:00Z"
    assert await credited(client, 10000, start, at, proration_basis=basis) == amount


# --- changes -----------------------------------------------------------------------------------------------------


async def changed(shop: Shop, price: int, *changes: tuple[str, int], **facts: Any) -> list[list[int]]:
    """What each change to another flat price bills at once."""
    priced = {"timing": facts.pop("timing", "in_advance")}
    present = await shop.price({"type": "flat", "amount": {"amount": price, "currency": "EUR"}}, **priced)
    subscription = await shop.subscribed(await shop.customer(), present, **facts)
    found: list[list[int]] = []
    reached = None
    for at, amount in changes:
        other = await shop.price({"type": "flat", "amount": {"amount": amount, "currency": "EUR"}}, **priced)
        if at != reached:
            await shop.advance(at)
            reached = at
        body = {"items": [{"price": other["id"]}], "remove": [present["id"]]}
        told = (await shop.changed(subscription, body))["latest_invoice"]
        found.append([line["amount"]["amount"] for line in (await shop.billed(told))["lines"]])
        present = other
    return found


@pytest.mark.parametrize(
    ("at", "lines"), [("2025-06-16T00:00:00Z", [-5000, 15000]), ("2025-06-11T00:00:00Z", [-6667, 20000])]
)
async def test_vector_10_a_change_in_a_month_of_thirty_days(client: Client, at: str, lines: list[int]) -> None:
    shop = await Shop.opened(client, "2025-06-01T00:00:00Z")
    assert await changed(shop, 10000, (at, 30000)) == [lines]


async def test_vector_11_a_change_around_a_leap_day(client: Client) -> None:
    shop = await Shop.opened(client, "2024-02-18T00:00:00Z")
    assert await changed(shop, 10000, ("2024-02-25T00:00:00Z", 30000)) == [[-7586, 22759]]


async def test_vector_12_a_year_becomes_a_month_from_a_new_anchor(client: Client) -> None:
    shop = await Shop.opened(client, "2025-06-01T00:00:00Z")
    year = await shop.price(
        {"type": "flat", "amount": {"amount": 100000, "currency": "EUR"}}, interval={"unit": "year"}
    )
    month = await shop.price({"type": "flat", "amount": {"amount": 10000, "currency": "EUR"}})
    subscription = await shop.subscribed(await shop.customer(), year)
    await shop.advance("2025-08-13T00:00:00Z")
    body = {"items": [{"price": month["id"]}], "remove": [year["id"]], "reset_anchor": True}
    found = await shop.changed(subscription, body)
    invoice = await shop.billed(found["latest_invoice"])
    assert [line["amount"]["amount"] for line in invoice["lines"]] == [10000, -80000]
    assert (found["current_period_start"], found["current_period_end"]) == (
        "2025-08-13T00:00:00Z",
        "2025-09-13T00:00:00Z",
    )


async def test_vector_13_a_change_in_thirty_days(client: Client) -> None:
    shop = await Shop.opened(client, "2025-01-01T00:00:00Z", "day", 30)
    assert await changed(shop, 10000, ("2025-01-16T00:00:00Z", 20000)) == [[-5000, 10000]]


async def test_vector_14_a_change_by_the_second(client: Client) -> None:
    shop = await Shop.opened(client, "2017-02-14T00:00:00Z")
    ((credit, _),) = await changed(shop, 1000, ("2017-03-03T19:14:48Z", 2000), proration_basis="second")
    assert credit == -364


async def test_vector_35_several_changes_in_one_period(client: Client) -> None:
    shop = await Shop.opened(client, "2025-04-01T00:00:00Z")
    found = await changed(
        shop,
        10000,
        ("2025-04-11T00:00:00Z", 25000),
        ("2025-04-17T00:00:00Z", 16000),
        ("2025-04-17T00:00:00Z", 19000),
        ("2025-04-24T00:00:00Z", 5000),
    )
    first, at_first, then, last = found
    assert (first, last) == ([-6667, 16667], [-4433, 1167])
    assert at_first[0] == -11667
    assert at_first[1] + then[0] == 0, "changes of one day net out"
    assert then[1] == 8867
    assert sum(map(sum, found)) + 10000 == 13934


# --- prices ------------------------------------------------------------------------------------------------------


async def billed(client: Client, model: dict[str, Any], *quantities: str) -> list[int]:
    """What a first period of each quantity comes to, once it was seen that its invoice can explain it."""
    shop = await Shop.opened(client)
    price = await shop.price(model)
    customer = await shop.customer(model["currency"])
    amounts: list[int] = []
    for quantity in quantities:
        invoice = await shop.billed((await shop.subscribed(customer, price, quantity))["latest_invoice"])
        assert (await shop.explained(invoice["id"]))["total"] == invoice["total"]
        amounts.append(invoice["total"]["amount"])
    return amounts


async def test_vector_17_graduated_with_a_flat_amount_in_each_tier(client: Client) -> None:
    assert await billed(client, tiered("graduated", (5, 10, 100), (None, 5, 50)), "3", "8") == [130, 215]


async def test_vector_18_a_later_tiers_flat_is_due_past_the_bound_before_it(client: Client) -> None:
    model = tiered("graduated", (5, 0, 100), (10, 0, 50), (15, 10, 0), (None, 5, 0))
    assert await billed(client, model, "5.001", "12", "22") == [150, 170, 235]


async def test_vector_19_the_tier_reached_prices_everything(client: Client) -> None:
    assert await billed(client, tiered("volume", (15, 10, 0), (None, 5, 0)), "15", "16") == [150, 80]


async def test_vector_19_a_late_unit_that_reaches_another_tier_prices_everything_again(client: Client) -> None:
    shop = await Shop.opened(client)
    facts = {"code": "units", "name": "Units", "aggregation": "sum", "value_property": "units"}
    meter = (await client.made("/v1/meters", facts))["id"]
    price = await shop.price(tiered("volume", (15, 10, 0), (None, 5, 0)), timing="in_arrears", meter=meter)
    order = {"customer": await shop.customer(), "plan": shop.plan, "items": [{"price": price["id"]}]}
    begun: dict[str, Any] = await client.made("/v1/subscriptions", {**order, "collection_method": "send_invoice"})
    assert begun["items"][0]["quantity"] is None
    first = await shop.renewed(begun)
    waiting = await shop.billed(first["latest_invoice"])
    assert (waiting["status"], waiting["waiting_for"]) == ("draft", "usage")
    billed_first = await shop.counted(waiting["id"], 15)
    assert (billed_first["status"], billed_first["total"]["amount"]) == ("open", 150)
    second = await shop.renewed(first)
    line = billed_first["lines"][0]["id"]
    late = RecountedUsage(invoice_id=waiting["id"], line_id=line, quantity=Fraction(16), events=16)
    (_, credited) = (await shop.counted(second["latest_invoice"], 0, late))["lines"]
    assert (credited["amount"]["amount"], credited["kind"], credited["usage"]["late"]["reason"]) == (
        -70,
        "credit",
        "late",
    )
    await shop.explained(waiting["id"])
    (_, why) = (await shop.explained(second["latest_invoice"]))["lines"]
    assert why["pricing"]["model"]["type"] == "volume"
    assert [(each["kind"], each["amount"]) for each in why["portions"]] == [
        ("tier_units", "80"),
        ("billed_before", "-150"),
    ]


async def test_vector_20_package_charges_each_started_block(client: Client) -> None:
    assert await billed(client, package(5), "3", "12") == [0, 100]
    assert await billed(client, package(0), "15") == [200]


async def metered(
    client: Client,
    at: str,
    unit: str,
    aggregation: str,
    model: dict[str, Any],
    country: str | None = None,
    **bounds: Any,
) -> tuple[Shop, str]:
    """A shop, and the invoice of a customer's first period in New York, which waits for its usage."""
    shop = await Shop.opened(client, at, unit)
    facts = {"code": "stored", "name": "Stored", "aggregation": aggregation, "value_property": "stored"}
    meter = (await client.made("/v1/meters", facts))["id"]
    price = await shop.price(model, timing="in_arrears", meter=meter, **bounds)
    items = [{"price": price["id"]}]
    customer = await shop.customer(address=None if country is None else {"country": country})
    order = {"customer": customer, "plan": shop.plan, "items": items, "time_zone": "America/New_York"}
    begun = await client.made("/v1/subscriptions", {**order, "collection_method": "send_invoice"})
    return shop, str((await shop.renewed(begun))["latest_invoice"])


async def test_vector_21_percentages_of_single_events_free_the_first_ones_of_rate_and_fixed_amount(
    client: Client,
) -> None:
    await taxes(client, included=False)
    model = {"type": "percentage", "currency": "EUR", "percent": "1", "fixed_amount": "500", "free_events": 3}
    shop, invoice = await metered(client, "2026-01-01T00:00:00Z", "month", "amounts", model, country="DE")
    billed_ = await shop.counted(invoice, 4_000, amounts=(Decimal(1_000),) * 4)
    assert (billed_["subtotal"]["amount"], billed_["total"]["amount"]) == (510, 612)
    (line,) = (await shop.explained(invoice))["lines"]
    assert line["pricing"]["model"] == model | {"event_minimum": None, "event_maximum": None}
    assert [(each["kind"], each["quantity"], each["amount"]) for each in line["portions"]] == [
        ("free_events", "3", "0"),
        ("percent", "1000", "10"),
        ("fixed_per_event", "1", "500"),
    ]
    refused = await client.post("/v1/prices", {"plan": shop.plan, "model": model})
    assert (refused.status_code, refused.json()["code"]) == (422, "price_model_not_billable")


async def test_vector_39_a_gauge_is_weighted_by_elapsed_time_over_a_day_of_25_hours_and_one_of_23(
    client: Client, api: Api
) -> None:
    hour = datetime(2024, 11, 3, tzinfo=UTC)
    levels = ((hour.replace(hour=5, minute=30), 20), (hour.replace(hour=6, minute=30), 5), (hour.replace(hour=17), 0))
    changes = [UsageEvent(event_id=str(at), at=at, value=Decimal(level)) for at, level in levels]
    spring = await api.tenant("spring")
    for of, start, events, amount, quantity in (
        (client, "2024-11-03T04:00:00Z", changes, 263, "87.5"),
        (spring, "2024-03-10T05:00:00Z", [], 690, "230"),
    ):
        shop, invoice = await metered(of, start, "day", "time_weighted_sum", per_unit("EUR", "3"))
        (line,) = (await shop.billed(invoice))["lines"]
        start_, end = (datetime.fromisoformat(line[each]) for each in ("period_start", "period_end"))
        day = Window(start=start_, end=end)
        gauge = aggregate(Aggregation.TIME_WEIGHTED_SUM, events)
        billed_ = await shop.counted(invoice, Fraction(quantity_of(gauge, day, carried_in=Decimal(10))))
        assert (billed_["total"]["amount"], billed_["lines"][0]["quantity"]) == (amount, quantity)
        await shop.explained(invoice)


async def test_percentages_of_tiers_of_what_a_meter_sums(client: Client) -> None:
    tiers = [{"up_to": "10000", "percent": "2.5", "flat_amount": 0}, {"up_to": None, "percent": "1", "flat_amount": 30}]
    model = {"type": "graduated_percentage", "currency": "EUR", "tiers": tiers}
    shop, invoice = await metered(client, "2026-01-01T00:00:00Z", "month", "sum", model)
    assert (await shop.counted(invoice, 25_050))["total"]["amount"] == 431  # 250 + 30 + 150.50
    (line,) = (await shop.explained(invoice))["lines"]
    assert line["pricing"]["model"] == model
    assert [(each["kind"], each["amount"]) for each in line["portions"]] == [
        ("percent", "250"),
        ("tier_flat", "30"),
        ("percent", "150.5"),
    ]
    refused = await client.post("/v1/prices", {"plan": shop.plan, "model": model})
    assert (refused.status_code, refused.json()["code"]) == (422, "price_model_not_billable")


async def test_usage_that_is_committed_to_is_trued_up_when_its_period_is_over(client: Client, api: Api) -> None:
    committed = {"amount": {"amount": 5_000, "currency": "EUR"}, "overage_factor": "1.5"}
    other = await api.tenant("beyond")
    for of, quantity, amount in ((client, 70, 5_000), (other, 600, 6_500)):
        model = per_unit("EUR", "10")
        shop, invoice = await metered(of, "2026-01-01T00:00:00Z", "month", "sum", model, commitment=committed)
        assert (await shop.counted(invoice, quantity))["total"]["amount"] == amount
        (line,) = (await shop.explained(invoice))["lines"]
        assert line["pricing"]["commitment"] == committed
        assert "commitment" in [each["kind"] for each in line["portions"]]
    refused = await other.post("/v1/prices", {"plan": shop.plan, "model": model, "commitment": committed})
    assert (refused.status_code, refused.json()["param"]) == (422, "commitment"), "without a meter there is no usage"


async def test_vector_28_prices_round_half_up_in_yen_and_count_dinars_by_the_thousandth(client: Client) -> None:
    for currency, unit_amount, amount in (("JPY", "1000.5", 1001), ("KWD", "100500", 100_500)):
        assert await billed(client, per_unit(currency, unit_amount), "1") == [amount]


# --- taxes -------------------------------------------------------------------------------------------------------


async def taxes(client: Client, *percents: str, included: bool) -> dict[str | None, Any]:
    """20 % in Germany, and products of further percentages there, by these."""
    path = f"/v1/tenants/{client.tenant_id}/tax-settings"
    answer = await client.send("PATCH", path, {"seller_country": "DE", "prices_include_tax": included})
    assert answer.status_code == 200, answer.text
    rate = {"country": "DE", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-rates", rate | {"percent": "20"})
    products: dict[str | None, Any] = {None: None}
    for percent in dict.fromkeys(percents):
        category = f"at-{percent}"
        await client.made("/v1/tax-rates", rate | {"percent": percent, "category": category})
        product = await client.made("/v1/products", {"name": category, "tax_category": category})
        products[percent] = product["id"]
    where = {"country": "DE", "number": "DE136695976", "valid_from": "2020-01-01"}
    await client.made("/v1/tax-registrations", where)
    return products


async def taxed(
    client: Client,
    currency: str,
    *lines: tuple[int, str | None],
    included: bool = False,
    coupons: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """An invoice of lines of an amount and a percentage each (None: that of everything else, 20); by category. The
    customer has the coupons, in their order.
    """
    products = await taxes(client, *(percent for _, percent in lines if percent is not None), included=included)
    berlin = await client.made("/v1/customers", {"currency": currency, "address": {"country": "DE"}})
    return await invoiced(client, berlin, [(amount, products[percent]) for amount, percent in lines], coupons)


async def invoiced(
    client: Client, customer: dict[str, Any], lines: Sequence[tuple[int, object]], coupons: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """An invoice of lines of an amount and a product each, of a customer who has the coupons, in their order."""
    currency = customer["currency"]
    for coupon in coupons:
        made = await client.made("/v1/coupons", {"name": "Coupon", **coupon})
        await client.made("/v1/discounts", {"coupon": made["id"], "customer": customer["id"]})
    stated = [
        {"description": "Line", "amount": {"amount": amount, "currency": currency}, "product": product}
        for amount, product in lines
    ]
    draft = await client.made("/v1/invoices", {"customer": customer["id"], "currency": currency, "lines": stated})
    finalized = await client.post(f"/v1/invoices/{draft['id']}/finalize")
    assert finalized.status_code == 200, finalized.text
    found: dict[str, Any] = finalized.json()
    return found


def figures(invoice: dict[str, Any]) -> tuple[int, int, list[int]]:
    """Tax and total, and what of the tax each line bears."""
    parts = [line["tax"]["total"]["amount"] - line["tax"]["net"]["amount"] for line in invoice["lines"]]
    return invoice["total_tax"]["amount"], invoice["total"]["amount"], parts


@pytest.mark.parametrize("first", [0, 1])
async def test_vector_25_tax_is_taken_once_on_the_sum_and_split(client: Client, first: int) -> None:
    """And credited by line as it was split, whichever comes first."""
    invoice = await taxed(client, "EUR", (6_833, None), (6_833, None))
    assert figures(invoice) == (2_733, 16_399, [1_367, 1_366])
    for nth in (first, 1 - first):
        lines = [{"line": invoice["lines"][nth]["id"]}]
        note = await client.made("/v1/credit-notes", {"invoice": invoice["id"], "lines": lines})
        assert note["total"] == {"amount": (8_200, 8_199)[nth], "currency": "EUR"}


@pytest.mark.parametrize("credited_first", [True, False])
async def test_vector_26_a_refund_without_a_credit_note_is_due_again(client: Client, credited_first: bool) -> None:
    customer = await client.made("/v1/customers", {"currency": "EUR"})
    card = {"customer": customer["id"], "type": "card", "token": "tok_visa", "set_default": True}
    await client.made("/v1/payment-methods", card)
    invoice = await invoiced(client, customer, [(24_995, None)], ())
    path = f"/v1/invoices/{invoice['id']}"
    payment = (await client.post(f"{path}/pay")).json()["payment"]
    await client.captured(payment)

    async def refunded(amount: int) -> None:
        body = {"payment": payment, "amount": {"amount": amount, "currency": "EUR"}, "treatment": "reopen"}
        await client.made("/v1/refunds", body)

    async def credited(amount: int) -> None:
        body = {"invoice": invoice["id"], "amount": {"amount": amount, "currency": "EUR"}}
        await client.made("/v1/credit-notes", body)

    await refunded(1_000)
    for amount in (0, 100, 1_000):
        for step in (credited, refunded) if credited_first else (refunded, credited):
            if amount:
                await step(amount)
        shown = (await client.get(path)).json()
        assert (shown["amount_due"], shown["status"]) == ({"amount": 1_000, "currency": "EUR"}, "open")


@pytest.mark.parametrize(
    ("currency", "amount", "percent", "tax"),
    [("JPY", 999, "10.5", 105), ("USD", 10_000, "8.875", 888), ("USD", 100, "0.1", 0)],
)
async def test_vector_28_taxes_round_half_up_in_the_currencys_minor_unit(
    client: Client, currency: str, amount: int, percent: str, tax: int
) -> None:
    assert figures(await taxed(client, currency, (amount, percent))) == (tax, amount + tax, [tax])


async def test_vector_33_included_tax_is_taken_once_out_of_the_sum(client: Client) -> None:
    invoice = await taxed(client, "EUR", (10_133, None), (5_067, None), included=True)
    assert figures(invoice) == (2_533, 15_200, [1_689, 844])


async def test_vector_34_several_rates_each_on_its_own_sum(client: Client) -> None:
    invoice = await taxed(client, "EUR", (10_005, None), (3_333, "5.5"), (1_999, "5.5"), (5_000, "0"))
    assert figures(invoice) == (2_001 + 293, 22_631, [2_001, 183, 110, 0])


# --- coupons -----------------------------------------------------------------------------------------------------

Coupon = dict[str, Any]


def percent(of: int | str) -> Coupon:
    return {"percent_off": of}


def fixed(amount: int, currency: str = "EUR") -> Coupon:
    return {"amount_off": {"amount": amount, "currency": currency}}


async def discounted(client: Client, currency: str, amounts: Sequence[int], *coupons: Coupon) -> dict[str, Any]:
    """An invoice without tax."""
    customer = await client.made("/v1/customers", {"currency": currency})
    return await invoiced(client, customer, [(amount, None) for amount in amounts], coupons)


@pytest.mark.parametrize(
    ("amount", "coupons", "left"),
    [
        (4_900, (percent(60), percent(60)), 784),
        (4_900, (fixed(1_000), percent(90)), 0),
        (4_900, (percent(90), fixed(1_000)), 0),
        (10_000, (fixed(5_000), percent(10)), 4_000),
    ],
)
async def test_vector_22_percent_comes_first_whatever_the_order_of_attachment(
    client: Client, amount: int, coupons: tuple[Coupon, ...], left: int
) -> None:
    invoice = await discounted(client, "EUR", [amount], *coupons)
    assert (invoice["total"]["amount"], invoice["total_discount"]["amount"]) == (left, amount - left)
    named = [(each["percent_off"] is None) for each in invoice["discounts"]]
    assert named == sorted(named), "percentages stand first"


def taken_off(invoice: dict[str, Any]) -> list[int]:
    """By line."""
    return [sum(each["amount"]["amount"] for each in line["discounts"]) for line in invoice["lines"]]


async def test_vector_23_a_fixed_coupon_over_lines_of_several_rates(client: Client) -> None:
    lines: list[tuple[int, str | None]] = [(10_000, "10"), (5_000, "0"), (3_000, None), (2_000, None)]
    invoice = await taxed(client, "EUR", *lines, coupons=[fixed(1_000)])
    assert taken_off(invoice) == [500, 250, 150, 100]
    assert [total["tax"]["amount"] for total in invoice["tax"]["totals"] if total["tax"]["amount"]] == [950, 950]
    assert figures(invoice)[:2] == (1_900, 20_900)


async def test_vector_24_a_fixed_coupon_is_split_in_proportion(client: Client) -> None:
    assert taken_off(await discounted(client, "EUR", [100, 200], fixed(100))) == [33, 67]


async def test_vector_28_a_discount_is_rounded_half_up_in_a_currency_without_decimals(client: Client) -> None:
    assert taken_off(await discounted(client, "JPY", [1_000], percent("33.333"))) == [333]


async def test_vector_33_coupons_come_off_the_amounts_that_include_tax(client: Client) -> None:
    coupons = [fixed(1_000), percent(10)]
    invoice = await taxed(client, "EUR", (12_000, None), (6_000, None), included=True, coupons=coupons)
    parts = [[each["amount"]["amount"] for each in line["discounts"]] for line in invoice["lines"]]
    assert parts == [[1_200, 667], [600, 333]]
    assert figures(invoice) == (2_533, 15_200, [1_689, 844])
    assert [line["tax"]["net"]["amount"] for line in invoice["lines"]] == [8_444, 4_223]


# --- recurring revenue -------------------------------------------------------------------------------------------


async def recurring(api: Api, client: Client) -> dict[str, list[tuple[str, int]]]:
    """The movements of each subscription, in the order of days."""
    await project(api.database, api.parts.settings)
    answer = await client.get("/v1/reports/mrr/movements?from=2026-01-01&to=2026-12-31&limit=100")
    assert answer.status_code == 200, answer.text
    found: dict[str, list[tuple[str, int]]] = {}
    for each in reversed(answer.json()["data"]):
        found.setdefault(each["subscription"], []).append((each["movement"], each["change"]["amount"]))
    return found


async def test_vector_38_a_year_is_12_months_52_weeks_365_days(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    wanted: dict[str, int] = {}
    for amount, unit, count, monthly in (
        (1_200, "week", 1, 5_200),
        (1_200, "week", 2, 2_600),
        (100, "day", 1, 3_042),
        (100, "day", 10, 304),
        (1_000, "quarter", 1, 333),
        (100_000, "year", 1, 8_333),
        (100_000, "year", 2, 4_167),
    ):
        price = await shop.price(flat_price(amount), interval={"unit": unit, "count": count})
        wanted[(await shop.subscribed(await shop.customer(), price))["id"]] = monthly
    assert await recurring(api, client) == {key: [("new", monthly)] for key, monthly in wanted.items()}
    (eur,) = (await client.get("/v1/reports/mrr?as_of=2026-01-01")).json()["currencies"]
    assert eur["mrr"]["amount"] == sum(wanted.values())


async def test_vector_38_a_week_changed_to_a_year_is_contraction(api: Api, client: Client) -> None:
    shop = await Shop.opened(client)
    week = await shop.price(flat_price(1_200), interval={"unit": "week", "count": 1})
    year = await shop.price(flat_price(60_000), interval={"unit": "year", "count": 1})
    subscription = await shop.subscribed(await shop.customer(), week)
    await shop.advance("2026-01-03T00:00:00Z")
    body = {"items": [{"price": year["id"]}], "remove": [week["id"]], "reset_anchor": True}
    await shop.changed(subscription, body)
    assert await recurring(api, client) == {subscription["id"]: [("new", 5_200), ("contraction", -200)]}
    (eur,) = (await client.get("/v1/reports/mrr?as_of=2026-01-03")).json()["currencies"]
    assert eur["mrr"]["amount"] == 5_000
