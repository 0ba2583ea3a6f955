"""What each customer's recurring revenue follows from, with its steps by day (UTC, business time)."""

from typing import Final, NamedTuple

from domain.reporting.mrr_history import first_difference, movements_since
from domain.subscriptions.recurring_customer import EVENTS, CustomerRecurring, evolve, nothing_recurring
from projections.columns import layout
from projections.models.mrr_days import add_movement
from projections.read_model import Fact, Projection, ReadModel, Rows


class RecurringRow(NamedTuple):
    """A customer's."""

    state: CustomerRecurring


_LAYOUT: Final = layout(RecurringRow, CustomerRecurring)


def apply(rows: Rows[RecurringRow], fact: Fact) -> None:
    """A row that an event changes nothing of is left as it is, and so is not written."""
    key = (fact.tenant_id, fact.subject)
    row = rows.get(key)
    before = nothing_recurring(fact.subject) if row is None else row.state
    after = evolve(before, fact.event, fact.effective_at)
    if row is None or after is not before:
        rows[key] = RecurringRow(after)


def tally(rows: Rows[list[int]], fact: Fact, before: RecurringRow | None, after: RecurringRow) -> None:
    """Take away the movements that the customer's steps had, and add those that they have, where they differ."""
    old = () if before is None else before.state.steps
    new = after.state.steps
    since = None if old is new else first_difference(old, new)
    if since is None:
        return
    currency = after.state.currency
    assert currency is not None, "who has steps has a subscription"
    for steps, sign in ((old, -1), (new, 1)):
        for movement in movements_since(steps, since, currency):
            add_movement(rows, fact, currency, movement, sign)


TABLE: Final[ReadModel[RecurringRow]] = ReadModel(
    name="recurring_customers",
    version=1,
    projection=Projection.BILLING,
    columns=_LAYOUT.columns,
    key=("tenant_id", "customer_id"),
    events=EVENTS,
    apply=apply,
    write=_LAYOUT.write,
    read=_LAYOUT.read,
    key_of=lambda fact: (fact.tenant_id, fact.subject),
    begins=lambda fact: False,
    tally=tally,
    tallied_by="mrr_days",
)
