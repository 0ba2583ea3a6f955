"""Specifications of where a customer is taxed: coarse enough for a log that cannot forget."""

import pytest

from domain.customers.customer import CUSTOMER, CustomerUpdated, EraseCustomer, UpdateCustomer
from domain.customers.subdivisions import SUBDIVISIONS, subdivision_of
from domain.customers.tax_location import InvalidTaxLocation, TaxLocation, tax_location_of
from domain.kernel.personal_reference import PersonalReference
from testing.examples.streams import CUSTOMER_ID, create_customer
from testing.specification import given

OTTAWA = TaxLocation(country="CA", region="ON", postal_prefix="K1A")
MOVED = PersonalReference(reference="pd_moved", commitment=b"m" * 32)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        (("CA", "ON", "K1A 0B1"), OTTAWA),
        (("CA", "ca-on", "k1a-0b1"), OTTAWA),
        (("US", "NY", "10001"), TaxLocation(country="US", region="NY", postal_prefix="100")),
        (("DE", "Bavaria", None), TaxLocation(country="DE")),  # a name is no code, and may be anything
        (("DE", "1 Main Street", "???"), TaxLocation(country="DE")),
        (("CA", "Québec", None), TaxLocation(country="CA", region="QC")),
        (("CA", " QUEBEC ", None), TaxLocation(country="CA", region="QC")),
        (("CA", "Nouvelle-Ecosse", None), TaxLocation(country="CA", region="NS")),
        (("US", "california", None), TaxLocation(country="US", region="CA")),
        (("US", "US-CA", None), TaxLocation(country="US", region="CA")),
        (("US", "Washington, D.C.", None), TaxLocation(country="US", region="DC")),
        (("BR", "São Paulo", None), TaxLocation(country="BR", region="SP")),
        (("IN", "Orissa", None), TaxLocation(country="IN", region="OD")),
        (("US", "ZZ", None), TaxLocation(country="US")),  # none of its states
        (("CA", "CA-CA", None), TaxLocation(country="CA")),
        (("ES", "es-cn", None), TaxLocation(country="ES", region="CN")),
        (("GB", None, "NW1 6XE"), TaxLocation(country="GB", postal_prefix="NW1")),
        ((None, "ON", "K1A 0B1"), None),
        (("Canada", "ON", None), None),
    ],
)
def test_an_address_is_kept_to_its_area(
    address: tuple[str | None, str | None, str | None], kept: TaxLocation | None
) -> None:
    assert tax_location_of(*address) == kept


@pytest.mark.parametrize(
    "finer",
    [
        TaxLocation(country="CA", postal_prefix="K1A0"),
        TaxLocation(country="CA", region="Ontario"),
        TaxLocation(country="ca"),
    ],
)
def test_anything_finer_never_gets_into_the_log(finer: TaxLocation) -> None:
    given().when(create_customer(tax_location=finer)).then_refused(InvalidTaxLocation)


def test_it_moves_with_the_address_and_stays_without_one() -> None:
    customer = given(create_customer(tax_location=OTTAWA))
    customer.when(UpdateCustomer(customer_id=CUSTOMER_ID, time_zone="Asia/Tokyo")).then(
        CustomerUpdated(customer_id=CUSTOMER_ID, time_zone="Asia/Tokyo", personal=None, tax_location=OTTAWA)
    )
    berlin = TaxLocation(country="DE", postal_prefix="101")
    customer.when(UpdateCustomer(customer_id=CUSTOMER_ID, personal=MOVED, tax_location=berlin)).then_shows(
        CUSTOMER, CUSTOMER_ID, tax_location=berlin
    )


def test_nothing_of_it_is_left_of_who_is_erased() -> None:
    given(create_customer(tax_location=OTTAWA)).when(EraseCustomer(customer_id=CUSTOMER_ID)).then_shows(
        CUSTOMER, CUSTOMER_ID, tax_location=None
    )


def test_each_subdivision_is_known_by_its_code_with_its_country_and_without() -> None:
    assert {country: len(codes) for country, codes in SUBDIVISIONS.items()} == {"BR": 27, "CA": 13, "IN": 36, "US": 60}
    for country, codes in SUBDIVISIONS.items():
        for code in codes:
            assert subdivision_of(country, code) == subdivision_of(country, f"{country.lower()}-{code}") == code
