"""The proof of thresholds: each is told of once, and invoices of a period that runs come to what the period does."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from cli.faults.usage import CALLS, UNITS, Usage, User
from cli.faults.watching import EVER, EVER_EVERY
from domain.entitlements.triggered_alert import UsageAlertTriggered
from domain.invoicing.invoice_line import InvoiceLine
from domain.invoicing.state import Invoice, InvoiceStatus
from domain.invoicing.usage_line import UsageProgress
from domain.kernel.rounding import Rounding, round_to_int
from infra.database import Pool
from processors.invariants.findings import Difference
from processors.invariants.usage import invoice_of
from schemas.codec import default_codec
from usage.partials import Connection

_TRIGGERED: Final = """
SELECT payload FROM log.events WHERE tenant_id = $1 AND event_type = 'usage_alert.triggered' ORDER BY position
"""
_INVOICES: Final = "SELECT invoice_id FROM read.invoices WHERE tenant_id = $1 AND customer_id = $2"


async def threshold_differences(pool: Pool, tenant_id: str, usage: Usage) -> list[Difference]:
    """Where alerts or invoices of a tenant say otherwise than they may. The pool's role is the owner's."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        calls = {
            each.customer_id: sum(partial.count for partial in each.counted(CALLS).values()) for each in usage.users
        }
        found = told_otherwise(await _triggered(connection, tenant_id), usage.watching.of_all_time, calls)
        for user in usage.users:
            invoices = await _of(connection, tenant_id, user)
            found += billed_otherwise(invoices, units=usage.meters[UNITS], voids=user.voids)
    return [replace(each, subject=f"{tenant_id} {each.subject}") for each in found]


async def _triggered(connection: Connection, tenant_id: str) -> list[UsageAlertTriggered]:
    codec = default_codec()
    events = (codec.decode_event(row[0]) for row in await connection.fetch(_TRIGGERED, tenant_id))
    return [event for event in events if isinstance(event, UsageAlertTriggered)]


async def _of(connection: Connection, tenant_id: str, user: User) -> list[Invoice]:
    ids = [row[0] for row in await connection.fetch(_INVOICES, tenant_id, user.customer_id)]
    invoices = [await invoice_of(connection, default_codec(), tenant_id, each) for each in ids]
    return [each for each in invoices if each is not None]


def told_otherwise(told: Sequence[UsageAlertTriggered], of_all_time: str, calls: Mapping[str, int]) -> list[Difference]:
    """Each threshold once in a period, and since a reset, and none that is not reached; of the alert of all time each
    that is. `calls`: how many each customer ever made.
    """
    found: list[Difference] = []
    times = Counter((each.usage_alert_id, each.customer_id, each.since, each.threshold) for each in told)
    for (alert, customer_id, since, threshold), count in times.items():
        if count > 1:
            subject = f"{alert} {customer_id} since {since}"
            found.append(Difference(kind="alert", subject=subject, detail=f"{threshold} was told of {count} times"))
    for each in told:
        if each.used < each.threshold:
            detail = f"{each.used} is below {each.threshold}"
            found.append(Difference(kind="alert", subject=each.trigger_id, detail=detail))
    for customer_id, used in calls.items():
        of = {each.threshold for each in told if (each.usage_alert_id, each.customer_id) == (of_all_time, customer_id)}
        missed = {each for each in _reached(used) if each > max(of, default=Decimal(0))}
        missed |= {Decimal(each) for each in EVER if each <= used and Decimal(each) not in of}
        if missed:
            detail = f"{used} calls were made, and {sorted(missed)} not told of"
            found.append(Difference(kind="alert", subject=customer_id, detail=detail))
    return found


def _reached(used: int) -> list[Decimal]:
    """The last of the thresholds that are told of again and again, where one is reached."""
    times = (used - EVER[-1]) // EVER_EVERY
    return [Decimal(EVER[-1] + times * EVER_EVERY)] if times > 0 else []


def billed_otherwise(invoices: Sequence[Invoice], *, units: str, voids: bool) -> list[Difference]:
    """Each line bills what its period had come to, less what those before it billed, and never less than nothing. All
    of a period that is over come to its charge; where somebody `voids` some, what they billed may be given up. The
    meter `units` costs 1 for each.
    """
    found: list[Difference] = []
    lines = {(each.invoice_id, line.line_id): (each, line) for each in invoices for line in each.lines}
    for (invoice_id, line_id), (invoice, line) in lines.items():
        progress = None if line.usage is None else line.usage.progress
        if progress is None or progress.charge is None or progress.billed_before is None:
            continue
        told = [] if voids else _adds_up(invoice, progress, lines)
        amount, charge, before = (each.amount for each in (line.amount, progress.charge, progress.billed_before))
        if amount != max(charge - before, 0):
            told.append(f"{amount} is billed of {charge}, and {before} was before")
        if line.usage is not None and line.usage.meter_id == units and line.usage.snapshot is not None:
            comes_to = round_to_int(line.usage.snapshot.rated, Rounding.HALF_UP)
            if charge != comes_to:
                told.append(f"{comes_to} units at 1 each are charged at {charge}")
        subject = f"{invoice_id}/{line_id}"
        found += [Difference(kind="usage so far", subject=subject, detail=detail) for detail in told]
    return found


def _adds_up(
    invoice: Invoice, progress: UsageProgress, lines: Mapping[tuple[str, str], tuple[Invoice, InvoiceLine]]
) -> list[str]:
    """Why the lines before one, and what its invoice gives back of them, are not what it says they are."""
    assert progress.charge is not None, "it is counted"
    assert progress.billed_before is not None, "it is counted"
    before = [lines[each.invoice_id, each.line_id] for each in progress.before]
    billed = sum(each.amount.amount for of, each in before if of.status is not InvoiceStatus.VOID)
    found: list[str] = []
    if billed != progress.billed_before.amount:
        found.append(f"those before it billed {billed}, and it says {progress.billed_before.amount}")
    surplus = billed - progress.charge.amount
    if progress.is_last and surplus > 0:
        slices = {(each.invoice_id, each.line_id) for each in progress.before}
        back = sum(
            each.amount.amount
            for each in invoice.lines
            if each.gives_back is not None
            and (each.gives_back.invoice_id, each.gives_back.line_id) in slices
            and (each.usage is None or each.usage.late is None)
        )
        if back != -surplus:
            found.append(f"{surplus} was billed too much, and {-back} is given back")
    return found
