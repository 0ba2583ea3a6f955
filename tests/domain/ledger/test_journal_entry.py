"""Specifications of manual journal entries, and of entries that cannot be unbalanced."""

import pytest

from domain.customers.customer import CustomerNotFound
from domain.kernel import accounts
from domain.kernel.accounts import (
    CASH,
    CUSTOMER_BALANCE,
    CUSTOMER_CREDITS,
    CUSTOMER_WALLET,
    DEFERRED_REVENUE,
    DISPUTED_FUNDS,
    EQUITY,
    GATEWAY_CLEARING,
    RECEIVABLE,
    REFUNDS_PAYABLE,
    Account,
    Posting,
    Side,
    UnbalancedEntry,
    UnknownAccount,
)
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from domain.ledger.journal_entry import (
    JOURNAL_ENTRY,
    MAX_POSTINGS,
    InvalidJournalEntry,
    IsControlAccount,
    JournalEntryAlreadyExists,
    JournalEntryIsReversed,
    JournalEntryNotFound,
    JournalEntryPosted,
    JournalEntryReversed,
    PostJournalEntry,
    ReverseJournalEntry,
)
from testing.examples.streams import CUSTOMER_ID, ENTRY_ID, create_customer, credit, debit, usd
from testing.moments import utc
from testing.specification import NOW, given

CAPITAL = (accounts.debit(CASH, usd(500)), accounts.credit(EQUITY, usd(500)))
REVERSE = ReverseJournalEntry(entry_id=ENTRY_ID, memo="wrong year")


def post(*postings: Posting) -> PostJournalEntry:
    return PostJournalEntry(entry_id=ENTRY_ID, postings=postings, memo="capital")


def test_an_entry_is_posted_as_it_stands() -> None:
    (
        given()
        .when(post(*CAPITAL))
        .then(JournalEntryPosted(entry_id=ENTRY_ID, postings=CAPITAL, memo="capital", posted_at=NOW))
        .then_posts(*CAPITAL)
        .then_claims()
        .then_schedules()
    )


def test_an_entry_is_posted_once() -> None:
    given(post(*CAPITAL)).when(post(*CAPITAL)).then_refused(JournalEntryAlreadyExists, entry=ENTRY_ID)


def test_a_reversal_posts_the_mirror_image_once() -> None:
    later = utc("2026-03-01")
    (
        given(post(*CAPITAL))
        .when(REVERSE, at=later)
        .then(JournalEntryReversed(entry_id=ENTRY_ID, memo="wrong year", reversed_at=later))
        .then_posts(accounts.credit(CASH, usd(500)), accounts.debit(EQUITY, usd(500)))
        .then_shows(JOURNAL_ENTRY, ENTRY_ID, reversed_at=later)
        .when(REVERSE)
        .then_refused(JournalEntryIsReversed, entry=ENTRY_ID)
    )


def test_an_unknown_entry_is_not_reversed() -> None:
    given().when(REVERSE).then_refused(JournalEntryNotFound, entry=ENTRY_ID)


def test_a_posting_may_be_about_a_customer_of_the_tenant() -> None:
    about_a_customer = (debit(DEFERRED_REVENUE, usd(5)), accounts.credit(EQUITY, usd(5)))
    given(create_customer()).when(post(*about_a_customer)).then_posts(*about_a_customer)
    given().when(post(*about_a_customer)).then_refused(CustomerNotFound, customer=CUSTOMER_ID)


@pytest.mark.parametrize(
    "control",
    [
        RECEIVABLE,
        GATEWAY_CLEARING,
        DISPUTED_FUNDS,
        REFUNDS_PAYABLE,
        CUSTOMER_BALANCE,
        CUSTOMER_WALLET,
        CUSTOMER_CREDITS,
    ],
    ids=lambda account: account.code,
)
def test_an_account_that_documents_add_up_to_takes_no_entry_by_hand(control: Account) -> None:
    by_hand = (debit(control, usd(5)), accounts.credit(EQUITY, usd(5)))
    given(create_customer()).when(post(*by_hand)).then_refused(
        IsControlAccount, account=control.code, sum_of=control.control
    )
    against = (debit(CASH, usd(5)), Posting(control.code, Side.CREDIT, usd(5)))
    given().when(post(*against)).then_refused(IsControlAccount, account=control.code)


def test_every_other_account_is_open_to_book_keepers() -> None:
    for account in accounts.CHART.values():
        if account.control is None:
            by_hand = (accounts.debit(CASH, usd(5)), accounts.credit(account, usd(5)))
            given().when(post(*by_hand)).then_posts(*by_hand)


def test_an_entry_balances_in_each_currency_by_itself() -> None:
    yen = Money(500, CurrencyCode("JPY"))
    both = (*CAPITAL, accounts.debit(CASH, yen), accounts.credit(EQUITY, yen))
    given().when(post(*both)).then_posts(*both)
    crossed = (accounts.debit(CASH, yen), accounts.credit(EQUITY, usd(500)))
    given().when(post(*crossed)).then_refused(UnbalancedEntry)


@pytest.mark.parametrize(
    ("credited", "details"),
    [
        (accounts.credit(EQUITY, usd(499)), {"currency": "USD", "difference": 1}),
        (accounts.credit(EQUITY, usd(0)), {"account": "equity", "amount": 0}),
        (accounts.credit(EQUITY, usd(-500)), {"account": "equity", "amount": -500}),
        (accounts.debit(EQUITY, usd(500)), {"difference": 1000}),
    ],
)
def test_an_unbalanced_entry_is_refused(credited: Posting, details: dict[str, str | int]) -> None:
    given().when(post(accounts.debit(CASH, usd(500)), credited)).then_refused(UnbalancedEntry, **details)


def test_an_account_that_is_not_in_the_chart_is_refused() -> None:
    unknown = Posting("petty_cash", Side.CREDIT, usd(500))
    given().when(post(accounts.debit(CASH, usd(500)), unknown)).then_refused(UnknownAccount, account="petty_cash")


@pytest.mark.parametrize("count", [0, 1, MAX_POSTINGS + 1])
def test_an_entry_has_from_2_to_100_postings(count: int) -> None:
    given().when(post(*(CAPITAL * count)[:count])).then_refused(InvalidJournalEntry, postings=count)


def test_an_entry_of_nothing_is_no_entry() -> None:
    assert accounts.transfer(usd(0), debit_to=CASH, credit_to=EQUITY) is None
    assert accounts.entry([credit(CASH, usd(0))]) is None


def test_every_account_is_in_the_chart_under_its_own_code() -> None:
    known = {value.code: value for value in vars(accounts).values() if isinstance(value, accounts.Account)}
    assert known == accounts.CHART
