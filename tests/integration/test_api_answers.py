"""What a command answers is what a query shows, once it is projected: for every resource and every operation."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import httpx2
import pytest

from api.app import RESOURCES
from api.http.operations import Operation
from api.http.resource import Resource
from domain.entitlements.triggered_alert import Counted, TriggerAlert
from domain.identity.permissions import Permission, Role
from domain.identity.team import AddMember
from infra.event_store.port import Request
from testing.api_client import Api, Client, project, running_api
from testing.requests import request
from testing.services import FreshDatabase

DATA = Mapping[str, Any]


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        yield running


class Story:
    """Runs commands, and remembers each resource's latest answer."""

    def __init__(self, api: Api, client: Client) -> None:
        self.api = api
        self.client = client
        self.latest: dict[str, dict[str, Any]] = {}
        self.done: set[str] = set()

    async def do(self, operation: str, body: object = None, **path: str) -> dict[str, Any]:
        """Run a command by its operation id; it must succeed."""
        declared = OPERATIONS[operation]
        response = await self.client.send(declared.method, declared.path.format(**path), {} if body is None else body)
        assert response.status_code == declared.status, response.text
        assert response.headers["ledger-position"].isdigit()
        self.done.add(operation)
        answer: dict[str, Any] = response.json() | ({"secret": None} if "secret" in response.json() else {})
        if "id" in answer:
            self.latest[answer["id"]] = answer
        return answer


OPERATIONS: dict[str, Operation] = {
    operation.name: operation for resource in RESOURCES for operation in resource.declared
}
PATH_OF_OBJECT = {resource.name: f"{resource.path}/" for resource in RESOURCES if isinstance(resource, Resource)}
OF_ACCESS = {
    "api_key": "/v1/api-keys/",
    "user": "/v1/users/",
    "invitation": "/v1/invitations/",
    "identity_link": "/v1/identity-links/",
}
"""What is shown from the rows that events write in their own commit."""
ORDER: dict[str, Any] = {"metadata": {"order": "4711", "channel": "web"}}
OF_ANOTHER = {
    "approve_approval",
    "reject_approval",
    "leave_team",
    "change_approval_limits",
    "change_billing_settings",
}
"""Whoever asked does not decide: test_api_approvals.py. No key is a member (test_api_users.py), or changes limits
(test_api_approval_limits.py). Settings have no id (test_api_invoice_pdf.py).
"""
MOVED: dict[str, Any] = {"metadata": {"order": "4712", "channel": None}}


async def _put_right(story: Story, one_off: Mapping[str, object], other_id: str) -> None:
    """An invoice is paid by hand with a digit too much; what of that did not pay the other one is taken back."""
    mistaken = await story.do("create_invoice", one_off)
    opened = await story.do("finalize_invoice", {"days_until_due": 14}, invoice_id=mistaken["id"])
    due = opened["amount_due"]["amount"]
    came = {"paid_out_of_band": True, "amount": {"amount": due * 10, "currency": "EUR"}}
    await story.do("pay_invoice", came, invoice_id=mistaken["id"])
    await story.do("apply_balance", invoice_id=other_id)
    left = {"amount": {"amount": due * 8, "currency": "EUR"}}
    await story.do("reverse_payment", left, invoice_id=mistaken["id"])


async def _alerted(story: Story, meter_id: str, customer_id: str) -> None:
    """An alert that is triggered, and one that is over."""
    much = {"name": "Much", "meter": meter_id, "thresholds": [{"quantity": 10}, {"quantity": "20.5"}]}
    alert = await story.do("create_usage_alert", {**much, "customer": customer_id, "every": 5, **ORDER})
    await story.do("update_usage_alert", {"name": "More", "every": None, **MOVED}, usage_alert_id=alert["id"])
    percent = {"name": "Nearly", "feature": "calls", "thresholds": [{"percent": 80}]}
    over = await story.do("create_usage_alert", percent)
    await story.do("archive_usage_alert", usage_alert_id=over["id"])
    await _reset(story, meter_id)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    counted = Counted(
        customer_id=customer_id,
        meter_id=meter_id,
        feature=None,
        period_start=since,
        period_end=since + timedelta(days=31),
        since=since,
        limit=None,
        used=Fraction(15),
    )
    triggered = TriggerAlert(usage_alert_id=alert["id"], counted=counted)
    await story.api.parts.writer.submit(request(triggered, tenant_id=story.client.tenant_id))


