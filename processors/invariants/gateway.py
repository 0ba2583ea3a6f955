"""I1: what the gateway says it charged and returned is what the log says, operation by operation.

The gateway is asked first and the log is read after: an intent is in the log before the gateway hears of it, so
whatever was charged by then is explained by the log, or wrong. What the log holds beyond the listing is looked up.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from domain.kernel.money import Money
from domain.payments.cancellation import PaymentAttemptCanceled
from domain.payments.payment import PaymentAttemptRequested, PaymentCaptured, PaymentDeclined, attempt_reference
from domain.payments.refund import RefundFailed, RefundRequested, RefundSucceeded
from gateway_adapters.port import Gateway, GatewayTransaction, NotFound, Succeeded, TransactionKind
from infra.database import Pool
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from processors.invariants.log_pages import head_of, log_pages
from schemas.codec import Codec

BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_SLACK: Final = timedelta(days=1)
"""The gateway's clock may be ahead of ours."""

_EVENT_TYPES: Final = frozenset(
    {
        "payment.attempt_requested",
        "payment.captured",
        "payment.declined",
        "payment.attempt_canceled",
        "refund.requested",
        "refund.succeeded",
        "refund.failed",
    }
)


class Operation(NamedTuple):
    """A charge or a refund that took effect: `amount` is positive, `gateway_id` the gateway's name for it."""

    kind: TransactionKind
    amount: Money
    gateway_id: str


async def check_gateway(
    pool: Pool, codec: Codec, gateways: Mapping[str, Gateway], *, progress: Progress = silent
) -> Checked:
    """Compare every charge and refund, in both directions. Raises GatewayUnavailable where a listing breaks off."""
    findings = Findings(Invariant.GATEWAY)
    before = await head_of(pool)
    theirs: dict[str, dict[str, Operation]] = {name: {} for name in gateways}
    for name, gateway in gateways.items():
        async for transaction in gateway.list_transactions(BEGINNING, datetime.now(UTC) + CLOCK_SLACK):
            _list(transaction, name, theirs[name], findings)
    ours = _Ours()
    head = await head_of(pool)
    async for page in log_pages(pool, to=head, progress=progress):
        for recorded in page:
            if recorded.event_type in _EVENT_TYPES:
                for each in ours.after(codec.decode_event(recorded.payload)):
                    await _compare(
                        each,
                        theirs.get(each.gateway, {}),
                        gateways.get(each.gateway),
                        findings,
                        may_be_later=recorded.position > before,
                    )
    for name, left in theirs.items():
        for reference, operation in left.items():
            if ours.under_way.get(reference) == name:
                findings.count("taken at the gateway, outcome not recorded yet")
            else:
                findings.differ(
                    "missing here",
                    reference,
                    f"{name} {operation.kind} of {operation.amount.format()} ({operation.gateway_id})",
                )
    findings.count("operations under way", len(ours.under_way))
    return findings.checked()


class _Done(NamedTuple):
    """An operation that took effect by the log. `by_hand`: an operator said so of what the gateway did not know as
    ours, so it goes by the gateway's own id."""

    reference: str
    operation: Operation
    gateway: str
    by_hand: bool = False


class _Ours:
    """What the log says, as it is read: which operations took effect, and which have no outcome yet."""

    def __init__(self) -> None:
        self.under_way: dict[str, str] = {}  # reference → gateway
        self._gateway_of: dict[str, str] = {}  # payment → gateway of its last attempt

    def after(self, event: Any) -> list[_Done]:
        """The operations that took effect with this event."""
        match event:
            case PaymentAttemptRequested():
                self._gateway_of[event.payment_id] = event.gateway
                self.under_way[attempt_reference(event.payment_id, event.attempt)] = event.gateway
            case PaymentDeclined() | PaymentAttemptCanceled():
                self.under_way.pop(attempt_reference(event.payment_id, event.attempt), None)
            case PaymentCaptured():
                reference = attempt_reference(event.payment_id, event.attempt)
                gateway = self.under_way.pop(reference, "")
                operation = Operation(TransactionKind.CHARGE, event.amount, event.gateway_payment_id)
                return [_Done(reference, operation, gateway)]
            case RefundRequested():
                self.under_way[event.refund_id] = self._gateway_of.get(event.payment_id, "")
            case RefundFailed():
                self.under_way.pop(event.refund_id, None)
            case RefundSucceeded():
                gateway = self.under_way.pop(event.refund_id, "")
                operation = Operation(TransactionKind.REFUND, event.amount, event.gateway_refund_id)
                return [_Done(event.refund_id, operation, gateway, by_hand=event.evidence is not None)]
        return []


def _list(transaction: GatewayTransaction, name: str, theirs: dict[str, Operation], findings: Findings) -> None:
    if transaction.kind not in {TransactionKind.CHARGE, TransactionKind.REFUND}:
        findings.count(f"{transaction.kind} transactions (not ours to start)")
        return
    findings.count(f"{transaction.kind}s at the gateway")
    reference = transaction.reference or ""
    amount = transaction.amount
    operation = Operation(transaction.kind, Money(abs(amount.amount), amount.currency), transaction.object_id)
    if reference in theirs:
        detail = f"{name} took it as {theirs[reference].gateway_id} and again as {operation.gateway_id}"
        findings.differ("taken twice", reference, detail)
    elif not reference:
        findings.differ("no reference", transaction.object_id, f"{name} {transaction.kind} of {amount.format()}")
    else:
        theirs[reference] = operation


async def _compare(
    done: _Done,
    theirs: dict[str, Operation],
    gateway: Gateway | None,
    findings: Findings,
    *,
    may_be_later: bool,
) -> None:
    reference, operation = done.reference, done.operation
    findings.count(f"{operation.kind}s in the log")
    known_as = reference
    if done.by_hand:
        known_as = next((name for name, each in theirs.items() if each.gateway_id == operation.gateway_id), reference)
    found = theirs.pop(known_as, None)
    if found is None and may_be_later and gateway is not None:
        answer = await gateway.look_up(reference)
        if isinstance(answer, Succeeded):
            found = Operation(operation.kind, answer.amount, answer.gateway_id)
        elif not isinstance(answer, NotFound):
            findings.count("recorded after the listing, not looked up")
            return
    if found is None:
        detail = f"the log has a {operation.kind} of {operation.amount.format()} ({operation.gateway_id})"
        findings.differ("missing there", reference, detail)
    elif found != operation:
        detail = (
            f"the log says {operation.kind} {operation.amount.format()} ({operation.gateway_id}), "
            f"the gateway {found.kind} {found.amount.format()} ({found.gateway_id})"
        )
        findings.differ("not the same", reference, detail)
