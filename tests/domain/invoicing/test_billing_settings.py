"""Specifications of a tenant's billing settings, and of the locales of documents."""

from typing import Any

import pytest

from domain.customers.locales import LANGUAGES, UnknownLocale, check_locale
from domain.invoicing.billing_settings import (
    BillingSettingsChanged,
    ChangeBillingSettings,
    InvalidSeller,
    Seller,
)
from domain.invoicing.number_series import SERIES_AT_FIRST
from testing.specification import given

SELLER = Seller(name="Example GmbH", address=("Musterstraße 1", "10115 Berlin"))


def change(**changes: object) -> ChangeBillingSettings:
    return ChangeBillingSettings(**changes)  # type: ignore[arg-type]


def changed(seller: Seller | None = None, locale: str = "en-US", **changes: Any) -> BillingSettingsChanged:
    facts: dict[str, Any] = {
        "settings_id": "billing",
        "time_zone": "UTC",
        "grace_s": 0,
        "days_until_due": 30,
        "memo": None,
        "number_series": SERIES_AT_FIRST,
        "invoice_series": "INV",
    }
    return BillingSettingsChanged(seller=seller, locale=locale, **facts | changes)


def test_a_change_tells_all_settings_and_keeps_those_that_it_does_not_name() -> None:
    (
        given()
        .when(change(seller=SELLER))
        .then(changed(SELLER, "en-US"))
        .then_posts()
        .when(change(locale="de"))
        .then(changed(SELLER, "de"))
        .when(change(seller=None))
        .then(changed(None, "de"))
    )


def test_what_changes_nothing_is_no_event() -> None:
    given().when(change()).then()
    given(change(seller=SELLER, locale="ja-JP")).when(change(seller=SELLER, locale="ja-JP")).then()


@pytest.mark.parametrize("seller", [Seller(name=""), Seller(name="A", address=("line",) * 7)])
def test_a_seller_has_a_name_and_few_lines(seller: Seller) -> None:
    given().when(change(seller=seller)).then_refused(InvalidSeller)


@pytest.mark.parametrize("locale", ["", "fi", "DE", "de_DE", "de-", "de-ZZ", "de-DE-x", "de-de"])
def test_a_locale_is_a_language_that_documents_have_words_in_alone_or_with_a_country(locale: str) -> None:
    with pytest.raises(UnknownLocale):
        check_locale(locale)
    given().when(change(locale=locale)).then_refused(UnknownLocale)
    for language in LANGUAGES:
        check_locale(language)
        check_locale(f"{language}-AT")