async def _reset(story: Story, meter_id: str) -> None:
    """Somebody whose counter begins anew. What they may have is asked of the read models."""
    limited = [{"key": "calls", "limit": 9, "meter": meter_id}]
    product = await story.do("create_product", {"name": "Limited"})
    terms = {"name": "Limited", "interval": {"unit": "month"}, "features": limited}
    plan = await story.do("create_plan", {"product": product["id"], **terms})
    flat = {"type": "flat", "amount": {"amount": 100, "currency": "EUR"}}
    price = await story.do("create_price", {"plan": plan["id"], "model": flat})
    limited_one = await story.do("create_customer", {"name": "Limited", "currency": "EUR"})
    order = {"customer": limited_one["id"], "plan": plan["id"], "items": [{"price": price["id"]}]}
    await story.do("create_subscription", {**order, "collection_method": "send_invoice"})
    await project(story.api.database, story.api.parts.settings)
    await story.do("reset_entitlement", customer_id=limited_one["id"], feature="calls")


async def _credit(story: Story, invoice_id: str) -> None:
    """A part of it is credited and taken back, another stays."""
    five = {"amount": {"amount": 500, "currency": "EUR"}}
    note = await story.do("create_credit_note", {"invoice": invoice_id, "reason": "Late", **five, **ORDER})
    await story.do("update_credit_note", MOVED, credit_note_id=note["id"])
    await story.do("void_credit_note", credit_note_id=note["id"])
    await story.do("create_credit_note", {"invoice": invoice_id, **five})
    del story.latest[invoice_id]  # it owes less than it said when it was paid


