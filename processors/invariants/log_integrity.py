"""I3: positions and stream versions without gaps; every accepted command's events exactly there, no event without its
command, no event of a refused one; each decision's record on its first event and on no other; and what a client was
told is what the log holds.

Memory: about ten bytes an event, and one small entry a stream.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from infra.database import Pool
from infra.event_store.decision_record import MalformedDecision, decode
from infra.event_store.port import Recorded
from processors.invariants.findings import Checked, Findings, Invariant, Progress, silent
from processors.invariants.log_pages import head_of, log_pages

PAGE_RESULTS: Final = 5_000
PAGE_STREAMS: Final = 5_000

_RESULTS: Final = """
SELECT tenant_id, idempotency_key, refusal_code, position, events FROM log.command_results
WHERE (tenant_id, idempotency_key) > ($1, $2) ORDER BY tenant_id, idempotency_key LIMIT $3
"""
_STREAMS: Final = """
SELECT tenant_id, stream_type, stream_id, version FROM log.streams
WHERE (tenant_id, stream_type, stream_id) > ($1, $2, $3) ORDER BY tenant_id, stream_type, stream_id LIMIT $4
"""
_STORED: Final = """
SELECT r.refusal_code, r.position FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS a (tenant, key, nth)
LEFT JOIN log.command_results r ON r.tenant_id = a.tenant AND r.idempotency_key = a.key ORDER BY a.nth
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What a client was told: the position in the answer, and the refusal's code where it was one.

    `idempotency_key` is the key as the log holds it, with the API's namespace.
    """

    tenant_id: str
    idempotency_key: str
    position: int
    refusal_code: str | None


async def check_log(pool: Pool, *, acknowledged: Sequence[Acknowledged] = (), progress: Progress = silent) -> Checked:
    """Read the whole log and all outcomes. The pool's role is the writer's or the owner's."""
    findings = Findings(Invariant.LOG)
    head = await head_of(pool)
    walk = _Walk(head, findings)
    async for page in log_pages(pool, to=head, progress=progress):
        for event in page:
            walk.take(event)
    walk.end()
    await _compare_streams(pool, head, walk, findings)
    await _compare_results(pool, head, walk, findings)
    await _compare_acknowledged(pool, acknowledged, findings)
    return findings.checked()


class _Walk:
    """The log as it was read. `tenant_at[n]`, `claimed[n]` and `decided[n]` are about position n: its tenant (by
    number), how many accepted commands say that it is theirs, and how many events the decision has that begins there.
    """

    def __init__(self, head: int, findings: Findings) -> None:
        self._findings = findings
        self._last = 0
        self._head = head
        self._tenants: dict[str, int] = {}
        self.versions: dict[tuple[str, str, str], int] = {}
        self.tenant_at = array("I", bytes(4 * (head + 1)))
        self.claimed = bytearray(head + 1)
        self.decided = array("I", bytes(4 * (head + 1)))

    def tenant_number(self, tenant_id: str) -> int:
        """A small number for a tenant, counted from 1."""
        return self._tenants.setdefault(tenant_id, len(self._tenants) + 1)

    def take(self, event: Recorded) -> None:
        """The next event in position order."""
        findings = self._findings
        findings.count("events")
        if event.position != self._last + 1:
            findings.differ("gap", f"position {self._last + 1}", f"position {event.position} follows {self._last}")
        self._last = event.position
        self.tenant_at[event.position] = self.tenant_number(event.tenant_id)
        stream = event.tenant_id, event.stream_type, event.stream_id
        before = self.versions.get(stream, 0)
        if event.stream_version != before + 1:
            detail = f"version {event.stream_version} follows {before} at position {event.position}"
            findings.differ("stream versions", "/".join(stream), detail)
        self.versions[stream] = event.stream_version
        if event.decision is not None:
            try:
                self.decided[event.position] = decode(event.decision).events
            except MalformedDecision as error:
                findings.differ("decision", f"position {event.position}", f"its record cannot be read: {error}")

    def end(self) -> None:
        """There is no more."""
        if self._last != self._head:
            self._findings.differ("head", f"position {self._head}", f"the last event is at {self._last}")
        self._findings.count("streams", len(self.versions))


