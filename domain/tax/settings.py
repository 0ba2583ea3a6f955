"""A tenant's tax: where it is established, where it is registered and so owes tax, and at which rates.

All of it is one stream, so that a decision that finalizes an invoice rests on one state of it. What was said is never
changed: a rate holds from its date on until a later one of the same scope replaces it, a registration until its end.
A registration rests on a general rate, so that there is none for which a place in it has no rate.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from domain.customers.tax_location import TaxLocation
from domain.kernel.frozen import replace
from domain.kernel.metadata import Metadata
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Claim, Stream, Streams, Take, Topic
from domain.kernel.unchanged import UNCHANGED, Unchanged
from domain.tax.computation import TaxRate
from domain.tax.remote import TaxCalculator

TAX_SETTINGS_ID: Final = "tax"
"""The id of the one stream that each tenant has."""

MAX_TAX_RATES: Final = 1_000
MAX_TAX_REGISTRATIONS: Final = 300
"""How many a tenant may have made, archived and ended ones among them: a decision looks through all of them."""

MAX_PERCENT: Final = Decimal(100)
RATE_CLAIM: Final = "tax_rate"
REGISTRATION_CLAIM: Final = "tax_registration"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTaxSettings:
    """`seller_country` is where the tenant is established (ISO 3166-1). `prices_include_tax` holds for prices and
    lines that do not say so themselves, and are made from now on. `calculator` computes the tax of invoices that become
    final from now on.
    """

    seller_country: str | Unchanged = UNCHANGED
    prices_include_tax: bool | Unchanged = UNCHANGED
    calculator: TaxCalculator | Unchanged = UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTaxRate:
    rate: TaxRate
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveTaxRate:
    """Take it out of the table: no invoice that is finalized from now on bears it, whatever its date."""

    rate_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTaxRegistration:
    """`number` is what the authority knows the tenant by; invoices show it."""

    registration_id: str
    country: str
    region: str | None = None
    number: str
    valid_from: date
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTaxRegistration:
    """No tax is owed there from the date `valid_until` on."""

    registration_id: str
    valid_until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxSettingsChanged:
    """As they are from now on."""

    settings_id: str
    seller_country: str | None
    prices_include_tax: bool
    calculator: TaxCalculator = TaxCalculator.TABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRateCreated:
    """See `TaxRate`: `percent` of the net amount, where and for what it holds, and from which local date on."""

    settings_id: str
    rate_id: str
    kind: str
    percent: Decimal
    country: str
    region: str | None
    postal_prefix: str | None
    category: str | None
    valid_from: date
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRateArchived:
    settings_id: str
    rate_id: str
    archived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRegistrationCreated:
    settings_id: str
    registration_id: str
    country: str
    region: str | None
    number: str
    valid_from: date
    metadata: Metadata = ()
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRegistrationEnded:
    settings_id: str
    registration_id: str
    valid_until: date


RateEvent = TaxRateCreated | TaxRateArchived
RegistrationEvent = TaxRegistrationCreated | TaxRegistrationEnded
TaxSettingsEvent = TaxSettingsChanged | RateEvent | RegistrationEvent


class TaxRateNotFound(Refusal):
    """There is no such tax rate."""

    code = "tax_rate_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "tax_rate"


class TaxRegistrationNotFound(Refusal):
    """There is no such tax registration."""

    code = "tax_registration_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "tax_registration"


class TaxSettingsNotFound(Refusal):
    """The tenant has said nothing about its taxes yet."""

    code = "tax_settings_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "tax_settings"


class InvalidTaxRate(Refusal):
    """A tax rate is a percentage from 0 to 100 of a country, or of a region or the start of a postal code in it."""

    code = "invalid_tax_rate"
    kind = RefusalKind.INVALID
    param = "percent"


class TaxRateIsTaken(Refusal):
    """Another rate says something of the same place, category, kind and date: archive it, or take a later date."""

    code = "tax_rate_taken"
    param = "valid_from"


class TooManyTaxRates(Refusal):
    """A tenant's table holds 1,000 rates, archived ones among them."""

    code = "too_many_tax_rates"


