"""A customer's usage as it is counted so far: by meter, window and group, and what it comes to on a bill."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Final, NamedTuple

from domain.invoicing.invoice_line import InvalidInvoiceLines, InvoiceLine
from domain.invoicing.progressive import charge_to_date
from domain.invoicing.usage_commands import counted_line
from domain.invoicing.usage_line import UsageSlice, UsageSnapshot, priced
from domain.kernel.currency import CurrencyCode
from domain.kernel.frozen import replace
from domain.kernel.money import Money
from domain.metering.aggregation import Aggregation, Window
from domain.pricing.models import Percentage, Price, model_of
from domain.subscriptions.state import Subscription
from domain.subscriptions.usage_so_far import running_usage_line
from usage.charged import charged_together
from usage.closing import Closing
from usage.closings import Wanted, closings_of, counted_pieces, figure_of, following
from usage.figures import NOTHING, Figure, figures
from usage.invoiced import wanted_of
from usage.partials import (
    LAST_BUCKET,
    Buckets,
    Connection,
    buckets_of,
    end_bucket_of,
    grouped,
    left_of,
    series_of_customer,
    start_of,
)

GROUPS_MAX: Final = 50
"""That are told of one meter: those with the most events."""

_METERS: Final = "SELECT DISTINCT meter_id FROM usage.series WHERE tenant_id = $1 AND customer_id = $2"
_AHEAD: Final = """
SELECT DISTINCT series FROM usage.aggregates WHERE series = ANY($1::bytea[]) AND bucket >= $2 AND n <> 0
"""


class Metered(NamedTuple):
    """Whose usage, by which meter."""

    tenant_id: str
    customer_id: str
    meter_id: str


class WindowFigure(NamedTuple):
    """What was used in a window."""

    window: Window
    figure: Figure


class GroupFigure(NamedTuple):
    """What was used in a group: properties that the meter groups by with their values, None where events had none."""

    properties: Mapping[str, str | None]
    figure: Figure
    windows: Sequence[WindowFigure]


class LiveUsage(NamedTuple):
    """A meter's figure of a time, of the windows that it is made of, and of groups; `more_groups` are not told."""

    figure: Figure
    windows: Sequence[WindowFigure]
    groups: Sequence[GroupFigure]
    more_groups: int


class RunningBill(NamedTuple):
    """What the running period is to come to, if nothing more is used and nothing changed until its end; `slices` have
    billed some of it already. There is no `amount` where that is more than an invoice holds. Of the period's quarter
    hours it bills `pieces`: those that no other subscription's closing took.
    """

    subscription_id: str
    price_id: str
    period: Window
    pieces: Sequence[Buckets]
    figure: Figure
    currency: CurrencyCode
    amount: Money | None
    slices: Sequence[UsageSlice]


async def meters_used(connection: Connection, tenant_id: str, customer_id: str) -> set[str]:
    """The ids of the meters that have counted something of the customer."""
    return {row["meter_id"] for row in await connection.fetch(_METERS, tenant_id, customer_id)}


async def live_usage(
    connection: Connection,
    metered: Metered,
    windows: Sequence[Window],
    *,
    pieces: Sequence[Buckets] | None = None,
    held_until: datetime,
    by_group: bool,
) -> LiveUsage:
    """What was used in windows that follow each other, and in all of them; of their quarter hours in `pieces` alone,
    where these are given. Levels are held until `held_until`.
    """
    series = await series_of_customer(connection, metered.tenant_id, metered.customer_id, [metered.meter_id])
    of_all = buckets_of(windows[0].start, windows[-1].end)
    starts = [buckets_of(each.start, each.end).first for each in windows]
    without = () if pieces is None else left_of(of_all, pieces)
    counted = partial(figures, connection, end=of_all.end, held_until=held_until, without=without)
    whole = await counted([series], [of_all.first])
    by_window = await counted([series], starts)
    told = [WindowFigure(window, by_window.get((0, nth), NOTHING)) for nth, window in enumerate(windows)]
    groups: list[GroupFigure] = []
    more = 0
    if by_group:
        parts = {group: of for group, of in grouped(series).items() if group}
        sums = await counted(list(parts.values()), [of_all.first])
        ranked = sorted(
            ((sums[nth, 0], key) for nth, key in enumerate(parts) if sums.get((nth, 0), NOTHING) != NOTHING),
            key=lambda each: (-each[0].events, str(each[1])),
        )
        kept, more = ranked[:GROUPS_MAX], max(0, len(ranked) - GROUPS_MAX)
        each_window = await counted([parts[key] for _, key in kept], starts)
        for nth, (figure, key) in enumerate(kept):
            seen = [
                WindowFigure(window, each_window[nth, of])
                for of, window in enumerate(windows)
                if each_window.get((nth, of), NOTHING) != NOTHING
            ]
            properties = {name: value or None for name, value in key}
            groups.append(GroupFigure(properties, figure, seen))
    return LiveUsage(whole.get((0, 0), NOTHING), told, groups, more)


