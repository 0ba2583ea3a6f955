"""Tax: which rate applies where and when, and single figures of its computation."""

from datetime import date
from decimal import Decimal

import pytest

from domain.kernel.rounding import Rounding
from domain.tax.computation import (
    EU_COUNTRIES,
    TaxableLine,
    TaxPlace,
    TaxRate,
    TaxStatus,
    TaxTreatment,
    resolve_tax,
)
from testing.examples.half_up import tax_on
from testing.examples.pricing import USD, tax_rate, usd

OLD, NEW = date(2020, 1, 1), date(2026, 7, 1)


def rate(
    rate_id: str,
    percent: str,
    country: str = "FR",
    *,
    region: str | None = None,
    postal: str | None = None,
    category: str | None = None,
    kind: str = "tax",
    since: date = OLD,
) -> TaxRate:
    return TaxRate(
        rate_id=rate_id,
        percent=Decimal(percent),
        country=country,
        region=region,
        postal_prefix=postal,
        category=category,
        kind=kind,
        valid_from=since,
    )


TABLE = [
    rate("fr", "20"),
    rate("fr-books", "5.5", category="books"),
    rate("fr-2026", "21", since=NEW),
    rate("es-canary", "7", "ES", region="CN"),
    rate("es", "21", "ES"),
    rate("es-books", "4", "ES", category="books"),
    rate("us-ny", "4", "US", region="NY"),
    rate("us-ny-100", "8.875", "US", region="NY", postal="100"),
    rate("us-ny-1001", "8.9", "US", postal="10 01"),
    rate("qst", "9.975", "CA", region="QC", kind="qst"),
    rate("gst", "5", "CA", kind="gst"),
    rate("gst-books", "0", "CA", kind="gst", category="books"),
]


def resolved(
    country: str,
    region: str | None = None,
    postal: str | None = None,
    *,
    category: str | None = None,
    on: date = OLD,
    status: TaxStatus | None = None,
    seller: str = "FR",
) -> tuple[TaxTreatment, list[str]]:
    decision = resolve_tax(
        TABLE,
        seller_country=seller,
        place=TaxPlace(country=country, region=region, postal_code=postal),
        status=status or TaxStatus(),
        category=category,
        on=on,
    )
    return decision.treatment, [one.rate_id for one in decision.rates]


TAXED = TaxTreatment.TAXED


@pytest.mark.parametrize(
    ("place", "category", "on", "rate_ids"),
    [
        (("FR",), None, OLD, ["fr"]),
        (("FR",), "toys", OLD, ["fr"]),
        (("FR",), "books", OLD, ["fr-books"]),
        (("FR",), None, date(2026, 6, 30), ["fr"]),
        (("FR",), None, NEW, ["fr-2026"]),
        (("FR",), "books", NEW, ["fr-books"]),
        (("ES",), None, OLD, ["es"]),
        (("ES", "MD"), "books", OLD, ["es-books"]),
        (("ES", "CN"), None, OLD, ["es-canary"]),
        (("ES", "CN"), "books", OLD, ["es-canary"]),
        (("US", "NY"), None, OLD, ["us-ny"]),
        (("US", "NY", "11201"), None, OLD, ["us-ny"]),
        (("US", "NY", "10023"), None, OLD, ["us-ny-100"]),
        (("US", "NY", "1 0012"), None, OLD, ["us-ny-1001"]),
        (("CA", "QC"), None, OLD, ["gst", "qst"]),
        (("CA", "QC"), "books", OLD, ["gst-books", "qst"]),
        (("CA", "AB"), None, OLD, ["gst"]),
    ],
)
def test_the_most_local_then_the_most_special_then_the_latest_rate_applies(
    place: tuple[str, ...], category: str | None, on: date, rate_ids: list[str]
) -> None:
    assert resolved(*place, category=category, on=on) == (TAXED, rate_ids)


def test_postal_codes_compare_without_case_and_spaces() -> None:
    table = [rate("gb-je", "0", "GB", postal="je"), rate("gb", "20", "GB")]
    for code, expected in (("JE2 3AB", "gb-je"), ("je23ab", "gb-je"), ("J E2", "gb-je"), ("SW1A", "gb"), (None, "gb")):
        decision = resolve_tax(
            table,
            seller_country="GB",
            place=TaxPlace(country="GB", postal_code=code),
            status=TaxStatus(),
            category=None,
            on=OLD,
        )
        assert [one.rate_id for one in decision.rates] == [expected]


def test_no_rate_is_said_to_be_none() -> None:
    assert resolved("US", "CA") == (TaxTreatment.NO_RATE, [])
    assert resolved("FR", on=date(2019, 12, 31)) == (TaxTreatment.NO_RATE, [])


