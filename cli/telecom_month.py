"""The telecom month: real customers through the public API, two billing cycles on a test clock.

PaymentMethod: the two automatic ones are charged by the sandbox gateway, the two checks get an invoice to pay by hand
(electronic checks pay it at once, mailed ones are still under way). Contract: the plan. MonthlyCharges: the price, in
advance. Churn=Yes: cancels at the period's end. Every forty cards one declines in each cycle, and recovers. The seller
is in one country of the European Union and registered in three, where the customers live in turn. Two-year contracts
begin with a coupon; some change their contract in the middle of the month, and half of an invoice is credited.
PhoneService and InternetService: what is counted of some who stay, minutes, messages and gigabytes: sent in two halves
of the month, with repeats, conflicts, mistakes and what comes late, and billed by the second cycle.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.api_client import ApiClient, Resource
from cli.many import for_each
from cli.telecom_customers import CURRENCY, SELLER_COUNTRY, TAX_PERCENT, WELCOME_PERCENT, Account, TelecomCustomer
from cli.telecom_events import Step
from cli.telecom_usage import UsageMonth

STARTS_AT: Final = "2026-01-01T00:00:00Z"
CHANGES_AT: Final = "2026-01-16T00:00:00Z"
USED_UNTIL: Final = "2026-01-31T23:45:00Z"
ENDS_AT: Final = "2026-02-01T00:00:00Z"
REQUESTS_AT_ONCE: Final = 48
POLL_S: Final = 0.25
STALLED_AFTER_S: Final = 120.0
REFUNDS: Final = 100

Item = TypeVar("Item")


class MonthStalled(Exception):
    """Nothing moved for too long; the roles' logs say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """What a cycle came to. `seconds` run from the first request (or the clock's start) until all is settled."""

    invoices: int
    amount: int
    charged: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What the month came to: its cycles, the invoices of changed contracts, and what credit notes gave back."""

    january: Cycle
    changes: Cycle
    credited: int
    february: Cycle


