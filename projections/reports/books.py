"""The books: entries, their postings, and what the accounts hold."""

from typing import Final

from domain.kernel.accounts import CHART, Side
from projections.models import account_balances, ledger_entries
from projections.reports.report import Report, day, instant, integer, json, money, text

_CHART: Final = ", ".join(
    f"('{account.code}', '{account.name.replace(chr(39), 2 * chr(39))}', '{account.type}', "
    f"{1 if account.own_side is Side.DEBIT else -1})"
    for account in CHART.values()
)
_WITH_ACCOUNT: Final = f"JOIN (VALUES {_CHART}) AS a (code, name, type, sign) ON a.code = "
_SUMS: Final = (
    "SELECT d.tenant_id, d.account, d.currency, sum(d.debit)::bigint AS debit, sum(d.credit)::bigint AS credit "
    "FROM read.account_days d GROUP BY 1, 2, 3"
)
_POSTED: Final = "p.posting #>> '{amount,currency}'"
_AMOUNT: Final = "(p.posting #>> '{amount,amount}')::bigint"

_ACCOUNT: Final = (
    text("account", "The account's code."),
    text("account_name", "Its name.", "a.name"),
    text("account_type", "asset, liability, equity, income or expense.", "a.type"),
)

LEDGER_ENTRIES: Final = Report(
    name="ledger_entries",
    about="Balanced entries: what each event moved. Their sides are in ledger_postings.",
    source="read.ledger_entries r",
    columns=(
        text("entry_id", "The entry's id, which is its event's."),
        text("event_type", "What happened, such as invoice.finalized."),
        text("subject_type", "What it happened to, such as invoice.", "r.stream_type"),
        text("subject_id", "The id of that.", "r.stream_id"),
        text("accounts", "The accounts that it posts to, with commas."),
        json("postings", "Its sides. Amounts in it are minor units."),
        instant("effective_at", "The time that it counts for."),
        instant("recorded_at", "When the log learned of it."),
        integer("position", "Its place in the log."),
    ),
    order=("r.effective_at", "r.entry_id"),
    since="r.effective_at",
    rests_on=(ledger_entries.TABLE,),
    customer="r.subject",
)

LEDGER_POSTINGS: Final = Report(
    name="ledger_postings",
    about="The sides of all entries, a row each: debits and credits of an entry are the same sum in each currency.",
    source=(
        "read.ledger_entries r CROSS JOIN LATERAL "
        "jsonb_array_elements(r.postings) WITH ORDINALITY AS p (posting, number) "
        f"{_WITH_ACCOUNT} (p.posting ->> 'account')"
    ),
    columns=(
        text("entry_id", "The entry."),
        integer("posting_number", "Its place in the entry, from 1.", "p.number"),
        text("account", "The account's code.", "a.code"),
        *_ACCOUNT[1:],
        text("side", "debit or credit.", "p.posting ->> 'side'"),
        text("currency", "The currency of the amount.", _POSTED),
        *money("amount", "The amount, above zero on either side.", currency=_POSTED, minor=_AMOUNT),
        text("customer_id", "The customer that it is about; null: nobody.", "p.posting ->> 'customer_id'"),
        text("jurisdiction", "Whose tax it is, of tax_payable.", "p.posting ->> 'jurisdiction'"),
        text("event_type", "What happened, such as invoice.finalized."),
        text("subject_id", "What it happened to.", "r.stream_id"),
        instant("effective_at", "The time that it counts for."),
        instant("recorded_at", "When the log learned of it."),
        integer("position", "Its place in the log."),
    ),
    order=("r.effective_at", "r.entry_id", "p.number"),
    since="r.effective_at",
    rests_on=(ledger_entries.TABLE,),
    customer="r.subject",
)

ACCOUNT_DAYS: Final = Report(
    name="account_days",
    about="What was posted to each account on each day (UTC): sums up to a day are the balance of that day.",
    source=f"read.account_days r {_WITH_ACCOUNT} r.account",
    columns=(
        day("day", "The day that it counts for."),
        *_ACCOUNT,
        text("currency", "The currency of the amounts."),
        *money("debit", "The sum of its debits.", currency="r.currency"),
        *money("credit", "The sum of its credits.", currency="r.currency"),
    ),
    order=("r.day", "r.account", "r.currency"),
    since=None,
    rests_on=(account_balances.TABLE,),
)

ACCOUNT_BALANCES: Final = Report(
    name="account_balances",
    about="What each account holds now, in each currency.",
    source=f"({_SUMS}) r {_WITH_ACCOUNT} r.account",
    columns=(
        *_ACCOUNT,
        text("currency", "The currency of the amounts."),
        *money("debit", "The sum of its debits.", currency="r.currency"),
        *money("credit", "The sum of its credits.", currency="r.currency"),
        *money(
            "balance",
            "Debits less credits of assets and expenses, the reverse of all others.",
            currency="r.currency",
            minor="(a.sign * (r.debit - r.credit))",
        ),
    ),
    order=("r.account", "r.currency"),
    since=None,
    rests_on=(account_balances.TABLE,),
)

OF_BOOKS: Final = (LEDGER_ENTRIES, LEDGER_POSTINGS, ACCOUNT_DAYS, ACCOUNT_BALANCES)
