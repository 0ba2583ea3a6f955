"""One poll's records on their way to rows: what was accepted, what is buried, and where the checkpoints come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from infra.kafka.provenance import ForeignRecord, Place, place_of
from infra.kafka.records import ConsumerRecord, Delivered, delivered
from projections.read_model import Fact


class Misfit(Exception):
    """A gap, a poison record, a newer incarnation: if the records are the log's."""


class Checkpoint(NamedTuple):
    """How far a partition has come: the last position that was folded, and the next record to read."""

    position: int
    offset: int


class Held(NamedTuple):
    """A key that waits for a dead letter."""

    partition: int
    since_position: int
    error: str


@dataclass(slots=True)
class Projected:
    """What a batch came to."""

    records: int = 0
    facts: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    lost: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """Records accepted, as facts, with what the checkpoints become."""

    facts: list[Fact] = field(default_factory=list)
    origins: dict[int, ConsumerRecord] = field(default_factory=dict)  # by position
    moved: dict[int, Checkpoint] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    buried: list[tuple[ConsumerRecord, BaseException]] = field(default_factory=list)
    outcome: Projected = field(default_factory=Projected)
    strangers: Mapping[Place, str] | None = None

    def ours(self, record: ConsumerRecord) -> Delivered:
        """Read a record. Raises NotOurRecord for its form, ForeignRecord if the log has said so."""
        read = delivered(record)
        if self.strangers and (why := self.strangers.get(place_of(read))):
            raise ForeignRecord(why)
        return read

    def doubt(self, what: str, cause: BaseException | None = None) -> None:
        """Raise, if the log was not asked yet whether what does not fit is its own."""
        if self.strangers is None:
            raise Misfit(what) from cause

    def bury(self, record: ConsumerRecord, error: BaseException) -> None:
        """Make a dead letter of it, once the batch is written."""
        self.buried.append((record, error))
        self.outcome.dead_letters += 1
