"""Avro's binary building blocks: variable-length integers, exact instants, decimals as text.

What the compiled codecs call. Every value read is checked: bytes that no writer of ours could have made end in
MalformedPayload, after work and memory in proportion to their length.
"""

import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

MAX_DECIMAL_DIGITS: Final = 1_000
"""Digits, and places left or right of the point, of a Decimal or Fraction on the wire."""

CACHED_DECIMALS: Final = 4_096
"""Decimals read are kept by their text: quantities and unit amounts are few, and making one costs a microsecond."""

CACHED_INSTANTS: Final = 4_096
"""Instants read are kept by their bytes: one command's events share theirs, and periods begin together."""

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
MICROSECOND: Final = timedelta(microseconds=1)


class MalformedPayload(ValueError):
    """The bytes are not what this schema writes: cut off, too long, or holding a value that cannot be."""


class UnencodableValue(ValueError):
    """The value does not fit its declared type: an integer over 64 bits, a naive instant, a lone surrogate."""


_CHUNK_BITS: Final = 14
_CHUNK_MASK: Final = (1 << _CHUNK_BITS) - 1
_LAST: Final[tuple[bytes, ...]] = tuple(
    bytes((z,)) if z < 0x80 else bytes((z & 0x7F | 0x80, z >> 7)) for z in range(1 << _CHUNK_BITS)
)
_MORE: Final[tuple[bytes, ...]] = tuple(bytes((z & 0x7F | 0x80, z >> 7 | 0x80)) for z in range(1 << _CHUNK_BITS))

SMALL: Final[tuple[bytes, ...]] = _LAST[::2]
"""The encoding of 0, 1, 2, …: one look-up for lengths, counts and small amounts."""
SMALL_COUNT: Final = len(SMALL)

SMALL_LONG: Final[tuple[int, ...]] = tuple(z >> 1 ^ -(z & 1) for z in range(0x80))
"""The integer of each one-byte encoding."""
SMALL_LENGTH: Final[tuple[int | None, ...]] = tuple(None if z & 1 else z >> 1 for z in range(0x80))
"""The length of each one-byte encoding; None (which no sum accepts) for the negative ones."""
TRUTHS: Final = (False, True)


def long_bytes(value: int) -> bytes:
    """A 64-bit integer, zigzag and variable length, as in the Avro specification. Raises UnencodableValue."""
    if not INT64_MIN <= value <= INT64_MAX:
        raise UnencodableValue(f"{value} does not fit 64 bits")
    zigzag = value << 1 if value >= 0 else ~(value << 1)
    encoded = b""
    while zigzag > _CHUNK_MASK:
        encoded += _MORE[zigzag & _CHUNK_MASK]
        zigzag >>= _CHUNK_BITS
    return encoded + _LAST[zigzag]


_MAX_SHIFT: Final = 63  # of the tenth and last byte


def long_at(payload: bytes, at: int) -> tuple[int, int]:
    """The integer that starts at `at`, and where the next value starts."""
    zigzag = payload[at] & 0x7F
    if payload[at] >= 0x80:
        zigzag |= (payload[at + 1] & 0x7F) << 7
        if payload[at + 1] >= 0x80:
            return _long_at(payload, at + 2, zigzag)
        at += 1
    return zigzag >> 1 ^ -(zigzag & 1), at + 1


def _long_at(payload: bytes, at: int, zigzag: int) -> tuple[int, int]:
    """An integer of three bytes or more, from its third on."""
    shift = 14
    while True:
        byte = payload[at]
        at += 1
        zigzag |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > _MAX_SHIFT:
            raise MalformedPayload("an integer of more than ten bytes")
    if zigzag >> 64:
        raise MalformedPayload("an integer of more than 64 bits")
    return zigzag >> 1 ^ -(zigzag & 1), at


def length_at(payload: bytes, at: int) -> tuple[int, int]:
    """The length of a string that starts at `at`, and where its bytes start."""
    length, start = long_at(payload, at)
    if not 0 <= length <= len(payload) - start:
        raise MalformedPayload(f"a string of {length} bytes with {len(payload) - start} left")
    return length, start


def count_at(payload: bytes, at: int) -> tuple[int, int]:
    """The number of items in the next block of an array or map (0 ends it), and where they start.

    A negative count is followed by the block's size in bytes, which is not needed. Every item of ours takes at least
    one byte, so a count above what is left is refused before anything is built.
    """
    count, start = long_at(payload, at)
    if count < 0:
        count = -count
        _, start = long_at(payload, start)
    if count > len(payload) - start:
        raise MalformedPayload(f"{count} items with {len(payload) - start} bytes left")
    return count, start


