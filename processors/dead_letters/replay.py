"""Replaying dead letters, once whatever stopped them is mended: by the consumer that gave them up, from this process.

A consumer's record is handed to it again, and what was held is released (a saga's deadline); what it had issued before
does nothing.
A read model's key is folded from the log from the poison record on. A record of usage is sent again.
"""

import structlog

from infra.event_store.due_work import PostgresDueWork
from infra.kafka.dead_letters import DeadLetter, KeptLetters
from infra.kafka.provenance import place_of
from infra.kafka.records import Delivered, NotOurRecord, delivered
from infra.settings import Settings
from processors.consumers import ConsumerParts, Consumers, bound
from projections.folding.replay import CONSUMER_PREFIX, NotHeld, replay
from projections.read_model import Projection
from usage.again import send_again
from usage.wire import METERING

log = structlog.get_logger(__name__)


class CannotReplay(Exception):
    """The record can never be handled, or nobody here knows its consumer; the message says what to do."""


class DeadLetterReplay:
    """Replays letters. `owner_dsn` is needed for read models."""

    def __init__(
        self,
        letters: KeptLetters,
        queue: PostgresDueWork,
        parts: ConsumerParts,
        consumers: tuple[Consumers, ...],
        settings: Settings,
        *,
        owner_dsn: str,
    ) -> None:
        self._letters = letters
        self._queue = queue
        self._settings = settings
        self._owner_dsn = owner_dsn
        self._parts = parts
        self._consumers = {each.name: each for make in consumers for each in make(parts)}

    async def replay(self, letter: DeadLetter) -> None:
        """Handle a letter and mark it replayed. Raises what handling it raised, after that was written down."""
        try:
            if letter.consumer.startswith(CONSUMER_PREFIX):
                await self._fold(letter)
            elif letter.consumer == METERING:
                await send_again(self._settings, letter)
            else:
                await self._deliver(letter)
        except Exception as error:
            await self._letters.mark_failed(letter.dead_letter_id, error)
            raise
        await self._letters.mark_replayed(letter.dead_letter_id)
        log.info("dead_letter_replayed", dead_letter=letter.dead_letter_id, consumer=letter.consumer)

    async def _deliver(self, letter: DeadLetter) -> None:
        consumer = self._consumers.get(letter.consumer)
        if consumer is None:
            raise CannotReplay(f"this release has no consumer {letter.consumer}; dismiss the letter if that is meant")
        brought = bound(consumer, self._parts)
        fact = _fact(letter)
        if why := (await brought.foreign([fact])).get(place_of(fact)):
            raise CannotReplay(f"it is no record of ours ({why}); dismiss it")
        await brought.handle(fact)
        if consumer.holds is not None:
            await self._queue.release_caused_by(fact.event_id, consumer.holds)

    async def _fold(self, letter: DeadLetter) -> None:
        fact = _fact(letter)
        projection = Projection(letter.consumer.removeprefix(CONSUMER_PREFIX))
        try:
            await replay(self._settings, projection, fact.key.decode(), owner_dsn=self._owner_dsn)
        except NotHeld:
            # A rebuild, or the replay of an earlier letter of the key, has folded it already.
            log.info("dead_letter_folded_already", dead_letter=letter.dead_letter_id)


def _fact(letter: DeadLetter) -> Delivered:
    try:
        return delivered(letter)
    except NotOurRecord as error:
        raise CannotReplay(f"it is no record of ours ({error}); dismiss it") from error
