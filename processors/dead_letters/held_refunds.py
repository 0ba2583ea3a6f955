"""A refund that is held because its gateway does not know what became of it: an operator, who found out, ends it."""

from typing import Final

from domain.kernel.stream import WorkKind
from domain.payments.decline import DeclineCode
from domain.payments.refund_commands import RecordRefundFailed, RecordRefundSucceeded
from infra.event_store.port import DueWorkQueue, Writer
from processors.issue import Cause, issue

HELD_ROWS_MAX: Final = 1_000_000


async def end_refund(
    queue: DueWorkQueue, writer: Writer, subject: str, *, returned_as: str | None, evidence: str, by: str
) -> bool:
    """Record that it was returned under the gateway's own id, or (None) that it was not and will not be.

    `evidence` stands in the event, `operator:` and `by` are its actor. False if no refund of this subject is held, or
    its outcome came meanwhile.
    """
    held = await queue.held(limit=HELD_ROWS_MAX)
    work = next((each for each in held if (each.kind, each.subject) == (WorkKind.REFUND_GATEWAY_CALL, subject)), None)
    if work is None:
        return False
    payment_id, _, refund_id = subject.partition("/")
    command: RecordRefundFailed | RecordRefundSucceeded
    if returned_as is None:
        command = RecordRefundFailed(
            refund_id=refund_id, payment_id=payment_id, failure_code=DeclineCode.DECLINED, evidence=evidence
        )
    else:
        command = RecordRefundSucceeded(
            refund_id=refund_id, payment_id=payment_id, gateway_refund_id=returned_as, evidence=evidence
        )
    cause = Cause(tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id)
    outcome = await issue(writer, command, key=f"operator:{subject}:ended", cause=cause, actor=f"operator:{by}")
    return outcome.refusal_code is None
