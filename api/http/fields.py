"""The fields of request bodies: strict, bounded, and parsed into the domain's own values.

Nothing is coerced ("1" is not 1), unknown fields are refused, and no text holds control characters.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType, TypedDict

from api.http.card_guard import OpaqueId
from api.http.validation import form
from domain.customers.countries import COUNTRIES
from domain.customers.locales import LANGUAGES
from domain.identity.permissions import Permission
from domain.kernel import identifiers
from domain.kernel.currency import EXPONENTS, CurrencyCode
from domain.kernel.metadata import MAX_METADATA_KEYS, with_change
from domain.kernel.metadata import Metadata as Kept
from domain.kernel.money import Money

MAX_AMOUNT: Final = 999_999_999_999
"""Most minor units of one amount: sums of millions of them fit 64 bits, and no amount is as long as a card number."""

MAX_UNIT_AMOUNT: Final = Decimal(99_999_999_999)
MAX_QUANTITY: Final = Decimal(1_000_000)
MAX_PERCENT: Final = Decimal(100)
MAX_PERCENT_OF_LIMIT: Final = Decimal(10_000)
MAX_USAGE: Final = Decimal(MAX_AMOUNT)
MAX_DECIMALS: Final = 12
MAX_METADATA_KEY_CHARS: Final = 40
MAX_METADATA_VALUE_CHARS: Final = 500

TEXT_PATTERN: Final = r"^[^\x00-\x1f\x7f]*$"
ID_PATTERN: Final = "[0-9a-hjkmnp-tv-z]{26}"
DECIMAL_PATTERN: Final = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?$"
_DECIMAL: Final = re.compile(DECIMAL_PATTERN[1:-1])
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


class Body(BaseModel):
    """A request body: strict types, no unknown fields, never changed after it was parsed.

    `reserved` are fields that need a permission besides the operation's: what somebody may change of their own need not
    be theirs in every field.
    """

    reserved: ClassVar[Mapping[str, Permission]] = MappingProxyType({})

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class NoBody(Body):
    """Nothing to say: an empty body, or {}."""


def text(max_length: int, *, min_length: int = 1) -> Any:
    """Constraints of a line of text without control characters."""
    return form(TEXT_PATTERN, "Must hold no control characters", min_length=min_length, max_length=max_length)


ShortText: TypeAlias = Annotated[str, text(100)]
Line: TypeAlias = Annotated[str, text(255)]
LongText: TypeAlias = Annotated[str, text(1_000)]
ExternalId: TypeAlias = Annotated[str, text(100), OpaqueId(), Field(examples=["crm-4711"])]
TimeZone: TypeAlias = Annotated[str, text(64), Field(examples=["Europe/Berlin"], description="Name in the tz database")]
LOCALE_PATTERN: Final = f"^({'|'.join(sorted(LANGUAGES))})(-({'|'.join(sorted(COUNTRIES))}))?$"
Locale = TypeAliasType(
    "Locale",
    Annotated[
        str,
        form(LOCALE_PATTERN, "Must be a language that documents are written in, alone or with a country, like de-AT"),
        Field(examples=["de-DE"], description="The language of documents, and the country whose form their dates have"),
    ],
)
"""It has a name for the same reason as Currency."""


def _id(prefix: str) -> Any:
    hint = f"Must be an id as Tallybook gave it: {prefix} and 26 lower-case letters and digits"
    return form(f"^{prefix}{ID_PATTERN}$", hint)


CustomerId: TypeAlias = Annotated[str, _id(identifiers.CUSTOMER)]
ProductId: TypeAlias = Annotated[str, _id(identifiers.PRODUCT)]
PlanId: TypeAlias = Annotated[str, _id(identifiers.PLAN)]
PriceId: TypeAlias = Annotated[str, _id(identifiers.PRICE)]
CouponId: TypeAlias = Annotated[str, _id(identifiers.COUPON)]
DiscountId: TypeAlias = Annotated[str, _id(identifiers.DISCOUNT)]
MeterId: TypeAlias = Annotated[str, _id(identifiers.METER)]
UsageAlertId: TypeAlias = Annotated[str, _id(identifiers.USAGE_ALERT)]
TriggeredAlertId: TypeAlias = Annotated[str, _id(identifiers.TRIGGERED_ALERT)]
SubscriptionId: TypeAlias = Annotated[str, _id(identifiers.SUBSCRIPTION)]
PlanMigrationId: TypeAlias = Annotated[str, _id(identifiers.PLAN_MIGRATION)]
InvoiceId: TypeAlias = Annotated[str, _id(identifiers.INVOICE)]
InvoiceLineId: TypeAlias = Annotated[str, _id(identifiers.INVOICE_LINE)]
PaymentMethodId: TypeAlias = Annotated[str, _id(identifiers.PAYMENT_METHOD)]
PaymentId: TypeAlias = Annotated[str, _id(identifiers.PAYMENT)]
TaxRateId: TypeAlias = Annotated[str, _id(identifiers.TAX_RATE)]
TaxRegistrationId: TypeAlias = Annotated[str, _id(identifiers.TAX_REGISTRATION)]
JournalEntryId: TypeAlias = Annotated[str, _id(identifiers.JOURNAL_ENTRY)]
TestClockId: TypeAlias = Annotated[str, _id(identifiers.TEST_CLOCK)]


def _currency(value: str) -> str:
    if value not in EXPONENTS:
        code = value.strip().upper()
        if code in EXPONENTS:
            raise PydanticCustomError("unknown_currency", "Currency codes are in upper case: {code}", {"code": code})
        raise PydanticCustomError("unknown_currency", "Not an active ISO 4217 code with a minor unit")
    return value


Currency = TypeAliasType(
    "Currency", Annotated[str, AfterValidator(_currency), WithJsonSchema({"type": "string", "enum": sorted(EXPONENTS)})]
)
"""A type with a name, so that the API's document has it once, and clients that are made of it one type."""