@lru_cache(maxsize=4_096)  # a batch's events happen at a few instants, and each names one several times
def instant_bytes(value: datetime) -> bytes:
    """Microseconds since 1970-01-01T00:00Z. Raises TypeError for a naive instant."""
    return long_bytes((value - EPOCH) // MICROSECOND)


_PAIR_MARK: Final = 0x8000


def _pairs() -> tuple[int | None, ...]:
    """By two bytes as a little-endian number: their 14 bits, or None unless both say that more follows."""
    table: list[int | None] = [None] * (1 << 16)
    for bits, (low, high) in enumerate(_MORE):
        table[high << 8 | low] = bits
    return tuple(table)


_PAIRS: Final[tuple[Any, ...]] = _pairs()
_FOUR_PAIRS: Final = struct.Struct("<4H").unpack


_FOUR_PAIRS_AT: Final = struct.Struct("<4H").unpack_from


def eight_byte_long_at(payload: bytes, at: int) -> int | None:
    """The integer of exactly eight bytes that starts at `at`, as microseconds of these years are; None where these are
    not one: `long_at` then reads it byte by byte.
    """
    try:
        first, second, third, last = _FOUR_PAIRS_AT(payload, at)
        if last >= _PAIR_MARK:
            return None
        zigzag: int = _PAIRS[first] | _PAIRS[second] << 14 | _PAIRS[third] << 28 | _PAIRS[last | _PAIR_MARK] << 42
    except (TypeError, struct.error):
        return None
    return zigzag >> 1 ^ -(zigzag & 1)


INSTANT_BYTES: Final = 8
"""What an instant takes from 1988 to 2112."""


@lru_cache(maxsize=CACHED_INSTANTS)
def instant_of(encoded: bytes) -> datetime | None:
    """The instant of exactly eight bytes; None where these are not one: `instant_at` then reads it byte by byte."""
    try:
        first, second, third, last = _FOUR_PAIRS(encoded)
        if last >= _PAIR_MARK:
            return None
        zigzag = _PAIRS[first] | _PAIRS[second] << 14 | _PAIRS[third] << 28 | _PAIRS[last | _PAIR_MARK] << 42
    except (TypeError, struct.error):  # None among the look-ups, or fewer than eight bytes left
        return None
    micros: int = zigzag >> 1 ^ -(zigzag & 1)
    return EPOCH + micros * MICROSECOND


def instant_at(payload: bytes, at: int) -> tuple[datetime, int]:
    """The instant that starts at `at`, and where the next value starts. Raises OverflowError out of years 1 to 9999."""
    micros, at = long_at(payload, at)
    return EPOCH + micros * MICROSECOND, at


def day_bytes(value: date) -> bytes:
    """Days since 1970-01-01. A datetime is not a day: it would lose its time."""
    if type(value) is not date:
        raise UnencodableValue(f"a day is a date, not {type(value).__name__}")
    return long_bytes(value.toordinal() - EPOCH_DAY)


def day_from(days: int) -> date:
    """The day of a number of days since 1970-01-01. Raises ValueError or OverflowError out of the years 1 to 9999."""
    return date.fromordinal(days + EPOCH_DAY)


def decimal_bytes(value: Decimal) -> bytes:
    """The decimal as text, digits and exponent kept. Raises UnencodableValue for what is not a number of sane size."""
    text = str(value)
    if not _is_sane(value, text):
        raise UnencodableValue(f"{text[:40]} is not a decimal of at most {MAX_DECIMAL_DIGITS} digits")
    return text.encode()


@lru_cache(maxsize=CACHED_DECIMALS)
def decimal_from(text: bytes) -> Decimal:
    """The inverse of `decimal_bytes`."""
    if len(text) > 2 * MAX_DECIMAL_DIGITS:
        raise MalformedPayload("a decimal of too many digits")
    value = Decimal(text.decode())
    if not _is_sane(value, text.decode()):
        raise MalformedPayload("a decimal that is not finite, or out of range")
    return value


def _is_sane(value: Decimal, text: str) -> bool:
    if len(text) <= MAX_DECIMAL_DIGITS and "E" not in text:
        return value.is_finite()
    exponent = value.as_tuple().exponent
    return (
        isinstance(exponent, int)
        and -MAX_DECIMAL_DIGITS <= exponent <= MAX_DECIMAL_DIGITS
        and -MAX_DECIMAL_DIGITS <= value.adjusted() <= MAX_DECIMAL_DIGITS
    )


def fraction_bytes(value: Fraction) -> bytes:
    """The fraction in lowest terms as text: "1/3", "2"."""
    text = str(value).encode()
    if len(text) > 2 * MAX_DECIMAL_DIGITS:
        raise UnencodableValue(f"a fraction of more than {2 * MAX_DECIMAL_DIGITS} characters")
    return text


def fraction_from(text: bytes) -> Fraction:
    """The inverse of `fraction_bytes`."""
    if len(text) > 2 * MAX_DECIMAL_DIGITS:
        raise MalformedPayload("a fraction of too many digits")
    numerator, _, denominator = text.decode().partition("/")
    return Fraction(int(numerator), int(denominator or "1"))
