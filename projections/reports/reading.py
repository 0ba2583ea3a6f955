"""A report's rows for an export: in their order, from a cursor, some at a time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from infra.database import Connection
from projections.read_model import Record
from projections.reading import ANY_TIME, Between
from projections.reports.report import Column, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows of a report: a tenant's, or those of one of its customers, of a range of times.

    `further` are columns that whoever asks needs besides, after the report's own.
    """

    report: Report
    tenant_id: str
    customer_id: str | None = None
    times: Between = field(default=ANY_TIME)
    further: tuple[Column, ...] = ()

    def _rows(self) -> tuple[str, list[object]]:
        report, values = self.report, list[object]([self.tenant_id])
        conditions: list[str] = []

        def condition(column: str, operator: str, value: object) -> None:
            values.append(value)
            conditions.append(f" AND {column} {operator} ${len(values)}")

        if self.customer_id is not None:
            # Row security shows a customer no others; a report that is no customer's has no rows for them.
            condition(report.customer or "NULL", "=", self.customer_id)
        times = self.times
        for operator, at in ((">=", times.gte), (">", times.gt), ("<=", times.lte), ("<", times.lt)):
            if at is not None:
                assert report.since is not None, "a report without a time is asked for no range of it"
                condition(report.since, operator, at)
        return report.rows("$1") + "".join(conditions), values

    async def count(self, connection: Connection) -> int:
        """How many rows."""
        rows, values = self._rows()
        return int(await connection.fetchval(f"SELECT count(*) {rows}", *values))

    async def batches(self, connection: Connection, size: int) -> AsyncIterator[Sequence[Record]]:
        """The rows, so many at a time, as of the connection's snapshot."""
        rows, values = self._rows()
        columns = ", ".join(f"{column.sql} AS {column.name}" for column in (*self.report.columns, *self.further))
        order = ", ".join(self.report.order)
        cursor = await connection.cursor(f"SELECT {columns} {rows} ORDER BY {order}", *values)
        while batch := await cursor.fetch(size):
            yield batch
