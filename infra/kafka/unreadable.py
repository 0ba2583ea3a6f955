"""Batches that the client cannot read: damaged, packed with no codec of ours or into too little, named in no text.

The client raises for such a batch, and again for it at every later try, so a consumer never comes past it. Here it
yields one record without key or value in the batch's place instead, which no consumer takes for ours.
"""

import importlib
import mmap
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import cramjam
import structlog
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import ConsumerRecord

log = structlog.get_logger(__name__)

ERROR_HEADER: Final = "unreadable"
UNPACKED_BYTES_MAX: Final = 67_108_864
"""What a batch may come to when it is unpacked: 64 MiB of zeros pack into 2 kB, so no size of a fetch bounds it."""


class TolerantRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """A partition's share of a fetch, in which an unreadable batch is one record with the error in a header."""

    _records: Any

    def _unpack_records(self) -> Iterator[Any]:
        batches: Any = self._records
        while batches.has_next():
            batch = batches.next_batch()
            self._records = _One(batch)
            read = super()._unpack_records()
            while True:
                try:
                    record = next(read, None)
                except MemoryError:  # it says nothing of the batch, which is read again
                    raise
                except Exception as error:  # of the client, or of whichever library unpacks
                    yield self._unreadable(batch, error)
                    break
                if record is None:
                    break
                yield record

    def _unreadable(self, batch: Any, error: Exception) -> Any:
        """Stands at the batch's last offset: nothing of it comes again."""
        offset = batch.next_offset - 1
        self.next_fetch_offset = batch.next_offset
        why = f"{type(error).__name__}: {error} (offsets {batch.base_offset} to {offset})"
        log.error("batch_unreadable", topic=self._tp.topic, partition=self._tp.partition, why=why)
        return ConsumerRecord(
            topic=self._tp.topic,
            partition=self._tp.partition,
            offset=offset,
            timestamp=batch.max_timestamp,
            timestamp_type=batch.timestamp_type,
            key=None,
            value=None,
            checksum=None,
            serialized_key_size=-1,
            serialized_value_size=-1,
            headers=((ERROR_HEADER, why.encode("utf-8", "replace")),),
        )


class _One:
    """One batch, as the client iterates over several."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def has_next(self) -> bool:
        return self._batch is not None

    def next_batch(self) -> Any:
        batch, self._batch = self._batch, None
        return batch


class UnpacksIntoTooMuch(CorruptRecordException):  # type: ignore[misc]  # aiokafka is untyped
    """A batch comes to more than `UNPACKED_BYTES_MAX`."""


def unpacked_gzip(packed: bytes) -> bytes:
    """What gzip packed. Raises UnpacksIntoTooMuch, zlib.error, EOFError."""
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    found = unpacking.decompress(packed, UNPACKED_BYTES_MAX + 1)
    if len(found) > UNPACKED_BYTES_MAX:
        raise UnpacksIntoTooMuch(f"more than {UNPACKED_BYTES_MAX} bytes")
    if not unpacking.eof:
        raise EOFError("it ends too early")
    return found


def _bounded(unpack_into: Callable[[Any, Any], int]) -> Callable[[bytes], bytes]:
    """Unpacks into room that costs nothing until it is written to. Raises cramjam.DecompressionError."""

    def unpacked(packed: bytes) -> bytes:
        try:
            room = mmap.mmap(-1, UNPACKED_BYTES_MAX)
        except OSError as error:
            raise MemoryError("no room to unpack a batch") from error
        with room:
            return room[: unpack_into(packed, room)]

    return unpacked


unpacked_lz4: Final = _bounded(cramjam.lz4.decompress_into)
unpacked_zstd: Final = _bounded(cramjam.zstd.decompress_into)


def tolerate_unreadable_batches() -> None:
    """Let every consumer of this process come past what cannot be read, or would fill its memory. Call before the first
    one starts.
    """
    fetcher.PartitionRecords = TolerantRecords
    # Where the client's own reader is compiled, its names are that module's all the same.
    reader: Any = importlib.import_module(DefaultRecordBatch.__module__)
    reader.gzip_decode, reader.lz4_decode, reader.zstd_decode = unpacked_gzip, unpacked_lz4, unpacked_zstd
