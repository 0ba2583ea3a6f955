"""I7: nothing is left half done: no gateway call without its answer, no saga past its event, no overdue timer, no
dead letter, nothing held. On a live system work that is younger than `grace` is under way, not unfinished. What pauses
by plan, an automatic refund that failed, waits; it is late once the pause has been over for `grace`.

Two witnesses: the tables that drive the work (due work, dead letters), and the log alone, which would show a saga
whose row was lost.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from domain.customers.test_clock import (
    TEST_CLOCK,
    TestClockAdvanceCanceled,
    TestClockAdvanced,
    TestClockAdvanceStarted,
    TestClockCreated,
    TestClockDeleted,
    TestClockDeletionStarted,
    TestClockMoved,
)
from domain.invoicing.collection import InvoicePaymentFailed, InvoicePaymentStarted
from domain.kernel.saga import Saga
from domain.kernel.stream import WorkKind
from domain.payments.cancellation import PaymentAttemptCanceled, PaymentCancelRequested
from domain.payments.charge_saga import CHARGE_SAGA
from domain.payments.payment import (
    PaymentActionRequired,
    PaymentAttemptRequested,
    PaymentCaptured,
    PaymentCreated,
    PaymentDeclined,
    attempt_reference,
)
from domain.payments.refund import RefundFailed, RefundRequested, RefundSucceeded
from domain.payments.refund_saga import REFUND_SAGA
from domain.sagas import SAGAS
from domain.subscriptions.migration import (
    PLAN_MIGRATION,
    PlanMigrationCanceled,
    PlanMigrationCancelRequested,
    PlanMigrationCompleted,
    PlanMigrationStarted,
)
from infra.database import Pool
from infra.event_store.port import Recorded
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from processors.invariants.log_pages import head_of, log_pages
from processors.journeys import Driver
from processors.runs.refund_retries import PAUSES
from schemas.codec import Codec

ROWS_MAX: Final = 1_000
BY_KAFKA: Final = "steps of sagas whose event came by Kafka"
BY_SWEEPER: Final = "steps of sagas that the sweeper had to take"

TIMERS: Final = (
    WorkKind.SUBSCRIPTION_RENEWAL.value,
    WorkKind.INVOICE_FINALIZATION.value,
    WorkKind.INVOICE_USAGE.value,
)
"""Kinds of due work that wait for a day to come, with nothing unfinished."""

_WORK: Final = """
SELECT w.tenant_id, w.kind, w.subject, w.due_at, w.clock_id, w.runs_on_clock, w.held, w.attempts, w.last_error,
       coalesce(e.recorded_at > clock_timestamp() - $1::interval, false) AS is_young,
       w.kind = $3 AND NOT w.held AND w.last_error = $4 AS pauses,
       w.lease_owner IS NULL AND w.ready_at > clock_timestamp() AS is_put_off,
       CASE WHEN w.lease_owner IS NULL THEN w.ready_at WHEN w.attempts <= $5 THEN w.claimed_at END
           > clock_timestamp() - $1::interval AS is_just_ready,
       w.due_at > clock_timestamp() AS is_later
