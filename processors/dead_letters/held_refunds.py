"""A refund that is held because its gateway does not know what became of it: an operator, who found out, ends it."""

import hashlib
from typing import Final

from domain.kernel.stream import WorkKind
from domain.payments.decline import DeclineCode
from domain.payments.refund import GatewayRefundTaken
from domain.payments.refund_commands import (
    EVIDENCE_CHARS_MAX,
    GATEWAY_ID_CHARS_MAX,
    RecordRefundFailed,
    RecordRefundSucceeded,
    RefundIsOver,
    is_gateway_refund_id,
    is_plain,
)
from infra.card_numbers import holds_card_number
from infra.event_store.port import DueWorkQueue, Writer
from processors.issue import Cause, issue

HELD_ROWS_MAX: Final = 1_000_000
BY_CHARS_MAX: Final = 64


class NotForTheLog(ValueError):
    """What an operator says cannot be recorded: the message tells of what, and why. Nothing was recorded."""


def check_said(*, returned_as: str | None, evidence: str, by: str) -> None:
    """Raises NotForTheLog. What is recorded stays for ever, so it is looked at before: length, signs, card numbers.

    The gateway's id is another system's, and not looked through for card numbers, as in the API.
    """
    for name, text, most in (("evidence", evidence, EVIDENCE_CHARS_MAX), ("name", by, BY_CHARS_MAX)):
        if not is_plain(text, chars_max=most):
            raise NotForTheLog(
                f"The {name} must be 1 to {most} characters of text (UTF-8), without control characters."
            )
        if holds_card_number(text):
            raise NotForTheLog(
                f"The {name} holds what looks like a card number; leave it out, the log keeps it for ever."
            )
    if returned_as is not None and not is_gateway_refund_id(returned_as):
        raise NotForTheLog(
            f"The gateway's id of the refund must be 1 to {GATEWAY_ID_CHARS_MAX} characters (UTF-8), without spaces."
        )


async def end_refund(
    queue: DueWorkQueue, writer: Writer, subject: str, *, returned_as: str | None, evidence: str, by: str
) -> bool:
    """Record that it was returned under the gateway's own id, or (None) that it was not and will not be.

    `evidence` stands in the event, `operator:` and `by` are its actor. False if no refund of this subject is held, or
    its outcome came meanwhile. Raises NotForTheLog, also where the gateway's refund is already another one of ours.
    """
    check_said(returned_as=returned_as, evidence=evidence, by=by)
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
    # What was refused may be said otherwise; what was accepted ended it, and the stream refuses a second end.
    said = hashlib.sha256(repr(command).encode()).hexdigest()
    outcome = await issue(writer, command, key=f"operator:{subject}:ended:{said}", cause=cause, actor=f"operator:{by}")
    if outcome.refusal_code == GatewayRefundTaken.code:
        raise NotForTheLog(
            f"{returned_as} is recorded as another refund already, and one refund at the gateway returns money once: "
            "look at the gateway's own record."
        )
    if outcome.refusal_code not in {None, RefundIsOver.code}:
        raise NotForTheLog(f"It was refused: {outcome.refusal_code}.")
    return outcome.refusal_code is None
