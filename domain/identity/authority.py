"""Whether somebody may give others a right, as of the moment at which it is decided.

The edge has looked before, at what it remembers for a moment; here it is looked at again, in the order of the log: of
two admins who remove each other, and of a key that makes another while it is revoked, one comes too late.
"""

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network

from domain.identity.api_key import API_KEY, KeyTerms
from domain.identity.permissions import Holder, Permission, Role, permissions_of
from domain.identity.team import TEAM
from domain.identity.tenant import TENANT
from domain.identity.user import USER, UserStatus
from domain.kernel.identifiers import API_KEY as KEY_PREFIX
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Streams


class NotAllowed(Refusal):
    """Whoever asks may not decide about this, or no more: an ADMIN of the team does, or an admin's API key."""

    code = "not_allowed"
    kind = RefusalKind.FORBIDDEN


class NotSuperAdmin(Refusal):
    """Whoever looks after the cell does this, and who asks does not, or no more: the operator says who does."""

    code = "not_super_admin"
    kind = RefusalKind.FORBIDDEN


class GrantsTooMuch(Refusal):
    """Nobody gives a right that they do not have: a smaller scope, or networks and an end within the asking key's."""

    code = "grants_too_much"
    kind = RefusalKind.FORBIDDEN


def holder_of(streams: Streams, tenant_id: str, by: str, now: datetime) -> Holder | None:
    """What a user or an API key is in the tenant; None: nothing, or no more. Nobody is anything while suspended."""
    if by.startswith(KEY_PREFIX):
        key = streams.get(API_KEY, by)
        return None if key is None or key.is_over(now) else key.terms.scope
    user = streams.get(USER, by)
    if user is not None and user.status is not UserStatus.ACTIVE:
        return None
    team = streams.get(TEAM, tenant_id)
    role = None if team is None else team.role_of(by)
    if role is not None:
        return role
    tenant = streams.get(TENANT, tenant_id)
    has_entered = tenant is not None and tenant.entry_of(by, now) is not None
    return Role.SUPER_ADMIN if has_entered and is_super_admin(streams, by) else None


def is_super_admin(streams: Streams, user_id: str) -> bool:
    """Whether a user looks after the cell. The tenant `platform` says so, whichever tenant asks."""
    user = streams.get(USER, user_id)
    return user is not None and user.status is UserStatus.ACTIVE and user.is_super_admin


def person_behind(streams: Streams, actor_id: str) -> str | None:
    """The user who acts, or who was shown the API key that acts: themselves, or by a key of theirs that made it. None:
    the platform. Whoever rotates a key has its successor, and whoever had the key before has not.
    """
    while actor_id.startswith(KEY_PREFIX):
        key = streams.get(API_KEY, actor_id)
        if key is None or key.made_by is None:
            return None
        actor_id = key.made_by
    return actor_id


def check_may(streams: Streams, tenant_id: str, by: str | None, permission: Permission, now: datetime) -> None:
    """`by` None is the platform, which may. Raises NotAllowed."""
    if by is not None:
        _held(streams, tenant_id, by, permission, now)


def check_may_grant(streams: Streams, tenant_id: str, by: str | None, terms: KeyTerms, now: datetime) -> None:
    """Whether they may make such a key: a key of less than they have. Raises NotAllowed or GrantsTooMuch."""
    if by is None:
        return
    held = _held(streams, tenant_id, by, Permission.API_KEYS_WRITE, now)
    if not permissions_of(terms.scope) <= held:
        raise GrantsTooMuch(scope=terms.scope.value).at("scope")
    if by.startswith(KEY_PREFIX) and not _is_within(terms, API_KEY.of(streams, by).terms):
        raise GrantsTooMuch(api_key=by).at("allowed_networks")


def check_may_last(streams: Streams, by: str | None, terms: KeyTerms) -> None:
    """A key whose end was given makes none that lasts longer, neither its successor. Raises GrantsTooMuch."""
    if by is None or not by.startswith(KEY_PREFIX):
        return
    own = API_KEY.of(streams, by).terms
    if not own.is_end_given or own.expires_at is None:
        return
    if terms.expires_at is None or terms.expires_at > own.expires_at:
        raise GrantsTooMuch(api_key=by, expires_at=own.expires_at).at("expires_at")


def _held(streams: Streams, tenant_id: str, by: str, permission: Permission, now: datetime) -> frozenset[Permission]:
    holder = holder_of(streams, tenant_id, by, now)
    held = frozenset[Permission]() if holder is None else permissions_of(holder)
    if permission not in held:
        raise NotAllowed(permission=permission.value)
    return held


def _is_within(terms: KeyTerms, others: KeyTerms) -> bool:
    """Whether a key of these terms works from no place from which one of the others does not."""
    if not others.allowed_networks:
        return True
    outer = [ip_network(each) for each in others.allowed_networks]
    return bool(terms.allowed_networks) and all(
        any(_contains(each, ip_network(inner)) for each in outer) for inner in terms.allowed_networks
    )


def _contains(outer: IPv4Network | IPv6Network, inner: IPv4Network | IPv6Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)