async def tell(story: Story) -> None:
    """Every command once, each resource left in a state of its own."""
    await story.do("change_tax_settings", {"seller_country": "GB"}, tenant=story.client.tenant_id)
    twenty = {"country": "GB", "percent": "20", "valid_from": "2020-01-01", **ORDER}
    await story.do("create_tax_rate", twenty)
    reduced = await story.do("create_tax_rate", twenty | {"percent": "5", "category": "books"})
    await story.do("archive_tax_rate", tax_rate_id=reduced["id"])
    await story.do("create_tax_rate", twenty | {"country": "IE", "percent": "23"})
    registered = {"country": "GB", "number": "GB980780684", "valid_from": "2020-01-01", **ORDER}
    await story.do("create_tax_registration", registered)
    irish = await story.do("create_tax_registration", registered | {"country": "IE", "number": "IE6433435F"})
    await story.do("end_tax_registration", {"valid_until": "2190-01-01"}, tax_registration_id=irish["id"])
    clock = await story.do("create_test_clock", {"name": "Clock", "frozen_time": "2026-01-31T12:00:00+02:00", **ORDER})
    await story.do("update_test_clock", MOVED, test_clock_id=clock["id"])
    ada = await story.do(
        "create_customer",
        {
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "phone": "+44 20 7946 0958",
            "address": {"line1": "12 St James's Square", "city": "London", "country": "GB"},
            "tax_ids": [{"type": "eu_vat", "value": "DE136695976"}],
            **ORDER,
            "external_id": "crm-1",
            "currency": "EUR",
            "time_zone": "Europe/London",
            "locale": "en-GB",
        },
    )
    await story.do("update_customer", {"email": "countess@example.com", "phone": None, **MOVED}, customer_id=ada["id"])
    on_clock = await story.do("create_customer", {"currency": "USD", "test_clock": clock["id"]})
    gone = await story.do("create_customer", {"name": "Gone", "currency": "USD"})
    await story.do("delete_customer", customer_id=gone["id"])
    erased = await story.do("create_customer", {"name": "Erased", "currency": "USD"})
    await story.do("erase_customer", customer_id=erased["id"])

    product = await story.do("create_product", {"name": "Team", **ORDER})
    await story.do("update_product", {"name": "Team Plus", "description": "More", **MOVED}, product_id=product["id"])
    old = await story.do("create_product", {"name": "Old"})
    await story.do("archive_product", product_id=old["id"])
    await story.do("update_product", ORDER, product_id=old["id"])
    await story.do("delete_product", product_id=old["id"])
    terms = {"name": "Monthly", "interval": {"unit": "month", "count": 1}, "features": [{"key": "seats", "limit": 3}]}
    plan = await story.do("create_plan", {"product": product["id"], **terms, **ORDER})
    await story.do("update_plan", terms | {"name": "Monthly, better", **MOVED}, plan_id=plan["id"])
    shelved = await story.do("create_plan", {"product": product["id"], **terms})
    await story.do("archive_plan", plan_id=shelved["id"])
    await story.do("delete_plan", plan_id=shelved["id"])
    flat = {"type": "flat", "amount": {"amount": 4900, "currency": "EUR"}}
    price = await story.do("create_price", {"plan": plan["id"], "model": flat, "external_id": "p-1", **ORDER})
    await story.do("update_price", MOVED, price_id=price["id"])
    seats = {"type": "per_unit", "currency": "EUR", "unit_amount": "12.50", "free_units": 1}
    in_arrears = {"timing": "in_arrears", "interval": {"unit": "quarter"}}
    seat = await story.do("create_price", {"plan": plan["id"], "model": seats, **in_arrears})
    usd = {"type": "flat", "amount": {"amount": 100, "currency": "USD"}}
    dollars = await story.do("create_price", {"plan": plan["id"], "model": usd})
    archived = await story.do("create_price", {"plan": plan["id"], "model": flat})
    await story.do("archive_price", price_id=archived["id"])
    await story.do("delete_price", price_id=archived["id"])
    support = await story.do(
        "create_plan", {"product": product["id"], "name": "Support", "interval": {"unit": "year"}, "add_on": True}
    )
    added = await story.do("create_price", {"plan": support["id"], "model": flat})

    replaced = {"prices": [{"price": seat["id"], "becomes": None}], "add": [price["id"]], "from_version": 1}
    migration = await story.do("migrate_plan", {"proration": "none", **replaced, **ORDER}, plan_id=plan["id"])
    await story.do("update_plan_migration", MOVED, plan_migration_id=migration["id"])
    await story.do("cancel_plan_migration", plan_migration_id=migration["id"])
    await story.do("migrate_plan", {"effective_at": "2199-12-31T00:00:00Z", "proration": "none"}, plan_id=plan["id"])

    welcome = {"name": "Welcome", "percent_off": "20", "products": [product["id"]], **ORDER}
    coupon = await story.do("create_coupon", welcome | {"duration": "repeating", "periods": 3})
    await story.do("update_coupon", MOVED, coupon_id=coupon["id"])
    fixed = {"name": "Five", "amount_off": {"amount": 500, "currency": "EUR"}, "max_redemptions": 9}
    five = await story.do("create_coupon", fixed | {"redeem_before": "2199-12-31T00:00:00Z"})
    unwanted = await story.do("create_coupon", fixed)
    await story.do("delete_coupon", coupon_id=unwanted["id"])
    calls = {"code": "calls", "name": "Calls", "aggregation": "sum", "value_property": "calls", **ORDER}
    meter = await story.do("create_meter", calls)
    await story.do("update_meter", MOVED, meter_id=meter["id"])
    only_eu = {"filters": [{"property": "region", "values": ["eu"]}], "effective_from": "2199-12-31T00:00:00Z"}
    await story.do("revise_meter", only_eu, meter_id=meter["id"])
    users = {"code": "users", "name": "Users", "aggregation": "unique", "unique_property": "user"}
    unused = await story.do("create_meter", users)
    await story.do("archive_meter", meter_id=unused["id"])
    await _alerted(story, meter["id"], ada["id"])
    saves = await story.do("create_customer", {"name": "Saves", "currency": "EUR"})
    discount = await story.do("create_discount", {"coupon": coupon["id"], "customer": saves["id"], **ORDER})
    await story.do("update_discount", MOVED, discount_id=discount["id"])
    await story.do("update_customer", MOVED, customer_id=saves["id"])  # whose discounts it shows

    method = await story.do(
        "attach_payment_method",
        {"customer": ada["id"], "type": "card", "token": "tok_visa", "set_default": False, **ORDER},
    )
    await story.do("update_payment_method", {"token": "tok_mastercard", **MOVED}, payment_method_id=method["id"])
    await story.do("set_default_payment_method", {"payment_method": method["id"]}, customer_id=ada["id"])
    detached = await story.do(
        "attach_payment_method", {"customer": ada["id"], "type": "bank_account", "token": "tok_sepa_debit"}
    )
    await story.do("detach_payment_method", payment_method_id=detached["id"])

    items = [{"price": price["id"], "quantity": "1"}, {"price": seat["id"], "quantity": 3}, {"price": added["id"]}]
    order = {"customer": ada["id"], "plan": plan["id"], "items": items}
    subscription = await story.do("create_subscription", order | ORDER)
    await story.do("update_subscription", MOVED, subscription_id=subscription["id"])
    removed = await story.do("create_discount", {"coupon": five["id"], "subscription": subscription["id"]})
    await story.do("remove_discount", discount_id=removed["id"])
    await story.do("archive_coupon", coupon_id=coupon["id"])
    await story.do("cancel_subscription", {"cancel_at": "2199-12-31T00:00:00Z"}, subscription_id=subscription["id"])
    await story.do("undo_cancel_subscription", subscription_id=subscription["id"])
    await story.do("cancel_subscription", {"at_period_end": True}, subscription_id=subscription["id"])
    on_trial = order | {"trial_days": 14, "collection_method": "send_invoice"}
    trying = await story.do("create_subscription", on_trial)
    longer = {"trial_end": (datetime.now(UTC) + timedelta(days=40)).isoformat()}
    await story.do("extend_trial", longer, subscription_id=trying["id"])
    await story.do("create_subscription", order | {"starts_at": "2199-12-31T00:00:00Z", "coupons": [five["id"]]})
    await story.do("update_coupon", ORDER, coupon_id=five["id"])  # which shows how often it was redeemed
    await story.do("create_subscription", order | {"starts_at": (datetime.now(UTC) - timedelta(days=70)).isoformat()})
    bought = await story.do("create_subscription", on_trial)
    await story.do("end_trial", subscription_id=bought["id"])
    more = {"items": [{"price": price["id"]}, {"price": seat["id"], "quantity": 7}], "remove": [added["id"]]}
    named = {"subscription_id": bought["id"]}
    await story.do("change_subscription", more | {"proration": "next_invoice"}, **named)
    await story.do("change_subscription", {"items": [{"price": added["id"]}], "proration": "period_end"}, **named)
    await story.do("unschedule_subscription_change", **named)
    await story.do("change_subscription", {"items": [{"price": added["id"]}], "proration": "invoice_now"}, **named)
    await story.do("suspend_subscription", subscription_id=bought["id"])
    plain = await story.do("create_subscription", order | {"items": [{"price": price["id"]}]})
    await story.do("change_billing_date", {"billing_anchor": "2026-01-15T00:00:00Z"}, subscription_id=plain["id"])
    threshold = {"amount": {"amount": 50_000, "currency": "EUR"}, "recurring": False}
    await story.do("set_usage_threshold", {"usage_threshold": threshold}, subscription_id=plain["id"])
    heir = await story.do("create_customer", {"name": "Heir", "currency": "EUR"})
    await story.do(
        "transfer_subscription", {"customer": heir["id"], "credit_unused": True}, subscription_id=plain["id"]
    )
    leaving = await story.do("create_subscription", order | {"items": [{"price": price["id"]}]})
    waits = {"customer": heir["id"], "at_period_end": True}
    await story.do("transfer_subscription", waits, subscription_id=leaving["id"])
    await story.do("reactivate_subscription", subscription_id=bought["id"])
    await story.do("pause_subscription", {"resumes_at": "2199-12-31T00:00:00Z"}, subscription_id=bought["id"])
    await story.do("resume_subscription", subscription_id=bought["id"])
    ended = await story.do("create_subscription", order)
    await story.do("cancel_subscription", {"at_period_end": False}, subscription_id=ended["id"])
    clocked = await story.do(
        "create_subscription",
        {"customer": on_clock["id"], "plan": plan["id"], "items": [{"price": dollars["id"]}], "trial_days": 0},
    )
    await story.do("advance_test_clock", {"frozen_time": "2026-03-01T00:00:00Z"}, test_clock_id=clock["id"])
    await moved(story, clock["id"])
    await story.do("renew_subscription", subscription_id=clocked["id"])
    await story.do("advance_test_clock", {"frozen_time": "2026-03-15T00:00:00Z"}, test_clock_id=clock["id"])
    await story.do("cancel_test_clock_advance", test_clock_id=clock["id"])
    spare = await story.do("create_test_clock", {"name": "Spare", "frozen_time": "2026-01-31T12:00:00+02:00"})
    await story.do("delete_test_clock", test_clock_id=spare["id"])

    lines = [{"description": "Set-up", "amount": {"amount": 25000, "currency": "EUR"}, "quantity": "2.5"}]
    again = {
        "description": "Team, January",
        "amount": {"amount": 4900, "currency": "EUR"},
        "timing": "in_advance",
        "product": product["id"],
        "period_start": "2026-01-01T00:00:00Z",
        "period_end": "2026-02-01T00:00:00Z",
    }
    drafted = await story.do("create_invoice", {"customer": ada["id"], "currency": "EUR", "lines": [*lines, again]})
    assert again.items() <= (drafted["lines"][1] | {"amount": again["amount"]}).items()
    added = await story.do("add_invoice_item", lines[0], invoice_id=drafted["id"])
    await story.do("remove_invoice_item", invoice_id=drafted["id"], item_id=added["lines"][0]["id"])
    waits = await story.do("add_waiting_item", lines[0], customer_id=ada["id"])
    await story.do("remove_waiting_item", customer_id=ada["id"], item_id=waits["items"][0]["id"])
    await story.do("add_waiting_item", again, customer_id=ada["id"])
    shown = await story.client.get(f"/v1/customers/{ada['id']}/waiting-items")
    assert shown.json()["items"][0]["description"] == again["description"]
    of_what_waits = {"customer": ada["id"], "currency": "EUR", "with_waiting_items": True, "memo": "By hand"}
    taken = await story.do("create_invoice", of_what_waits)
    await story.do("update_invoice", {"memo": "Thank you", "days_until_due": 3}, invoice_id=taken["id"])
    one_off = {"customer": ada["id"], "currency": "EUR", "lines": lines, **ORDER}
    for finish in ("open", "void", "by_hand", "in_part", "written_off", "by_mistake", "charged"):
        draft = await story.do("create_invoice", one_off)
        await story.do("finalize_invoice", {"days_until_due": 14}, invoice_id=draft["id"])
        await story.do("update_invoice", MOVED, invoice_id=draft["id"])
        if finish == "void":
            await story.do("void_invoice", invoice_id=draft["id"])
        elif finish == "by_hand":
            await story.do("pay_invoice", {"paid_out_of_band": True}, invoice_id=draft["id"])
        elif finish == "in_part":
            part = {"paid_out_of_band": True, "amount": {"amount": 7000, "currency": "EUR"}}
            await story.do("pay_invoice", part, invoice_id=draft["id"])
            await _credit(story, draft["id"])
        elif finish == "by_mistake":
            await _put_right(story, one_off, draft["id"])
        elif finish == "written_off":
            await story.do("mark_invoice_uncollectible", invoice_id=draft["id"])
        elif finish == "charged":
            await story.do("pay_invoice", {"payment_method": method["id"]}, invoice_id=draft["id"])

    brought_in = one_off | {"number": "2019-1", "issued_at": "2019-12-01T00:00:00Z", "due_at": "2019-12-31T00:00:00Z"}
    brought_in["lines"] = [{"description": "Team, November", "amount": {"amount": 9900, "currency": "EUR"}}]
    imported = await story.do("import_invoice", brought_in | {"amount_paid": {"amount": 900, "currency": "EUR"}})
    paid_there = {
        "amount": {"amount": 4000, "currency": "EUR"},
        "paid_at": "2019-12-24T00:00:00Z",
        "reference": "SEPA 1",
    }
    await story.do("import_invoice_payment", paid_there, invoice_id=imported["id"])

    amount = {"amount": 1999, "currency": "EUR"}
    intent = await story.do(
        "create_payment", {"customer": ada["id"], "amount": amount, "description": "Order 1", **ORDER}
    )
    await story.do("update_payment", MOVED, payment_id=intent["id"])
    await story.do("confirm_payment", {"payment_method": method["id"]}, payment_id=intent["id"])
    dropped = await story.do("create_payment", {"customer": ada["id"], "amount": amount})
    await story.do("cancel_payment", payment_id=dropped["id"])
    charged = await story.do("create_payment", {"customer": ada["id"], "amount": amount, "confirm": True})
    await story.client.captured(charged["id"])
    del story.latest[charged["id"]]  # the gateway's answer came after ours
    half = {"payment": charged["id"], "amount": {"amount": 500, "currency": "EUR"}}
    refund = await story.do("create_refund", half | ORDER)
    await story.do("update_refund", MOVED, refund_id=refund["id"])

    postings = [
        {"account": "cash", "side": "debit", "amount": amount, "customer": ada["id"]},
        {"account": "equity", "side": "credit", "amount": amount},
    ]
    entry = await story.do("post_journal_entry", {"postings": postings, "memo": "Capital", **ORDER})
    await story.do("post_journal_entry", {"postings": postings, "memo": "Booked twice"})
    await story.do("reverse_journal_entry", {"memo": "Booked twice"}, journal_entry_id=entry["id"])

    wanted = {"payment": charged["id"], "amount": {"amount": 7, "currency": "EUR"}}
    await story.do("request_approval", {"refund": wanted, "note": "late", **ORDER})
    await story.do("request_approval", {"journal_entry": {"postings": postings, "memo": "Capital"}})
    withdrawn = await story.do("request_approval", {"refund": wanted})
    await story.do("withdraw_approval", approval_id=withdrawn["id"])

    key = await story.do("create_api_key", {"name": "imports", "scope": "write"})
    await story.do("update_api_key", {"name": "exports", "allowed_networks": ["192.0.2.0/24"]}, api_key_id=key["id"])
    await story.do("rotate_api_key", {"overlap_hours": 0}, api_key_id=key["id"])
    del story.latest[key["id"]]  # it has a successor since
    await somebody(story, "user_01m7ywe9z7e398x54gfbrtqnk1")
    ada_id = await somebody(story, "user_01m7ywe9z7e398x54gfbrtqnk2")
    await story.do("change_user_role", {"role": "viewer"}, user_id=ada_id)
    gone_id = await somebody(story, "user_01m7ywe9z7e398x54gfbrtqnk3")
    await story.do("remove_user", user_id=gone_id)
    del story.latest[gone_id]
    link = {"user": ada_id, "issuer": "https://login.example.com"}
    await story.do("create_identity_link", {**link, "subject": "1"})
    unlinked = await story.do("create_identity_link", {**link, "subject": "2"})
    await story.do("remove_identity_link", identity_link_id=unlinked["id"])
    del story.latest[unlinked["id"]]
    await story.do("create_invitation", {"email": "eve@example.com", "role": "viewer"})
    taken_back = await story.do("create_invitation", {"email": "bob@example.com", "role": "viewer"})
    await story.do("resend_invitation", invitation_id=taken_back["id"])
    await story.do("withdraw_invitation", invitation_id=taken_back["id"])
    del story.latest[taken_back["id"]]
    over = await story.do("create_api_key", {"name": "over", "scope": "read", "expires_at": None})
    await story.do("revoke_api_key", api_key_id=over["id"])


