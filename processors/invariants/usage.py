"""I9: usage is billed as it was closed, and every event is accounted for: of each meter and customer, what was counted
is what is billed, waits to be billed, is open, late, or given up.

A closing's rows are those that its hash is of, and give the figure that its line says; no closing is left that no
invoice bills, waits for, or was voided with. `billed`: lines say so, those of late usage included. `waiting`: closed,
for an invoice that is not counted yet. `open`: in no closed period. `late`: behind the closing of its period, and the
next closing's. `given up`: of a period whose invoice was voided. What several invoices bill of one period, the last of
them tells; where that is void, the last one before it that is not ends the period.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from domain.invoicing.invoice import INVOICE
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.late_usage import Rerated
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_line import LineUsage, UsageSnapshot
from domain.pricing.amount import amount_of
from domain.pricing.models import Percentage, model_of
from infra.database import Pool
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from schemas.codec import Codec
from usage.closing import SEPARATOR, Closing
from usage.closings import ClosedFigure, Wanted, closings_of, counted_pieces, figure_of, rows_hash
from usage.partials import Connection, series_of_customer

_PLACES: Final = ("billed", "waiting", "open", "late", "given_up")

_METERED: Final = """
SELECT tenant_id, customer_id, meter_id FROM usage.series
UNION SELECT tenant_id, customer_id, meter_id FROM usage.closings ORDER BY 1, 2, 3
"""
_COUNTED: Final = """
SELECT bucket, late, sum(n)::bigint FROM usage.aggregates WHERE series = ANY($1::bytea[]) GROUP BY bucket, late
"""
_COUNTED_SINCE: Final = """
SELECT max(position) FILTER (WHERE stream_id = $3 AND event_type = 'invoice.usage_counted')
    > max(position) FILTER (WHERE stream_id = $4 AND event_type = 'invoice.usage_cut_short')
FROM log.events WHERE tenant_id = $1 AND stream_type = $2 AND stream_id IN ($3, $4)
"""
_EVENTS: Final = """
SELECT payload FROM log.events WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 ORDER BY stream_version
"""


class _Of(NamedTuple):
    """A customer's meter."""

    tenant_id: str
    customer_id: str
    meter_id: str


@dataclass(slots=True)
class _Events:
    """How many events of a meter and customer, less their voids, are where."""

    counted: int = 0
    billed: int = 0
    waiting: int = 0
    open: int = 0
    late: int = 0
    given_up: int = 0

    @property
    def accounted(self) -> int:
        return self.billed + self.waiting + self.open + self.late + self.given_up


async def check_usage(pool: Pool, codec: Codec, *, progress: Progress = silent) -> Checked:
    """Compare every closing with the invoice that it was made for. The pool's role is the owner's."""
    findings = Findings(Invariant.USAGE)
    for what in _PLACES:
        findings.count(f"events {what.replace('_', ' ')}", 0)
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        metered = [_Of(*row) for row in await connection.fetch(_METERED)]
        for done, of in enumerate(metered, start=1):
            events = await _Check(connection, codec, findings, of).all()
            for what in _PLACES:
                findings.count(f"events {what.replace('_', ' ')}", getattr(events, what))
            if events.accounted != events.counted:
                named = f"{of.customer_id}/{of.meter_id}"
                findings.differ("meter", named, f"{events.counted} events were counted, and accounted for are {events}")
            progress(done, len(metered))
    return findings.checked()


async def invoice_of(connection: Connection, codec: Codec, tenant_id: str, invoice_id: str) -> Invoice | None:
    """As the log has it; None where it has none. The connection's role is the owner's."""
    invoice: Invoice | None = None
    for row in await connection.fetch(_EVENTS, tenant_id, INVOICE.name, invoice_id):
        invoice = INVOICE.evolve(invoice, codec.decode_event(row[0]))
    return invoice


