"""Batches that the client cannot read: damaged, packed with a codec that is not installed, named in no text.

The client raises for such a batch, and again for it at every later try, so a consumer never comes past it. Here it
yields one record without key or value in the batch's place instead, which no consumer takes for ours.
"""

from collections.abc import Iterator
from typing import Any, Final

import structlog
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.structs import ConsumerRecord

log = structlog.get_logger(__name__)

ERROR_HEADER: Final = "unreadable"
_READS_NOT: Final = (CorruptRecordException, UnsupportedCodecError, ValueError, IndexError, OSError, EOFError)


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
                except _READS_NOT as error:
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


def tolerate_unreadable_batches() -> None:
    """Let every consumer of this process come past what cannot be read. Call before the first one starts."""
    fetcher.PartitionRecords = TolerantRecords
