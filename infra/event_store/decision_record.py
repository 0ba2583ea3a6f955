"""What a decision rested on, recorded with its first event: enough to decide it again and compare, byte for byte.

The versions of the streams that it wrote are those of its events. Streams that it only read are named here with the
version read, so that nobody can leave out what else was known. The bytes, in order; integers are unsigned LEB128
without needless bytes, texts are UTF-8 after their length in bytes:

    01                      the form
    integer                 how many events the decision has; they follow one another in the log
    text                    the command's name
    text                    the release that decided
    text                    the version of the time-zone data
    integer                 how many streams were only read, then for each, rising by (type, id):
        text text integer   its type, its id, its version; 0: it did not exist

One record has one form in bytes, and `decode` takes no other. Streams are the command's own tenant's.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

FORM: Final = 1
_MORE: Final = 0x80
_SMALL: Final = [bytes([number]) for number in range(_MORE)]


class ReadStream(NamedTuple):
    """A stream that was only read, and its version then; 0: it did not exist. It lies in its kind's home, if any."""

    stream_type: str
    stream_id: str
    version: int


class DecisionRecord(NamedTuple):
    """What a decision rested on; `reads` rise by type and id, each once."""

    events: int
    command: str
    release: str
    time_zone_data: str
    reads: tuple[ReadStream, ...]


class MalformedDecision(ValueError):
    """The bytes are no decision's record, or not in its one form."""


def encode(record: DecisionRecord) -> bytes:
    """The record's bytes."""
    return encoded(record.events, record.command, record.release, record.time_zone_data, record.reads)


def encoded(
    events: int, command: str, release: str, time_zone_data: str, reads: Iterable[tuple[str, str, int]]
) -> bytes:
    """The bytes of a record that is not made: this runs for every decision. The order of `reads` does not matter."""
    streams = sorted(reads)
    parts = [_head(events, command, release, time_zone_data, len(streams))]
    for stream_type, stream_id, version in streams:
        parts.append(_text(stream_type))
        name = stream_id.encode()
        parts.append(_integer(len(name)))
        parts.append(name)
        parts.append(_integer(version))
    return b"".join(parts)


def decode(content: bytes) -> DecisionRecord:
    """The inverse of `encode`. Raises MalformedDecision."""
    reader = _Reader(content)
    if reader.byte() != FORM:
        raise MalformedDecision("of a form that this release does not know")
    record = DecisionRecord(
        reader.integer(),
        reader.text(),
        reader.text(),
        reader.text(),
        tuple(ReadStream(reader.text(), reader.text(), reader.integer()) for _ in range(reader.integer())),
    )
    keys = [read[:2] for read in record.reads]
    if any(not before < after for before, after in pairwise(keys)):
        raise MalformedDecision("its streams do not rise")
    if encode(record) != content:
        raise MalformedDecision("not in the one form, or something follows it")
    return record


@lru_cache(maxsize=4_096)
def _head(events: int, command: str, release: str, time_zone_data: str, reads: int) -> bytes:
    texts = _text(command) + _text(release) + _text(time_zone_data)
    return _SMALL[FORM] + _integer(events) + texts + _integer(reads)


@lru_cache(maxsize=1_024)
def _text(text: str) -> bytes:
    content = text.encode()
    return _integer(len(content)) + content


def _integer(number: int) -> bytes:
    if number < _MORE:
        return _SMALL[number]
    found = bytearray()
    while number >= _MORE:
        found.append(number & (_MORE - 1) | _MORE)
        number >>= 7
    found.append(number)
    return bytes(found)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def byte(self) -> int:
        if self._at >= len(self._content):
            raise MalformedDecision("it ends too soon")
        self._at += 1
        return self._content[self._at - 1]

    def integer(self) -> int:
        number = shift = 0
        while (byte := self.byte()) & _MORE:
            number |= (byte & (_MORE - 1)) << shift
            shift += 7
        return number | byte << shift

    def text(self) -> str:
        length = self.integer()
        content = self._content[self._at : self._at + length]
        self._at += len(content)
        if len(content) != length:
            raise MalformedDecision("it ends too soon")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise MalformedDecision("a text is not UTF-8") from error
