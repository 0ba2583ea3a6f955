"""Selling, sending and taking back the usage of the telecom month, through the public API."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rich.progress import Progress

from cli.api_client import ApiClient, ApiError, Resource
from cli.many import for_each
from cli.telecom_customers import GIGABYTES, MESSAGES, MINUTES, Account, TelecomCustomer
from cli.telecom_events import ONE, VALUE, Step, Usage, UsageEvent
from cli.telecom_rated import MODELS

MONTH_BEGINS: Final = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
EVENTS: Final = "/v1/usage/events"
REQUEST_EVENTS: Final = 1_000
REQUESTS_AT_ONCE: Final = 8
TAKEN_BACK_AT_ONCE: Final = 4
COUNTED_WITHIN_S: Final = 120.0
POLL_S: Final = 0.25

METERS: Final[Mapping[str, Mapping[str, str]]] = {
    MINUTES: {"name": "Telephone calls", "aggregation": "sum", "unit": "min", "value_property": VALUE},
    GIGABYTES: {"name": "Internet traffic", "aggregation": "sum", "unit": "GB", "value_property": VALUE},
    MESSAGES: {"name": "Messages", "aggregation": "count", "unit": "messages"},
}


@dataclass(slots=True)
class Tally:
    """What was sent, and what of it the API took. `seconds` are those of sending."""

    sent: int = 0
    accepted: int = 0
    voided: int = 0
    corrected: int = 0
    seconds: float = 0.0


class UsageMonth:
    """The usage of one run; each part of it has a bar. `meters` are ids by code."""

    def __init__(self, api: ApiClient, usage: Usage, *, tenant: str, progress: Progress) -> None:
        self.tally = Tally()
        self.meters: dict[str, str] = {}
        self._api = api
        self._usage = usage
        self._tenant = tenant
        self._progress = progress
        self._prices: dict[tuple[str, str], str] = {}

    async def sell(self, plans: Mapping[str, str]) -> None:
        """Make the meters, and for each contract's plan a price of each."""
        for code, facts in METERS.items():
            self.meters[code] = (await self._post("/v1/meters", {"code": code, **facts}, f"meter:{code}"))["id"]
            for contract, plan in plans.items():
                body = {"plan": plan, "timing": "in_arrears", "meter": self.meters[code], "model": MODELS[code]}
                price = await self._post("/v1/prices", body, f"price:{contract}:{code}")
                self._prices[contract, code] = price["id"]

    def items(self, row: TelecomCustomer, contract: str) -> list[dict[str, str]]:
        """What a customer subscribes to besides the contract."""
        return [{"price": self._prices[contract, code]} for code in row.services]

    async def send(self, accounts: Sequence[Account], step: Step) -> None:
        """Send the events of a step; each customer's in their order."""
        counts = ((account, self._usage.how_many(account.row, step)) for account in accounts)
        many = {account.customer: count for account, count in counts if count}
        using = [account for account in accounts if account.customer in many]
        if not using:
            return
        bar = self._progress.add_task(_SENT[step], total=sum(many.values()))
        start = time.monotonic()

        async def send(some: Sequence[Account]) -> None:
            for nth, events in enumerate(self._requests(some, step)):
                taken = await self._post(EVENTS, events, f"usage:{step}:{some[0].row.external_id}:{nth}")
                self.tally.sent += len(events)
                self.tally.accepted += taken["accepted"]
                self._progress.advance(bar, len(events))

        await for_each(_shares(using, many), send, at_once=REQUESTS_AT_ONCE)
        self.tally.seconds += time.monotonic() - start

    async def take_back(self, accounts: Sequence[Account]) -> None:
        """What was a mistake is voided, or corrected."""
        mistaken = [account for account in accounts if account.row.mistake is not None]
        bar = self._progress.add_task("Mistaken events are taken back", total=len(mistaken))

        async def take(account: Account) -> None:
            mistake = self._usage.mistake(account.row)
            assert mistake is not None, "they were chosen by it"
            wrong, instead = mistake
            body: dict[str, object] = {"customer": account.customer, "id": wrong.id}
            if instead is None:
                await self._once_counted(f"{EVENTS}/void", body, account)
                self.tally.voided += 1
            else:
                await self._once_counted(f"{EVENTS}/correct", {**body, "instead": _sent(account, instead)}, account)
                self.tally.corrected += 1

        await for_each(mistaken, take, at_once=TAKEN_BACK_AT_ONCE, done=lambda: self._progress.advance(bar))

    async def _once_counted(self, path: str, body: Mapping[str, object], account: Account) -> None:
        """Only what is counted can be taken back, and the aggregator is a moment behind."""
        give_up_at = time.monotonic() + COUNTED_WITHIN_S
        while True:
            try:
                await self._post(path, body, f"mistake:{account.row.external_id}")
            except ApiError as error:
                if error.code != "usage_event_not_counted" or time.monotonic() > give_up_at:
                    raise
                await asyncio.sleep(POLL_S)
            else:
                return

    def _requests(self, accounts: Sequence[Account], step: Step) -> Iterator[list[Resource]]:
        """Events as the API takes them, so many at a time."""
        request: list[Resource] = []
        for account in accounts:
            for event in self._usage.sent(account.row, step):
                request.append(_sent(account, event))
                if len(request) == REQUEST_EVENTS:
                    yield request
                    request = []
        if request:
            yield request

    async def _post(self, path: str, body: Mapping[str, object] | Sequence[object], step: str) -> Resource:
        return await self._api.post(path, body, key=f"telecom:{self._tenant}:{step}".replace(" ", "-"))


_SENT: Final = {
    Step.BEFORE_CHANGES: "Usage of the month's first half",
    Step.LATE: "Usage that comes late",
    Step.AFTER_CHANGES: "Usage of the second half",
}


def _shares(accounts: Sequence[Account], many: Mapping[str, int]) -> Iterator[Sequence[Account]]:
    """Customers whose events together fill a request, or one whose events fill several."""
    share: list[Account] = []
    events = 0
    for account in accounts:
        share.append(account)
        events += many[account.customer]
        if events >= REQUEST_EVENTS:
            yield share
            share, events = [], 0
    if share:
        yield share


def _sent(account: Account, event: UsageEvent) -> Resource:
    whole, thousandths = divmod(event.thousandths, ONE)
    return {
        "id": event.id,
        "meter": event.meter,
        "customer": account.customer,
        "timestamp": (MONTH_BEGINS + timedelta(seconds=event.at_s)).isoformat(),
        "properties": {} if event.meter == MESSAGES else {VALUE: f"{whole}.{thousandths:03d}"},
    }
