"""A processors process with a consumer of its own: `python -m tests.integration.consumer_process FILE`.

It writes what it is given to the file, a line each, but for the events of the streams that a file beside it names,
`FILE.poison`: those it cannot handle. `… FILE replay` replays its dead letters instead.
"""

import sys
from pathlib import Path

import uvloop

from domain.kernel.stream import Topic
from infra.kafka.records import Delivered
from infra.settings import load_settings
from processors.app import CONSUMERS, Processors
from processors.consumers import Consumer, ConsumerParts, Consumers
from processors.dead_letters.opening import open_handling


def noting(file: Path) -> Consumers:
    """A consumer of both topics that notes what customers paid and what was refunded to them."""

    async def note(fact: Delivered) -> None:
        poison = file.with_suffix(".poison")
        if poison.exists() and fact.stream_id in poison.read_text():
            raise ValueError(f"cannot note {fact.stream_id}")
        with file.open("a") as notes:
            notes.write(f"{fact.event_id} {fact.event_type} {fact.stream_id}\n")

    def consumers(parts: ConsumerParts) -> tuple[Consumer, ...]:
        types = frozenset({"invoice.paid", "payment.captured"})
        return (Consumer(name="notes", topics=tuple(Topic), event_types=types, handle=note),)

    return consumers


async def main() -> None:
    """Run until SIGTERM, or replay."""
    settings = load_settings()
    assert settings.database.url is not None
    assert settings.kafka.bootstrap is not None
    dsn = settings.database.url.get_secret_value()
    bootstrap = settings.kafka.bootstrap
    consumers = (*CONSUMERS, noting(Path(sys.argv[1])))
    if sys.argv[2:] == ["replay"]:
        async with open_handling(settings, dsn=dsn, owner_dsn=dsn, consumers=consumers) as handling:
            for letter in await handling.letters.waiting(limit=10):
                await handling.replay.replay(letter)
    else:
        await Processors(settings, dsn=dsn, bootstrap=bootstrap, consumers=consumers).run()


if __name__ == "__main__":
    uvloop.run(main())
