"""What is invoiced in the coming days: who, when and how much, by the renewals themselves, rehearsed one by one."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import MoneyResource, TestClockId, money
from api.http.foreseen_invoices import Usage, foreseen_with_usage
from api.http.listing import Cursor, Limit, ListResource, Parameters, list_example, list_resource, page_limit
from api.http.problems import DRY_RUNS_BUSY
from api.resources.tax_report import REPORT
from domain.customers.test_clock import TestClockNotFound
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice, WaitingFor
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Streams
from domain.subscriptions.cancellation import SubscriptionIsCanceled
from domain.subscriptions.preview_commands import NothingUpcoming, RehearseNextInvoice
from domain.subscriptions.state import Subscription
from domain.subscriptions.subscription import SUBSCRIPTION
from projections.models import subscriptions, test_clocks
from projections.read_model import Projection
from projections.reading import many, one
from projections.upcoming import BEFORE_ALL, Timer, timers

DAYS: Final = 30
MAX_DAYS: Final = 366
_DIGITS: Final = re.compile(r"[0-9]{1,3}")


def _days(value: object) -> int:
    if not isinstance(value, str) or not _DIGITS.fullmatch(value) or not 1 <= int(value) <= MAX_DAYS:
        raise PydanticCustomError("invalid_days", f"Must be a whole number from 1 to {MAX_DAYS}")
    return int(value)


Days = Annotated[
    int,
    PlainValidator(_days),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": DAYS}),
    Field(description="So many days from now on."),
]


class UpcomingParameters(Parameters):
    """Which days, and which part of the list."""

    days: Days = DAYS
    test_clock: Annotated[
        TestClockId | None, Field(description="Of the customers on this clock, by its time; else of those on none.")
    ] = None
    limit: Limit | None = None
    starting_after: Annotated[Cursor | None, Field(description="The `next_cursor` of the page before.")] = None


class UpcomingInvoiceResource(TypedDict):
    """The next invoice of a subscription, if nothing changes until then, on which `further_subscriptions` are, too.
    `at` is when it is made; `due_at` by when it is to be paid.

    Where a tax service is to be asked first, it is `waiting_for` `tax`, and what follows from that is null. Where the
    subscription cannot be invoiced, `refusal` says why, and there are no amounts.
    """

    object: Literal["upcoming_invoice"]
    subscription: str
    further_subscriptions: list[str]
    customer: str
    at: datetime
    collection_method: CollectionMethod
    due_at: datetime | None
    subtotal: MoneyResource | None
    total_tax: MoneyResource | None
    total: MoneyResource | None
    amount_due: MoneyResource | None
    waiting_for: WaitingFor | None
    refusal: str | None


class Rehearsed(NamedTuple):
    """The next invoice of a subscription; `bills` are all that are on it, in its order."""

    invoice_id: str
    bills: tuple[str, ...]
    resource: UpcomingInvoiceResource


@REPORT.query(
    "/v1/reports/upcoming-invoices",
    answers=ListResource[UpcomingInvoiceResource],
    example=list_example(
        {
            "object": "upcoming_invoice",
            "subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7",
            "further_subscriptions": [],
            "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
            "at": "2026-02-01T00:00:00Z",
            "collection_method": "send_invoice",
            "due_at": "2026-03-03T00:00:00Z",
            "subtotal": {"amount": 4900, "currency": "EUR"},
            "total_tax": {"amount": 931, "currency": "EUR"},
            "total": {"amount": 5831, "currency": "EUR"},
            "amount_due": {"amount": 5831, "currency": "EUR"},
            "waiting_for": None,
            "refusal": None,
        }
    ),
    parameters=UpcomingParameters,
    refusals=(TestClockNotFound,),
    problems=(DRY_RUNS_BUSY,),
    reads=(Projection.BILLING,),
)
async def list_upcoming_invoices(call: Call, asked: UpcomingParameters) -> ListResource[UpcomingInvoiceResource]:
    """List what subscriptions are invoiced in the coming days, the earliest first: the next invoice of each.

    Each is rehearsed as `POST /v1/invoices/preview` does, on what is committed now, so a page costs as many dry runs as
    it has subscriptions. An invoice of several subscriptions is listed once. Those that bill nothing in that time are
    left out, and a page may be short because of it: go on while there is a `next_cursor`. Drafts that wait to be
    finalized are invoices already. A tax service is not asked: what it would say is null.
    """
    limit = page_limit(call, asked.limit)
    after = BEFORE_ALL if asked.starting_after is None else Timer.at(asked.starting_after)
    async with call.reading() as connection:
        now = call.parts.identity.clock()
        if asked.test_clock is not None:
            clock = await one(connection, test_clocks.TABLE, call.tenant_id, asked.test_clock)
            if clock is None:
                raise TestClockNotFound(test_clock=asked.test_clock)
            now = clock.state.frozen_at
        before = now + timedelta(days=asked.days)
        page = await timers(
            connection, call.tenant_id, clock_id=asked.test_clock, before=before, after=after, limit=limit
        )
        ids = [timer.subscription_id for timer in page.items]
        rows = await many(connection, subscriptions.TABLE, call.tenant_id, ids)
        of = {row.state.subscription_id: row.state for row in rows}
    known: dict[str, Rehearsed | None] = {}
    data = [found for timer in page.items if (found := await _upcoming(call, timer, of, known)) is not None]
    return list_resource(
        [each for each in data if each["at"] < before],
        has_more=page.has_more,
        next_cursor=page.items[-1].cursor if page.items else None,
    )


async def _upcoming(
    call: Call, timer: Timer, of: Mapping[str, Subscription], known: dict[str, Rehearsed | None]
) -> UpcomingInvoiceResource | None:
    """The next invoice of a timer's subscription; None where it bills nothing, or where it is listed with another one.

    An invoice of several is listed with the first of them whose next one it is.
    """
    try:
        found = await _next_invoice(call, timer.subscription_id, known)
    except Refusal as refusal:
        subscription = of.get(timer.subscription_id)
        return None if subscription is None else _refused(subscription, timer.due_at, refusal)
    if found is None:
        return None
    for subscription_id in found.bills:
        if subscription_id == timer.subscription_id:
            break
        with suppress(Refusal):
            other = await _next_invoice(call, subscription_id, known)
            if other is not None and other.invoice_id == found.invoice_id:
                return None
    return found.resource


async def _next_invoice(call: Call, subscription_id: str, known: dict[str, Rehearsed | None]) -> Rehearsed | None:
    """What the subscription's next renewals come to, rehearsed once; None where they bill nothing. Raises what refuses
    them.
    """
    if subscription_id in known:
        return known[subscription_id]

    def invoice_of(streams: Streams) -> Invoice:
        latest = SUBSCRIPTION.of(streams, subscription_id).latest_invoice_id
        assert latest is not None, "what was rehearsed was invoiced"
        return INVOICE.of(streams, latest)

    def command_with(usage: Usage) -> RehearseNextInvoice:
        return RehearseNextInvoice(subscription_id=subscription_id, usage=usage)

    try:
        found = await foreseen_with_usage(
            call, command_with, invoice_of, lambda streams: _rehearsed(subscription_id, invoice_of(streams))
        )
    except (NothingUpcoming, SubscriptionIsCanceled):
        found = None
    known[subscription_id] = found
    return found


def _rehearsed(subscription_id: str, invoice: Invoice) -> Rehearsed:
    bills = invoice.subscription_ids
    waits = invoice.awaited_tax is not None
    resource: UpcomingInvoiceResource = {
        "object": "upcoming_invoice",
        "subscription": subscription_id,
        "further_subscriptions": [each for each in bills if each != subscription_id],
        "customer": invoice.customer_id,
        "at": invoice.created_at,
        "collection_method": invoice.collection,
        "due_at": invoice.due_at,
        "subtotal": money(invoice.subtotal),
        "total_tax": None if waits else money(invoice.total_tax),
        "total": None if waits else money(invoice.total),
        "amount_due": None if waits else money(invoice.amount_due),
        "waiting_for": invoice.waiting_for,
        "refusal": None,
    }
    return Rehearsed(invoice.invoice_id, bills, resource)


def _refused(subscription: Subscription, at: datetime, refusal: Refusal) -> UpcomingInvoiceResource:
    return {
        "object": "upcoming_invoice",
        "subscription": subscription.subscription_id,
        "further_subscriptions": [],
        "customer": subscription.customer_id,
        "at": at,
        "collection_method": subscription.terms.collection,
        "due_at": None,
        "subtotal": None,
        "total_tax": None,
        "total": None,
        "amount_due": None,
        "waiting_for": None,
        "refusal": refusal.code,
    }
