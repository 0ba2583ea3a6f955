"""API keys: what programs may do in the tenant, from where and until when. A key itself is shown once."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field
from typing_extensions import TypedDict

from api.http.access_rows import page_by_id
from api.http.call import Call
from api.http.changes import Kept, Partial
from api.http.fields import Body, Instant, Line, NoBody, text
from api.http.listing import (
    ListResource,
    NoParameters,
    PageParameters,
    list_example,
    page_request,
    page_resource,
)
from api.http.operations import Intention, Operations
from domain.identity.api_key import (
    API_KEY,
    LIMIT_MAX,
    NETWORKS_MAX,
    OVERLAP_MAX,
    ApiKeyIsOver,
    ApiKeyIsRotated,
    ApiKeyNotFound,
    CreateApiKey,
    InvalidApiKeyTerms,
    KeyLimits,
    KeyTerms,
    RevokeApiKey,
    RotateApiKey,
    UpdateApiKey,
    access_row,
)
from domain.identity.authority import GrantsTooMuch, NotAllowed
from domain.identity.permissions import Permission, Scope
from domain.kernel.access import ApiKeyAccess
from domain.kernel.identifiers import API_KEY as PREFIX
from domain.kernel.stream import Command, Streams
from domain.kernel.tenant_mode import TenantMode
from domain.kernel.unchanged import Unchanged
from infra.clock import system_clock
from infra.event_store.port import Credential, CredentialKind
from infra.identity.new_api_keys import NewKey, make_key

_ID: Final = "key_01m7ywe9z7e398x54gfbrtqnk7"
_SUCCESSOR: Final = "key_01m7ywe9z7e398x54gfbrtqnk8"
_HOUR: Final = timedelta(hours=1)
OVERLAP_DEFAULT_H: Final = 24
_OVERLAP_MAX_H: Final = OVERLAP_MAX // _HOUR

Network = Annotated[str, text(50), Field(examples=["192.0.2.0/24"])]
Networks = Annotated[tuple[Network, ...], Field(max_length=NETWORKS_MAX, strict=False)]
PerHour = Annotated[int, Field(ge=1, le=LIMIT_MAX)]


class Limits(Body):
    """Requests an hour by the class of the operation; null: as for every key."""

    reads_per_hour: PerHour | None = None
    writes_per_hour: PerHour | None = None
    admin_per_hour: PerHour | None = None

    @property
    def value(self) -> KeyLimits:
        return KeyLimits(
            reads_per_hour=self.reads_per_hour,
            writes_per_hour=self.writes_per_hour,
            admin_per_hour=self.admin_per_hour,
        )


class NewApiKey(Body):
    """A key to be. Its scope, and the networks that it works from, are at most those of whoever asks."""

    name: Line
    scope: Scope
    expires_at: Annotated[
        Instant | None, Field(description="When it ends: in 90 days if left out; null: when it is revoked.")
    ] = None
    allowed_networks: Annotated[Networks, Field(description="Where it works from; none: from everywhere.")] = ()
    limits: Limits = Limits()


class ApiKeyChange(Partial):
    """What a key is called, where it works from and how often. What it is for takes another key."""

    name: Kept[Line]
    allowed_networks: Kept[Networks]
    limits: Kept[Limits]


class Rotation(Body):
    """How long the key goes on beside its successor, and when that one ends."""

    overlap_hours: Annotated[int, Field(ge=0, le=_OVERLAP_MAX_H)] = OVERLAP_DEFAULT_H
    expires_at: Annotated[
        Instant | None,
        Field(
            description="When the successor ends. Left out: when the key does, if that was said as it was made, else "
            "in 90 days; null: never by itself."
        ),
    ] = None


class LimitsResource(TypedDict):
    """Requests an hour; null: as for every key."""

    reads_per_hour: int | None
    writes_per_hour: int | None
    admin_per_hour: int | None


class ApiKeyResource(TypedDict):
    """An API key. `secret` is the key itself, which is in the first answer to whoever made it and nowhere else: not in
    a repeat of that request either. `prefix` is the part of it by which it is known again. `rotated_to` is its
    successor; `last_used_at` is at most a minute behind.
    """

    id: str
    object: Literal["api_key"]
    name: str
    prefix: str
    scope: Scope
    status: Literal["active", "expired", "revoked"]
    allowed_networks: list[str]
    limits: LimitsResource
    created: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_to: str | None
    last_used_at: datetime | None
    secret: str | None


_EXAMPLE: Final[dict[str, object]] = {
    "id": _ID,
    "object": "api_key",
    "name": "nightly imports",
    "prefix": "tbk_live_k3v7c2xq",
    "scope": "write",
    "status": "active",
    "allowed_networks": ["192.0.2.0/24"],
    "limits": {"reads_per_hour": None, "writes_per_hour": 1000, "admin_per_hour": None},
    "created": "2026-01-01T00:00:00Z",
    "expires_at": "2026-04-01T00:00:00Z",
    "revoked_at": None,
    "rotated_to": None,
    "last_used_at": "2026-01-31T12:00:00Z",
    "secret": None,
}
_MADE: Final = {**_EXAMPLE, "last_used_at": None, "secret": "tbk_live_k3v7c2xq_…"}

API_KEYS: Final = Operations(
    tag="api keys",
    about="What programs may do, from where and until when. The key itself is shown once.",
    path_ids={"api_key_id": PREFIX},
    seen_with=Permission.API_KEYS_READ,
    changed_with=Permission.API_KEYS_WRITE,
)
_ONE: Final = "/v1/api-keys/{api_key_id}"
_COLUMNS: Final = tuple(field.name for field in fields(ApiKeyAccess))
_SELECT: Final = f"""
SELECT {", ".join(f"k.{name}" for name in _COLUMNS)}, t.mode, u.used_at
FROM access.api_keys k JOIN access.tenants t USING (tenant_id) LEFT JOIN access.api_key_uses u USING (key_id)
"""  # noqa: S608  our own names


@API_KEYS.command(
    "POST",
    "/v1/api-keys",
    body=NewApiKey,
    body_example={"name": "nightly imports", "scope": "write", "allowed_networks": ["192.0.2.0/24"]},
    answers=ApiKeyResource,
    example=_MADE,
    status=201,
    refusals=(InvalidApiKeyTerms, NotAllowed, GrantsTooMuch),
)
async def create_api_key(call: Call, body: NewApiKey) -> Intention:
    """Make an API key, which is shown once.

    The answer has it in `secret`; it is not stored, so that a repeat of the request tells everything but the key. Where
    the first answer was lost, rotate the key with `overlap_hours` 0, or revoke it and make another.
    """
    key = make_key(call.mode)
    terms = KeyTerms(
        name=body.name,
        scope=body.scope,
        expires_at=_end(call, body),
        is_end_given=body.expires_at is not None,
        allowed_networks=body.allowed_networks,
        limits=body.limits.value,
    )
    command = CreateApiKey(
        tenant_id=call.tenant_id, key_id=key.key_id, prefix=key.prefix, terms=terms, by=call.principal.id
    )
    return _made(call, key, command)


@API_KEYS.command(
    "PATCH",
    _ONE,
    body=ApiKeyChange,
    body_example={"name": "hourly imports"},
    answers=ApiKeyResource,
    example={**_EXAMPLE, "name": "hourly imports"},
    refusals=(ApiKeyNotFound, ApiKeyIsOver, InvalidApiKeyTerms, NotAllowed, GrantsTooMuch),
)
async def update_api_key(call: Call, body: ApiKeyChange) -> Intention:
    """Change what an API key is called, where it works from and how often.

    What is left out stays. Its scope and its end do not change: another key has another scope, and `/rotate` makes one
    with another end.
    """
    key_id = _id_of(call)
    limits = body.limits if isinstance(body.limits, Unchanged) else body.limits.value
    command = UpdateApiKey(
        tenant_id=call.tenant_id,
        key_id=key_id,
        name=body.name,
        allowed_networks=body.allowed_networks,
        limits=limits,
        by=call.principal.id,
    )
    return await _changed(call, key_id, command)


@API_KEYS.command(
    "POST",
    f"{_ONE}/rotate",
    body=Rotation,
    body_example={"overlap_hours": 24},
    answers=ApiKeyResource,
    example={**_MADE, "id": _SUCCESSOR},
    status=201,
    refusals=(ApiKeyNotFound, ApiKeyIsOver, ApiKeyIsRotated, InvalidApiKeyTerms, NotAllowed, GrantsTooMuch),
)
async def rotate_api_key(call: Call, body: Rotation) -> Intention:
    """Make an API key's successor, on the same terms; the key itself works for a while more.

    The answer is the successor, and has it in `secret` once, as when a key is made. The key that is replaced works for
    `overlap_hours`, 24 unless you say otherwise and 168 at most, and never longer than it would have. A key has one
    successor. A key may rotate itself; one whose end was said makes none that lasts longer.
    """
    key_id = _id_of(call)
    successor = make_key(call.mode)
    command = RotateApiKey(
        tenant_id=call.tenant_id,
        key_id=key_id,
        successor_id=successor.key_id,
        successor_prefix=successor.prefix,
        successor_expires_at=_end(call, body),
        is_end_given="expires_at" in body.model_fields_set,
        overlap=body.overlap_hours * _HOUR,
        by=call.principal.id,
    )
    return _made(call, successor, command)


@API_KEYS.command(
    "POST",
    f"{_ONE}/revoke",
    body=NoBody,
    answers=ApiKeyResource,
    example={**_EXAMPLE, "status": "revoked", "revoked_at": "2026-02-01T00:00:00Z"},
    refusals=(ApiKeyNotFound, NotAllowed),
)
async def revoke_api_key(call: Call, _body: NoBody) -> Intention:
    """Revoke an API key, for good and at once.

    A key may revoke itself: that is the last that it does.
    """
    key_id = _id_of(call)
    return await _changed(call, key_id, RevokeApiKey(tenant_id=call.tenant_id, key_id=key_id, by=call.principal.id))


@API_KEYS.query(_ONE, answers=ApiKeyResource, example=_EXAMPLE, parameters=NoParameters, refusals=(ApiKeyNotFound,))
async def get_api_key(call: Call, _asked: NoParameters) -> ApiKeyResource:
    """Get an API key."""
    key_id = _id_of(call)
    async with call.reading() as connection:
        row = await connection.fetchrow(f"{_SELECT} WHERE k.tenant_id = $1 AND k.key_id = $2", call.tenant_id, key_id)
    if row is None:
        raise ApiKeyNotFound(api_key=key_id)
    return _resource(dict(row))


@API_KEYS.query(
    "/v1/api-keys",
    answers=cast("Any", ListResource)[ApiKeyResource],
    example=list_example(_EXAMPLE),
    parameters=PageParameters,
)
async def list_api_keys(call: Call, asked: PageParameters) -> object:
    """List API keys, newest first.

    Those that have expired or were revoked are among them.
    """
    request = page_request(call, asked)
    async with call.reading() as connection:
        found = await page_by_id(connection, _SELECT, "k.key_id", {"k.tenant_id": call.tenant_id}, request)
    return page_resource(found, request, [_resource(dict(row)) for row in found.items])


def _id_of(call: Call) -> str:
    return call.id("api_key_id", PREFIX, ApiKeyNotFound)


def _end(call: Call, body: NewApiKey | Rotation) -> datetime | None:
    """When a key that is made now ends."""
    days = call.parts.settings.auth.api_key_days
    if "expires_at" in body.model_fields_set or not days:
        return body.expires_at
    return system_clock() + timedelta(days=days)


def _made(call: Call, key: NewKey, command: Command) -> Intention:
    """The intention of a command that makes this key."""
    return Intention(
        command=command,
        render=lambda streams: _decided(streams, key.key_id, call.mode, None),
        location=f"/v1/api-keys/{key.key_id}",
        credentials=(Credential(CredentialKind.API_KEY, key.key_id, key.sha256),),
        shows_once={"secret": key.secret},
    )


async def _changed(call: Call, key_id: str, command: Command) -> Intention:
    async with call.reading() as connection:
        used_at = await connection.fetchval(
            "SELECT used_at FROM access.api_key_uses WHERE tenant_id = $1 AND key_id = $2", call.tenant_id, key_id
        )
    return Intention(command=command, render=lambda streams: _decided(streams, key_id, call.mode, used_at))


def _decided(streams: Streams, key_id: str, mode: TenantMode, used_at: datetime | None) -> ApiKeyResource:
    """The key as decided, from the same rows that the decision writes."""
    key = API_KEY.of(streams, key_id)
    row = access_row(key)
    return _resource({**{name: getattr(row, name) for name in _COLUMNS}, "mode": mode, "used_at": used_at})


def _resource(row: Mapping[str, Any]) -> ApiKeyResource:
    return {
        "id": row["key_id"],
        "object": "api_key",
        "name": row["name"],
        "prefix": f"tbk_{row['mode']}_{row['prefix']}",
        "scope": Scope(row["scope"]),
        "status": _status(row["revoked_at"], row["expires_at"]),
        "allowed_networks": list(row["allowed_networks"]),
        "limits": {
            "reads_per_hour": row["reads_per_hour"],
            "writes_per_hour": row["writes_per_hour"],
            "admin_per_hour": row["admin_per_hour"],
        },
        "created": row["created_at"],
        "expires_at": row["expires_at"],
        "revoked_at": row["revoked_at"],
        "rotated_to": row["successor_id"],
        "last_used_at": row["used_at"],
        "secret": None,
    }


def _status(revoked_at: datetime | None, expires_at: datetime | None) -> Literal["active", "expired", "revoked"]:
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= system_clock() else "active"
