"""Revenue by period: what moved on the income accounts, from the same rows as the trial balance."""

from datetime import date
from typing import Final, NamedTuple

from domain.kernel.accounts import ALLOWANCES, BREAKAGE_REVENUE, REVENUE, Account
from domain.kernel.currency import CurrencyCode
from domain.kernel.money import Money
from projections.models.account_balances import account_of
from projections.models.mrr_days import ReportInterval
from projections.reading import Reader

REVENUE_ACCOUNTS: Final = (REVENUE, BREAKAGE_REVENUE)
"""What is earned is posted to these, and what was given back of it to allowances."""

_EARNED: Final = """
SELECT currency, date_trunc($4, day::timestamp)::date AS starts_on, account, (sum(credit) - sum(debit))::bigint
FROM read.account_days WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 AND account = ANY($5::text[])
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


class RevenueMoved(NamedTuple):
    """What an account gained in a period, which `starts_on` names: credits less debits."""

    currency: CurrencyCode
    starts_on: date
    account: Account
    amount: Money


async def moved(
    connection: Reader, tenant_id: str, *, first: date, last: date, interval: ReportInterval
) -> list[RevenueMoved]:
    """What the accounts of revenue, and allowances, gained in each period of these days, both ends included."""
    accounts = [account.code for account in (*REVENUE_ACCOUNTS, ALLOWANCES)]
    records = await connection.fetch(_EARNED, tenant_id, first, last, interval.value, accounts)
    return [
        RevenueMoved(CurrencyCode(currency), starts_on, account_of(code), Money(amount, CurrencyCode(currency)))
        for currency, starts_on, code, amount in records
    ]
