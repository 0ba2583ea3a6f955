"""The chart of accounts, and journal entries that cannot be unbalanced.

An entry is recorded with the event that moves the money and never recomputed: history keeps the postings it was
recorded with. The rules (which event touches which account) stand in each stream's `postings`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domain.kernel.money import Money
from domain.kernel.refusal import Refusal, RefusalKind


class AccountType(StrEnum):
    """The five types of double-entry book-keeping; assets and expenses grow by debits, the others by credits."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense"


class Side(StrEnum):
    """Debit or credit."""

    DEBIT = "debit"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the chart: a stable code, its name and its type. A balance is kept per currency.

    `control` is for control accounts: what their balance is the sum of, per customer. Documents say the same, invariant
    I8 compares, and nothing is posted to them by hand, or the books would tell another story than the documents.
    """

    code: str
    name: str
    type: AccountType
    control: str | None = None

    @property
    def own_side(self) -> Side:
        """The side on which it grows."""
        return Side.DEBIT if self.type in {AccountType.ASSET, AccountType.EXPENSE} else Side.CREDIT


CASH: Final = Account("cash", "Cash at bank", AccountType.ASSET)
RECEIVABLE: Final = Account("receivable", "Accounts receivable", AccountType.ASSET, "what is due on invoices")
GATEWAY_CLEARING: Final = Account(
    "gateway_clearing", "Gateway clearing", AccountType.ASSET, "what gateways captured, less what they returned"
)
DISPUTED_FUNDS: Final = Account("disputed_funds", "Disputed funds", AccountType.ASSET, "what is in dispute at gateways")
DEFERRED_REVENUE: Final = Account("deferred_revenue", "Deferred revenue", AccountType.LIABILITY)
TAX_PAYABLE: Final = Account("tax_payable", "Tax payable", AccountType.LIABILITY)
REFUNDS_PAYABLE: Final = Account(
    "refunds_payable", "Refunds payable", AccountType.LIABILITY, "the refunds that are pending"
)
CUSTOMER_BALANCE: Final = Account(
    "customer_balance", "Customer balances", AccountType.LIABILITY, "cash that belongs to no invoice"
)
CUSTOMER_WALLET: Final = Account(
    "customer_wallet", "Customer wallets", AccountType.LIABILITY, "what is left in prepaid wallets"
)
CUSTOMER_CREDITS: Final = Account(
    "customer_credits", "Customer credits", AccountType.LIABILITY, "what is left of granted credits"
)
EQUITY: Final = Account("equity", "Owner's equity", AccountType.EQUITY)
OPENING_BALANCES: Final = Account("opening_balances", "Opening balances", AccountType.EQUITY)
REVENUE: Final = Account("revenue", "Revenue", AccountType.INCOME)
ALLOWANCES: Final = Account("allowances", "Refunds and allowances", AccountType.INCOME)
BREAKAGE_REVENUE: Final = Account("breakage_revenue", "Breakage revenue", AccountType.INCOME)
GATEWAY_FEES: Final = Account("gateway_fees", "Gateway fees", AccountType.EXPENSE)
BAD_DEBT: Final = Account("bad_debt", "Bad debt", AccountType.EXPENSE)
DISPUTE_LOSS: Final = Account("dispute_loss", "Dispute losses", AccountType.EXPENSE)
PROMOTIONAL_EXPENSE: Final = Account("promotional_expense", "Promotional expense", AccountType.EXPENSE)
ROUNDING_DIFFERENCE: Final = Account("rounding_difference", "Rounding differences", AccountType.EXPENSE)
EXCHANGE_DIFFERENCE: Final = Account("exchange_difference", "Exchange differences", AccountType.EXPENSE)

CHART: Final[dict[str, Account]] = {
    account.code: account
    for account in (
        CASH,
        RECEIVABLE,
        GATEWAY_CLEARING,
        DISPUTED_FUNDS,
        DEFERRED_REVENUE,
        TAX_PAYABLE,
        REFUNDS_PAYABLE,
        CUSTOMER_BALANCE,
        CUSTOMER_WALLET,
        CUSTOMER_CREDITS,
        EQUITY,
        OPENING_BALANCES,
        REVENUE,
        ALLOWANCES,
        BREAKAGE_REVENUE,
        GATEWAY_FEES,
        BAD_DEBT,
        DISPUTE_LOSS,
        PROMOTIONAL_EXPENSE,
        ROUNDING_DIFFERENCE,
        EXCHANGE_DIFFERENCE,
    )
}

CONTROL_ACCOUNTS: Final = {code: account.control for code, account in CHART.items() if account.control is not None}
"""What the balance of each control account is the sum of."""


class UnbalancedEntry(Refusal):
    """Debits and credits of an entry differ, or a posting is not positive."""

    code = "unbalanced_entry"
    kind = RefusalKind.INVALID
    param = "postings"


class UnknownAccount(Refusal):
    """The chart of accounts has no such code."""

    code = "unknown_account"
    kind = RefusalKind.INVALID
    param = "account"


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an entry: a positive amount on an account, with the customer it is about where there is one.

    `jurisdiction` is whose tax it is: a country of ISO 3166-1, or a subdivision of ISO 3166-2.
    """

    account: str
    side: Side
    amount: Money
    customer_id: str | None = None
    jurisdiction: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A balanced journal entry: per currency, debits equal credits. Raises UnbalancedEntry otherwise."""

    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        totals: dict[str, int] = {}
        for nth, posting in enumerate(self.postings):
            money = posting.amount
            if money.amount <= 0:
                refused = UnbalancedEntry(account=posting.account, amount=money.amount)
                raise refused.at(f"postings.{nth}.amount.amount")
            if posting.account not in CHART:
                raise UnknownAccount(account=posting.account).at(f"postings.{nth}.account")
            signed = money.amount if posting.side is Side.DEBIT else -money.amount
            totals[money.currency] = totals.get(money.currency, 0) + signed
        for currency, total in totals.items():
            if total:
                raise UnbalancedEntry(currency=currency, difference=total)


def debit(account: Account, amount: Money, customer_id: str | None = None, jurisdiction: str | None = None) -> Posting:
    """A debit of a positive amount."""
    return Posting(account.code, Side.DEBIT, amount, customer_id, jurisdiction)


def credit(account: Account, amount: Money, customer_id: str | None = None, jurisdiction: str | None = None) -> Posting:
    """A credit of a positive amount."""
    return Posting(account.code, Side.CREDIT, amount, customer_id, jurisdiction)


def entry(postings: Iterable[Posting]) -> Entry | None:
    """The entry of these postings, without those of zero; None where nothing is left."""
    kept = tuple(posting for posting in postings if posting.amount.amount)
    return Entry(kept) if kept else None


def transfer(amount: Money, *, debit_to: Account, credit_to: Account, customer_id: str | None = None) -> Entry | None:
    """The two-legged entry; None for an amount of zero."""
    return entry((debit(debit_to, amount, customer_id), credit(credit_to, amount, customer_id)))


def reversal(original: Entry) -> Entry:
    """The entry that undoes another: the same postings, sides swapped."""
    return Entry(
        tuple(
            Posting(
                posting.account,
                Side.CREDIT if posting.side is Side.DEBIT else Side.DEBIT,
                posting.amount,
                posting.customer_id,
                posting.jurisdiction,
            )
            for posting in original.postings
        )
    )
