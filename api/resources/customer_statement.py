"""A customer's statement: all that moved what they owe in a period, line by line."""

from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import EARLIEST, Day, MoneyResource, eur, money
from api.http.listing import Cursor, Limit, ListResource, Parameters, list_resource, page_limit
from api.resources.customers import CUSTOMERS
from api.resources.report_periods import check_days
from domain.customers.customer import CustomerNotFound
from domain.kernel.billing_period import local_date_of, start_of_day
from projections.billing_settings import billing_settings
from projections.read_model import Projection
from projections.reading import PageRequest
from projections.statement import CurrencyBalance, Line, StatementMovement, statement


class StatementParameters(Parameters):
    """Of which days, both included, and which part of the lines."""

    first_day: Annotated[
        Day | None,
        Field(alias="from", description="The first day, in the seller's `time_zone`; the beginning unless given."),
    ] = None
    last_day: Annotated[Day | None, Field(alias="to", description="The last day; today unless given.")] = None
    limit: Limit | None = None
    starting_after: Annotated[Cursor | None, Field(description="Only what follows this line: the next page.")] = None

    @field_validator("last_day")
    @classmethod
    def _in_order(cls, last_day: date | None, info: ValidationInfo) -> date | None:
        return None if last_day is None else check_days(info.data.get("first_day"), last_day)


class StatementBalance(TypedDict):
    """One currency: what the customer owed before the period, what was added and taken off, and what they owe at its
    end. Below zero they are owed."""

    currency: str
    opening: MoneyResource
    debit: MoneyResource
    credit: MoneyResource
    closing: MoneyResource


class StatementLine(TypedDict):
    """One movement, by the event that posted it. `debit` adds to what the customer owes, `credit` takes off it, and
    `balance` is what they owe after it; what changes nothing of that has both alike.

    `number` is that of the credit note, else of the invoice.
    """

    id: str
    object: Literal["statement_line"]
    type: StatementMovement
    effective_at: datetime
    number: str | None
    invoice: str | None
    credit_note: str | None
    payment: str | None
    refund: str | None
    debit: MoneyResource
    credit: MoneyResource
    balance: MoneyResource


class StatementResource(TypedDict):
    """What moved what a customer owes, the earliest first: what is due on invoices less what is their balance."""

    object: Literal["statement"]
    customer: str
    first_day: date | None
    last_day: date
    time_zone: str
    balances: list[StatementBalance]
    lines: ListResource[StatementLine]


def _balance(each: CurrencyBalance) -> StatementBalance:
    return {
        "currency": each.opening.currency,
        "opening": money(each.opening),
        "debit": money(each.debit),
        "credit": money(each.credit),
        "closing": money(each.closing),
    }


def _line(line: Line) -> StatementLine:
    return {
        "id": line.entry_id,
        "object": "statement_line",
        "type": line.movement,
        "effective_at": line.effective_at,
        "number": line.number,
        "invoice": line.invoice_id,
        "credit_note": line.credit_note_id,
        "payment": line.payment_id,
        "refund": line.refund_id,
        "debit": money(line.debit),
        "credit": money(line.credit),
        "balance": money(line.balance),
    }


_EXAMPLE: Final[dict[str, object]] = {
    "object": "statement",
    "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
    "first_day": "2026-01-01",
    "last_day": "2026-01-31",
    "time_zone": "Europe/Berlin",
    "balances": [
        {
            "currency": "EUR",
            "opening": eur(0),
            "debit": eur(25000),
            "credit": eur(10000),
            "closing": eur(15000),
        }
    ],
    "lines": {
        "object": "list",
        "data": [
            {
                "id": "evt_01m7ywe9z7e398x54gfbrtqnk7",
                "object": "statement_line",
                "type": "invoice",
                "effective_at": "2026-01-01T00:00:00Z",
                "number": "INV-000042",
                "invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
                "credit_note": None,
                "payment": None,
                "refund": None,
                "debit": eur(25000),
                "credit": eur(0),
                "balance": eur(25000),
            },
            {
                "id": "evt_01m7ywe9z7e398x54gfbrtqnk8",
                "object": "statement_line",
                "type": "payment",
                "effective_at": "2026-01-09T08:30:00Z",
                "number": "INV-000042",
                "invoice": "in_01m7ywe9z7e398x54gfbrtqnk7",
                "credit_note": None,
                "payment": "pay_01m7ywe9z7e398x54gfbrtqnk7",
                "refund": None,
                "debit": eur(0),
                "credit": eur(10000),
                "balance": eur(15000),
            },
        ],
        "has_more": False,
        "next_cursor": None,
    },
}


@CUSTOMERS.query(
    "/v1/customers/{customer_id}/statement",
    answers=StatementResource,
    example=_EXAMPLE,
    parameters=StatementParameters,
    refusals=(CustomerNotFound,),
    reads=(Projection.LEDGER, Projection.BILLING, Projection.PAYMENTS),
)
async def get_customer_statement(call: Call, asked: StatementParameters) -> StatementResource:
    """Show what moved what a customer owes in a period, in order, with the balance after each line.

    The closing balance is what the books hold at the end of the last day: the customer's `receivable` less their
    `customer_balance` (`/v1/customers/{id}/accounts`). Days are those of the billing settings' `time_zone`.
    """
    customer_id = CUSTOMERS.id_of(call)
    limit = page_limit(call, asked.limit)
    async with call.parts.reader.of(call.tenant_id) as connection:  # a customer does not see the settings
        time_zone = (await billing_settings(connection, call.tenant_id)).time_zone
    last_day = asked.last_day or local_date_of(call.parts.identity.clock(), time_zone)
    async with call.reading() as connection:
        await CUSTOMERS.row(call, connection, customer_id)
        found = await statement(
            connection,
            call.tenant_id,
            customer_id,
            since=EARLIEST if asked.first_day is None else start_of_day(asked.first_day, time_zone),
            before=start_of_day(last_day + timedelta(days=1), time_zone),
            request=PageRequest(limit=limit, starting_after=asked.starting_after),
        )
    lines = found.lines
    return {
        "object": "statement",
        "customer": customer_id,
        "first_day": asked.first_day,
        "last_day": last_day,
        "time_zone": time_zone,
        "balances": [_balance(each) for each in found.balances],
        "lines": list_resource(
            [_line(each) for each in lines.items],
            has_more=lines.has_more,
            next_cursor=lines.items[-1].entry_id if lines.items else None,
        ),
    }