async def running_bill(
    connection: Connection, subscription: Subscription, metered: Metered, *, partition: int
) -> RunningBill | None:
    """What the subscription is to bill of the meter for its running period; None where it bills nothing of it now."""
    line = running_usage_line(subscription, metered.meter_id)
    if line is None:
        return None
    assert line.period_start is not None, "usage is of a period"
    assert line.period_end is not None, "usage is of a period"
    assert line.price_id is not None, "a price bills it"
    so_far = await _counted(connection, line, metered, partition=partition)
    return RunningBill(
        subscription_id=subscription.subscription_id,
        price_id=line.price_id,
        period=Window(start=line.period_start, end=line.period_end),
        pieces=so_far.pieces,
        figure=so_far.figure,
        currency=line.amount.currency,
        amount=_amount(line, so_far),
        slices=() if line.usage is None or line.usage.progress is None else line.usage.progress.before,
    )


async def charge_so_far(
    connection: Connection, line: InvoiceLine, metered: Metered, *, partition: int, at: datetime
) -> Money:
    """What the period of a line of usage would come to if it were closed `at` then, as it is counted so far; before it
    is over nothing is raised to what it promises at least.
    """
    by = line.pricing
    assert by is not None, "a price bills it"
    snapshot = await _charged(connection, replace(line, period_end=at), by.price, metered, partition=partition)
    before = Money.zero(line.amount.currency)
    return charge_to_date(by.price, snapshot.measured, before, by.rounding, by.share, is_last=False).due


async def going_on(
    connection: Connection, tenant_id: str, customer_id: str, meter_ids: Sequence[str], at: datetime
) -> set[str]:
    """The meters of which more may have been used after `at`, though nothing more is counted: levels are held on, and
    events may be of a time that is to come.
    """
    series = await series_of_customer(connection, tenant_id, customer_id, meter_ids)
    rows = await connection.fetch(_AHEAD, [each.series for each in series], end_bucket_of(at)) if series else []
    ahead = {row["series"] for row in rows}
    return {
        each.version.meter_id
        for each in series
        if each.version.aggregation is Aggregation.TIME_WEIGHTED_SUM or each.series in ahead
    }


class _Counted(NamedTuple):
    """What a line's period has come to, of which quarter hours, and the closing that would say so, which covers
    nothing.
    """

    closing: Closing
    pieces: Sequence[Buckets]
    figure: Figure
    amounts: tuple[Decimal, ...]

    @property
    def snapshot(self) -> UsageSnapshot:
        return UsageSnapshot(
            closing=self.closing.seq,
            partition=self.closing.partition,
            covers=self.closing.covers,
            sha256="",
            quantity=Fraction(self.figure.quantity),
            events=self.figure.events,
        )


async def _charged(
    connection: Connection, line: InvoiceLine, price: Price, metered: Metered, *, partition: int
) -> UsageSnapshot:
    """What is counted with what is priced of it; of single events without a look at each, where that does."""
    model = model_of(price)
    if not isinstance(model, Percentage):
        return (await _counted(connection, line, metered, partition=partition)).snapshot
    so_far = await _counted(connection, line, metered, partition=partition, has_amounts=False)
    series = await series_of_customer(connection, metered.tenant_id, metered.customer_id, [metered.meter_id])
    charged = await charged_together(connection, series, so_far.pieces, model)
    if charged is not None:
        return replace(so_far.snapshot, charged=charged)
    so_far = await _counted(connection, line, metered, partition=partition)
    return priced(so_far.snapshot, price, so_far.amounts)


async def _counted(
    connection: Connection, line: InvoiceLine, metered: Metered, *, partition: int, has_amounts: bool = True
) -> _Counted:
    """What its closing is to say if nothing more comes: levels are held until the period's end."""
    earlier = await closings_of(connection, metered.tenant_id, metered.customer_id, metered.meter_id)
    wanted = wanted_of(metered.tenant_id, metered.customer_id, "", line)
    closing = following(earlier, wanted, partition, covers=0)
    pieces = counted_pieces(earlier, closing)
    if not pieces:
        return _Counted(closing, pieces, NOTHING, ())
    series = await series_of_customer(connection, metered.tenant_id, metered.customer_id, [metered.meter_id])
    whole = Buckets(pieces[0].first, pieces[-1].end)
    without, held_until = left_of(whole, pieces), start_of(whole.end)
    found = await figures(connection, [series], [whole.first], whole.end, held_until=held_until, without=without)
    amounts = await _amounts(connection, line, wanted, earlier, closing) if has_amounts else ()
    return _Counted(closing, pieces, found.get((0, 0), NOTHING), amounts)


async def _amounts(
    connection: Connection, line: InvoiceLine, wanted: Wanted, earlier: Sequence[Closing], closing: Closing
) -> tuple[Decimal, ...]:
    """Those of the single events in order of time, where the price takes a percentage of each."""
    if line.pricing is None or not isinstance(model_of(line.pricing.price), Percentage):
        return ()
    return (await figure_of(connection, wanted, [*earlier, closing], closing, LAST_BUCKET)).amounts


def _amount(line: InvoiceLine, so_far: _Counted) -> Money | None:
    try:
        return counted_line(line, so_far.snapshot, so_far.amounts, Money.zero(line.amount.currency)).amount
    except InvalidInvoiceLines:
        return None