def test_an_exempt_customer_pays_none_whatever_else_holds() -> None:
    exempt = TaxStatus(is_exempt=True, has_checked_vat_id=True)
    assert resolved("FR", status=exempt) == (TaxTreatment.EXEMPT, [])
    assert resolved("ES", status=exempt) == (TaxTreatment.EXEMPT, [])
    assert resolved("US", "CA", status=exempt) == (TaxTreatment.EXEMPT, [])


@pytest.mark.parametrize(
    ("seller", "country", "treatment"),
    [
        ("FR", "ES", TaxTreatment.REVERSE_CHARGE),
        ("FR", "FR", TAXED),
        ("US", "FR", TAXED),
        ("FR", "CA", TAXED),
    ],
)
def test_reverse_charge_is_between_two_eu_countries_with_a_checked_id(
    seller: str, country: str, treatment: TaxTreatment
) -> None:
    assert resolved(country, seller=seller, status=TaxStatus(has_checked_vat_id=True))[0] is treatment
    assert resolved(country, seller=seller)[0] is TAXED


def test_the_european_union_has_27_members() -> None:
    assert len(EU_COUNTRIES) == 27
    assert EU_COUNTRIES.isdisjoint({"GB", "CH", "NO", "EL"})


GST, QST = tax_rate(5, "gst"), tax_rate("9.975", "qst")


def test_several_taxes_on_top_are_each_computed_on_the_net_amount() -> None:
    tax = tax_on([TaxableLine(usd(10000), (GST, QST)), TaxableLine(usd(333), (GST,))], USD)
    assert [(one.rate_id, one.percent, one.taxable.amount, one.tax.amount) for one in tax.by_rate] == [
        ("gst", Decimal(5), 10333, 517),
        ("qst", Decimal("9.975"), 10000, 998),
    ]
    assert [[share.amount.amount for share in shares] for shares in tax.by_line] == [[500, 998], [17]]
    assert tax.total == usd(1515)


def test_several_taxes_in_a_price_share_what_is_in_it() -> None:
    tax = tax_on([TaxableLine(usd(11498), (GST, QST), inclusive=True)], USD)
    assert [(one.rate_id, one.taxable.amount, one.tax.amount) for one in tax.by_rate] == [
        ("gst", 10000, 500),
        ("qst", 10000, 998),
    ]


def test_inclusive_lines_are_summed_by_their_set_of_rates() -> None:
    lines = [
        TaxableLine(usd(10133), (GST,), inclusive=True),
        TaxableLine(usd(10133), (GST, QST), inclusive=True),
        TaxableLine(usd(1000), (GST,)),
        TaxableLine(usd(77), (), inclusive=True),
        TaxableLine(usd(10133), (GST,), inclusive=True),
    ]
    tax = tax_on(lines, USD)
    shares = [[share.amount.amount for share in shares] for shares in tax.by_line]
    assert shares == [[483], [441, 879], [50], [], [482]]
    assert [(one.taxable.amount, one.tax.amount) for one in tax.by_rate] == [
        (10133 * 3 - 483 - 441 - 879 - 482 + 1000, 483 + 441 + 50 + 482),
        (10133 - 441 - 879, 879),
    ]


def test_a_rate_of_zero_in_a_price_is_no_tax() -> None:
    tax = tax_on([TaxableLine(usd(100), (tax_rate(0),), inclusive=True)], USD)
    assert (tax.total, tax.by_rate[0].taxable) == (usd(0), usd(100))


def test_no_lines_bear_no_tax() -> None:
    assert tax_on([], USD).total == usd(0)
    assert tax_on([TaxableLine(usd(100), ())], USD).by_line == ((),)


def test_tax_is_rounded_by_the_chosen_rule() -> None:
    half = TaxableLine(usd(50), (tax_rate(1),))
    assert tax_on([half], USD).total == usd(1)
    assert tax_on([half], USD, Rounding.HALF_EVEN).total == usd(0)
    included = TaxableLine(usd(3), (tax_rate(20),), inclusive=True)
    assert tax_on([included], USD).total == usd(1)
    assert tax_on([included], USD, Rounding.HALF_EVEN).total == usd(0)


def test_a_credit_line_holds_its_own_share_of_an_included_tax() -> None:
    lines = [TaxableLine(usd(amount), (tax_rate(20),), inclusive=True) for amount in (1200, -601)]
    tax = tax_on(lines, USD)
    assert tax.total == usd(100)
    assert [shares[0].amount.amount for shares in tax.by_line] == [200, -100]
    both = [TaxableLine(usd(amount), (GST, QST), inclusive=True) for amount in (114975, -114974)]
    assert [[share.amount.amount for share in shares] for shares in tax_on(both, USD).by_line] == [
        [5000, 9975],
        [-5000, -9975],
    ]


def test_a_credit_line_bears_negative_tax() -> None:
    tax = tax_on([TaxableLine(usd(1000), (tax_rate(20),)), TaxableLine(usd(-999), (tax_rate(20),))], USD)
    assert tax.total == usd(0)
    assert [shares[0].amount.amount for shares in tax.by_line] == [200, -200]