async def _compare_streams(pool: Pool, head: int, walk: _Walk, findings: Findings) -> None:
    after = ("", "", "")
    known = 0
    while rows := await pool.fetch(_STREAMS, *after, PAGE_STREAMS):
        for *stream, version in rows:
            found = walk.versions.get((stream[0], stream[1], stream[2]), 0)
            known += found > 0
            # A stream may have grown since the head was read; it never shrinks.
            if version < found or (version > found and not await _grew(pool, head, stream)):
                findings.differ("stream versions", "/".join(stream), f"the guard says {version}, the log {found}")
        after = tuple(rows[-1][:3])
    if known != len(walk.versions):
        findings.differ("streams", "log.streams", f"{len(walk.versions)} streams in the log, {known} are guarded")


async def _grew(pool: Pool, head: int, stream: Sequence[str]) -> bool:
    return bool(
        await pool.fetchval(
            "SELECT EXISTS (SELECT FROM log.events WHERE tenant_id = $1 AND stream_type = $2 AND stream_id = $3 "
            "AND position > $4)",
            *stream,
            head,
        )
    )


async def _compare_results(pool: Pool, head: int, walk: _Walk, findings: Findings) -> None:
    after = ("", "")
    while rows := await pool.fetch(_RESULTS, *after, PAGE_RESULTS):
        for tenant_id, key, refusal_code, position, events in rows:
            if position - events >= head and events:
                continue  # since the head was read
            if refusal_code is not None:
                findings.count("commands refused")
                if events:
                    findings.differ("refused", f"{tenant_id}/{key}", f"{refusal_code}, yet it has {events} events")
                continue
            findings.count("commands accepted")
            number = walk.tenant_number(tenant_id)
            _compare_decision(walk, position - events + 1, events, f"{tenant_id}/{key}", findings)
            for place in range(position - events + 1, position + 1):
                if not 0 < place <= head or walk.tenant_at[place] != number:
                    findings.differ("lost", f"{tenant_id}/{key}", f"its event at position {place} is not there")
                    continue
                walk.claimed[place] = min(walk.claimed[place] + 1, 2)
        after = tuple(rows[-1][:2])
    for times, kind, detail in ((0, "no command", "no accepted command has it"), (2, "doubled", "several have it")):
        for place in _places(walk.claimed, times):
            findings.differ(kind, f"position {place}", detail)


def _compare_decision(walk: _Walk, first: int, events: int, subject: str, findings: Findings) -> None:
    """A command's events bear one decision's record, the first of them, and it says how many they are."""
    recorded = walk.decided[first : first + events].tolist()
    if recorded and recorded != [events] + [0] * (events - 1):
        detail = f"{events} events from position {first} bear records of decisions of {recorded} events"
        findings.differ("decision", subject, detail)


def _places(claimed: bytearray, times: int) -> Iterable[int]:
    place = claimed.find(times, 1)
    while place > 0:
        yield place
        place = claimed.find(times, place + 1)


async def _compare_acknowledged(pool: Pool, acknowledged: Sequence[Acknowledged], findings: Findings) -> None:
    for start in range(0, len(acknowledged), PAGE_RESULTS):
        part = acknowledged[start : start + PAGE_RESULTS]
        rows = await pool.fetch(_STORED, [each.tenant_id for each in part], [each.idempotency_key for each in part])
        for each, (refusal_code, position) in zip(part, rows, strict=True):
            findings.count("answers that clients hold")
            subject = f"{each.tenant_id}/{each.idempotency_key}"
            if position is None:
                findings.differ("lost", subject, f"answered with position {each.position}, and not in the log")
            elif (refusal_code, position) != (each.refusal_code, each.position):
                detail = (
                    f"answered {each.refusal_code or 'accepted'} at {each.position}, "
                    f"recorded {refusal_code or 'accepted'} at {position}"
                )
                findings.differ("another answer", subject, detail)
