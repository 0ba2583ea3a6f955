"""Ids that sort by time and say what they name: `in_` + a UUIDv7 in 26 characters of Crockford's base32.

Nothing here reads a clock or draws a random number: both come in as arguments (infra/ids.py draws them).
UUIDv7: RFC 9562 §5.7. Crockford's base32 keeps the order of the bytes, so ids sort by creation.
"""

import hashlib
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_DECODE: Final = {char: value for value, char in enumerate(ALPHABET)}
_PAIRS: Final = [first + second for first in ALPHABET for second in ALPHABET]
_CHARS: Final = frozenset(ALPHABET)
ID_CHARS: Final = 26
_TIME_CHARS: Final = 10  # of five bits: the upper 48 bits of 128, which are a UUIDv7's time, and two zeros before them
_SHIFTS: Final = tuple(range(120, -1, -10))
_SHIFTS_BELOW_TIME: Final = _SHIFTS[_TIME_CHARS // 2 :]

CUSTOMER: Final = "cus_"
PRODUCT: Final = "prod_"
PLAN: Final = "plan_"
PRICE: Final = "price_"
COUPON: Final = "coup_"
PLAN_MIGRATION: Final = "mig_"
PLAN_MIGRATION_MOVE: Final = "move_"
DISCOUNT: Final = "disc_"
METER: Final = "mtr_"
USAGE_ALERT: Final = "alrt_"
TRIGGERED_ALERT: Final = "trig_"
ENTITLEMENT: Final = "ent_"
SUBSCRIPTION: Final = "sub_"
INVOICE: Final = "in_"
INVOICE_LINE: Final = "il_"
CREDIT_NOTE: Final = "cn_"
PAYMENT_METHOD: Final = "pm_"
PAYMENT: Final = "pay_"
REFUND: Final = "re_"
JOURNAL_ENTRY: Final = "je_"
TAX_RATE: Final = "txr_"
TAX_REGISTRATION: Final = "txreg_"
APPROVAL: Final = "apr_"
TEST_CLOCK: Final = "clock_"
EVENT: Final = "evt_"
USER: Final = "user_"
SESSION: Final = "ses_"
PORTAL_SESSION: Final = "pses_"
INVITATION: Final = "inv_"
SECOND_FACTOR: Final = "fac_"
IDENTITY_LINK: Final = "idl_"
API_KEY: Final = "key_"
AUTH_EVENT: Final = "aev_"
PERSONAL_DATA: Final = "pd_"
PAYMENT_TOKEN: Final = "pt_"  # noqa: S105  a prefix


def uuid7(unix_ms: int, random: int) -> int:
    """The 128-bit UUIDv7 of a Unix time in milliseconds and 74 random bits (more are cut off)."""
    return (
        ((unix_ms & 0xFFFF_FFFF_FFFF) << 80)
        | (0x7 << 76)
        | ((random >> 62 & 0xFFF) << 64)
        | (0b10 << 62)
        | (random & 0x3FFF_FFFF_FFFF_FFFF)
    )


def encode(value: int) -> str:
    """A 128-bit integer as 26 base32 characters, most significant first."""
    return _encode(value, _SHIFTS)


def _encode(value: int, shifts: tuple[int, ...]) -> str:
    """The pairs of characters at these places of a number."""
    pairs = _PAIRS
    return "".join([pairs[(value >> shift) & 0x3FF] for shift in shifts])


def decode(text: str) -> int:
    """The inverse of `encode`. Raises ValueError for another length or alphabet."""
    if len(text) != ID_CHARS:
        raise ValueError(f"an id has {ID_CHARS} characters after its prefix, not {len(text)}")
    value = 0
    for char in text:
        digit = _DECODE.get(char)
        if digit is None:
            raise ValueError(f"{char!r} is not a character of an id")
        value = value << 5 | digit
    return value


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` is an id of this prefix."""
    if not text.startswith(prefix) or len(text) != len(prefix) + ID_CHARS:
        return False
    return _CHARS.issuperset(text[len(prefix) :])


def derived_id(prefix: str, source: str, step: str) -> str:
    """An id that is a function of another id and a step's name.

    A saga names what it creates by it, so a redelivered event asks for the same thing again. The time of the
    source id (any prefix, UUIDv7 in base32) is kept, so that derived ids sort beside what caused them.
    """
    text = source[source.rfind("_") + 1 :]
    if len(text) != ID_CHARS or not _CHARS.issuperset(text):
        decode(text)  # says what is wrong
    digest = hashlib.sha256(f"{source}/{step}".encode()).digest()
    return f"{prefix}{text[:_TIME_CHARS]}{_encode(uuid7(0, int.from_bytes(digest[:10])), _SHIFTS_BELOW_TIME)}"
