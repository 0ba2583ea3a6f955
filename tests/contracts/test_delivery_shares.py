"""How a poll's records are cut for Faust: a partition's as one event, whose offset is the last one's."""

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from processors.delivery import Shares


def _records(*offsets: int, partition: int = 0) -> list[ConsumerRecord[bytes, bytes]]:
    return [
        ConsumerRecord(
            topic="t", partition=partition, offset=offset, timestamp=1, timestamp_type=0, key=b"k", value=b"v",
            checksum=None, serialized_key_size=1, serialized_value_size=1, headers=(("ce_type", b"x"),),
        )
        for offset in offsets
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("polled", "cut"),
    [
        ((7,), [(7,)]),
        ((7, 8, 9), [(7, 8, 9)]),
        ((0,), [(0,)]),
        ((0, 1, 2, 3), [(0,), (1,), (2, 3)]),
        ((1, 2, 3), [(1,), (2, 3)]),
        ((), []),
    ],
)
def test_every_record_is_in_one_share_and_the_first_two_of_a_partition_come_alone(
    polled: tuple[int, ...], cut: list[tuple[int, ...]]
) -> None:
    """Faust takes a gap behind offset 0 for none, and would never acknowledge what follows it."""
    place = TopicPartition("t", 0)
    records = _records(*polled)
    shares = list(Shares().iterate({place: records}))
    assert [tuple(record.offset for record in share.value) for _, share in shares] == cut
    assert [share.offset for _, share in shares] == [offsets[-1] for offsets in cut]
    assert [record for _, share in shares for record in share.value] == records


def test_partitions_do_not_mix() -> None:
    polled = {TopicPartition("t", n): _records(5, 6, partition=n) for n in range(3)}
    for place, share in Shares().iterate(polled):
        assert share.partition == place.partition
        assert share.value == polled[place]