async def somebody(story: Story, user_id: str) -> str:
    """A member of the tenant, an ADMIN."""
    command = AddMember(tenant_id=story.client.tenant_id, user_id=user_id, role=Role.ADMIN, by=None)
    await story.api.parts.writer.submit(request(command, tenant_id=story.client.tenant_id))
    return user_id


async def moved(story: Story, clock_id: str) -> None:
    """The test clock's runner has come to its goal."""
    from domain.customers.test_clock import CompleteTestClockAdvance

    await story.api.parts.writer.submit(
        Request(
            tenant_id=story.client.tenant_id,
            idempotency_key=f"advanced/{clock_id}",
            request_hash=bytes(32),
            command=CompleteTestClockAdvance(clock_id=clock_id, advance=1),
            actor="due_work",
            correlation_id="test",
        )
    )
    del story.latest[clock_id]


def without(shown: DATA, *names: str) -> dict[str, Any]:
    """What is shown, but for what only queries show."""
    return {name: value for name, value in shown.items() if name not in names}


async def test_every_command_answers_what_its_query_shows(api: Api) -> None:
    story = Story(api, await api.tenant("acme"))
    await tell(story)
    assert story.done == {
        name
        for name, operation in OPERATIONS.items()
        if operation.is_command and operation.needs is not Permission.TENANTS_WRITE and name not in OF_ANOTHER
    }
    await project(api.database, api.parts.settings)
    for answered in story.latest.values():
        # An invoice changes with its payment, and a customer with their payment method: by commands of other resources.
        shown = await story.client.get((PATH_OF_OBJECT | OF_ACCESS)[answered["object"]] + answered["id"])
        assert shown.status_code == 200, shown.text
        assert without(shown.json(), "steps", "triggered") == answered


