"""What an event says, as it is answered: recorded ones, and those that a dry run would record."""

from typing import Annotated, Any, Final

from pydantic import Field
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from api.http.fields import MoneyResource, money
from domain.catalogue import STREAMS
from domain.kernel.accounts import Posting, Side
from domain.kernel.stream import Topic
from infra.event_store.port import Envelope
from schemas.codec import default_codec

METADATA: Final = "metadata"
SECRET_FIELDS: Final = frozenset({"token_reference"})

OF_IDENTITY: Final = sorted(name for name, stream in STREAMS.items() if stream.topic is Topic.IDENTITY)
"""What became of members, keys, sessions and the tenant itself: for whoever may read the audit."""


class PostingResource(TypedDict):
    """One side of an entry."""

    account: str
    side: Side
    amount: MoneyResource
    customer: str | None
    jurisdiction: Annotated[str | None, Field(description="Whose tax it is.")]


def posting_resource(posting: Posting) -> PostingResource:
    """A posting as it is answered."""
    return {
        "account": posting.account,
        "side": posting.side,
        "amount": money(posting.amount),
        "customer": posting.customer_id,
        "jurisdiction": posting.jurisdiction,
    }


def data_of(event: Envelope) -> dict[str, Any]:
    """An event's fields. A gateway's token is left out."""
    fields: dict[str, Any] = from_json(to_json(default_codec().decode_event(event.payload), bytes_mode="base64"))
    if METADATA in fields:
        fields[METADATA] = dict(fields[METADATA])
    return {name: value for name, value in fields.items() if name not in SECRET_FIELDS}


def postings_of(event: Envelope) -> list[PostingResource]:
    """What an event posts."""
    if event.postings is None:
        return []
    return [posting_resource(posting) for posting in default_codec().decode_entry(event.postings).postings]
