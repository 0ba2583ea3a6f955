"""Bytes that we did not write end in one named error: no hang, no other exception, no memory beyond their own size."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalogue import STREAMS
from domain.kernel.stream import Event
from schemas import wire
from schemas.codec import FRAME_BYTES, Codec, MalformedPayload, UnknownSchema, event_classes
from schemas.committed import committed
from schemas.decoder import compile_decoder
from schemas.encoder import compile_encoder
from schemas.shapes import shape_of
from tests.contracts.codec_strategies import values_of

CODEC = Codec(STREAMS)
CLASSES = event_classes(STREAMS)
MAX_PEAK_BYTES: Final = 5_000_000
events = st.sampled_from(sorted(CLASSES)).flatmap(lambda event_type: values_of(CLASSES[event_type]))


def payload_of(event: object) -> bytes:
    return CODEC.encode_event(cast("Event", event))[2]


def outcome(decode: Callable[[bytes], object], payload: bytes) -> object:
    """The value, or None for the one named error; anything else fails the test."""
    try:
        return decode(payload)
    except MalformedPayload:
        return None


@settings(deadline=None)
@given(event=events, data=st.data())
def test_a_payload_that_is_cut_off_is_malformed(event: object, data: st.DataObject) -> None:
    payload = payload_of(event)
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(MalformedPayload):
        CODEC.decode_event(payload[:cut])


@settings(deadline=None)
@given(event=events, tail=st.binary(min_size=1, max_size=20))
def test_a_payload_with_bytes_behind_it_is_malformed(event: object, tail: bytes) -> None:
    with pytest.raises(MalformedPayload):
        CODEC.decode_event(payload_of(event) + tail)


@settings(deadline=None)
@given(event=events, data=st.data())
def test_a_damaged_payload_is_malformed_or_another_event(event: object, data: st.DataObject) -> None:
    payload = bytearray(payload_of(event))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(FRAME_BYTES, len(payload) - 1))] = data.draw(st.integers(0, 255))
    read = outcome(CODEC.decode_event, bytes(payload))
    assert read is None or type(read) is type(event)


@settings(deadline=None)
@given(schema=st.sampled_from(committed().all), body=st.binary(max_size=400))
def test_random_bytes_behind_a_frame_are_malformed_or_an_event(schema: Any, body: bytes) -> None:
    read = outcome(CODEC.decode_event, b"\x00" + schema.id.to_bytes(4) + body)
    assert read is None or type(read) is CLASSES[schema.event_type]


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\x00\x00\x00\x00", b"\x01\x00\x00\x00\x01abc", b"\x00\x7f\xff\xff\xff"]
)
def test_without_the_frame_of_a_known_schema_it_is_an_unknown_schema(payload: bytes) -> None:
    with pytest.raises(UnknownSchema):
        CODEC.decode_event(payload)


HUGE = wire.long_bytes(2**62)
BLOCK_OF_HUGE = wire.long_bytes(-(2**62)) + wire.long_bytes(2**62)


@dataclass(frozen=True, slots=True)
class Longs:
    """Items of one byte each."""

    values: tuple[int, ...]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (str, HUGE + b"abc"),
        (bytes, HUGE),
        (str, b"\x01"),
        (str, wire.long_bytes(-1000)),
        (tuple[int, ...], HUGE + b"\x00" * 50),
        (tuple[int, ...], BLOCK_OF_HUGE + b"\x00" * 50),
        (tuple[tuple[int, ...], ...], (wire.long_bytes(40) + HUGE) * 20),
        (dict[str, int], HUGE + b"\x00" * 50),
        (tuple[Longs, ...], HUGE),
        (Decimal, wire.long_bytes(4_000) + b"9" * 4_000),
        (Decimal, b"\x16" + b"1E999999999"),
        (Decimal, b"\x06NaN"),
        (int, b"\x80" * 100_000),
        (int, b"\xff" * 9 + b"\x7f"),
        (bool, b"\x02"),
        (int | None, b"\x04\x00"),
        (str, b"\x04\xff\xff"),
    ],
)
def test_hostile_bytes_are_refused_in_little_memory(kind: object, payload: bytes) -> None:
    decode = compile_decoder(shape_of(kind))
    tracemalloc.start()
    try:
        with pytest.raises(MalformedPayload):
            decode(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_PEAK_BYTES


def test_arrays_may_come_in_several_blocks_and_with_sizes() -> None:
    """Other writers may split an array; a negative count announces the block's size in bytes."""
    decode = compile_decoder(shape_of(tuple[int, ...]))
    assert decode(b"\x02\x0a\x04\x02\x04\x00") == (5, 1, 2)
    assert decode(wire.long_bytes(-2) + wire.long_bytes(2) + b"\x02\x04\x00") == (1, 2)
    long_block = b"".join(wire.long_bytes(value) for value in range(300))
    assert decode(wire.long_bytes(300) + long_block + b"\x00") == tuple(range(300))


@settings(deadline=None)
@given(value=st.integers(-(2**63), 2**63 - 1))
def test_integers_of_64_bits_survive(value: int) -> None:
    encoded = wire.long_bytes(value)
    assert wire.long_at(encoded, 0) == (value, len(encoded))
    assert compile_encoder(shape_of(int))(value) == encoded