class TaxRateInUse(Refusal):
    """A registration rests on this rate, the only general one there from its first day on: create another one first."""

    code = "tax_rate_in_use"


class SellerCountryUnknown(Refusal):
    """Say first in which country you are established: PATCH the tenant's tax settings with seller_country."""

    code = "seller_country_unknown"
    param = "seller_country"


class NoGeneralTaxRate(Refusal):
    """Create a rate first that holds for all of the country, or region, from the registration on: of no category."""

    code = "no_general_tax_rate"
    param = "valid_from"


class TaxRegistrationOverlaps(Refusal):
    """You are registered there at that time already: end that registration first, or take a later date."""

    code = "tax_registration_overlaps"
    param = "valid_from"


class TooManyTaxRegistrations(Refusal):
    """A tenant holds 300 tax registrations, ended ones among them."""

    code = "too_many_tax_registrations"


class TaxRegistrationIsEnded(Refusal):
    """The registration has an end already, which is never changed: invoices rest on it."""

    code = "tax_registration_ended"


class InvalidTaxRegistrationEnd(Refusal):
    """A registration ends after its beginning and not before today: invoices of earlier days rest on it."""

    code = "invalid_tax_registration_end"
    kind = RefusalKind.INVALID
    param = "valid_until"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTaxRate:
    """A rate of the table, archived or not."""

    rate_id: str
    kind: str
    percent: Decimal
    country: str
    region: str | None
    postal_prefix: str | None
    category: str | None
    valid_from: date
    metadata: Metadata
    created_at: datetime
    archived_at: datetime | None

    @property
    def rate(self) -> TaxRate:
        """As the computation takes it."""
        return TaxRate(
            rate_id=self.rate_id,
            percent=self.percent,
            country=self.country,
            valid_from=self.valid_from,
            kind=self.kind,
            region=self.region,
            postal_prefix=self.postal_prefix,
            category=self.category,
        )

    def is_general(self, country: str, region: str | None) -> bool:
        """Whether everything in that country, or region, bears at least this rate from its date on."""
        is_whole = self.category is None and self.postal_prefix is None and self.region in (None, region)
        return is_whole and self.country == country and self.archived_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRegistration:
    """Tax is owed in the country, or in one of its regions alone, from `valid_from` until before `valid_until`."""

    registration_id: str
    country: str
    region: str | None
    number: str
    valid_from: date
    valid_until: date | None
    metadata: Metadata
    created_at: datetime

    def covers(self, country: str, region: str | None, on: date) -> bool:
        """Whether it is for that place on that date."""
        if self.country != country or self.region not in (None, region):
            return False
        return self.valid_from <= on and (self.valid_until is None or on < self.valid_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxSettings:
    """Without any registration no tax is owed anywhere, and invoices say nothing of it."""

    settings_id: str
    seller_country: str | None
    prices_include_tax: bool
    calculator: TaxCalculator
    rates: tuple[ListedTaxRate, ...]
    registrations: tuple[TaxRegistration, ...]

    def table(self, country: str) -> list[TaxRate]:
        """The rates of a country."""
        return [each.rate for each in self.rates if each.country == country and each.archived_at is None]

    def regions(self, country: str) -> tuple[str, ...]:
        """The country's regions that have rates or registrations of their own, by their codes."""
        rates = ((each.country, each.region) for each in self.rates)
        registered = ((each.country, each.region) for each in self.registrations)
        found = {region for where, region in (*rates, *registered) if where == country and region is not None}
        return tuple(sorted(found))

    def registration(self, place: TaxLocation, on: date) -> TaxRegistration | None:
        """The registration by which tax is owed in a place on a date, a region's own before its country's."""
        found = [each for each in self.registrations if each.covers(place.country, place.region, on)]
        return max(found, key=lambda each: each.region is not None, default=None)

    def rate_of(self, rate_id: str) -> ListedTaxRate:
        """Raises TaxRateNotFound."""
        for rate in self.rates:
            if rate.rate_id == rate_id:
                return rate
        raise TaxRateNotFound(tax_rate=rate_id)

    def registration_of(self, registration_id: str) -> TaxRegistration:
        """Raises TaxRegistrationNotFound."""
        for registration in self.registrations:
            if registration.registration_id == registration_id:
                return registration
        raise TaxRegistrationNotFound(tax_registration=registration_id)


NOTHING_SAID: Final = TaxSettings(
    settings_id=TAX_SETTINGS_ID,
    seller_country=None,
    prices_include_tax=False,
    calculator=TaxCalculator.TABLE,
    rates=(),
    registrations=(),
)


def tax_settings(streams: Streams) -> TaxSettings:
    """What the tenant has said about its taxes by now."""
    return streams.get(TAX_SETTINGS, TAX_SETTINGS_ID) or NOTHING_SAID


def evolve_rate(rate: ListedTaxRate | None, event: RateEvent) -> ListedTaxRate:
    if isinstance(event, TaxRateCreated):
        return ListedTaxRate(
            rate_id=event.rate_id,
            kind=event.kind,
            percent=event.percent,
            country=event.country,
            region=event.region,
            postal_prefix=event.postal_prefix,
            category=event.category,
            valid_from=event.valid_from,
            metadata=event.metadata,
            created_at=event.created_at,
            archived_at=None,
        )
    assert rate is not None, "the first event of a tax rate is tax_rate.created"
    return replace(rate, archived_at=event.archived_at)


def evolve_registration(registration: TaxRegistration | None, event: RegistrationEvent) -> TaxRegistration:
    if isinstance(event, TaxRegistrationCreated):
        return TaxRegistration(
            registration_id=event.registration_id,
            country=event.country,
            region=event.region,
            number=event.number,
            valid_from=event.valid_from,
            valid_until=None,
            metadata=event.metadata,
            created_at=event.created_at,
        )
    assert registration is not None, "the first event of a tax registration is tax_registration.created"
    return replace(registration, valid_until=event.valid_until)


def evolve(settings: TaxSettings | None, event: TaxSettingsEvent) -> TaxSettings:
    settings = settings or NOTHING_SAID
    match event:
        case TaxSettingsChanged():
            return replace(
                settings,
                seller_country=event.seller_country,
                prices_include_tax=event.prices_include_tax,
                calculator=event.calculator,
            )
        case TaxRateCreated():
            return replace(settings, rates=(*settings.rates, evolve_rate(None, event)))
        case TaxRateArchived():
            return replace(
                settings,
                rates=tuple(
                    evolve_rate(each, event) if each.rate_id == event.rate_id else each for each in settings.rates
                ),
            )
        case TaxRegistrationCreated():
            return replace(settings, registrations=(*settings.registrations, evolve_registration(None, event)))
        case TaxRegistrationEnded():
            return replace(
                settings,
                registrations=tuple(
                    evolve_registration(each, event) if each.registration_id == event.registration_id else each
                    for each in settings.registrations
                ),
            )


def claims(event: TaxSettingsEvent, settings: TaxSettings) -> tuple[Claim, ...]:
    """A rate and a registration are found by their ids, which lead to the tenant's one stream."""
    match event:
        case TaxRateCreated(rate_id=rate_id):
            return (Take(RATE_CLAIM, rate_id, settings.settings_id, lambda: TaxRateIsTaken(tax_rate=rate_id)),)
        case TaxRegistrationCreated(registration_id=registration_id):
            return (
                Take(
                    REGISTRATION_CLAIM,
                    registration_id,
                    settings.settings_id,
                    lambda: TaxRegistrationOverlaps(tax_registration=registration_id),
                ),
            )
        case _:
            return ()


RATE_EVENTS: Final[dict[str, type]] = {
    "tax_rate.created": TaxRateCreated,
    "tax_rate.archived": TaxRateArchived,
}
REGISTRATION_EVENTS: Final[dict[str, type]] = {
    "tax_registration.created": TaxRegistrationCreated,
    "tax_registration.ended": TaxRegistrationEnded,
}

TAX_SETTINGS: Stream[TaxSettings] = Stream(
    name="tax_settings",
    id_field="settings_id",
    topic=Topic.BILLING,
    events={"tax_settings.changed": TaxSettingsChanged, **RATE_EVENTS, **REGISTRATION_EVENTS},
    evolve=evolve,
    customer_of=lambda settings: None,
    not_found=TaxSettingsNotFound,
    claims=claims,
)
