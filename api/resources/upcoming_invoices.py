"""What is invoiced in the coming days: who, when and how much, by the renewals themselves, rehearsed one by one."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import MoneyResource, TestClockId, money
from api.http.listing import Cursor, Limit, ListResource, Parameters, list_example, list_resource, page_limit
from api.http.problems import DRY_RUNS_BUSY
from api.http.rehearsals import foreseen
from api.resources.tax_report import REPORT
from domain.customers.test_clock import TestClockNotFound
from domain.invoicing.collection import CollectionMethod
from domain.invoicing.invoice import INVOICE
from domain.invoicing.state import Invoice
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
    """The next invoice of a subscription, if nothing changes until then. `at` is when it is made; `due_at` by when it
    is to be paid. Where the subscription cannot be invoiced, `refusal` says why, and there are no amounts."""

    object: Literal["upcoming_invoice"]
    subscription: str
    customer: str
    at: datetime
    collection_method: CollectionMethod
    due_at: datetime | None
    subtotal: MoneyResource | None
    total_tax: MoneyResource | None
    total: MoneyResource | None
    amount_due: MoneyResource | None
    refusal: str | None


@REPORT.query(
    "/v1/reports/upcoming-invoices",
    answers=ListResource[UpcomingInvoiceResource],
    example=list_example(
        {
            "object": "upcoming_invoice",
            "subscription": "sub_01m7ywe9z7e398x54gfbrtqnk7",
            "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
            "at": "2026-02-01T00:00:00Z",
            "collection_method": "send_invoice",
            "due_at": "2026-03-03T00:00:00Z",
            "subtotal": {"amount": 4900, "currency": "EUR"},
            "total_tax": {"amount": 931, "currency": "EUR"},
            "total": {"amount": 5831, "currency": "EUR"},
            "amount_due": {"amount": 5831, "currency": "EUR"},
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
    it has subscriptions. Those that bill nothing in that time are left out, and a page may be short because of it: go
    on while there is a `next_cursor`. Drafts that wait to be finalized are invoices already.
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
    data = [found for timer in page.items if (found := await _upcoming(call, timer, of, before)) is not None]
    return list_resource(data, has_more=page.has_more, next_cursor=page.items[-1].cursor if page.items else None)


async def _upcoming(
    call: Call, timer: Timer, of: Mapping[str, Subscription], before: datetime
) -> UpcomingInvoiceResource | None:
    """The next invoice of a timer's subscription; None where it bills nothing before then."""
    subscription_id = timer.subscription_id

    def rendered(streams: Streams) -> UpcomingInvoiceResource:
        latest = SUBSCRIPTION.of(streams, subscription_id).latest_invoice_id
        assert latest is not None, "what was rehearsed was invoiced"
        return _resource(subscription_id, INVOICE.of(streams, latest))

    try:
        found = await foreseen(call, RehearseNextInvoice(subscription_id=subscription_id), rendered)
    except (NothingUpcoming, SubscriptionIsCanceled):
        return None
    except Refusal as refusal:
        subscription = of.get(subscription_id)
        return None if subscription is None else _refused(subscription, timer.due_at, refusal)
    return found if found["at"] < before else None


def _resource(subscription_id: str, invoice: Invoice) -> UpcomingInvoiceResource:
    return {
        "object": "upcoming_invoice",
        "subscription": subscription_id,
        "customer": invoice.customer_id,
        "at": invoice.created_at,
        "collection_method": invoice.collection,
        "due_at": invoice.due_at,
        "subtotal": money(invoice.subtotal),
        "total_tax": money(invoice.total_tax),
        "total": money(invoice.total),
        "amount_due": money(invoice.amount_due),
        "refusal": None,
    }


def _refused(subscription: Subscription, at: datetime, refusal: Refusal) -> UpcomingInvoiceResource:
    return {
        "object": "upcoming_invoice",
        "subscription": subscription.subscription_id,
        "customer": subscription.customer_id,
        "at": at,
        "collection_method": subscription.terms.collection,
        "due_at": None,
        "subtotal": None,
        "total_tax": None,
        "total": None,
        "amount_due": None,
        "refusal": refusal.code,
    }