class TelecomMonth:
    """One run, which a tenant of its own is made for.

    `usage` is what the customers use besides, if anything. `around_renewals` is entered while the second cycle runs: a
    benchmark measures what it needs there.
    """

    def __init__(
        self,
        api: ApiClient,
        customers: Sequence[TelecomCustomer],
        *,
        tenant: str,
        progress: Progress,
        usage: UsageMonth | None = None,
        around_renewals: AbstractContextManager[object] | None = None,
    ) -> None:
        self._api = api
        self._customers = customers
        self._tenant = tenant
        self._progress = progress
        self._usage = usage
        self._around_renewals = around_renewals or nullcontext()
        self._accounts: list[Account] = []
        self._clock = ""
        self._coupon = ""

    async def run(self) -> Month:
        """The whole month. Raises MonthStalled, ApiError."""
        if any(row.country for row in self._customers):
            await self._tax_table()
        plans, prices = await self._catalogue()
        if self._usage is not None:
            await self._usage.sell(plans)
        january = await self._first_cycle(plans, prices)
        await self._pay_by_hand()
        await self._recover("first")
        credited = await self._credit()
        await self._use_first_half()
        changes = await self._change(plans, prices)
        await self._cancel()
        await self._use_second_half()
        february = await self._second_cycle()
        await self._recover("second")
        await self._refund()
        return Month(january=january, changes=changes, credited=credited, february=february)

    async def _tax_table(self) -> None:
        settings = f"/v1/tenants/{self._tenant}/tax-settings"
        await self._api.patch(settings, {"seller_country": SELLER_COUNTRY}, key=self._key("tax-settings"))
        since = STARTS_AT[:10]
        for country, percent in TAX_PERCENT.items():
            await self._post(
                "/v1/tax-rates", {"country": country, "percent": str(percent), "valid_from": since}, f"tax:{country}"
            )
            registration = {"country": country, "number": f"{country} 0000", "valid_from": since}
            await self._post("/v1/tax-registrations", registration, f"registration:{country}")

    async def _catalogue(self) -> tuple[dict[str, str], dict[tuple[str, int], str]]:
        clock = await self._post("/v1/test-clocks", {"name": "Telecom month", "frozen_time": STARTS_AT}, "clock")
        self._clock = clock["id"]
        product = await self._post("/v1/products", {"name": "Telephone and internet"}, "product")
        if any(row.welcome for row in self._customers):
            welcome = {"name": "Welcome", "percent_off": str(WELCOME_PERCENT), "duration": "once"}
            self._coupon = (await self._post("/v1/coupons", welcome, "coupon"))["id"]
        plans: dict[str, str] = {}
        for contract in sorted({row.contract for row in self._customers}):
            body = {"product": product["id"], "name": contract, "interval": {"unit": "month"}}
            plans[contract] = (await self._post("/v1/plans", body, f"plan:{contract}"))["id"]
        prices: dict[tuple[str, int], str] = {}

        async def price(terms: tuple[str, int]) -> None:
            contract, monthly = terms
            body = {
                "plan": plans[contract],
                "model": {"type": "flat", "amount": {"amount": monthly, "currency": CURRENCY}},
            }
            prices[terms] = (await self._post("/v1/prices", body, f"price:{contract}:{monthly}"))["id"]

        await self._each("Prices", sorted({(row.contract, row.monthly) for row in self._customers}), price)
        return plans, prices

    async def _first_cycle(self, plans: dict[str, str], prices: dict[tuple[str, int], str]) -> Cycle:
        async def subscribe(row: TelecomCustomer) -> None:
            name = row.external_id
            customer = await self._post(
                "/v1/customers",
                {
                    "external_id": name,
                    "name": f"Customer {name}",
                    "email": f"{name.lower()}@telco.example",
                    "currency": CURRENCY,
                    "test_clock": self._clock,
                    **_taxed_as(row),
                },
                f"customer:{name}",
            )
            if row.token is not None:
                method = {"customer": customer["id"], "type": row.method, "token": row.token, "set_default": True}
                await self._post("/v1/payment-methods", method, f"method:{name}")
            automatic = row.token is not None
            subscription = await self._post(
                "/v1/subscriptions",
                {
                    "customer": customer["id"],
                    "plan": plans[row.contract],
                    "items": [{"price": prices[row.contract, row.monthly]}, *self._metered(row, row.contract)],
                    "collection_method": "charge_automatically" if automatic else "send_invoice",
                    **({"coupons": [self._coupon]} if row.welcome else {}),
                },
                f"subscription:{name}",
            )
            self._accounts.append(
                Account(
                    row=row,
                    customer=customer["id"],
                    subscription=subscription["id"],
                    first_invoice=subscription["latest_invoice"],
                )
            )

        start = time.monotonic()
        await self._each("Customers subscribe", self._customers, subscribe)
        charged = sum(row.token is not None for row in self._customers)
        await self._settled("First cycle: invoices and charges", [], invoices=len(self._customers), attempts=charged)
        return await self._cycle([], charged, time.monotonic() - start)

    async def _pay_by_hand(self) -> None:
        async def pay(account: Account) -> None:
            path = f"/v1/invoices/{account.first_invoice}/pay"
            await self._post(path, {"paid_out_of_band": True}, f"pay:{account.row.external_id}")

        await self._each("Electronic checks arrive", [each for each in self._accounts if each.row.pays_at_once], pay)

    async def _credit(self) -> int:
        """Half of an invoice is given back, as the customer's balance."""
        total = 0

        async def credit(account: Account) -> None:
            nonlocal total
            half = (await self._api.get(f"/v1/invoices/{account.first_invoice}", fresh=True))["total"]["amount"] // 2
            body = {"invoice": account.first_invoice, "amount": {"amount": half, "currency": CURRENCY}}
            note = await self._post("/v1/credit-notes", body, f"credit:{account.row.external_id}")
            total += note["total"]["amount"]

        await self._each("Half an invoice is credited", [each for each in self._accounts if each.row.credited], credit)
        return total

    def _metered(self, row: TelecomCustomer, contract: str) -> list[dict[str, str]]:
        return [] if self._usage is None else self._usage.items(row, contract)

    async def _use_first_half(self) -> None:
        """The clock comes to the middle of the month, and what was used until then is sent."""
        if any(row.changes is not None or row.services for row in self._customers):
            await self._advance(CHANGES_AT, "advance-changes")
            await self._clock_ready()
        if self._usage is not None:
            await self._usage.send(self._accounts, Step.BEFORE_CHANGES)

    async def _use_second_half(self) -> None:
        """What comes late for what is billed already, the rest of the month, and mistakes."""
        if self._usage is not None:
            await self._usage.send(self._accounts, Step.LATE)
            await self._advance(USED_UNTIL, "advance-usage")
            await self._clock_ready()
            await self._usage.send(self._accounts, Step.AFTER_CHANGES)
            await self._usage.take_back(self._accounts)

    async def _change(self, plans: dict[str, str], prices: dict[tuple[str, int], str]) -> Cycle:
        """Then some change their contract: billed at once, or with the next invoice."""
        before = await self._figures()
        start = time.monotonic()

        async def change(account: Account) -> None:
            to = account.row.changes
            assert to is not None, "they were chosen by it"
            body = {
                "plan": plans[to.contract],
                "items": [{"price": prices[to.contract, to.monthly]}, *self._metered(account.row, to.contract)],
                "proration": to.proration,
            }
            await self._post(
                f"/v1/subscriptions/{account.subscription}/change", body, f"change:{account.row.external_id}"
            )

        changing = [each for each in self._accounts if each.row.changes is not None]
        at_once = sum(each.row.changes is not None and each.row.changes.proration == "invoice_now" for each in changing)
        if changing:
            await self._each("Contracts change", changing, change)
            await self._settled("Their invoices and charges", before, invoices=at_once, attempts=at_once)
        return await self._cycle(before, at_once, time.monotonic() - start)

    async def _cancel(self) -> None:
        async def cancel(account: Account) -> None:
            path = f"/v1/subscriptions/{account.subscription}/cancel"
            await self._post(path, {"at_period_end": True}, f"cancel:{account.row.external_id}")

        leavers = [each for each in self._accounts if each.row.leaves]
        await self._each("Leavers cancel at the period's end", leavers, cancel)

    async def _second_cycle(self) -> Cycle:
        before = await self._figures()
        renewing = [row for row in self._customers if not row.leaves]
        charged = sum(row.token is not None for row in renewing)
        with self._around_renewals:
            start = time.monotonic()
            await self._advance(ENDS_AT, "advance")
            await self._settled("Second cycle: invoices and charges", before, invoices=len(renewing), attempts=charged)
            await self._clock_ready()
            seconds = time.monotonic() - start
        return await self._cycle(before, charged, seconds)

    async def _advance(self, to: str, step: str) -> None:
        await self._post(f"/v1/test-clocks/{self._clock}/advance", {"frozen_time": to}, step)

    async def _clock_ready(self) -> None:
        while True:
            if (await self._api.get(f"/v1/test-clocks/{self._clock}"))["status"] == "ready":
                return
            await asyncio.sleep(POLL_S)

    async def _recover(self, cycle: str) -> None:
        """The declined cards are topped up, and their invoices paid."""
        past_due: list[Resource] = []
        async for page in self._api.pages("/v1/subscriptions", {"status": "past_due"}):
            past_due += page
        before = await self._figures()

        async def pay(subscription: Resource) -> None:
            for invoice in subscription["past_due_invoices"]:
                await self._post(f"/v1/invoices/{invoice}/pay", {}, f"recover:{cycle}:{invoice}")

        await self._each(f"Declined cards recover ({cycle} cycle)", past_due, pay)
        invoices = sum(len(each["past_due_invoices"]) for each in past_due)
        await self._settled(f"Their charges settle ({cycle} cycle)", before, invoices=0, attempts=invoices)

    async def _refund(self) -> None:
        """A hundred payments go back, every second one by half (rounded down)."""
        chosen = [each for each in sorted(self._accounts, key=lambda a: a.row.external_id) if each.row.token][:REFUNDS]

        async def refund(place: tuple[int, Account]) -> None:
            nth, account = place
            invoice = await self._api.get(f"/v1/invoices/{account.first_invoice}")
            body: dict[str, object] = {"payment": invoice["payment"], "reason": "Service outage"}
            if nth % 2:
                body["amount"] = {"amount": account.row.monthly // 2, "currency": CURRENCY}
            await self._post("/v1/refunds", body, f"refund:{account.row.external_id}")

        await self._each("Refunds", list(enumerate(chosen)), refund)
        await self._until("Refunds settle", lambda figures: _count(figures, "refunds.succeeded"), len(chosen))

    async def _settled(self, what: str, before: list[Resource], *, invoices: int, attempts: int) -> None:
        """Wait until, since the figures before, so many invoices are finalized and so many charges have had their
        answer. The bar counts both.
        """

        def done(figures: list[Resource]) -> int:
            finalized = min(_count(figures, "invoice.finalized") - _count(before, "invoice.finalized"), invoices)
            answered = min(_attempts(figures) - _attempts(before), attempts)
            return finalized + answered

        await self._until(what, done, invoices + attempts)

    async def _until(self, what: str, measure: Callable[[list[Resource]], int], goal: int) -> None:
        bar = self._bar(what, goal)
        reached, moved_at = -1, time.monotonic()
        while reached < goal:
            now = measure(await self._figures())
            if now != reached:
                reached, moved_at = now, time.monotonic()
                self._progress.update(bar, completed=reached)
            elif time.monotonic() - moved_at > STALLED_AFTER_S:
                raise MonthStalled(f"{reached} of {goal} after {STALLED_AFTER_S:.0f} s without a change")
            else:
                await asyncio.sleep(POLL_S)

    async def _cycle(self, before: Iterable[Resource], charged: int, seconds: float) -> Cycle:
        """What was invoiced since the figures before."""
        figures = await self._figures()
        return Cycle(
            invoices=_count(figures, "invoice.finalized") - _count(before, "invoice.finalized"),
            amount=_amount(figures, "invoice.finalized") - _amount(before, "invoice.finalized"),
            charged=charged,
            seconds=seconds,
        )

    async def _figures(self) -> list[Resource]:
        figures: list[Resource] = (await self._api.get("/v1/stats/dashboard"))["figures"]
        return figures

    async def _post(self, path: str, body: Mapping[str, object], step: str) -> Resource:
        return await self._api.post(path, body, key=self._key(step))

    def _key(self, step: str) -> str:
        return f"telecom:{self._tenant}:{step}".replace(" ", "-")

    async def _each(self, what: str, items: Sequence[Item], work: Callable[[Item], Awaitable[None]]) -> None:
        """Do something for each item, a bounded number at once, with a progress bar."""
        bar = self._bar(what, len(items))
        await for_each(items, work, at_once=REQUESTS_AT_ONCE, done=lambda: self._progress.advance(bar))

    def _bar(self, what: str, total: int) -> TaskID:
        return self._progress.add_task(what, total=total)


def _taxed_as(row: TelecomCustomer) -> dict[str, object]:
    """What of a customer decides on their tax."""
    if row.country is None:
        return {}
    ids = [] if row.vat_id is None else [{"type": "eu_vat", "value": row.vat_id}]
    return {"address": {"country": row.country}, "tax_exempt": row.tax_exempt, "tax_ids": ids}


def progress_bars(on: Console) -> Progress:
    """The bars of a run: what, how much of how many, how long."""
    columns = TextColumn("{task.description:<38}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=on)


def _count(figures: Iterable[Resource], measure: str) -> int:
    return sum(each["count"] for each in figures if each["measure"] == measure)


def _amount(figures: Iterable[Resource], measure: str) -> int:
    return sum(each["amount"] for each in figures if each["measure"] == measure)


def _attempts(figures: list[Resource]) -> int:
    """Charges that have had their answer."""
    return _count(figures, "payment.captured") + _count(figures, "payment.declined")
