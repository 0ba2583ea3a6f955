"""Ids that are drawn: of their form, rising, never twice."""

from domain.kernel.identifiers import CUSTOMER, EVENT, decode, is_id
from infra.clock import system_clock
from infra.ids import EventIds, new_id


def test_new_ids_have_their_prefix_and_differ() -> None:
    ids = [new_id(CUSTOMER) for _ in range(1_000)]
    assert all(is_id(one, CUSTOMER) for one in ids)
    assert len(set(ids)) == 1_000


def test_event_ids_rise_within_a_block_and_from_block_to_block() -> None:
    source = EventIds()
    ids: list[str] = []
    for _ in range(20):
        source.start_block(system_clock())
        ids += [source.next() for _ in range(1_500)]
    assert all(is_id(one, EVENT) for one in ids)
    assert ids == sorted(set(ids))
    assert all(decode(one[len(EVENT) :]) >> 76 & 0xF == 7 for one in ids), "a UUIDv7"


def test_two_sources_share_no_id() -> None:
    sources = [EventIds(), EventIds()]
    for source in sources:
        source.start_block(system_clock())
    assert {sources[0].next() for _ in range(1_000)}.isdisjoint(sources[1].next() for _ in range(1_000))
