"""The books: accounts, entries, and the trial balance of any moment in both times."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.consistency import await_reached
from api.http.facts import PostingResource, posting_resource
from api.http.fields import CustomerId, Instant, MoneyResource, money
from api.http.listing import (
    Cursor,
    ListResource,
    NoParameters,
    PageParameters,
    Parameters,
    between,
    list_example,
    list_resource,
    page_request,
    page_resource,
)
from api.http.operations import Operations
from api.http.problems import NOT_FOUND, FieldError, Problem, invalid
from api.http.wire_positions import Position
from api.resources.customers import CUSTOMERS
from domain.customers.customer import CustomerNotFound
from domain.identity.permissions import Permission
from domain.kernel.accounts import CHART, AccountType, UnknownAccount
from domain.kernel.identifiers import EVENT, is_id
from projections.models import ledger_entries as entries
from projections.models.account_balances import AccountBalance, TrialBalance, customer_accounts, trial_balance
from projections.models.ledger_entries import AsOf, FoundEntry
from projections.read_model import Projection

LEDGER: Final = Operations(
    tag="ledger",
    about="The books: double entry, recorded with the events that move money.",
    path_ids={"entry_id": EVENT},
    seen_with=Permission.LEDGER_READ,
)
LATEST_POSITION: Final = 2**63 - 1


def _of_the_chart(code: str) -> str:
    if code not in CHART:
        raise PydanticCustomError(UnknownAccount.code, "The chart of accounts has no such code")
    return code


KnownAccount = Annotated[str, AfterValidator(_of_the_chart), WithJsonSchema({"type": "string", "enum": sorted(CHART)})]


class AccountResource(TypedDict):
    """An account in one currency. `balance` is positive on the account's own side: debit for assets and expenses."""

    code: str
    object: Literal["account"]
    name: str
    type: AccountType
    currency: str
    debit: MoneyResource
    credit: MoneyResource
    balance: MoneyResource


class CurrencyBalance(TypedDict):
    """The accounts of one currency. `difference` is debits less credits: always zero."""

    currency: str
    accounts: list[AccountResource]
    debit: MoneyResource
    credit: MoneyResource
    difference: MoneyResource


class TrialBalanceResource(TypedDict):
    """The trial balance. `position` is up to where the log was known; null for all there is to read."""

    object: Literal["trial_balance"]
    as_of: datetime | None
    position: int | None
    balanced: bool
    currencies: list[CurrencyBalance]


class EntryResource(TypedDict):
    """What one event moved. `effective_at` is business time; `recorded_at` and `position` are when the log learned."""

    id: str
    object: Literal["ledger_entry"]
    event_type: str
    subject: str
    postings: list[PostingResource]
    effective_at: datetime
    recorded_at: datetime
    position: int


class MomentParameters(Parameters):
    """A moment in both times: what was effective before one, as it was known at the other."""

    as_of: Annotated[Instant | None, Field(description="Entries effective before this time; all unless given.")] = None
    known_at: Annotated[Instant | None, Field(description="As the log had it at this time.")] = None
    known_at_position: Annotated[Position | None, Field(description="As the log had it at this position.")] = None


class EntryFilters(PageParameters):
    """Which entries."""

    customer: CustomerId | None = None
    subject: Annotated[Cursor | None, Field(description="Those of one invoice, payment or journal entry.")] = None
    account: Annotated[KnownAccount | None, Field(description="Those that post to this account.")] = None
    effective_gte: Annotated[Instant | None, Field(alias="effective_at[gte]")] = None
    effective_gt: Annotated[Instant | None, Field(alias="effective_at[gt]")] = None
    effective_lte: Annotated[Instant | None, Field(alias="effective_at[lte]")] = None
    effective_lt: Annotated[Instant | None, Field(alias="effective_at[lt]")] = None


def _account(each: AccountBalance) -> AccountResource:
    return {
        "code": each.account.code,
        "object": "account",
        "name": each.account.name,
        "type": each.account.type,
        "currency": each.debit.currency,
        "debit": money(each.debit),
        "credit": money(each.credit),
        "balance": money(each.balance),
    }