class _Check:
    """The closings of one customer's meter."""

    def __init__(self, connection: Connection, codec: Codec, findings: Findings, of: _Of) -> None:
        self._connection = connection
        self._codec = codec
        self._findings = findings
        self._of = of
        self._events = _Events()
        self._closings: list[Closing] = []
        self._invoices: dict[str, Invoice | None] = {}

    async def all(self) -> _Events:
        """Check every closing; where the events are."""
        connection, events = self._connection, self._events
        self._closings = await closings_of(connection, *self._of)
        series = await series_of_customer(connection, self._of.tenant_id, self._of.customer_id, [self._of.meter_id])
        fetched = await connection.fetch(_COUNTED, [each.series for each in series])
        rows = [(row[0], row[1], row[2]) for row in fetched]
        events.counted = events.open = sum(n for _, _, n in rows)
        ends = {closing.charge or closing.reference: closing.seq for closing in self._closings}
        for closing in self._closings:
            self._findings.count("closings")
            invoice, line = await self._counted(closing)
            if ends[closing.charge or closing.reference] != closing.seq:
                continue
            by_late = self._by_late(closing, rows)
            events.open -= sum(by_late.values())
            if invoice is None or line is None:
                continue
            cut_short = await self._cut_short(closing, invoice)
            if cut_short is None:
                await self._check(closing, invoice, line, by_late)
            else:
                own = self._by_late(cut_short.closing, rows)
                events.given_up += sum(by_late.values()) - sum(own.values())
                await self._check(*cut_short, own)
        return events

    def _by_late(self, closing: Closing, rows: Sequence[tuple[int, int, int]]) -> dict[int, int]:
        """The events of a closing's period by the closing that they came behind."""
        pieces = counted_pieces(self._closings, closing)
        found: dict[int, int] = {}
        for bucket, behind, n in rows:
            if any(piece.first <= bucket < piece.end for piece in pieces):
                found[behind] = found.get(behind, 0) + n
        return found

    async def _cut_short(self, closing: Closing, invoice: Invoice) -> "_CutShort | None":
        """With which closing of its charge a period ends, where the invoice of its last one is void."""
        if invoice.status is not InvoiceStatus.VOID or closing.charge is None:
            return None
        for each in reversed(self._closings[: closing.seq - 1]):
            if each.charge != closing.charge:
                continue
            before, line = await self._line(each)
            if before is None or line is None or before.status is InvoiceStatus.VOID:
                continue
            return _CutShort(each, before, line) if line.line_id in before.cut_short else None
        return None

    async def _check(self, closing: Closing, invoice: Invoice, line: InvoiceLine, by_late: dict[int, int]) -> None:
        """One closing; `by_late`: the events of its period by the closing that they came behind."""
        findings, events, of_all = self._findings, self._events, sum(by_late.values())
        assert line.usage is not None, "it bills usage"
        is_void, snapshot = invoice.status is InvoiceStatus.VOID, line.usage.snapshot
        if is_void or snapshot is None:
            so_far = await self._billed_so_far(line.usage)
            events.billed += so_far
            if not is_void or not closing.is_last:
                events.waiting += of_all - so_far
                return
            last = None if snapshot is None else await self._last_rated(invoice, line)
            later = 0 if last is None or snapshot is None else last.rerated.events - snapshot.events
            events.billed += later
            events.given_up += of_all - so_far - later
            return
        last, level = await self._last_rated(invoice, line), _recounted_by(invoice, line)
        rated = snapshot.events if last is None else last.rerated.events
        level = level if last is None else last.closing
        quantity = snapshot.quantity if last is None else last.rerated.quantity
        if last is not None:
            findings.count("periods with late usage")
            recounted = (await self._figure(closing, level)).quantity
            if Fraction(recounted) != quantity:
                detail = f"{quantity} are billed by {last.rerated.by_invoice_id}, and {recounted} were counted"
                findings.differ("late usage", closing.reference, detail)
        await self._late(closing, invoice, line, by_late, level, rated, quantity)

    async def _counted(self, closing: Closing) -> tuple[Invoice | None, InvoiceLine | None]:
        """The line of a closing, once it was seen that its rows and its figure are those of the closing."""
        findings, wanted = self._findings, self._wanted(closing)
        if await rows_hash(self._connection, wanted, self._closings, closing) != closing.sha256:
            findings.differ("closing", closing.reference, "its rows are not those that it was made of")
        invoice, line = await self._line(closing)
        if invoice is None or line is None or line.usage is None:
            findings.differ("closing", closing.reference, "no invoice has a line of it")
            return None, None
        snapshot = line.usage.snapshot
        if snapshot is None:
            if invoice.status is not InvoiceStatus.VOID and not invoice.lacks_usage:
                findings.differ("line", closing.reference, "it was never counted")
            return invoice, line
        findings.count("lines of usage")
        says = (snapshot.closing, snapshot.partition, snapshot.covers, snapshot.sha256)
        if says != (closing.seq, closing.partition, closing.covers, closing.sha256.hex()):
            findings.differ("line", closing.reference, f"it says {says}, and its closing is {closing}")
        figure = await self._figure(closing, _recounted_by(invoice, line))
        if (snapshot.quantity, snapshot.events) != (Fraction(figure.quantity), figure.events):
            detail = f"it bills {snapshot.quantity} of {snapshot.events} events, and {figure.quantity} were counted"
            findings.differ("line", closing.reference, detail)
        return invoice, line

    async def _figure(self, closing: Closing, level: int) -> ClosedFigure:
        """What its period comes to with what came before the closing numbered `level`."""
        return await figure_of(self._connection, self._wanted(closing), self._closings, closing, level - 1)

    async def _billed_so_far(self, usage: LineUsage) -> int:
        """Of how many events the last line is that billed the period before this one, and is not void."""
        for before in reversed(() if usage.progress is None else usage.progress.before):
            invoice = await self._invoice(before.invoice_id)
            line = None if invoice is None else _line(invoice, before.line_id)
            if invoice is None or invoice.status is InvoiceStatus.VOID or line is None or line.usage is None:
                continue
            if line.usage.snapshot is not None:
                return line.usage.snapshot.events
        return 0

    async def _late(
        self,
        closing: Closing,
        billed_by: Invoice,
        billed: InvoiceLine,
        by_late: dict[int, int],
        level: int,
        rated: int,
        quantity: Fraction,
    ) -> None:
        """What is billed of a period, rated last with the closing numbered `level`, and what is behind that: told by a
        closing whose invoice is counted, it came to nothing else, or nobody bills it.
        """
        findings, events = self._findings, self._events
        is_cut_short = billed.line_id in billed_by.cut_short
        told = sorted(each for each in by_late if each >= level) if closing.is_last or is_cut_short else ()
        for behind in told:
            told_by = self._closings[behind] if behind < len(self._closings) else None
            invoice, line = (None, None) if told_by is None else await self._line(told_by)
            if invoice is None or line is None or line.lacks_usage or invoice.status is InvoiceStatus.VOID:
                continue
            if is_cut_short and not await self._is_told(invoice, billed_by):
                continue
            figure = (await self._figure(closing, behind + 1)).quantity
            if Fraction(figure) == quantity:  # such as what is below a maximum, or was taken back at once
                rated += sum(n for each, n in by_late.items() if level <= each <= behind)
                level = behind + 1
            elif _is_owed(billed, Fraction(figure), quantity):
                detail = f"{figure} were counted by closing {behind + 1}, and {quantity} are billed"
                findings.differ("late usage", closing.reference, detail)
        within = sum(n for behind, n in by_late.items() if behind < level)
        if within != rated:
            detail = f"it bills {rated} events, and {within} were counted by closing {level}"
            findings.differ("line", closing.reference, detail)
        events.billed += rated
        events.late += sum(n for behind, n in by_late.items() if behind >= level)

    async def _is_told(self, invoice: Invoice, cut_short: Invoice) -> bool:
        """Whether an invoice was counted once a period had ended with a line of another; before, it tells of none."""
        of = self._of.tenant_id, INVOICE.name, invoice.invoice_id, cut_short.invoice_id
        return bool(await self._connection.fetchval(_COUNTED_SINCE, *of))

    async def _last_rated(self, invoice: Invoice, line: InvoiceLine) -> "_LastRated | None":
        """By which line of a later invoice, that was not voided, a line's period was rated last."""
        for each in reversed([each for each in invoice.rerated if each.line_id == line.line_id]):
            by = await self._invoice(each.by_invoice_id)
            found = None if by is None else _line(by, each.by_line_id)
            if by is None or by.status is InvoiceStatus.VOID or found is None or found.usage is None:
                continue
            if found.usage.snapshot is not None:
                return _LastRated(each, found.usage.snapshot.closing)
        return None

    async def _line(self, closing: Closing) -> tuple[Invoice | None, InvoiceLine | None]:
        invoice_id, _, line_id = closing.reference.partition(SEPARATOR)
        invoice = await self._invoice(invoice_id)
        return invoice, None if invoice is None else _line(invoice, line_id)

    async def _invoice(self, invoice_id: str) -> Invoice | None:
        if invoice_id not in self._invoices:
            self._invoices[invoice_id] = await invoice_of(self._connection, self._codec, self._of.tenant_id, invoice_id)
        return self._invoices[invoice_id]

    def _wanted(self, closing: Closing) -> Wanted:
        return Wanted(
            tenant_id=self._of.tenant_id,
            customer_id=self._of.customer_id,
            meter_id=closing.meter_id,
            since=closing.since,
            until=closing.until,
            reference=closing.reference,
        )