async def test_what_was_just_written_is_read_by_its_id_however_far_the_read_models_have_come(api: Api) -> None:
    story = Story(api, await api.tenant("acme"))
    await project(api.database, api.parts.settings)
    await tell(story)
    product = next(each for each in story.latest.values() if each["object"] == "product")
    for answered in story.latest.values():
        shown = await story.client.get((PATH_OF_OBJECT | OF_ACCESS)[answered["object"]] + answered["id"])
        assert shown.status_code == 200, shown.text
        assert without(shown.json(), "steps", "triggered") == answered
    await project(api.database, api.parts.settings)
    before = (await story.client.get(f"/v1/products/{product['id']}")).json()
    changed = await story.do("update_product", {"name": "A newer name"}, product_id=product["id"])
    assert changed["version"] == before["version"] + 1
    assert (await story.client.get(f"/v1/products/{product['id']}")).json() == changed


async def test_lists_show_the_same_resources_newest_first_page_by_page(api: Api) -> None:
    story = Story(api, await api.tenant("acme"))
    await tell(story)
    await project(api.database, api.parts.settings)
    for path in PATH_OF_OBJECT.values():
        everything = await ids_of(story.client, f"{path[:-1]}?limit=100")
        assert everything, path
        paged = await whole(story.client, f"{path[:-1]}?limit=3")
        assert [each["id"] for each in paged] == everything
        back = (await story.client.get(f"{path[:-1]}?limit=2&ending_before={everything[-1]}")).json()
        assert [each["id"] for each in back["data"]] == everything[:-1][-2:]