def _currency(each: TrialBalance) -> CurrencyBalance:
    return {
        "currency": each.currency,
        "accounts": [_account(account) for account in each.accounts],
        "debit": money(each.debit),
        "credit": money(each.credit),
        "difference": money(each.difference),
    }


def entry_resource(found: FoundEntry) -> EntryResource:
    """An entry as it is answered."""
    return {
        "id": found.entry_id,
        "object": "ledger_entry",
        "event_type": found.event_type,
        "subject": found.stream_id,
        "postings": [posting_resource(posting) for posting in found.state.postings],
        "effective_at": found.effective_at,
        "recorded_at": found.recorded_at,
        "position": found.position,
    }


_ACCOUNT_EXAMPLE: Final[dict[str, object]] = {
    "code": "receivable",
    "object": "account",
    "name": "Accounts receivable",
    "type": "asset",
    "currency": "EUR",
    "debit": {"amount": 25000, "currency": "EUR"},
    "credit": {"amount": 0, "currency": "EUR"},
    "balance": {"amount": 25000, "currency": "EUR"},
}
_ENTRY_EXAMPLE: Final[dict[str, object]] = {
    "id": "evt_01m7ywe9z7e398x54gfbrtqnk7",
    "object": "ledger_entry",
    "event_type": "invoice.finalized",
    "subject": "in_01m7ywe9z7e398x54gfbrtqnk7",
    "postings": [
        {
            "account": "receivable",
            "side": "debit",
            "amount": {"amount": 25000, "currency": "EUR"},
            "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
            "jurisdiction": None,
        },
        {
            "account": "revenue",
            "side": "credit",
            "amount": {"amount": 25000, "currency": "EUR"},
            "customer": "cus_01m7ywe9z7e398x54gfbrtqnk7",
            "jurisdiction": None,
        },
    ],
    "effective_at": "2026-01-01T00:00:00Z",
    "recorded_at": "2026-01-01T00:00:00.004Z",
    "position": 42,
}


async def _moment(call: Call, asked: MomentParameters) -> AsOf | None:
    if asked.known_at is not None and asked.known_at_position is not None:
        raise invalid([FieldError("known_at", "ambiguous_moment", "Either a time or a position, not both")])
    if asked.model_fields_set <= set():
        return None
    position = LATEST_POSITION if asked.known_at_position is None else asked.known_at_position
    if asked.known_at_position is not None:
        await _known(call, asked.known_at_position)
    if asked.known_at is not None:
        async with call.reading() as connection:
            position = await entries.position_at(connection, call.tenant_id, asked.known_at)
    return AsOf(position=position, effective_before=asked.as_of)


async def _known(call: Call, position: int) -> None:
    """Refuse a position that the log has not come to: the answer would be another one later. What is read may be
    behind the log, and is waited for.
    """
    async with call.reading() as connection:
        head = await connection.fetchval("SELECT position FROM log.head")
    if position > head:
        raise invalid([FieldError("known_at_position", "position_ahead", "The log has not come to this position yet")])
    timeout_s = call.parts.settings.api.position_timeout_ms / 1000
    await await_reached(call.parts.positions, (Projection.LEDGER,), position, timeout_s=timeout_s)


@LEDGER.query(
    "/v1/ledger/accounts",
    answers=ListResource[AccountResource],
    example=list_example(_ACCOUNT_EXAMPLE),
    parameters=MomentParameters,
    reads=(Projection.LEDGER,),
)
async def list_accounts(call: Call, asked: MomentParameters) -> ListResource[AccountResource]:
    """List the accounts that were ever posted to, one per currency, with their balances."""
    moment = await _moment(call, asked)
    async with call.reading() as connection:
        found: Sequence[TrialBalance] = await trial_balance(connection, call.tenant_id, as_of=moment)
    data = [_account(account) for each in found for account in each.accounts]
    return list_resource(data, has_more=False, next_cursor=None)


