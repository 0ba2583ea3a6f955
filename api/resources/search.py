"""One search over everything that a principal may see."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.call import Call
from api.http.fields import text
from api.http.listing import Limit, Parameters
from api.http.operations import Operations
from api.http.resource import Resource
from api.resources.approvals import APPROVALS
from api.resources.credit_notes import CREDIT_NOTES
from api.resources.customers import CUSTOMERS
from api.resources.invoices import INVOICES
from api.resources.journal_entries import JOURNAL_ENTRIES
from api.resources.payment_methods import PAYMENT_METHODS
from api.resources.payments import PAYMENTS
from api.resources.plans import PLANS
from api.resources.prices import PRICES
from api.resources.products import PRODUCTS
from api.resources.refunds import REFUNDS
from api.resources.subscriptions import SUBSCRIPTIONS
from domain.identity.permissions import Permission
from domain.identity.search_terms import searched
from domain.kernel.refusal import Refusal, RefusalKind
from projections import search as found_by
from projections.reading import Reader
from projections.search import Hit

QUERY_CHARS_MAX: Final = 200
LIMIT: Final = 20
_ID_MIN_CHARS: Final = 2
"""Of an id behind its prefix, before what begins so is looked for."""

RESOURCES: Final[tuple[Resource[Any], ...]] = (
    CUSTOMERS,
    SUBSCRIPTIONS,
    INVOICES,
    CREDIT_NOTES,
    PAYMENTS,
    REFUNDS,
    PAYMENT_METHODS,
    PRODUCTS,
    PLANS,
    PRICES,
    JOURNAL_ENTRIES,
    APPROVALS,
)
_BY_NAME: Final = {resource.name: resource for resource in RESOURCES}
_BY_TABLE: Final = {resource.table.name: resource for resource in RESOURCES}
_NUMBERED: Final[tuple[Resource[Any], ...]] = (INVOICES, CREDIT_NOTES)
_EXTERNAL: Final = ((CUSTOMERS, "customer.external_id"), (PRICES, "price.external_id"))
"""What bears other systems' ids, and the kind of claim that says which."""
TYPES: Final = tuple(_BY_NAME)

Kind = Literal[
    "customer",
    "subscription",
    "invoice",
    "credit_note",
    "payment",
    "refund",
    "payment_method",
    "product",
    "plan",
    "price",
    "journal_entry",
    "approval",
]
MatchedBy = Literal["id", "number", "external_id", "person", "text"]


class SearchParameters(Parameters):
    """What is looked for."""

    q: Annotated[
        str,
        text(QUERY_CHARS_MAX),
        Field(
            description="An id or its beginning, a document's number, another system's id, a customer's whole e-mail "
            "address, words of a customer's name, or words of the catalogue and of memos."
        ),
    ]
    type: Annotated[tuple[Kind, ...], Field(alias="type[]", max_length=len(TYPES), description="Only these.")] = ()
    limit: Limit | None = None


class SearchHit(TypedDict):
    """Something that was found. `title` is what people call it, where it says so itself; `matched` is what it was
    found by.
    """

    object: Literal["search_hit"]
    type: Kind
    id: str
    title: str | None
    matched: MatchedBy
    url: str


class SearchResource(TypedDict):
    """What was found, the surest first: by id, by number, by another system's id, by person, and then by words."""

    object: Literal["search"]
    data: list[SearchHit]


class InvalidSearch(Refusal):
    """Say what is looked for: a word, a number or an id."""

    code = "invalid_search"
    kind = RefusalKind.INVALID
    param = "q"


SEARCH: Final = Operations(
    tag="search",
    about="Finding things by what people know of them.",
    seen_with=Permission.INVOICES_READ,
)


@SEARCH.query(
    "/v1/search",
    answers=SearchResource,
    example={
        "object": "search",
        "data": [
            {
                "object": "search_hit",
                "type": "customer",
                "id": "cus_01m7ywe9z7e398x54gfbrtqnk7",
                "title": "Ada Lovelace",
                "matched": "person",
                "url": "/v1/customers/cus_01m7ywe9z7e398x54gfbrtqnk7",
            }
        ],
    },
    parameters=SearchParameters,
    refusals=(InvalidSearch,),
    reads=tuple(dict.fromkeys(resource.table.projection for resource in RESOURCES)),
)
async def search(call: Call, asked: SearchParameters) -> SearchResource:
    """Search everything that you may see; what you may not is left out.

    Customers are found by their whole e-mail address or by whole words of their name, without case or accents, by
    whoever sees them unmasked. Words of products, plans, memos and descriptions are found as a web search would:
    `"a phrase"`, `or`, `-without`. What is searched for is kept in no log.
    """
    wanted = asked.q.strip()
    if not wanted:
        raise InvalidSearch
    most = asked.limit or LIMIT
    seen = {
        resource.name
        for resource in RESOURCES
        if resource.seen_with in call.principal.permissions and (not asked.type or resource.name in asked.type)
    }
    hits: dict[str, SearchHit] = {}
    async with call.reading() as connection:
        for matched, each in (
            ("id", await _by_id(call, connection, wanted, seen, most)),
            ("number", await _by_number(call, connection, wanted, seen, most)),
            ("external_id", await _by_external_id(call, connection, wanted, seen, most)),
            ("person", await _by_person(call, connection, wanted, seen, most)),
            ("text", await _by_text(connection, wanted, seen, most)),
        ):
            for hit in each:
                hits.setdefault(hit.id, _shown(hit, matched))  # type: ignore[arg-type]
    return {"object": "search", "data": list(hits.values())[:most]}


def _shown(hit: Hit, matched: MatchedBy) -> SearchHit:
    resource = _BY_TABLE[hit.kind]
    kind: Any = resource.name
    return {
        "object": "search_hit",
        "type": kind,
        "id": hit.id,
        "title": hit.said,
        "matched": matched,
        "url": f"{resource.path}/{hit.id}",
    }


async def _by_id(call: Call, connection: Reader, wanted: str, seen: set[str], most: int) -> list[Hit]:
    for resource in RESOURCES:
        rest = wanted.removeprefix(resource.prefix)
        if resource.name in seen and rest != wanted and len(rest) >= _ID_MIN_CHARS:
            return await found_by.ids(connection, resource.table, call.tenant_id, wanted, most)
    return []


async def _by_number(call: Call, connection: Reader, wanted: str, seen: set[str], most: int) -> list[Hit]:
    return [
        hit
        for resource in _NUMBERED
        if resource.name in seen
        for hit in await found_by.numbers(connection, resource.table, call.tenant_id, wanted, most)
    ]


async def _by_external_id(call: Call, connection: Reader, wanted: str, seen: set[str], most: int) -> list[Hit]:
    return [
        hit
        for resource, claim in _EXTERNAL
        if resource.name in seen
        for hit in await found_by.external_ids(connection, call.tenant_id, resource.table.name, claim, wanted, most)
    ]


async def _by_person(call: Call, connection: Reader, wanted: str, seen: set[str], most: int) -> list[Hit]:
    """Whoever sees people masked is told by no search who somebody is."""
    terms = searched(wanted)
    if CUSTOMERS.name not in seen or call.principal.masked or not terms:
        return []
    return await found_by.people(connection, call.parts.vault, call.tenant_id, terms, most)


async def _by_text(connection: Reader, wanted: str, seen: set[str], most: int) -> list[Hit]:
    kinds = [resource.table.name for resource in RESOURCES if resource.table.texts and resource.name in seen]
    return await found_by.texts(connection, wanted, kinds, most) if kinds else []