async def whole(client: Client, path: str) -> list[dict[str, Any]]:
    """All of a list, page by page; the path names a limit."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        after = f"&starting_after={cursor}" if cursor else ""
        page = (await client.get(f"{path}{after}")).json()
        found += page["data"]
        cursor = page["next_cursor"]
    return found


async def ids_of(client: Client, path: str) -> list[str]:
    answer: httpx2.Response = await client.get(path)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


async def test_an_id_opens_into_its_resource_where_that_is_asked_for(api: Api) -> None:
    story = Story(api, await api.tenant("acme"))
    await tell(story)
    await project(api.database, api.parts.settings)
    path = "/v1/payments?expand[]=customer&expand[]=invoice&expand[]=payment_method"
    for payment in (await story.client.get(path)).json()["data"]:
        assert payment["customer"]["email"] == "countess@example.com"
        assert payment["invoice"] is None or payment["invoice"]["object"] == "invoice"
        assert payment["payment_method"] is None or payment["payment_method"]["object"] == "payment_method"
    refused = await story.client.get("/v1/payments?expand[]=secrets")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["param"].startswith("expand[]")


async def test_the_books_balance_now_and_as_of_any_moment_in_both_times(api: Api) -> None:
    story = Story(api, await api.tenant("acme"))
    await tell(story)
    await project(api.database, api.parts.settings)
    client = story.client
    now = (await client.get("/v1/ledger/trial-balance")).json()
    assert now["balanced"] is True
    assert {each["currency"] for each in now["currencies"]} == {"EUR", "USD"}
    for moment in ("as_of=2026-02-01T00:00:00Z", "known_at=2030-01-01T00:00:00Z", "known_at_position=40"):
        past = (await client.get(f"/v1/ledger/trial-balance?{moment}")).json()
        assert past["balanced"] is True
    before = (await client.get("/v1/ledger/trial-balance?known_at=2000-01-01T00:00:00Z")).json()
    assert before["currencies"] == []
    entries = (await client.get("/v1/ledger/entries?limit=100")).json()["data"]
    one = (await client.get(f"/v1/ledger/entries/{entries[0]['id']}")).json()
    assert one == entries[0]
    for account in {posting["account"] for entry in entries for posting in entry["postings"]}:
        found = (await client.get(f"/v1/ledger/entries?limit=100&account={account}")).json()["data"]
        assert found == [each for each in entries if account in {posting["account"] for posting in each["postings"]}]
    assert (await client.get("/v1/ledger/entries?account=gold")).json()["errors"][0]["code"] == "unknown_account"
    ada = next(each for each in story.latest.values() if each.get("external_id") == "crm-1")
    accounts = (await client.get(f"/v1/customers/{ada['id']}/accounts")).json()["data"]
    owed = (await client.get(f"/v1/customers/{ada['id']}/balance")).json()["owed"]
    assert [each["balance"] for each in accounts if each["code"] == "receivable"] == owed
    past = (await client.get(f"/v1/customers/{ada['id']}/accounts?as_of=2000-01-01T00:00:00Z")).json()
    assert past["data"] == []
    nobody = await client.get("/v1/customers/cus_01m7ywe9z7e398x54gfbrtqnk7/accounts")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "customer_not_found")
    both = await client.get("/v1/ledger/trial-balance?known_at=2030-01-01T00:00:00Z&known_at_position=1")
    assert both.status_code == 422
    head = await api.head()
    for path in ("ledger/trial-balance", "ledger/accounts", f"customers/{ada['id']}/accounts"):
        assert (await client.get(f"/v1/{path}?known_at_position={head}")).status_code == 200
        ahead = await client.get(f"/v1/{path}?known_at_position={head + 1}")
        assert ahead.status_code == 422
        assert [(error["param"], error["code"]) for error in ahead.json()["errors"]] == [
            ("known_at_position", "position_ahead")
        ]


async def test_a_customers_story_and_balance_and_the_log_are_shown(api: Api) -> None:
    story = Story(api, await api.tenant("acme"))
    await tell(story)
    await project(api.database, api.parts.settings)
    client = story.client
    ada = next(each for each in story.latest.values() if each.get("external_id") == "crm-1")
    timeline = await whole(client, f"/v1/customers/{ada['id']}/timeline?limit=100")
    types = {event["type"] for event in timeline}
    assert {"customer.created", "subscription.created", "invoice.finalized", "payment.captured"} <= types
    positions = [event["position"] for event in timeline]
    assert positions == sorted(positions, reverse=True)
    balance = (await client.get(f"/v1/customers/{ada['id']}/balance")).json()
    open_invoices = (await client.get(f"/v1/invoices?customer={ada['id']}&status=open&limit=100")).json()["data"]
    owed = sum(invoice["amount_due"]["amount"] for invoice in open_invoices)
    assert balance["owed"] == [{"amount": owed, "currency": "EUR"}]
    captured, returning = 1999, 500  # a payment of hers that pays no invoice, and its refund
    assert balance["customer_balance"] == [{"amount": captured - returning, "currency": "EUR"}]
    assert balance["refunds_payable"] == [{"amount": returning, "currency": "EUR"}]
    assert balance["prepaid"] == []
    given_back = [{"account": "refunds_payable", "side": "debit"}, {"account": "cash", "side": "credit"}]
    by_hand = [each | {"amount": balance["refunds_payable"][0]} for each in given_back]
    refused = await client.post("/v1/ledger/journal-entries", {"postings": by_hand, "memo": "Paid by transfer"})
    assert (refused.status_code, refused.json()["code"]) == (422, "control_account")
    events = (await client.get("/v1/events?limit=100")).json()["data"]
    assert len(events) == 100 or len(events) == await api.head()
    assert "token" not in str([event["data"] for event in events])
    one = (await client.get(f"/v1/events/{events[0]['id']}")).json()
    assert one == events[0]
    of_stream = (await client.get(f"/v1/events?stream={ada['id']}")).json()["data"]
    assert (await client.get(f"/v1/events?stream=customer/{ada['id']}")).json()["data"] == of_stream, "as in ce_subject"
    assert (await client.get(f"/v1/events?stream=invoice/{ada['id']}")).json()["data"] == []
    assert {event["stream"] for event in of_stream} == {ada["id"]}
    request_id = of_stream[-1]["correlation_id"]
    correlated = (await client.get(f"/v1/events?correlation_id={request_id}")).json()["data"]
    assert of_stream[-1] in correlated
    assert {event["correlation_id"] for event in correlated} == {request_id}
    both = await client.get(f"/v1/events?correlation_id={request_id}&stream={ada['id']}")
    assert of_stream[-1] in both.json()["data"]
    dashboard = (await client.get("/v1/stats/dashboard")).json()
    assert any(figure["measure"] == "invoices.open" for figure in dashboard["figures"])
    for path in ("/v1/payments/stats", "/v1/refunds/stats", "/v1/sagas", "/v1/ledger/accounts"):
        assert (await client.get(path)).status_code == 200


async def test_a_payment_shows_every_step_with_its_time_and_cause(api: Api) -> None:
    story = Story(api, await api.tenant("acme"))
    await tell(story)
    await project(api.database, api.parts.settings)
    payments = (await story.client.get("/v1/payments?status=succeeded")).json()["data"]
    shown = (await story.client.get(f"/v1/payments/{payments[0]['id']}")).json()
    assert [step["type"] for step in shown["steps"]][:3] == [
        "payment.created",
        "payment.attempt_requested",
        "payment.captured",
    ]
    assert all(step["at"] and step["recorded_at"] and step["event"] for step in shown["steps"])
