"""What the accounts hold: debits and credits by day (UTC, business time), so that a trial balance reads few rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from domain.kernel.accounts import (
    CHART,
    CUSTOMER_BALANCE,
    CUSTOMER_CREDITS,
    CUSTOMER_WALLET,
    RECEIVABLE,
    REFUNDS_PAYABLE,
    Account,
    Entry,
    Side,
)
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from projections.models.ledger_entries import AsOf, Balance, balances_as_of, controlled_balances
from projections.read_model import Column, Fact, Projection, Rows, add, sums_model
from projections.reading import Reader
from schemas.codec import LEDGER_ENTRY


def apply(rows: Rows[list[int]], fact: Fact) -> None:
    """Add each posting to its account's day."""
    entry: Entry = fact.event
    day = fact.effective_at.date()
    for posting in entry.postings:
        money = posting.amount
        key = (fact.tenant_id, posting.account, money.currency, day, fact.shard)
        if posting.side is Side.DEBIT:
            add(rows, key, money.amount)
        else:
            add(rows, key, 0, money.amount)


TABLE = sums_model(
    name="account_days",
    version=1,
    projection=Projection.LEDGER,
    key=(
        Column("tenant_id", 'text COLLATE "C" NOT NULL'),
        Column("account", 'text COLLATE "C" NOT NULL'),
        Column("currency", 'text COLLATE "C" NOT NULL'),
        Column("day", "date NOT NULL"),
        Column("shard", "integer NOT NULL"),
    ),
    sums=("debit", "credit"),
    view=(
        "SELECT tenant_id, account, currency, day, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit "
        "FROM {table} GROUP BY tenant_id, account, currency, day"
    ),
    events=frozenset({LEDGER_ENTRY}),
    apply=apply,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBalance:
    """An account in one currency. `balance` is positive on the account's own side: debit for assets and expenses."""

    account: Account
    debit: Money
    credit: Money

    @property
    def balance(self) -> Money:
        """Debits less credits, or the reverse for liabilities, equity and income."""
        return self.debit - self.credit if self.account.own_side is Side.DEBIT else self.credit - self.debit


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """All accounts in one currency. `difference` is debits less credits: zero, or the books are wrong."""

    currency: str
    accounts: tuple[AccountBalance, ...]
    debit: Money
    credit: Money

    @property
    def difference(self) -> Money:
        """Zero."""
        return self.debit - self.credit


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerBalance:
    """What a customer owes us, and what we owe them, per currency; nothing where it comes to nothing.

    `owed` is what is due on invoices, `customer_balance` their cash that belongs to no invoice, `refunds_payable` what
    is on its way back to them, `prepaid` what is left of prepaid wallets and granted credits.
    """

    owed: tuple[Money, ...]
    customer_balance: tuple[Money, ...]
    refunds_payable: tuple[Money, ...]
    prepaid: tuple[Money, ...]


async def balances(connection: Reader, tenant_id: str, *, before_day: date | None = None) -> Sequence[Balance]:
    """Every account's debits and credits by now, or of the days before one."""
    records = await connection.fetch(
        "SELECT account, currency, sum(debit)::bigint, sum(credit)::bigint FROM read.account_days "
        "WHERE tenant_id = $1 AND ($2::date IS NULL OR day < $2) GROUP BY 1, 2 ORDER BY 2, 1",
        tenant_id,
        before_day,
    )
    return [Balance(*record) for record in records]


async def trial_balance(connection: Reader, tenant_id: str, *, as_of: AsOf | None = None) -> list[TrialBalance]:
    """The trial balance of each currency that was ever posted: now, or at a moment in both times."""
    found = await (balances(connection, tenant_id) if as_of is None else balances_as_of(connection, tenant_id, as_of))
    by_currency: dict[str, list[AccountBalance]] = {}
    for account in map(_account_balance, found):
        by_currency.setdefault(account.debit.currency, []).append(account)
    return [
        TrialBalance(
            currency=currency,
            accounts=tuple(accounts),
            debit=Money(sum(each.debit.amount for each in accounts), accounts[0].debit.currency),
            credit=Money(sum(each.credit.amount for each in accounts), accounts[0].credit.currency),
        )
        for currency, accounts in sorted(by_currency.items())
    ]


async def customer_accounts(
    connection: Reader, tenant_id: str, customer_id: str, *, as_of: AsOf
) -> list[AccountBalance]:
    """The accounts that were posted to for a customer at a moment in both times, by currency and account."""
    return [
        _account_balance(each) for each in await balances_as_of(connection, tenant_id, as_of, customer_id=customer_id)
    ]


async def customer_balance(connection: Reader, tenant_id: str, customer_id: str) -> CustomerBalance:
    """What a customer and we owe each other by now."""
    found = [_account_balance(each) for each in await controlled_balances(connection, tenant_id, customer_id)]
    return CustomerBalance(
        owed=_on((RECEIVABLE,), found),
        customer_balance=_on((CUSTOMER_BALANCE,), found),
        refunds_payable=_on((REFUNDS_PAYABLE,), found),
        prepaid=_on((CUSTOMER_WALLET, CUSTOMER_CREDITS), found),
    )


def _on(accounts: Sequence[Account], found: Sequence[AccountBalance]) -> tuple[Money, ...]:
    sums: dict[CurrencyCode, int] = {}
    for each in found:
        if each.account in accounts:
            currency = each.balance.currency
            sums[currency] = sums.get(currency, 0) + each.balance.amount
    return tuple(Money(amount, currency) for currency, amount in sums.items() if amount)


def _account_balance(each: Balance) -> AccountBalance:
    currency = CurrencyCode(each.currency)
    return AccountBalance(
        account=account_of(each.account), debit=Money(each.debit, currency), credit=Money(each.credit, currency)
    )


def account_of(code: str) -> Account:
    """The account of the chart. Raises KeyError: an entry cannot have been posted to another."""
    return CHART[code]
