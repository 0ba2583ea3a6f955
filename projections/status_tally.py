"""How the dashboard's figures are counted: every change of a resource's status moves one from the old to the new.

A row holds what a day added (or took away) for one measure: the sum up to a day is the stock at its end. Measures of
flow (`payment.declined`) count events instead.
"""

from collections.abc import Callable
from typing import Any

from domain.kernel.money import Money
from projections.read_model import Column, Fact, Projection, ReadModel, Rows, Tally, add, sums_model

STATS_VIEW = (
    "SELECT tenant_id, day, currency, measure, sum(count)::bigint AS count, sum(amount)::bigint AS amount "
    "FROM {table} GROUP BY tenant_id, day, currency, measure"
)


def stats_model(name: str, projection: Projection, *, version: int = 1) -> ReadModel[list[int]]:
    """A table of counts and amounts by day (UTC, business time), currency and measure."""
    return sums_model(
        name=name,
        version=version,
        projection=projection,
        key=(
            Column("tenant_id", 'text COLLATE "C" NOT NULL'),
            Column("day", "date NOT NULL"),
            Column("currency", 'text COLLATE "C" NOT NULL'),
            Column("measure", 'text COLLATE "C" NOT NULL'),
            Column("shard", "integer NOT NULL"),
        ),
        sums=("count", "amount"),
        view=STATS_VIEW,
    )


def status_tally(
    resource: str,
    *,
    status: Callable[[Any], str],
    money: Callable[[Any], Money],
    flows: frozenset[str] = frozenset(),
    flowing: Callable[[Any], Money] | None = None,
) -> Tally:
    """Count rows by `resource.status`, and events of `flows` by their type, each with the resource's money, or that of
    what flows where it is another."""
    of_flow = money if flowing is None else flowing

    def tally(rows: Rows[list[int]], fact: Fact, before: Any, after: Any) -> None:
        state = after.state
        amount = money(state)
        new = status(state)
        old = None if before is None else status(before.state)
        flow = fact.event_type in flows
        if new == old and not flow:
            if before is not None and (was := money(before.state)) != amount:
                key = (fact.tenant_id, fact.effective_at.date(), amount.currency, f"{resource}.{new}", fact.shard)
                add(rows, key, 0, amount.amount - was.amount)
            return
        day = fact.effective_at.date()
        currency = amount.currency
        if new != old:
            add(rows, (fact.tenant_id, day, currency, f"{resource}.{new}", fact.shard), 1, amount.amount)
            if old is not None:
                was = money(before.state)
                add(rows, (fact.tenant_id, day, currency, f"{resource}.{old}", fact.shard), -1, -was.amount)
        if flow:
            add(rows, (fact.tenant_id, day, currency, fact.event_type, fact.shard), 1, of_flow(state).amount)

    return tally
