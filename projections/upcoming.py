"""Subscriptions by when something next becomes of them: what their timers wait for, as new as the log."""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from domain.kernel.stream import WorkKind
from projections.reading import Page, Reader, UnknownCursor

_ON_REAL_TIME: Final = "NOT runs_on_clock AND $3::text IS NULL"
_ON_A_CLOCK: Final = "runs_on_clock AND clock_id = $3"
_TIMERS: Final = """
SELECT subject, due_at FROM log.due_work
WHERE tenant_id = $1 AND kind = $2 AND {clock} AND due_at < $4 AND (due_at, subject) > ($5, $6)
ORDER BY due_at, subject LIMIT $7
"""


class Timer(NamedTuple):
    """When something next becomes of a subscription, on its own clock: a period begins, a trial ends, a pause."""

    due_at: datetime
    subscription_id: str

    @property
    def cursor(self) -> str:
        """Where a list goes on after it, even if it has moved by then."""
        return f"{self.due_at.astimezone(UTC).replace(tzinfo=None).isoformat()}Z/{self.subscription_id}"

    @classmethod
    def at(cls, cursor: str) -> "Timer":
        """Of a cursor. Raises UnknownCursor."""
        due_at, _, subscription_id = cursor.partition("Z/")
        try:
            return cls(datetime.fromisoformat(due_at).replace(tzinfo=UTC), subscription_id)
        except ValueError:
            raise UnknownCursor(cursor) from None


BEFORE_ALL: Final = Timer(datetime.min.replace(tzinfo=UTC), "")


async def timers(
    connection: Reader,
    tenant_id: str,
    *,
    clock_id: str | None,
    before: datetime,
    after: Timer = BEFORE_ALL,
    limit: int,
) -> Page[Timer]:
    """Those whose time comes before an instant, overdue ones first; of those on no clock, or of those on one."""
    records = await connection.fetch(
        _TIMERS.format(clock=_ON_REAL_TIME if clock_id is None else _ON_A_CLOCK),
        tenant_id,
        WorkKind.SUBSCRIPTION_RENEWAL.value,
        clock_id,
        before,
        after.due_at,
        after.subscription_id,
        limit + 1,
    )
    found = [Timer(record["due_at"], record["subject"]) for record in records]
    return Page(found[:limit], len(found) > limit)
