"""Every event of the domain survives the wire, and what we write is what fastavro reads and writes, byte for byte."""

import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import cast

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.catalog.product import ProductArchived
from domain.catalogue import STREAMS
from domain.kernel.accounts import Entry, Side
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.kernel.stream import Event
from domain.pricing.models import Flat, PerUnit
from schemas.codec import FRAME_BYTES, LEDGER_ENTRY, Codec, event_classes
from schemas.committed import committed
from schemas.decoder import compile_decoder
from schemas.encoder import compile_encoder
from schemas.generator import plain_shape
from schemas.shapes import shape_of
from schemas.wire import MalformedPayload, UnencodableValue
from tests.contracts.codec_strategies import values_of
from tests.lengths import LENGTH

EXAMPLES_PER_TYPE = LENGTH.scaled(10)  # of each of some fifty types, by each of three tests
USD = CurrencyCode("USD")
CODEC = Codec(STREAMS)
CLASSES = event_classes(STREAMS)
EVENT_TYPES = sorted(CLASSES)
FASTAVRO = {schema.id: fastavro.parse_schema(schema.schema, _force=True) for schema in committed().all}


def encoded(event: object) -> tuple[str, int, bytes]:
    return CODEC.encode_event(cast("Event", event))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@settings(max_examples=EXAMPLES_PER_TYPE, deadline=None)
@given(data=st.data())
def test_an_event_reads_back_equal(event_type: str, data: st.DataObject) -> None:
    event = data.draw(values_of(CLASSES[event_type]))
    written_type, schema_id, payload = encoded(event)
    back = CODEC.decode_event(payload)
    assert type(back) is CLASSES[event_type]
    assert back == event
    assert written_type == event_type == CODEC.event_type_of(schema_id)
    assert payload[:FRAME_BYTES] == b"\x00" + schema_id.to_bytes(4)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@settings(max_examples=EXAMPLES_PER_TYPE, deadline=None)
@given(data=st.data())
def test_fastavro_reads_what_we_write_and_writes_what_we_read(event_type: str, data: st.DataObject) -> None:
    event = data.draw(values_of(CLASSES[event_type]))
    _, schema_id, payload = encoded(event)
    stream = io.BytesIO(payload[FRAME_BYTES:])
    theirs = fastavro.schemaless_reader(stream, FASTAVRO[schema_id], None, return_record_name=True)
    assert stream.read() == b"", "fastavro stops where our payload ends"
    out = io.BytesIO()
    fastavro.schemaless_writer(out, FASTAVRO[schema_id], theirs)
    assert out.getvalue() == payload[FRAME_BYTES:]
    assert CODEC.decode_event(payload[:FRAME_BYTES] + out.getvalue()) == event


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@settings(max_examples=EXAMPLES_PER_TYPE, deadline=None)
@given(data=st.data())
def test_the_plain_reading_equals_fastavros(event_type: str, data: st.DataObject) -> None:
    _, schema_id, payload = encoded(data.draw(values_of(CLASSES[event_type])))
    shape = plain_shape(committed().by_id[schema_id].schema)
    plain = compile_decoder(shape)(payload[FRAME_BYTES:])
    theirs = fastavro.schemaless_reader(
        io.BytesIO(payload[FRAME_BYTES:]),
        FASTAVRO[schema_id],
        None,
        return_record_name=True,
        return_record_name_override=True,
    )
    assert plain == theirs
    assert compile_encoder(shape)(plain) == payload[FRAME_BYTES:]


@settings(deadline=None)
@given(entry=values_of(Entry))
def test_a_ledger_entry_is_framed_and_reads_back_equal(entry: Entry) -> None:
    payload = CODEC.encode_entry(entry)
    assert CODEC.event_type_of(int.from_bytes(payload[1:FRAME_BYTES])) == LEDGER_ENTRY
    assert CODEC.decode_entry(payload) == entry


def test_an_event_is_not_taken_for_a_ledger_entry() -> None:
    payload = encoded(ProductArchived(product_id="prod_1", archived_at=datetime(2026, 1, 1, tzinfo=UTC)))[2]
    with pytest.raises(MalformedPayload, match="where a ledger entry is due"):
        CODEC.decode_entry(payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class NobodysEvent:
    at: datetime


def test_an_event_of_no_stream_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="NobodysEvent is in no stream's EVENTS"):
        encoded(NobodysEvent(at=datetime(2026, 1, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (int, 2**63, "does not fit 64 bits"),
        (int, -(2**63) - 1, "does not fit 64 bits"),
        (int, Decimal("1.5"), "Decimal"),
        (datetime, datetime(2026, 1, 1), "naive"),  # noqa: DTZ001 - what is refused
        (date, datetime(2026, 1, 1, tzinfo=UTC), "a day is a date"),
        (str, "\ud800", "surrogates not allowed"),
        (str, 7, "encode"),
        (Decimal, Decimal("NaN"), "not a decimal of at most"),
        (Decimal, Decimal("-Infinity"), "not a decimal of at most"),
        (Decimal, Decimal("1E+1001"), "not a decimal of at most"),
        (Side, "sideways", "sideways"),
        (Flat | PerUnit, Money(1, USD), "Money is none of the declared classes"),
        (tuple[tuple[str, str], ...], (("a", "1"), ("a", "2")), "two pairs of one key"),
        (Money, Money(2**63, USD), "does not fit 64 bits"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused(kind: object, value: object, why: str) -> None:
    with pytest.raises(UnencodableValue, match=why):
        compile_encoder(shape_of(kind))(value)
