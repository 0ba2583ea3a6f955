"""Issuing commands from inside: every one has a key made of what caused it, so doing it again does nothing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from domain.kernel.stream import Command
from infra.event_store.port import Outcome, Request, Work, Writer
from processors.outcome import Hold, Settled, Unwanted, WorkOutcome

NOTHING_HOLDS: Final[Mapping[str, str]] = {}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What a command comes from: whose it is, the event behind it, and the trace it belongs to."""

    tenant_id: str
    correlation_id: str
    causation_id: str | None


async def issue_for_work(
    writer: Writer, command: Command, work: Work, *, key: str, actor: str, holds: Mapping[str, str] = NOTHING_HOLDS
) -> WorkOutcome:
    """Issue what a piece of due work comes to. Accepted: its events settled the row; refused: it was not wanted.

    `holds`: codes of refusals that are for a person to look at, and what is said of each.
    """
    cause = Cause(tenant_id=work.tenant_id, correlation_id=work.correlation_id, causation_id=work.caused_by_event_id)
    outcome = await issue(writer, command, key=key, cause=cause, actor=actor)
    if outcome.refusal_code is not None and outcome.refusal_code in holds:
        return Hold(holds[outcome.refusal_code])
    return Settled() if outcome.refusal_code is None and not outcome.replayed else Unwanted()


async def issue(writer: Writer, command: Command, *, key: str, cause: Cause, actor: str) -> Outcome:
    """Take a command to the log under `key`. A refusal is an outcome like any other: logged, not raised."""
    outcome = await writer.submit(
        Request(
            tenant_id=cause.tenant_id,
            idempotency_key=key,
            request_hash=hashlib.sha256(repr(command).encode()).digest(),
            command=command,
            actor=actor,
            correlation_id=cause.correlation_id,
            causation_id=cause.causation_id,
        )
    )
    if outcome.refusal_code is not None and not outcome.replayed:
        log.info("command_refused", command=type(command).__name__, key=key, code=outcome.refusal_code, actor=actor)
    return outcome