FROM log.due_work w LEFT JOIN log.events e ON e.position = w.caused_by_position
WHERE w.held OR NOT w.kind = ANY($2) OR w.runs_on_clock OR w.due_at <= clock_timestamp() - $1::interval
ORDER BY w.tenant_id, w.kind, w.subject
"""
_LETTERS: Final = """
SELECT dead_letter_id, consumer, topic, partition, record_offset, error FROM ops.dead_letters
WHERE replayed_at IS NULL ORDER BY dead_letter_id LIMIT $1
"""
_HELD_KEYS: Final = """
SELECT k.projection, k.partition_key, k.since_position, k.error FROM read.held_keys k
JOIN read.projections p ON p.name = k.projection AND k.fold = coalesce(p.next_fold, p.fold)
ORDER BY 1, 2 LIMIT $1
"""


RUNS_OF_A_PAUSE_MAX: Final = 3
"""One run plans a pause and one ends it; a third where the clocks of two machines differ. More begin and come to
nothing."""


LOOK_LATE_MAX: Final = timedelta(minutes=1)
"""Once usage is counted it is looked at whether it has reached a threshold; a look that is so late nobody takes."""
_LATE_LOOKS: Final = """
SELECT tenant_id, customer_id, meter_id, look_at FROM usage.looks
WHERE look_at < clock_timestamp() - $1::interval - $2::interval ORDER BY look_at LIMIT $3
"""


class _Open(NamedTuple):
    """Something that began and has not ended: the event that began it."""

    what: str
    event_id: str
    position: int
    recorded_at: datetime


async def check_unfinished(
    pool: Pool, codec: Codec, *, grace: timedelta = timedelta(0), progress: Progress = silent
) -> Checked:
    """What is unfinished. `grace` is how old something must be to count; zero once a system is to be at rest."""
    findings = Findings(Invariant.SAGAS)
    log = _FromLog(codec)
    async for page in log_pages(pool, to=await head_of(pool), progress=progress):
        for recorded in page:
            log.take(recorded)
    now: datetime = await pool.fetchval("SELECT clock_timestamp()")
    rows = await pool.fetch(_WORK, grace, TIMERS, WorkKind.REFUND_RETRY.value, PAUSES, RUNS_OF_A_PAUSE_MAX)
    patient = frozenset(log.waiting.values())
    paused = {f"{REFUND_SAGA.name}:{row['subject']}" for row in rows if _pauses(row)}
    for subject, each in log.open.items():
        if subject in patient:
            findings.count("sagas that wait for a customer to authenticate")
        elif subject in paused:
            findings.count("sagas that wait for a refund to be asked for again")
        elif each.recorded_at > now - grace and grace:
            findings.count("under way")
        else:
            detail = f"since position {each.position} ({each.event_id})"
            findings.differ(f"unfinished {each.what}", subject, detail)
    findings.count(BY_KAFKA, log.driven[Driver.KAFKA])
    findings.count(BY_SWEEPER, log.driven[Driver.SWEEPER])
    findings.count("payments that wait for their customer", len(log.waiting))
    await _due_work(pool, rows, log, grace, findings, now=now)
    for look in await pool.fetch(_LATE_LOOKS, grace, LOOK_LATE_MAX, ROWS_MAX):
        findings.differ("look", f"{look['customer_id']}/{look['meter_id']}", f"due {look['look_at'].isoformat()}")
    for letter in await pool.fetch(_LETTERS, ROWS_MAX):
        detail = f"{letter['consumer']} gave up {letter['topic']}/{letter['partition']}@{letter['record_offset']}: "
        findings.differ("dead letter", str(letter["dead_letter_id"]), detail + letter["error"])
    for key in await pool.fetch(_HELD_KEYS, ROWS_MAX):
        findings.differ(
            "held key", f"{key['projection']} {key['partition_key']}", f"{key['since_position']}: {key['error']}"
        )
    return findings.checked()


def swept_share(checked: Checked) -> float:
    """Of the steps that sagas took, the share whose event did not travel by Kafka."""
    swept = checked.counts.get(BY_SWEEPER, 0)
    return swept / max(1, swept + checked.counts.get(BY_KAFKA, 0))


def _pauses(row: asyncpg.Record) -> bool:
    """Whether a refund that failed waits to be asked for again, or is about to be."""
    return bool(row["pauses"] and (row["is_put_off"] or row["is_just_ready"]))


async def _due_work(
    pool: Pool, rows: Sequence[asyncpg.Record], log: "_FromLog", grace: timedelta, findings: Findings, *, now: datetime
) -> None:
    patient = {
        WorkKind.PAYMENT_GATEWAY_CALL: frozenset(log.waiting_attempts),
        WorkKind.SAGA_DEADLINE: frozenset(log.waiting.values()),
    }
    for row in rows:
        kind, subject = WorkKind(row["kind"]), row["subject"]
        detail = f"due {row['due_at'].isoformat()}, {row['attempts']} attempts, last error {row['last_error']!r}"
        if row["held"]:
            findings.differ("held", f"{kind} {subject}", detail)
        elif row["runs_on_clock"]:
            clock = log.clocks.get((row["tenant_id"], row["clock_id"]))
            if clock is not None and row["due_at"] <= clock and log.advances(row["clock_id"], since=now - grace):
                findings.count("timers of an advance under way")
            elif clock is not None and row["due_at"] <= clock:
                findings.differ("overdue on its clock", f"{kind} {subject}", detail)
            else:
                findings.count("timers on test clocks, not due yet")
        elif _pauses(row):
            findings.count("refunds that wait to be asked for again")
        elif subject in patient.get(kind, ()):
            findings.count("due work that waits for a customer to authenticate")
        elif grace and (row["is_young"] or log.advances(subject, since=now - grace)):
            findings.count("due work under way")
        else:
            findings.differ("overdue" if not row["is_later"] else "pending", f"{kind} {subject}", detail)
    later = await pool.fetchval(
        "SELECT count(*) FROM log.due_work WHERE kind = ANY($1) AND NOT runs_on_clock AND NOT held "
        "AND due_at > clock_timestamp()",
        TIMERS,
    )
    findings.count("timers not due yet", later)


class _FromLog:
    """What the log alone says is open. `waiting` are payments whose customer must act, with the deadline that waits for
    them (empty without an invoice), `waiting_attempts` their attempts; `clocks` show their time.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.open: dict[str, _Open] = {}
        self.waiting: dict[str, str] = {}
        self.waiting_attempts: set[str] = set()
        self._charge_of: dict[str, str] = {}
        self.clocks: dict[tuple[str, str], datetime] = {}
        self.driven: dict[str, int] = dict.fromkeys(Driver, 0)

    def take(self, recorded: Recorded) -> None:
        """The next event in position order."""
        if recorded.decision is not None:
            self._count_driver(recorded)
        if recorded.event_type not in _TYPES:
            return
        event: Any = self._codec.decode_event(recorded.payload)
        for saga in _SAGAS_OF.get(recorded.event_type, ()):
            self._saga(saga, recorded, event)
        match event:
            case PaymentCreated():
                if event.invoice_id is not None:
                    self._charge_of[event.payment_id] = CHARGE_SAGA.id_of(event)
            case InvoicePaymentStarted():
                # What begun for its finalization is the charge saga's; this waits for its payment just the same.
                self._begin("collection", CHARGE_SAGA.id_of(event), recorded)
            case InvoicePaymentFailed():
                self.open.pop(CHARGE_SAGA.id_of(event), None)
            case PaymentAttemptRequested():
                self._begin("payment", event.payment_id, recorded)
            case PaymentActionRequired():
                self.open.pop(event.payment_id, None)
                self.waiting[event.payment_id] = self._charge_of.get(event.payment_id, "")
                self.waiting_attempts.add(attempt_reference(event.payment_id, event.attempt))
            case PaymentCancelRequested():
                self._end_attempt(event.payment_id, event.attempt)
                self._begin("cancellation", event.payment_id, recorded)
            case PaymentDeclined() | PaymentAttemptCanceled():
                self._end_attempt(event.payment_id, event.attempt)
            case PaymentCaptured():
                self._end_attempt(event.payment_id, event.attempt)
                self._charge_of.pop(event.payment_id, None)
            case RefundRequested():
                self._begin("refund at the gateway", event.refund_id, recorded)
            case RefundSucceeded() | RefundFailed():
                self.open.pop(event.refund_id, None)
            case _ if recorded.event_type in TEST_CLOCK.events:
                self._clock(recorded, event)
            case _ if recorded.event_type in PLAN_MIGRATION.events:
                self._migration(recorded, event)

    def advances(self, subject: str, *, since: datetime) -> bool:
        """Whether a clock is being advanced, or a plan migrated, and has come on since this moment: an advance of a
        year takes its time, as does a large plan, and is under way for as long as it moves.
        """
        begun = self.open.get(f"clock:{subject}") or self.open.get(f"migration:{subject}")
        return begun is not None and begun.recorded_at > since

    def _saga(self, saga: Saga, recorded: Recorded, event: Any) -> None:
        subject = saga.id_of(event)
        if recorded.event_type == saga.started_by:
            if saga.begins(event) is not None:
                self._begin(saga.name, subject, recorded)
        elif saga.states[recorded.event_type].is_over:
            self.open.pop(subject, None)
        else:
            self._come_on(subject, recorded)

    def _count_driver(self, recorded: Recorded) -> None:
        by = recorded.actor.partition(":")[0]
        if by in self.driven:
            self.driven[by] += 1

    def _begin(self, what: str, subject: str, recorded: Recorded) -> None:
        self.open[subject] = _Open(what, recorded.event_id, recorded.position, recorded.recorded_at)

    def _come_on(self, subject: str, recorded: Recorded) -> None:
        begun = self.open.get(subject)
        if begun is not None:
            self.open[subject] = begun._replace(recorded_at=recorded.recorded_at)

    def _end_attempt(self, payment_id: str, attempt: int) -> None:
        self.open.pop(payment_id, None)
        self.waiting.pop(payment_id, None)
        self.waiting_attempts.discard(attempt_reference(payment_id, attempt))

    def _clock(self, recorded: Recorded, event: Any) -> None:
        subject = f"clock:{event.clock_id}"
        match event:
            case TestClockAdvanceStarted():
                self._begin("advance", subject, recorded)
            case TestClockMoved():
                self._come_on(subject, recorded)
            case TestClockDeletionStarted():
                self._begin("deletion of a test clock", subject, recorded)
            case TestClockAdvanced() | TestClockDeleted():
                self.open.pop(subject, None)
        if isinstance(event, TestClockCreated | TestClockMoved | TestClockAdvanced | TestClockAdvanceCanceled):
            self.clocks[recorded.tenant_id, event.clock_id] = event.frozen_at

    def _migration(self, recorded: Recorded, event: Any) -> None:
        subject = f"migration:{event.migration_id}"
        match event:
            case PlanMigrationStarted() | PlanMigrationCancelRequested():
                self._begin("migration of a plan", subject, recorded)
            case PlanMigrationCompleted() | PlanMigrationCanceled():
                self.open.pop(subject, None)
            case _:
                self._come_on(subject, recorded)


# A saga without a deadline waits for others, who are looked at themselves.
_DRIVEN: Final = tuple(saga for saga in SAGAS if saga.deadline is not None)
_SAGAS_OF: Final[Mapping[str, tuple[Saga, ...]]] = {
    event_type: tuple(saga for saga in _DRIVEN if event_type in {saga.started_by, *saga.states})
    for event_type in {name for saga in _DRIVEN for name in (saga.started_by, *saga.states)}
}
_TYPES: Final = frozenset(
    {
        *_SAGAS_OF,
        "invoice.payment_started",
        "invoice.payment_failed",
        "payment.created",
        "payment.attempt_requested",
        "payment.action_required",
        "payment.declined",
        "payment.cancel_requested",
        "payment.attempt_canceled",
        *TEST_CLOCK.events,
        *PLAN_MIGRATION.events,
    }
)
