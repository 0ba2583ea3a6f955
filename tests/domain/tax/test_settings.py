"""Specifications of a tenant's taxes: its country, its table of rates, and where it is registered."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st

from domain.customers.tax_location import InvalidTaxLocation, TaxLocation
from domain.kernel.refusal import Refusal
from domain.kernel.stream import Command
from domain.tax.computation import TaxPlace, TaxStatus, TaxTreatment, resolve_tax
from domain.tax.settings import (
    MAX_TAX_RATES,
    TAX_SETTINGS,
    TAX_SETTINGS_ID,
    ArchiveTaxRate,
    ChangeTaxSettings,
    EndTaxRegistration,
    InvalidTaxRate,
    InvalidTaxRegistrationEnd,
    NoGeneralTaxRate,
    SellerCountryUnknown,
    TaxRateArchived,
    TaxRateCreated,
    TaxRateInUse,
    TaxRateIsTaken,
    TaxRateNotFound,
    TaxRegistrationCreated,
    TaxRegistrationEnded,
    TaxRegistrationIsEnded,
    TaxRegistrationNotFound,
    TaxRegistrationOverlaps,
    TaxSettings,
    TaxSettingsChanged,
    TooManyTaxRates,
)
from testing.examples.streams import id_of
from testing.examples.taxes import (
    IN_GERMANY,
    RATE_ID,
    REGISTRATION_ID,
    SINCE,
    create_rate,
    register,
    taxed_in_germany,
)
from testing.specification import NOW, Claimed, given

SECOND_RATE, SECOND_REGISTRATION = id_of("txr_", 2), id_of("txreg_", 2)
TODAY = NOW.date()


def test_a_tenant_says_where_it_is_established_and_that_its_prices_include_tax() -> None:
    said = given().when(ChangeTaxSettings(seller_country="DE", prices_include_tax=True))
    said.then(TaxSettingsChanged(settings_id=TAX_SETTINGS_ID, seller_country="DE", prices_include_tax=True))
    said.when(ChangeTaxSettings(seller_country="DE")).then_nothing()
    said.when(ChangeTaxSettings(seller_country="FR")).then(
        TaxSettingsChanged(settings_id=TAX_SETTINGS_ID, seller_country="FR", prices_include_tax=True)
    )
    given().when(ChangeTaxSettings(seller_country="XX")).then_refused(InvalidTaxLocation).then_is_about(
        "seller_country"
    )


def test_a_rate_is_created_with_where_and_for_what_it_holds() -> None:
    command = create_rate("5.5", "FR", region="IDF", postal_prefix="750", category="books")
    created = TaxRateCreated(
        settings_id=TAX_SETTINGS_ID,
        rate_id=RATE_ID,
        kind="vat",
        percent=Decimal("5.5"),
        country="FR",
        region="IDF",
        postal_prefix="750",
        category="books",
        valid_from=SINCE,
        created_at=NOW,
    )
    given().when(command).then(created).then_claims(Claimed("tax_rate", RATE_ID, TAX_SETTINGS_ID))


@pytest.mark.parametrize("percent", ["-0.1", "100.1", "NaN", "Infinity"])
def test_a_percentage_lies_between_0_and_100(percent: str) -> None:
    given().when(create_rate(percent)).then_refused(InvalidTaxRate)
    given(create_rate("0")).when(create_rate("100", rate_id=SECOND_RATE, category="sweets"))


def test_a_rate_is_of_a_country_a_region_and_the_start_of_a_postal_code() -> None:
    given().when(create_rate(country="XX")).then_refused(InvalidTaxLocation).then_is_about("country")
    given().when(create_rate(region="Bavaria")).then_refused(InvalidTaxLocation)
    given().when(create_rate(postal_prefix="10115")).then_refused(InvalidTaxLocation)


def test_two_rates_never_say_something_of_the_same_case() -> None:
    again = create_rate("7", rate_id=SECOND_RATE)
    given(create_rate()).when(again).then_refused(TaxRateIsTaken, tax_rate=RATE_ID)
    later = create_rate("20", rate_id=SECOND_RATE, valid_from=date(2027, 1, 1))
    assert given(create_rate()).when(later).done.events
    archived = given(create_rate(), ArchiveTaxRate(rate_id=RATE_ID))
    assert archived.when(again).done.events


def test_a_tenant_has_so_many_rates_at_most() -> None:
    full = given()
    for nth in range(MAX_TAX_RATES):
        full.and_then(create_rate(rate_id=id_of("txr_", nth + 1), valid_from=SINCE + timedelta(days=nth)))
    full.when(create_rate(rate_id=id_of("txr_", 5_000), valid_from=date(2099, 1, 1))).then_refused(TooManyTaxRates)


def test_an_archived_rate_stays_and_is_archived_once() -> None:
    archived = given(create_rate()).when(ArchiveTaxRate(rate_id=RATE_ID))
    archived.then(TaxRateArchived(settings_id=TAX_SETTINGS_ID, rate_id=RATE_ID, archived_at=NOW))
    archived.when(ArchiveTaxRate(rate_id=RATE_ID)).then_nothing()
    given().when(ArchiveTaxRate(rate_id=RATE_ID)).then_refused(TaxRateNotFound)


def test_a_registration_wants_a_country_of_the_seller_and_a_rate_for_everything_there() -> None:
    given(create_rate()).when(register()).then_refused(SellerCountryUnknown)
    given(IN_GERMANY).when(register()).then_refused(NoGeneralTaxRate)
    for part in (
        create_rate(category="books"),
        create_rate(postal_prefix="101"),
        create_rate(region="BY"),
        create_rate(valid_from=SINCE + timedelta(days=1)),
        create_rate(country="FR"),
    ):
        given(IN_GERMANY, part).when(register()).then_refused(NoGeneralTaxRate)
    given(IN_GERMANY, create_rate()).when(register()).then(
        TaxRegistrationCreated(
            settings_id=TAX_SETTINGS_ID,
            registration_id=REGISTRATION_ID,
            country="DE",
            region=None,
            number="DE136695976",
            valid_from=SINCE,
            created_at=NOW,
        )
    ).then_claims(Claimed("tax_registration", REGISTRATION_ID, TAX_SETTINGS_ID))


def test_a_region_is_registered_for_by_its_own_rate_or_its_countrys() -> None:
    for rate in (create_rate("9.975", "CA", region="QC"), create_rate("5", "CA")):
        assert given(IN_GERMANY, rate).when(register("CA", region="QC")).done.events


def test_the_rate_that_a_registration_rests_on_is_archived_once_there_is_another() -> None:
    taxed = given(*taxed_in_germany())
    taxed.when(ArchiveTaxRate(rate_id=RATE_ID)).then_refused(TaxRateInUse, tax_registration=REGISTRATION_ID)
    other = create_rate("20", rate_id=SECOND_RATE, valid_from=SINCE - timedelta(days=1))
    assert given(*taxed_in_germany("19", other)).when(ArchiveTaxRate(rate_id=RATE_ID)).done.events


def test_registrations_of_a_place_follow_one_another() -> None:
    taxed = given(*taxed_in_germany())
    again = register(registration_id=SECOND_REGISTRATION, valid_from=TODAY)
    taxed.when(again).then_refused(TaxRegistrationOverlaps, tax_registration=REGISTRATION_ID)
    ended = taxed.when(EndTaxRegistration(registration_id=REGISTRATION_ID, valid_until=TODAY))
    ended.then(TaxRegistrationEnded(settings_id=TAX_SETTINGS_ID, registration_id=REGISTRATION_ID, valid_until=TODAY))
    assert ended.when(again).done.events


def test_a_registration_ends_once_and_not_in_the_past() -> None:
    taxed = given(*taxed_in_germany())
    yesterday = TODAY - timedelta(days=1)
    taxed.when(EndTaxRegistration(registration_id=REGISTRATION_ID, valid_until=yesterday)).then_refused(
        InvalidTaxRegistrationEnd
    )
    ended = taxed.when(EndTaxRegistration(registration_id=REGISTRATION_ID, valid_until=TODAY))
    ended.when(EndTaxRegistration(registration_id=REGISTRATION_ID, valid_until=TODAY)).then_nothing()
    ended.when(EndTaxRegistration(registration_id=REGISTRATION_ID, valid_until=TODAY + timedelta(days=1))).then_refused(
        TaxRegistrationIsEnded
    )
    given().when(EndTaxRegistration(registration_id=REGISTRATION_ID, valid_until=TODAY)).then_refused(
        TaxRegistrationNotFound
    )


REGIONS = st.sampled_from((None, "QC", "ON"))
DAYS = st.integers(-3, 3).map(lambda days: SINCE + timedelta(days=days))


@given_any(st.data())
def test_wherever_a_tenant_is_registered_each_line_finds_a_rate(data: st.DataObject) -> None:
    """Whatever was said in whatever order, and refused: nothing is billed untaxed where tax is owed."""
    books = given(IN_GERMANY)
    for nth in range(data.draw(st.integers(1, 12))):
        command = data.draw(
            st.one_of(
                st.builds(
                    create_rate,
                    country=st.just("CA"),
                    rate_id=st.just(id_of("txr_", nth)),
                    region=REGIONS,
                    kind=st.sampled_from(("gst", "qst")),
                    category=st.sampled_from((None, "books")),
                    valid_from=DAYS,
                ),
                st.builds(
                    register,
                    country=st.just("CA"),
                    registration_id=st.just(id_of("txreg_", nth)),
                    region=REGIONS,
                    valid_from=DAYS,
                ),
                st.integers(0, 11).map(lambda which: ArchiveTaxRate(rate_id=id_of("txr_", which))),
            )
        )
        try:
            books.and_then(command)
        except Refusal:
            continue
    settings = books.books.states[TAX_SETTINGS.name, TAX_SETTINGS_ID]
    assert isinstance(settings, TaxSettings)
    place = TaxLocation(country="CA", region=data.draw(REGIONS))
    on = SINCE + timedelta(days=data.draw(st.integers(-4, 4)))
    if settings.registration(place, on) is not None:
        decision = resolve_tax(
            settings.table("CA"),
            seller_country="DE",
            place=TaxPlace(country="CA", region=place.region),
            status=TaxStatus(),
            category=data.draw(st.sampled_from((None, "books", "saas"))),
            on=on,
        )
        assert decision.treatment is TaxTreatment.TAXED


@pytest.mark.parametrize("command", [create_rate(country="CA", region="QB"), register("US", region="ON")])
def test_no_tax_is_owed_to_a_region_that_the_country_does_not_have(command: Command) -> None:
    refused = given(IN_GERMANY, create_rate("5", "US")).when(command).then_refused(InvalidTaxLocation)
    refused.then_is_about("region")
