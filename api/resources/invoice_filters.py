"""Which invoices a list shows: by whom, in what state, and by when they are, or were, due."""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.http.call import Call
from api.http.fields import CustomerId, Instant, Line, SubscriptionId, TestClockId
from api.http.listing import CreatedParameters, between
from domain.invoicing.collection import CollectionStatus
from domain.invoicing.state import InvoiceStatus, WaitingFor
from domain.kernel.billing_period import local_date_of, start_of_day
from projections.billing_settings import billing_settings
from projections.models import test_clocks
from projections.models.receivables import OWED
from projections.reading import Condition, conditions_of, one

_TRUTHS: Final = {"true": True, "false": False}


def _truth(value: object) -> bool:
    if not isinstance(value, str) or value not in _TRUTHS:
        raise PydanticCustomError("invalid_boolean", "Must be true or false")
    return _TRUTHS[value]


Overdue = Annotated[
    bool,
    PlainValidator(_truth),
    WithJsonSchema({"type": "boolean"}),
    Field(
        description="Those of which something is owed although the day on which it was due is over, in the seller's "
        "`time_zone`; false: all others. Today is that of `test_clock` where it is given."
    ),
]
_OVERDUE: Final = f"(SELECT invoice_id FROM read.receivables WHERE {OWED} AND due_at < {{}})"  # noqa: S608  constants


class DueParameters(CreatedParameters):
    """A list of what is due at a time."""

    due_gte: Annotated[Instant | None, Field(alias="due_at[gte]")] = None
    due_gt: Annotated[Instant | None, Field(alias="due_at[gt]")] = None
    due_lte: Annotated[Instant | None, Field(alias="due_at[lte]")] = None
    due_lt: Annotated[Instant | None, Field(alias="due_at[lt]")] = None
    overdue: Overdue | None = None


class InvoiceFilters(DueParameters):
    """Which invoices."""

    customer: CustomerId | None = None
    subscription: SubscriptionId | None = None
    status: InvoiceStatus | None = None
    waiting_for: WaitingFor | None = None
    collection_status: CollectionStatus | None = None
    number: Line | None = None
    test_clock: TestClockId | None = None


async def due_conditions(call: Call, asked: InvoiceFilters) -> Sequence[Condition]:
    """Due within the range, and overdue where that is asked for."""
    found = conditions_of("due_at", between(asked.due_gte, asked.due_gt, asked.due_lte, asked.due_lt))
    if asked.overdue is None:
        return found
    now = call.parts.identity.clock()
    async with call.parts.reader.of(call.tenant_id) as connection:  # a customer sees neither settings nor clocks
        time_zone = (await billing_settings(connection, call.tenant_id)).time_zone
        if asked.test_clock is not None:
            clock = await one(connection, test_clocks.TABLE, call.tenant_id, asked.test_clock)
            now = now if clock is None else clock.state.frozen_at
    today = start_of_day(local_date_of(now, time_zone), time_zone)
    return [*found, Condition(f"invoice_id {'IN' if asked.overdue else 'NOT IN'} {_OVERDUE}", today)]