def _is_owed(line: InvoiceLine, quantity: Fraction, billed: Fraction) -> bool:
    """Whether a period comes to more units than were billed of it, and to no less money: of less, there may be nothing
    that was paid and can be given back.
    """
    by = line.pricing
    if by is None or quantity <= billed:
        return False
    if isinstance(model_of(by.price), Percentage):
        return True  # of single events, each of which costs something or is free
    owed, before = (amount_of(by.price, max(each, Fraction(0)), by.rounding, by.share) for each in (quantity, billed))
    return owed >= before


class _CutShort(NamedTuple):
    """A closing whose line is the last that bills a period, as the rest of that was voided."""

    closing: Closing
    invoice: Invoice
    line: InvoiceLine


class _LastRated(NamedTuple):
    """What a later invoice billed last of a period, and the closing that it rests on."""

    rerated: Rerated
    closing: int


def _recounted_by(invoice: Invoice, line: InvoiceLine) -> int:
    """The number of the closing that counted a line's period for its invoice: with that of each further period of the
    meter on the same invoice, it is counted once more.
    """
    assert line.usage is not None, "it bills usage"
    meter_id = line.usage.meter_id
    return max(_numbers([each for each in invoice.lines if each.usage is not None and each.usage.meter_id == meter_id]))


def _numbers(lines: Sequence[InvoiceLine]) -> list[int]:
    own = (each.usage.snapshot for each in lines if each.usage is not None and each.usage.late is None)
    return [_number(each) for each in own]


def _number(snapshot: UsageSnapshot | None) -> int:
    return 0 if snapshot is None else snapshot.closing


def _line(invoice: Invoice, line_id: str) -> InvoiceLine | None:
    return next((line for line in invoice.lines if line.line_id == line_id), None)
