"""A batch that the client cannot read is one record that nobody takes for ours, and what follows it is read."""

import gzip
import importlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cramjam
import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from infra.kafka.records import NotOurRecord, delivered
from infra.kafka.unreadable import (
    ERROR_HEADER,
    UNPACKED_BYTES_MAX,
    TolerantRecords,
    tolerate_unreadable_batches,
    unpacked_gzip,
    unpacked_lz4,
    unpacked_zstd,
)
from tests.attack.foreign_records import HEADER_NAME, unreadable

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
ROOT = Path(__file__).parents[2]
HEAD_BYTES = 61
"""Of a batch, before its records."""
TOO_MUCH = bytes(UNPACKED_BYTES_MAX + 1)
PACKS: dict[int, Callable[[bytes], bytes]] = {
    GZIP: gzip.compress,
    LZ4: lambda value: bytes(cramjam.lz4.compress(value)),
    ZSTD: lambda value: bytes(cramjam.zstd.compress(value)),
}


@pytest.fixture(autouse=True)
def tolerant() -> Iterator[None]:
    """The client as every consumer of ours has it, and afterwards as it was."""
    reader: Any = importlib.import_module(DefaultRecordBatch.__module__)
    names = ("gzip_decode", "lz4_decode", "zstd_decode")
    before = fetcher.PartitionRecords, [getattr(reader, name) for name in names]
    tolerate_unreadable_batches()
    yield
    fetcher.PartitionRecords = before[0]
    for name, unpack in zip(names, before[1], strict=True):
        setattr(reader, name, unpack)


def _batch(first: int, *values: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=100_000,
    )  # fmt: skip
    for place, value in enumerate(values):
        builder.append(place, timestamp=1, key=b"k", value=value, headers=[(HEADER_NAME.decode(), b"")])
    batch = bytearray(builder.build())
    batch[0:8] = struct.pack(">q", first)
    return bytes(batch)


def _said_to_be_packed(codec: int, payload: Callable[[bytes], bytes] = bytes) -> Callable[[bytes], bytes]:
    """A batch that names a codec, with what `payload` makes of its records."""

    def spoil(batch: bytes) -> bytes:
        packed = bytearray(batch[:HEAD_BYTES] + payload(batch[HEAD_BYTES:]))
        packed[8:12] = struct.pack(">i", len(packed) - 12)
        packed[21:23] = struct.pack(">h", codec)
        packed[17:21] = struct.pack(">I", calc_crc32c(bytes(packed[21:])))
        return bytes(packed)

    return spoil


def _flipped(batch: bytes) -> bytes:
    return batch[:-3] + bytes([batch[-3] ^ 1]) + batch[-2:]


def _cut_short(codec: int) -> Callable[[bytes], bytes]:
    return _said_to_be_packed(codec, lambda value: PACKS[codec](value)[:-9])


def _too_much(codec: int) -> Callable[[bytes], bytes]:
    return _said_to_be_packed(codec, lambda _: PACKS[codec](TOO_MUCH))


SPOILS = {
    "named in no text": unreadable,
    "flipped": _flipped,
    **{f"not packed with {codec}": _said_to_be_packed(codec) for codec in (GZIP, SNAPPY, LZ4, ZSTD, 7)},
    **{f"cut short by {codec}": _cut_short(codec) for codec in PACKS},
    **{f"too much by {codec}": _too_much(codec) for codec in PACKS},
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_an_unreadable_batch_is_one_record_and_the_next_is_read(spoil: Callable[[bytes], bytes]) -> None:
    fetched = _batch(0, b"a") + spoil(_batch(1, b"b", b"c")) + _batch(3, b"d")
    records = _read(fetched)
    assert [record.value for record in records] == [b"a", None, b"d"]
    assert [record.offset for record in records] == [0, 2, 3]
    assert dict(records[1].headers)[ERROR_HEADER]
    with pytest.raises(NotOurRecord):
        delivered(records[1])


@pytest.mark.parametrize("codec", PACKS)
def test_what_is_packed_is_read(codec: int) -> None:
    fetched = _said_to_be_packed(codec, PACKS[codec])(_batch(0, b"a", b"b" * 50_000))
    assert [record.value for record in _read(fetched)] == [b"a", b"b" * 50_000]


@pytest.mark.parametrize(("codec", "unpack"), [(GZIP, unpacked_gzip), (LZ4, unpacked_lz4), (ZSTD, unpacked_zstd)])
def test_a_batch_is_unpacked_up_to_its_bound(codec: int, unpack: Callable[[bytes], bytes]) -> None:
    assert len(unpack(PACKS[codec](TOO_MUCH[1:]))) == UNPACKED_BYTES_MAX
    with pytest.raises(Exception, match=r"more than|whole buffer"):
        unpack(PACKS[codec](TOO_MUCH))


def test_whatever_polls_a_topic_tolerates_them() -> None:
    """Or a batch that nobody can read holds it up for ever."""
    folders = ("api", "cli", "host", "infra", "processors", "projections", "usage")
    polls = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if ".getmany(" in path.read_text()]
    assert len(polls) > 3
    assert [path.name for path in polls if "tolerate_unreadable_batches()" not in path.read_text()] == []


def _read(fetched: bytes) -> list[Any]:
    return list(
        TolerantRecords(
            TopicPartition("t", 0),
            MemoryRecords(fetched),
            aborted_transactions=None,
            fetch_offset=0,
            key_deserializer=None,
            value_deserializer=None,
            check_crcs=True,
            isolation_level=0,
        )
    )
