"""What is decided about a tenant's taxes: its country and registrations, and the table of rates.

Dates are checked by the day in UTC; which rate an invoice bears is a matter of the customer's own local date.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.customers.countries import COUNTRIES
from domain.customers.tax_location import InvalidTaxLocation, TaxLocation, check_region, check_tax_location
from domain.kernel.stream import Decision, Handler, Streams
from domain.kernel.unchanged import changed
from domain.tax.settings import (
    MAX_PERCENT,
    MAX_TAX_RATES,
    MAX_TAX_REGISTRATIONS,
    TAX_SETTINGS,
    TAX_SETTINGS_ID,
    ArchiveTaxRate,
    ChangeTaxSettings,
    CreateTaxRate,
    CreateTaxRegistration,
    EndTaxRegistration,
    InvalidTaxRate,
    InvalidTaxRegistrationEnd,
    ListedTaxRate,
    NoGeneralTaxRate,
    SellerCountryUnknown,
    TaxRateArchived,
    TaxRateCreated,
    TaxRateInUse,
    TaxRateIsTaken,
    TaxRegistration,
    TaxRegistrationCreated,
    TaxRegistrationEnded,
    TaxRegistrationIsEnded,
    TaxRegistrationOverlaps,
    TaxSettings,
    TaxSettingsChanged,
    TooManyTaxRates,
    TooManyTaxRegistrations,
    evolve,
    tax_settings,
)


def change_tax_settings(command: ChangeTaxSettings, streams: Streams, now: datetime) -> Decision:
    """Raises InvalidTaxLocation."""
    settings = tax_settings(streams)
    country = changed(command.seller_country, settings.seller_country)
    if country is not None and country not in COUNTRIES:
        raise InvalidTaxLocation(country=country).at("seller_country")
    event = TaxSettingsChanged(
        settings_id=TAX_SETTINGS_ID,
        seller_country=country,
        prices_include_tax=changed(command.prices_include_tax, settings.prices_include_tax),
        calculator=changed(command.calculator, settings.calculator),
    )
    return Decision(now, [] if evolve(settings, event) == settings else [TAX_SETTINGS.change(event)])


def create_tax_rate(command: CreateTaxRate, streams: Streams, now: datetime) -> Decision:
    """Raises InvalidTaxRate, InvalidTaxLocation, TaxRateIsTaken, TooManyTaxRates."""
    settings, rate = tax_settings(streams), command.rate
    if not rate.percent.is_finite() or not 0 <= rate.percent <= MAX_PERCENT:
        raise InvalidTaxRate(percent=str(rate.percent)[:32])
    try:
        check_tax_location(TaxLocation(country=rate.country, region=rate.region, postal_prefix=rate.postal_prefix))
    except InvalidTaxLocation as refused:
        raise refused.at("country") from None
    check_region(rate.country, rate.region)
    if len(settings.rates) >= MAX_TAX_RATES:
        raise TooManyTaxRates(most=MAX_TAX_RATES)
    created = TaxRateCreated(
        settings_id=TAX_SETTINGS_ID,
        rate_id=rate.rate_id,
        kind=rate.kind,
        percent=rate.percent,
        country=rate.country,
        region=rate.region,
        postal_prefix=rate.postal_prefix,
        category=rate.category,
        valid_from=rate.valid_from,
        metadata=command.metadata,
        created_at=now,
    )
    for each in settings.rates:
        if each.archived_at is None and _scope(each) == _scope(created):
            raise TaxRateIsTaken(tax_rate=each.rate_id)
    return Decision(now, [TAX_SETTINGS.change(created)])


def _scope(rate: ListedTaxRate | TaxRateCreated) -> tuple[object, ...]:
    """What two rates must not both say something of."""
    return rate.country, rate.region, rate.postal_prefix, rate.category, rate.kind, rate.valid_from


def archive_tax_rate(command: ArchiveTaxRate, streams: Streams, now: datetime) -> Decision:
    """Raises TaxRateNotFound, TaxRateInUse."""
    settings = tax_settings(streams)
    if settings.rate_of(command.rate_id).archived_at is not None:
        return Decision(now, [])
    archived = TaxRateArchived(settings_id=TAX_SETTINGS_ID, rate_id=command.rate_id, archived_at=now)
    left = TAX_SETTINGS.evolve(settings, archived)
    for registration in settings.registrations:
        # Also where it has ended: a timer that runs late, and a test clock, still bill days of its time.
        if not _has_general_rate(left, registration):
            raise TaxRateInUse(tax_rate=command.rate_id, tax_registration=registration.registration_id)
    return Decision(now, [TAX_SETTINGS.change(archived)])


def create_tax_registration(command: CreateTaxRegistration, streams: Streams, now: datetime) -> Decision:
    """Raises InvalidTaxLocation, SellerCountryUnknown, NoGeneralTaxRate, TaxRegistrationOverlaps,
    TooManyTaxRegistrations.
    """
    settings = tax_settings(streams)
    try:
        check_tax_location(TaxLocation(country=command.country, region=command.region))
    except InvalidTaxLocation as refused:
        raise refused.at("country") from None
    check_region(command.country, command.region)
    if settings.seller_country is None:
        raise SellerCountryUnknown
    if len(settings.registrations) >= MAX_TAX_REGISTRATIONS:
        raise TooManyTaxRegistrations(most=MAX_TAX_REGISTRATIONS)
    created = TaxRegistrationCreated(
        settings_id=TAX_SETTINGS_ID,
        registration_id=command.registration_id,
        country=command.country,
        region=command.region,
        number=command.number,
        valid_from=command.valid_from,
        metadata=command.metadata,
        created_at=now,
    )
    for each in settings.registrations:
        is_there = (each.country, each.region) == (command.country, command.region)
        if is_there and (each.valid_until is None or command.valid_from < each.valid_until):
            raise TaxRegistrationOverlaps(tax_registration=each.registration_id)
    after = TAX_SETTINGS.evolve(settings, created)
    if not _has_general_rate(after, after.registrations[-1]):
        raise NoGeneralTaxRate(country=command.country, region=command.region)
    return Decision(now, [TAX_SETTINGS.change(created)])


def end_tax_registration(command: EndTaxRegistration, streams: Streams, now: datetime) -> Decision:
    """Raises TaxRegistrationNotFound, TaxRegistrationIsEnded, InvalidTaxRegistrationEnd."""
    registration = tax_settings(streams).registration_of(command.registration_id)
    if registration.valid_until is not None:
        if registration.valid_until == command.valid_until:
            return Decision(now, [])
        raise TaxRegistrationIsEnded(valid_until=registration.valid_until.isoformat())
    if command.valid_until <= registration.valid_from or command.valid_until < now.date():
        raise InvalidTaxRegistrationEnd(valid_from=registration.valid_from.isoformat(), today=now.date().isoformat())
    ended = TaxRegistrationEnded(
        settings_id=TAX_SETTINGS_ID, registration_id=command.registration_id, valid_until=command.valid_until
    )
    return Decision(now, [TAX_SETTINGS.change(ended)])


def _has_general_rate(settings: TaxSettings, registration: TaxRegistration) -> bool:
    """Whether every place of it has a rate from its first day on: then each line there finds one."""
    return any(
        rate.is_general(registration.country, registration.region) and rate.valid_from <= registration.valid_from
        for rate in settings.rates
    )


HANDLERS: Final[Mapping[type, Handler]] = {
    ChangeTaxSettings: change_tax_settings,
    CreateTaxRate: create_tax_rate,
    ArchiveTaxRate: archive_tax_rate,
    CreateTaxRegistration: create_tax_registration,
    EndTaxRegistration: end_tax_registration,
}
