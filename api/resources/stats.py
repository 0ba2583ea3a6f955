"""Figures: how much of what is in which state, now or by day."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import Day
from api.http.listing import Parameters
from api.http.operations import Operations
from domain.identity.permissions import Permission
from domain.kernel.saga import SagaState
from projections.models import sagas, stats
from projections.models.stats import Figure
from projections.read_model import Projection

STATS: Final = Operations(tag="stats", about="Figures for dashboards.", seen_with=Permission.REPORTS_READ)


class StatsParameters(Parameters):
    """Up to which day."""

    until: Annotated[Day | None, Field(description="Up to the end of this day (UTC); now unless given.")] = None


class FigureResource(TypedDict):
    """A count, and a sum in minor units. `invoices.open` is a stock, of what is due; `invoice.paid` counts events, with
    the invoices' totals."""

    measure: str
    currency: str
    count: int
    amount: int


class SagaCountResource(TypedDict):
    """How many sagas of a kind are in a state, and when the oldest of them started."""

    saga: str
    state: SagaState
    count: int
    oldest_started_at: datetime


class StatsResource(TypedDict):
    """Figures up to a day."""

    object: Literal["stats"]
    until: date | None
    figures: list[FigureResource]


class DashboardResource(StatsResource):
    """Figures of everything, and what is under way."""

    sagas: list[SagaCountResource]


def _figures(found: Sequence[Figure], names: tuple[str, ...] = ("",)) -> list[FigureResource]:
    return [
        {"measure": each.measure, "currency": each.currency, "count": each.quantity, "amount": each.amount}
        for each in found
        if each.measure.startswith(names)
    ]


def _example(measure: str) -> dict[str, Any]:
    figure = {"measure": measure, "currency": "EUR", "count": 12, "amount": 58800}
    return {"object": "stats", "until": None, "figures": [figure]}


@STATS.query(
    "/v1/stats/dashboard",
    answers=DashboardResource,
    example={
        **_example("invoices.open"),
        "sagas": [
            {"saga": "charge", "state": "waiting", "count": 3, "oldest_started_at": "2026-01-01T00:00:00Z"},
        ],
    },
    parameters=StatsParameters,
    reads=(Projection.BILLING, Projection.PAYMENTS),
)
async def get_dashboard(call: Call, asked: StatsParameters) -> DashboardResource:
    """Show every figure there is, and the sagas that are under way, by state."""
    async with call.reading() as connection:
        found = await stats.by_now(connection, call.tenant_id, until=asked.until)
        counts = await sagas.counts(connection, call.tenant_id)
    return {
        "object": "stats",
        "until": asked.until,
        "figures": _figures(found),
        "sagas": [
            {
                "saga": each.saga,
                "state": each.state,
                "count": each.sagas,
                "oldest_started_at": each.oldest_started_at,
            }
            for each in counts
        ],
    }


async def _stats(call: Call, asked: StatsParameters, names: tuple[str, ...]) -> StatsResource:
    async with call.reading() as connection:
        found = await stats.by_now(connection, call.tenant_id, until=asked.until)
    return {"object": "stats", "until": asked.until, "figures": _figures(found, names)}


@STATS.query(
    "/v1/payments/stats",
    answers=StatsResource,
    example=_example("payments.succeeded"),
    parameters=StatsParameters,
    reads=(Projection.PAYMENTS,),
)
async def get_payment_stats(call: Call, asked: StatsParameters) -> StatsResource:
    """Show payments by status, and how many attempts were captured and declined."""
    return await _stats(call, asked, ("payments.", "payment."))


@STATS.query(
    "/v1/refunds/stats",
    answers=StatsResource,
    example=_example("refunds.succeeded"),
    parameters=StatsParameters,
    reads=(Projection.PAYMENTS,),
)
async def get_refund_stats(call: Call, asked: StatsParameters) -> StatsResource:
    """Show refunds by status."""
    return await _stats(call, asked, ("refunds.", "refund."))
