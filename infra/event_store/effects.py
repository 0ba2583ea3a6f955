"""The claims and the due work of a batch: later effects on a key replace earlier ones, so only the last is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from domain.kernel.stream import Claim, DueWork, Schedule, Take
from infra.event_store.port import Request
from infra.event_store.storage import ClaimKey, ClaimRow, WorkKey, WorkRow


class _Holder(Enum):
    UNKNOWN = "unknown"  # nobody has looked: taken to be free, and checked when written
    NOBODY = "nobody"


_UNKNOWN: Final = _Holder.UNKNOWN
_NOBODY: Final = _Holder.NOBODY


class Claims:
    """Who holds what, as far as this batch knows. `held` are owners looked up under the log's lock."""

    def __init__(self, held: Mapping[ClaimKey, str]) -> None:
        self._held = held
        self.holders: dict[ClaimKey, str | _Holder] = {}  # after the batch's own claims
        self.taken: set[ClaimKey] = set()  # by the batch, at whatever point
        self._freed: list[ClaimRow] = []
        self.asked: list[ClaimKey] = []
        self._place: Claims.Staged | None = None

    class Staged:
        """One command's claims, which count only once they are merged."""

        __slots__ = ("_batch", "freed", "holders", "taken", "tenant_id")

        def __init__(self, batch: "Claims", tenant_id: str) -> None:
            self._batch = batch
            self.tenant_id = tenant_id
            self.holders: dict[ClaimKey, str | _Holder] = {}
            self.taken: set[ClaimKey] = set()
            self.freed: list[ClaimRow] = []

        def apply(self, claim: Claim) -> None:
            """Take or free. Raises the claim's own refusal where somebody holds the value."""
            batch = self._batch
            key = (self.tenant_id, claim.kind, claim.value)
            holder = self.holders.get(key) or batch.holder(key)
            batch.asked.append(key)
            if isinstance(claim, Take):
                if isinstance(holder, str):
                    raise claim.refused(holder)
                self.taken.add(key)
                self.holders[key] = claim.owner
            elif not isinstance(holder, str) or holder == claim.owner:
                # What the batch took itself is not in the table yet; anything else goes if it is this owner's.
                if key not in self.taken and key not in batch.taken:
                    self.freed.append(ClaimRow(*key, claim.owner))
                self.holders[key] = _NOBODY

    def holder(self, key: ClaimKey) -> str | _Holder:
        """The holder as of the commands merged so far."""
        return self.holders.get(key) or self._held.get(key) or _UNKNOWN

    def stage(self, tenant_id: str) -> "Claims.Staged":
        """A place for one command's claims. Most commands have none, so their place is used again."""
        place = self._place
        if place is None or place.holders:
            place = self._place = Claims.Staged(self, tenant_id)
        place.tenant_id = tenant_id
        return place

    def merge(self, staged: "Claims.Staged") -> None:
        """Let a command's claims count."""
        if staged.holders:
            self.holders.update(staged.holders)
            self.taken |= staged.taken
            self._freed += staged.freed

    def rows(self) -> tuple[list[ClaimRow], list[ClaimKey], list[ClaimRow]]:
        """What to delete first, what must then be absent, and what to insert last."""
        taken = [ClaimRow(*key, holder) for key, holder in self.holders.items() if isinstance(holder, str)]
        absent = [key for key in self.taken if not isinstance(self.holders[key], str)]
        return self._freed, absent, taken


class BatchWork:
    """The due work that a batch writes or removes."""

    def __init__(self) -> None:
        self._last: dict[WorkKey, WorkRow | None] = {}

    @dataclass(slots=True)
    class Staged:
        """One command's due work."""

        tenant_id: str
        correlation_id: str
        last: dict[WorkKey, WorkRow | None] = field(default_factory=dict)

        def apply(self, effect: DueWork, place: int) -> None:
            """Schedule or finish; `place` is the causing event's place in the batch."""
            key = (self.tenant_id, effect.kind.value, effect.subject)
            if isinstance(effect, Schedule):
                if (effect.due_at is None) == (effect.after_ms is None):
                    raise ValueError(f"exactly one of due_at and after_ms must be given: {effect}")
                self.last[key] = WorkRow(
                    *key, effect.due_at, effect.after_ms, effect.clock_id, place, self.correlation_id
                )
            else:
                self.last[key] = None

    def stage(self, request: Request) -> "BatchWork.Staged":
        """A place for one command's due work."""
        return BatchWork.Staged(request.tenant_id, request.correlation_id)

    def merge(self, staged: "BatchWork.Staged") -> None:
        """Let a command's due work count."""
        if staged.last:
            self._last.update(staged.last)

    def rows(self) -> tuple[list[WorkKey], list[WorkRow]]:
        """What to delete and what to write; no key is in both."""
        finished = [key for key, row in self._last.items() if row is None]
        return finished, [row for row in self._last.values() if row is not None]
