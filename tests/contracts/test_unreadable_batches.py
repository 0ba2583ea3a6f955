"""A batch that the client cannot read is one record that nobody takes for ours, and what follows it is read."""

import struct
from collections.abc import Callable

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from infra.kafka.records import NotOurRecord, delivered
from infra.kafka.unreadable import ERROR_HEADER, TolerantRecords
from tests.attack.foreign_records import HEADER_NAME, unreadable

ZSTD = 4


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


def _packed_with_zstd(batch: bytes) -> bytes:
    packed = bytearray(batch)
    packed[21:23] = struct.pack(">h", ZSTD)
    packed[17:21] = struct.pack(">I", calc_crc32c(bytes(packed[21:])))
    return bytes(packed)


def _flipped(batch: bytes) -> bytes:
    return batch[:-3] + bytes([batch[-3] ^ 1]) + batch[-2:]


@pytest.mark.parametrize("spoil", [unreadable, _packed_with_zstd, _flipped])
def test_an_unreadable_batch_is_one_record_and_the_next_is_read(spoil: Callable[[bytes], bytes]) -> None:
    fetched = _batch(0, b"a") + spoil(_batch(1, b"b", b"c")) + _batch(3, b"d")
    records = list(
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
    assert [record.value for record in records] == [b"a", None, b"d"]
    assert [record.offset for record in records] == [0, 2, 3]
    assert dict(records[1].headers)[ERROR_HEADER]
    with pytest.raises(NotOurRecord):
        delivered(records[1])