class MoneyBody(Body):
    """An amount in minor units of a currency: 1999 USD is 19.99."""

    model_config = ConfigDict(title="Money", json_schema_extra={"examples": [{"amount": 1999, "currency": "USD"}]})

    amount: Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
    currency: Currency

    @property
    def value(self) -> Money:
        return Money(self.amount, CurrencyCode(self.currency))


class PositiveMoney(MoneyBody):
    """An amount of more than zero."""

    model_config = ConfigDict(title="PositiveMoney")

    amount: Annotated[int, Field(ge=1, le=MAX_AMOUNT)]


class NonNegativeMoney(MoneyBody):
    """An amount of zero or more."""

    model_config = ConfigDict(title="NonNegativeMoney")

    amount: Annotated[int, Field(ge=0, le=MAX_AMOUNT)]


class MoneyResource(TypedDict):
    """An amount in minor units of a currency."""

    amount: int
    currency: str


def money(value: Money) -> MoneyResource:
    """An amount as it is answered."""
    return {"amount": value.amount, "currency": value.currency}


def eur(amount: int) -> MoneyResource:
    """So many cents, for an example."""
    return {"amount": amount, "currency": "EUR"}


def _instant(value: object) -> datetime:
    """RFC 3339 with an offset, as an instant in UTC; at most microseconds."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise PydanticCustomError("invalid_time", "Not a time of RFC 3339 with an offset, like 2026-01-31T00:00:00Z")
    try:
        instant = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("invalid_time", "There is no such time") from None
    if not EARLIEST <= instant < LATEST:
        raise PydanticCustomError("time_out_of_range", "Times lie in the years 1970 to 2199")
    return instant


Instant: TypeAlias = Annotated[
    datetime,
    PlainValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T00:00:00Z"]}),
]


def _day(value: object) -> date:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise PydanticCustomError("invalid_date", "Not a date like 2026-01-31")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("invalid_date", "There is no such date") from None
    if not EARLIEST.date() <= day < LATEST.date():
        raise PydanticCustomError("date_out_of_range", "Dates lie in the years 1970 to 2199")
    return day


Day: TypeAlias = Annotated[
    date,
    PlainValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-01-31"]}),
]


def _decimal(least: Decimal, most: Decimal) -> Callable[[object], Decimal]:
    def parse(value: object) -> Decimal:
        if isinstance(value, int) and not isinstance(value, bool):
            number = Decimal(value) if abs(value) <= MAX_AMOUNT else Decimal("Infinity")
        elif isinstance(value, str) and _DECIMAL.fullmatch(value):
            number = Decimal(value)
        else:
            raise PydanticCustomError("invalid_decimal", 'Not a whole number or a plain decimal in quotes like "0.25"')
        if not least <= number <= most:
            raise PydanticCustomError("decimal_out_of_range", f"Must be between {least:f} and {most:f}")
        return number

    return parse


def _decimal_schema(most: Decimal) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": int(most)},
                {"type": "string", "pattern": DECIMAL_PATTERN},
            ],
            "examples": ["0.25"],
        }
    )


Quantity: TypeAlias = Annotated[
    Decimal, PlainValidator(_decimal(Decimal(0), MAX_QUANTITY)), _decimal_schema(MAX_QUANTITY)
]
UnitAmount: TypeAlias = Annotated[
    Decimal, PlainValidator(_decimal(Decimal(0), MAX_UNIT_AMOUNT)), _decimal_schema(MAX_UNIT_AMOUNT)
]

UsageQuantity: TypeAlias = Annotated[
    Decimal, PlainValidator(_decimal(Decimal(0), MAX_USAGE)), _decimal_schema(MAX_USAGE)
]
PercentOfLimit: TypeAlias = Annotated[
    Decimal, PlainValidator(_decimal(Decimal(0), MAX_PERCENT_OF_LIMIT)), _decimal_schema(MAX_PERCENT_OF_LIMIT)
]

Percent: TypeAlias = Annotated[Decimal, PlainValidator(_decimal(Decimal(0), MAX_PERCENT)), _decimal_schema(MAX_PERCENT)]


def plain_decimal(value: Decimal) -> str:
    """A decimal as it is answered: no exponent, no trailing zeros."""
    text_ = format(value, "f")
    return text_.rstrip("0").rstrip(".") if "." in text_ else text_


Metadata: TypeAlias = Annotated[
    dict[
        Annotated[str, text(MAX_METADATA_KEY_CHARS)],
        Annotated[str, text(MAX_METADATA_VALUE_CHARS, min_length=0)] | None,
    ],
    # How many there may be is the domain's to say, as the keys that are there count, too. The parser's own document
    # lets names of another form have any value.
    # lets names of another form have any value.
    WithJsonSchema(
        {
            "type": "object",
            "description": "Yours to keep; nothing is decided by it. A key with null or an empty text is taken away, "
            "null in place of all of them takes all away, and keys that are not named stay. Put nothing personal here.",
            "maxProperties": MAX_METADATA_KEYS,
            "propertyNames": {"minLength": 1, "maxLength": MAX_METADATA_KEY_CHARS, "pattern": TEXT_PATTERN},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "maxLength": MAX_METADATA_VALUE_CHARS, "pattern": TEXT_PATTERN},
                    {"type": "null"},
                ]
            },
            "examples": [{"order": "4711"}],
        }
    ),
]


class New(Body):
    """Something to be. Whatever can be made takes metadata."""

    metadata: Metadata | None = None

    @property
    def kept(self) -> Kept:
        """The metadata to begin with: a change of none."""
        return with_change((), self.metadata)
