"""The telecom year through the public API: a tenant on a test clock, and everybody's acts, each on its day at noon."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final, TypeAlias, TypeVar

from rich.progress import Progress

from cli.api_client import ApiClient, Resource
from cli.many import for_each
from cli.year.acts import (
    CURRENCIES,
    LOYAL,
    OFFERS,
    PLACES,
    SELLER_COUNTRY,
    Act,
    Bounce,
    Cancel,
    Change,
    Credit,
    Fee,
    Offer,
    Pause,
    Pay,
    Person,
    Resume,
    Reward,
    RewardEnds,
    StayAfterAll,
    Terms,
    TryAgain,
    VoidCredit,
    VoidInvoice,
    WriteOff,
    day,
)
from cli.year.expected import ENDS

REQUESTS_AT_ONCE: Final = 32
POLL_S: Final = 0.1
STALLED_AFTER_S: Final = 120.0
LAST_MOMENT: Final = f"{ENDS - timedelta(days=1)}T23:59:59Z"

Item = TypeVar("Item")
PriceKey: TypeAlias = tuple[str, int, bool]
"""A plan, an amount, and whether it is for each line."""


class YearStalled(Exception):
    """The clock stood still for too long; the roles' logs say why."""


class TelecomYear:
    """One run, which a tenant of its own is made for."""

    def __init__(self, api: ApiClient, people: Sequence[Person], *, tenant: str, progress: Progress) -> None:
        self._api = api
        self._people = people
        self._tenant = tenant
        self._progress = progress
        self._clock = ""
        self._plans: dict[str, str] = {}
        self._prices: dict[PriceKey, str] = {}
        self._coupons: dict[tuple[Offer, str], str] = {}
        self._subscriptions: dict[str, str] = {}
        self._terms: dict[str, Terms] = {}
        self._notes: dict[str, str] = {}
        self._rewards: dict[str, str] = {}
        self._months = progress.add_task("Months", total=len({each.month for each in self._days()}))
        self._step = progress.add_task("", total=None, visible=False)
        self.customers: dict[str, str] = {}
        """Ids by external id, of those who have joined."""

    async def run(self) -> None:
        """All of it. Raises YearStalled, ApiError."""
        await self._taxes()
        await self._catalogue()
        month = 1
        for on in self._days():
            self._progress.advance(self._months, on.month - month)
            month = on.month
            await self._advance(f"{on}T12:00:00Z", f"{on:%B}: the clock runs to the {on.day}.")
            joining = [person for person in self._people if person.joins == on]
            await self._each(f"{on:%B}: customers join", joining, self._join)
            acting = [(person, acts) for person in self._people if (acts := _acts_on(person, on))]
            await self._each(f"{on:%B} {on.day}: they pay, change and leave", acting, self._act)
        await self._advance(LAST_MOMENT, "The year ends")
        self._progress.advance(self._months)

    def _days(self) -> list[date]:
        joins = {person.joins for person in self._people}
        return sorted(joins | {act.on for person in self._people for act in person.acts})

    async def _taxes(self) -> None:
        settings = f"/v1/tenants/{self._tenant}/tax-settings"
        await self._api.patch(settings, {"seller_country": SELLER_COUNTRY}, key=self._key("tax-settings"))
        for place in PLACES:
            for rate in place.rates:
                body = {
                    "country": place.country,
                    "region": place.region if rate.jurisdiction != place.country else None,
                    "kind": rate.kind,
                    "percent": rate.percent,
                    "valid_from": rate.since.isoformat(),
                }
                await self._post("/v1/tax-rates", body, f"tax:{rate.jurisdiction}:{rate.kind}:{rate.since}")
            if place.rates:
                registration = {
                    "country": place.country,
                    "number": f"{place.country} 0000",
                    "valid_from": day(1, 1).isoformat(),
                }
                await self._post("/v1/tax-registrations", registration, f"registration:{place.country}")

    async def _catalogue(self) -> None:
        clock = {"name": "Telecom year", "frozen_time": f"{day(1, 1)}T00:00:00Z"}
        self._clock = (await self._post("/v1/test-clocks", clock, "clock"))["id"]
        product = await self._post("/v1/products", {"name": "Telephone and internet"}, "product")
        for offer in (*OFFERS, LOYAL):
            for currency in CURRENCIES if offer.amount is not None else ("",):
                coupon = await self._post("/v1/coupons", _coupon(offer, currency), f"coupon:{offer.name}:{currency}")
                self._coupons[offer, currency] = coupon["id"]
        terms = {each for person in self._people for each in _all_terms(person)}
        for plan, months in sorted({(each.plan, each.months) for each in terms}):
            interval = {"unit": "month", "count": months} if months < 12 else {"unit": "year"}
            body = {"product": product["id"], "name": plan, "interval": interval}
            self._plans[plan] = (await self._post("/v1/plans", body, f"plan:{plan}"))["id"]

        async def price(key: PriceKey) -> None:
            plan, amount, is_per_line = key
            models = [_model(amount, currency, is_per_line=is_per_line) for currency in CURRENCIES]
            body = {
                "plan": self._plans[plan],
                "model": models[0],
                "currency_options": [{"model": model} for model in models[1:]],
            }
            self._prices[key] = (await self._post("/v1/prices", body, f"price:{plan}:{amount}:{is_per_line}"))["id"]

        await self._each("Prices", sorted({_price_key(each) for each in terms}), price)

    async def _join(self, person: Person) -> None:
        name, place = person.external_id, person.place
        ids = [] if person.vat_id is None else [{"type": "eu_vat", "value": person.vat_id}]
        body = {
            "external_id": name,
            "name": f"Customer {name}",
            "email": f"{name.lower()}@telco.example",
            "currency": place.currency,
            "test_clock": self._clock,
            "address": {"country": place.country, "region": place.region},
            "tax_exempt": person.is_exempt,
            "tax_ids": ids,
        }
        customer = await self._post("/v1/customers", body, f"customer:{name}")
        self.customers[name] = customer["id"]
        if person.token is not None:
            method = {"customer": customer["id"], "type": person.method, "token": person.token, "set_default": True}
            await self._post("/v1/payment-methods", method, f"method:{name}")
        subscription = {
            "customer": customer["id"],
            "plan": self._plans[person.terms.plan],
            "items": [self._item(person.terms)],
            "collection_method": "send_invoice" if person.token is None else "charge_automatically",
            "coupons": [self._coupon_of(offer, place.currency) for offer in person.offers],
            "trial_days": person.trial_days,
        }
        made = await self._post("/v1/subscriptions", subscription, f"subscription:{name}")
        self._subscriptions[name] = made["id"]
        self._terms[name] = person.terms

    async def _act(self, acting: tuple[Person, Sequence[Act]]) -> None:
        """What somebody does on a day, one after the other."""
        person, acts = acting
        for act in acts:
            step = f"{person.external_id}:{act.on}:{type(act).__name__}"
            match act:
                case Pay():
                    await self._pay(person, act, step)
                case TryAgain():
                    await self._try_again(person, step)
                case WriteOff():
                    await self._write_off(person, act, step)
                case Credit():
                    await self._credit(person, act, step)
                case Change():
                    await self._change(person, act, step)
                case VoidCredit():
                    await self._post(f"/v1/credit-notes/{self._notes[person.external_id]}/void", {}, step)
                case VoidInvoice():
                    await self._void(person, step)
                case Bounce():
                    await self._bounce(person, step)
                case Fee():
                    fee = {"description": "Technician", "amount": _money(act.amount, person)}
                    await self._post(f"/v1/customers/{self.customers[person.external_id]}/waiting-items", fee, step)
                case Reward():
                    reward = {"coupon": self._coupons[act.offer, ""], "customer": self.customers[person.external_id]}
                    self._rewards[person.external_id] = (await self._post("/v1/discounts", reward, step))["id"]
                case RewardEnds():
                    discount = f"/v1/discounts/{self._rewards[person.external_id]}"
                    await self._api.delete(discount, key=self._key(step))
                case Cancel():
                    await self._of_subscription(person, "cancel", _cancellation(act), step)
                case StayAfterAll():
                    await self._of_subscription(person, "undo-cancel", {}, step)
                case Pause():
                    await self._of_subscription(person, "pause", {"credit_unused": act.credited}, step)
                case Resume():
                    await self._of_subscription(person, "resume", {}, step)

    async def _change(self, person: Person, act: Change, step: str) -> None:
        before, after = self._terms[person.external_id], act.terms
        same_price = _price_key(before) == _price_key(after)
        body: dict[str, object] = {"items": [self._item(after)], "proration": act.proration}
        if before.plan != after.plan:
            body["plan"] = self._plans[after.plan]
        elif not same_price:
            body["remove"] = [self._prices[_price_key(before)]]
        if act.begins_anew:
            body["reset_anchor"] = True
        if act.effective_on is not None:
            body["effective_at"] = f"{act.effective_on}T12:00:00Z"
        await self._of_subscription(person, "change", body, step)
        self._terms[person.external_id] = after

    async def _pay(self, person: Person, act: Pay, step: str) -> None:
        for invoice in await self._open(person):
            amount = int(invoice["amount_due"]["amount"] * act.part)
            amount = -(-amount // act.notes) * act.notes
            if amount:
                paid = {"paid_out_of_band": True, "amount": _money(amount, person)}
                await self._of_invoice(invoice, "pay", paid, step)

    async def _bounce(self, person: Person, step: str) -> None:
        invoice = await self._newest(person)
        if invoice is not None and invoice["amount_paid"]["amount"]:
            await self._of_invoice(invoice, "reverse-payment", {}, step)

    async def _void(self, person: Person, step: str) -> None:
        invoice = await self._newest(person)
        if invoice is not None and invoice["status"] == "open" and not invoice["amount_paid"]["amount"]:
            await self._of_invoice(invoice, "void", {}, step)

    async def _try_again(self, person: Person, step: str) -> None:
        for invoice in await self._open(person):
            if invoice["collection_status"] == "failed":
                await self._of_invoice(invoice, "pay", {}, step)

    async def _write_off(self, person: Person, act: WriteOff, step: str) -> None:
        for invoice in await self._open(person):
            if invoice["finalized_at"] < act.before.isoformat():
                await self._of_invoice(invoice, "mark-uncollectible", {}, step)

    async def _credit(self, person: Person, act: Credit, step: str) -> None:
        invoice = await self._newest(person)
        assert invoice is not None, "they are billed since January"
        body: dict[str, object] = {"invoice": invoice["id"], "reason": "Outage"}
        if act.part < 1:
            body["amount"] = _money(int(invoice["total"]["amount"] * act.part), person)
        if act.refund:
            body["give_back"] = "refund"
        self._notes[person.external_id] = (await self._post("/v1/credit-notes", body, step))["id"]

    async def _newest(self, person: Person) -> Resource | None:
        """Their newest invoice; who left in their trial has none."""
        subscription = await self._api.get(f"/v1/subscriptions/{self._subscriptions[person.external_id]}")
        if subscription["latest_invoice"] is None:
            return None
        return await self._api.get(f"/v1/invoices/{subscription['latest_invoice']}")

    async def _open(self, person: Person) -> list[Resource]:
        """Their open invoices."""
        found: list[Resource] = []
        wanted = {"customer": self.customers[person.external_id], "status": "open"}
        async for page in self._api.pages("/v1/invoices", wanted, fresh=True):
            found += page
        return found

    async def _of_subscription(self, person: Person, what: str, body: Mapping[str, object], step: str) -> None:
        await self._post(f"/v1/subscriptions/{self._subscriptions[person.external_id]}/{what}", body, step)

    async def _of_invoice(self, invoice: Resource, what: str, body: Mapping[str, object], step: str) -> None:
        await self._post(f"/v1/invoices/{invoice['id']}/{what}", body, f"{step}:{invoice['id']}")

    def _item(self, terms: Terms) -> dict[str, object]:
        """A price, and how many lines of it where it is for each."""
        price: dict[str, object] = {"price": self._prices[_price_key(terms)]}
        return price if terms.lines is None else {**price, "quantity": terms.lines}

    def _coupon_of(self, offer: Offer, currency: str) -> str:
        return self._coupons[offer, currency if offer.amount is not None else ""]

    async def _advance(self, to: str, what: str) -> None:
        """Every timer until then, each at its own time. Raises YearStalled."""
        self._progress.update(self._step, description=what, total=None, visible=True)
        path = f"/v1/test-clocks/{self._clock}"
        await self._post(f"{path}/advance", {"frozen_time": to}, f"advance:{to}")
        reached, moved_at = "", time.monotonic()
        while (clock := await self._api.get(path))["status"] != "ready":
            if clock["frozen_time"] != reached:
                reached, moved_at = clock["frozen_time"], time.monotonic()
            elif time.monotonic() - moved_at > STALLED_AFTER_S:
                raise YearStalled(f"The clock stood at {reached} for {STALLED_AFTER_S:.0f} s on its way to {to}.")
            await asyncio.sleep(POLL_S)

    async def _each(self, what: str, items: Sequence[Item], work: Callable[[Item], Awaitable[None]]) -> None:
        """Do something for each item, a bounded number at once."""
        if not items:
            return
        self._progress.reset(self._step, description=what, total=len(items), visible=True)
        await for_each(items, work, at_once=REQUESTS_AT_ONCE, done=lambda: self._progress.advance(self._step))

    async def _post(self, path: str, body: Mapping[str, object], step: str) -> Resource:
        return await self._api.post(path, body, key=self._key(step))

    def _key(self, step: str) -> str:
        return f"year:{self._tenant}:{step}".replace(" ", "-")


def _acts_on(person: Person, on: date) -> list[Act]:
    return [act for act in person.acts if act.on == on]


def _money(amount: int, person: Person) -> dict[str, object]:
    return {"amount": amount, "currency": person.place.currency}


def _cancellation(act: Cancel) -> dict[str, object]:
    if act.ends_on is not None:
        return {"cancel_at": f"{act.ends_on}T12:00:00Z", "credit_unused": True}
    return {"at_period_end": not act.at_once, "credit_unused": act.at_once}


def _all_terms(person: Person) -> list[Terms]:
    return [person.terms, *(act.terms for act in person.acts if isinstance(act, Change))]


def _price_key(terms: Terms) -> PriceKey:
    return terms.plan, terms.amount, terms.lines is not None


def _model(amount: int, currency: str, *, is_per_line: bool) -> dict[str, object]:
    if is_per_line:
        return {"type": "per_unit", "currency": currency, "unit_amount": str(amount)}
    return {"type": "flat", "amount": {"amount": amount, "currency": currency}}


def _coupon(offer: Offer, currency: str) -> dict[str, object]:
    body: dict[str, object] = {"name": offer.name, "duration": "forever"}
    if offer.periods is not None:
        body["duration"] = "once" if offer.periods == 1 else "repeating"
    if offer.periods is not None and offer.periods > 1:
        body["periods"] = offer.periods
    if offer.percent is not None:
        return {**body, "percent_off": str(offer.percent)}
    return {**body, "amount_off": {"amount": offer.amount, "currency": currency}}
