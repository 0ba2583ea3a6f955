"""CPU time to encode and decode one event: the compiled codec beside fastavro's C functions with dict conversion.

`python -m benchmarks.codec` prints two rows. The event is an invoice of 15 fields with one nested line; fastavro reads
and writes the very same schema, and its dicts are built from and turned into the same dataclasses.
"""

import io
import itertools
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import fastavro

from benchmarks.results import Row
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from schemas.decoder import compile_decoder
from schemas.encoder import compile_encoder
from schemas.generator import avro_schema
from schemas.shapes import record_of

ROUNDS: Final = 5
CALLS: Final = 20_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = timedelta(seconds=1)
DISTINCT: Final = 10_000  # more than the codec caches


class Collection(StrEnum):
    AUTOMATIC = "automatic"
    BY_HAND = "by_hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    line_id: str
    description: str
    quantity: Decimal
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceIssued:
    invoice_id: str
    customer_id: str
    subscription_id: str | None
    number: str
    collection: Collection
    period_start: datetime
    period_end: datetime
    issued_at: datetime
    due_at: datetime | None
    lines: tuple[Line, ...]
    total: Money
    tax: Money
    attempt: int
    preview: bool
    memo: str | None = None


USD: Final = CurrencyCode("USD")
EVENT: Final = InvoiceIssued(
    invoice_id="in_01jd7z6v3kf8h2x4q9c0m5n7pw",
    customer_id="cus_01jd7z6v3kf8h2x4q9c0m5n7pw",
    subscription_id="sub_01jd7z6v3kf8h2x4q9c0m5n7pw",
    number="INV-2026-000123",
    collection=Collection.AUTOMATIC,
    period_start=datetime(2026, 1, 1, tzinfo=UTC),
    period_end=datetime(2026, 2, 1, tzinfo=UTC),
    issued_at=datetime(2026, 1, 1, 0, 0, 3, 141592, tzinfo=UTC),
    due_at=datetime(2026, 1, 15, tzinfo=UTC),
    lines=(
        Line(
            line_id="il_01jd7z6v3kf8h2x4q9c0m5n7pw",
            description="Fibre optic, month-to-month",
            quantity=Decimal(1),
            amount=Money(7035, USD),
        ),
    ),
    total=Money(8372, USD),
    tax=Money(1337, USD),
    attempt=1,
    preview=False,
)


def _money(value: Money) -> dict[str, object]:
    return {"amount": value.amount, "currency": value.currency}


def _micros(value: datetime) -> int:
    return (value - EPOCH) // MICROSECOND


def to_dict(event: InvoiceIssued) -> dict[str, object]:
    """By hand, as a compiled conversion would do it."""
    return {
        "invoice_id": event.invoice_id,
        "customer_id": event.customer_id,
        "subscription_id": event.subscription_id,
        "number": event.number,
        "collection": event.collection.value,
        "period_start": _micros(event.period_start),
        "period_end": _micros(event.period_end),
        "issued_at": _micros(event.issued_at),
        "due_at": None if event.due_at is None else _micros(event.due_at),
        "lines": [
            {
                "line_id": line.line_id,
                "description": line.description,
                "quantity": str(line.quantity),
                "amount": _money(line.amount),
            }
            for line in event.lines
        ],
        "total": _money(event.total),
        "tax": _money(event.tax),
        "attempt": event.attempt,
        "preview": event.preview,
        "memo": event.memo,
    }


def from_dict(record: Any) -> InvoiceIssued:
    """The inverse of `to_dict`."""
    return InvoiceIssued(
        invoice_id=record["invoice_id"],
        customer_id=record["customer_id"],
        subscription_id=record["subscription_id"],
        number=record["number"],
        collection=Collection(record["collection"]),
        period_start=EPOCH + record["period_start"] * MICROSECOND,
        period_end=EPOCH + record["period_end"] * MICROSECOND,
        issued_at=EPOCH + record["issued_at"] * MICROSECOND,
        due_at=None if record["due_at"] is None else EPOCH + record["due_at"] * MICROSECOND,
        lines=tuple(
            Line(
                line_id=line["line_id"],
                description=line["description"],
                quantity=Decimal(line["quantity"]),
                amount=Money(**line["amount"]),
            )
            for line in record["lines"]
        ),
        total=Money(**record["total"]),
        tax=Money(**record["tax"]),
        attempt=record["attempt"],
        preview=record["preview"],
        memo=record["memo"],
    )


def microseconds(call: Callable[[], object]) -> float:
    """CPU time per call, the best of some rounds: others share this machine's cores."""
    return min(timeit.repeat(call, timer=time.process_time, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def cycled(work: Callable[[Any], object], given: Sequence[Any]) -> Callable[[], object]:
    """Do it to the next one at each call, from the first again after the last."""
    following = itertools.cycle(given).__next__
    return lambda: work(following())


def rows() -> list[Row]:
    """`codec-encode` and `codec-decode`: events a second on one core, and how many times faster than fastavro."""
    record = record_of(InvoiceIssued, "tallybook.invoice.Issued")
    encode, decode = compile_encoder(record), compile_decoder(record)
    schema = fastavro.parse_schema(avro_schema(record))

    def fastavro_encode(event: InvoiceIssued) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, to_dict(event))
        return out.getvalue()

    def fastavro_decode(payload: bytes) -> InvoiceIssued:
        return from_dict(fastavro.schemaless_reader(io.BytesIO(payload), schema, None))

    # Instants and decimals are cached, so a single event would flatter: these have an instant of their own in one field
    # (as one command a moment has), or in all four.
    usual = [replace(EVENT, issued_at=EVENT.issued_at + n * SECOND) for n in range(DISTINCT)]
    all_new = [
        replace(
            EVENT,
            period_start=EVENT.period_start + n * SECOND,
            period_end=EVENT.period_end + n * SECOND,
            issued_at=EVENT.issued_at + n * SECOND,
            due_at=EVENT.period_start - n * SECOND,
        )
        for n in range(DISTINCT)
    ]
    for event in all_new:
        payload = encode(event)
        if fastavro_encode(event) != payload or fastavro_decode(payload) != event or decode(payload) != event:
            raise RuntimeError("the two codecs disagree")
    found = []
    for name, ours, peer, given, new in (
        ("codec-encode", encode, fastavro_encode, usual, all_new),
        ("codec-decode", decode, fastavro_decode, [*map(encode, usual)], [*map(encode, all_new)]),
    ):
        here, there = microseconds(cycled(ours, given)), microseconds(cycled(peer, given))
        notes = f"{here:.1f} µs an event; {microseconds(cycled(ours, new)):.1f} with all instants new to the caches"
        found.append(Row(name, 1e6 / here, "events/s", {"fastavro": there / here}, notes))
    return found


def main() -> None:
    for row in rows():
        print(row)


if __name__ == "__main__":
    main()
