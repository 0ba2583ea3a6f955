"""Dead letters are never lost, whatever they hold and wherever they stood; and nobody reads another tenant's."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from infra.database import Pool, Role, open_pool
from infra.kafka.dead_letters import WHOLE_BYTES_MAX, DeadLetters, kept
from infra.settings import DatabaseSettings
from testing.services import FreshDatabase

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as a client hands it over."""

    topic: str = "billing.events.v1"
    partition: int = 3
    offset: int = 7
    timestamp: int = 1_000
    key: bytes | None = b"acme:cus_1"
    value: bytes | None = b"poison"
    headers: Headers = ()


@dataclass
class Sent:
    """A producer that keeps what it was given."""

    sent: list[tuple[bytes | None, bytes | None, Headers]] = field(default_factory=list)

    async def send_and_wait(self, topic: str, value: bytes | None, key: bytes | None, *, headers: Headers) -> object:
        assert key is not None or value is not None, "what the client asserts"
        self.sent.append((key, value, headers))
        return None


@pytest.fixture
async def pool(database: FreshDatabase) -> AsyncIterator[Pool]:
    opened = await open_pool(database.dsn, Role.PROJECTOR, DatabaseSettings())
    yield opened
    await opened.close()


async def _bury(letters: DeadLetters, record: Record) -> None:
    await letters.bury(record, consumer="saga-charge", error=ValueError("poison"), attempts=1)


async def test_a_letter_of_a_topic_that_was_made_anew_is_not_the_old_one(pool: Pool) -> None:
    """The new topic counts its offsets anew: the same place holds another record, and the old letter is dismissed."""
    letters = DeadLetters(pool, Sent(), topic_prefix="")
    await _bury(letters, Record(headers=[("incarnation", b"1")]))
    (old,) = await letters.waiting(limit=10)
    await letters.mark_replayed(old.dead_letter_id)
    await _bury(letters, Record(headers=[("incarnation", b"2")]))
    (waits,) = await letters.waiting(limit=10)
    assert dict(waits.headers) == {"incarnation": b"2"}
    # Even of the same bytes: it was written at another time.
    await letters.mark_replayed(waits.dead_letter_id)
    await _bury(letters, Record(headers=[("incarnation", b"2")], timestamp=2_000))
    assert len(await letters.waiting(limit=10)) == 1


async def test_a_record_that_comes_again_is_one_letter_and_stays_dismissed(pool: Pool) -> None:
    letters = DeadLetters(pool, Sent(), topic_prefix="")
    await _bury(letters, Record())
    await _bury(letters, Record())
    (letter,) = await letters.waiting(limit=10)
    assert letter.attempts == 2
    await letters.mark_replayed(letter.dead_letter_id)
    await _bury(letters, Record())
    assert await letters.waiting(limit=10) == []


@pytest.mark.parametrize(
    "record",
    [
        Record(key=None, value=None),
        Record(headers=[("no value", None), ("a\x00b", b"x"), ("tenant", b"\xff\x00"), ("ce_id", b"x" * 10_000)]),
        Record(value=b"v" * (WHOLE_BYTES_MAX + 1)),
        Record(key=b"k" * (WHOLE_BYTES_MAX + 1)),
        Record(headers=[("h", b"v" * (WHOLE_BYTES_MAX + 1)), ("tenant", b"acme")]),
        Record(headers=[(f"h{number}", b"") for number in range(100_000)]),
    ],
    ids=["nothing", "bytes that PostgreSQL cannot hold", "a value", "a key", "a header", "many headers"],
)
async def test_anything_can_be_buried_and_what_is_too_large_by_reference(pool: Pool, record: Record) -> None:
    sent = Sent()
    letters = DeadLetters(pool, sent, topic_prefix="")
    await _bury(letters, record)
    (letter,) = await letters.waiting(limit=10)
    assert letter.by_reference == (letter.size_bytes > WHOLE_BYTES_MAX)
    assert (letter.topic, letter.partition, letter.offset) == (record.topic, record.partition, record.offset)
    (key, value, headers), *_ = sent.sent
    assert len(key or b"") + len(value or b"") + sum(len(n) + len(v or b"") for n, v in headers) < 1_048_000
    assert dict(headers)["dead_letter_sha256"] == kept(record).sha256.hex().encode()
    if not letter.by_reference:
        assert (letter.key, letter.value) == (record.key, record.value)


def test_the_digest_tells_where_one_part_ends_and_the_next_begins() -> None:
    digests = {
        kept(record).sha256
        for record in (
            Record(key=b"ab", value=b"c"),
            Record(key=b"a", value=b"bc"),
            Record(key=None, value=b"abc"),
            Record(key=b"", value=b"abc"),
            Record(key=b"", value=b"", headers=[("a", b"bc")]),
            Record(key=b"", value=b"", headers=[("ab", b"c")]),
        )
    }
    assert len(digests) == 6
    assert all(len(digest) == hashlib.sha256().digest_size for digest in digests)