@LEDGER.query(
    "/v1/customers/{customer_id}/accounts",
    answers=ListResource[AccountResource],
    example=list_example(_ACCOUNT_EXAMPLE),
    parameters=MomentParameters,
    refusals=(CustomerNotFound,),
    reads=(Projection.LEDGER, Projection.BILLING),
)
async def list_customer_accounts(call: Call, asked: MomentParameters) -> ListResource[AccountResource]:
    """List the accounts that were ever posted to for a customer, one per currency, with what is the customer's.

    `receivable` is what they owe on invoices, `customer_balance` their cash that belongs to no invoice.
    """
    customer_id = CUSTOMERS.id_of(call)
    moment = await _moment(call, asked) or AsOf(position=LATEST_POSITION)
    async with call.reading() as connection:
        await CUSTOMERS.row(call, connection, customer_id)
        found = await customer_accounts(connection, call.tenant_id, customer_id, as_of=moment)
    return list_resource([_account(account) for account in found], has_more=False, next_cursor=None)


@LEDGER.query(
    "/v1/ledger/trial-balance",
    answers=TrialBalanceResource,
    example={
        "object": "trial_balance",
        "as_of": "2026-02-01T00:00:00Z",
        "position": None,
        "balanced": True,
        "currencies": [
            {
                "currency": "EUR",
                "accounts": [_ACCOUNT_EXAMPLE],
                "debit": {"amount": 25000, "currency": "EUR"},
                "credit": {"amount": 25000, "currency": "EUR"},
                "difference": {"amount": 0, "currency": "EUR"},
            }
        ],
    },
    parameters=MomentParameters,
    reads=(Projection.LEDGER,),
)
async def get_trial_balance(call: Call, asked: MomentParameters) -> TrialBalanceResource:
    """Show the trial balance, now or as of a moment in both times.

    "January as we knew it on 3 February" is `as_of=2026-02-01T00:00:00Z&known_at=2026-02-03T00:00:00Z`.
    """
    moment = await _moment(call, asked)
    async with call.reading() as connection:
        found = await trial_balance(connection, call.tenant_id, as_of=moment)
    known = moment is not None and moment.position != LATEST_POSITION
    return {
        "object": "trial_balance",
        "as_of": asked.as_of,
        "position": moment.position if known and moment is not None else None,
        "balanced": all(each.difference.is_zero for each in found),
        "currencies": [_currency(each) for each in found],
    }


@LEDGER.query(
    "/v1/ledger/entries",
    answers=ListResource[EntryResource],
    example=list_example(_ENTRY_EXAMPLE),
    parameters=EntryFilters,
    reads=(Projection.LEDGER,),
)
async def list_entries(call: Call, asked: EntryFilters) -> ListResource[EntryResource]:
    """List entries, the latest effective first."""
    request = page_request(call, asked)
    effective = between(asked.effective_gte, asked.effective_gt, asked.effective_lte, asked.effective_lt)
    async with call.reading() as connection:
        page = await entries.page(
            connection,
            call.tenant_id,
            customer_id=asked.customer,
            stream_id=asked.subject,
            account=asked.account,
            effective=effective,
            request=request,
        )
    return page_resource(page, request, [entry_resource(found) for found in page.items])


@LEDGER.query(
    "/v1/ledger/entries/{entry_id}",
    answers=EntryResource,
    example=_ENTRY_EXAMPLE,
    parameters=NoParameters,
    reads=(Projection.LEDGER,),
)
async def get_entry(call: Call, _asked: NoParameters) -> EntryResource:
    """Get the entry that an event made, by the event's id."""
    wanted = call.path["entry_id"]
    if not is_id(wanted, EVENT):
        raise Problem(NOT_FOUND)
    async with call.reading() as connection:
        found = await entries.get(connection, call.tenant_id, wanted)
    if found is None:
        raise Problem(NOT_FOUND)
    return entry_resource(found)
