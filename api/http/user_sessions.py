"""Users who signed in: by the cookie of a browser, or by the access token of a program.

A token's signature alone lets nobody in: its session must be live, or the foreign issuer's subject linked. What counts
is the role that the membership has at the request, whatever the token says.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from api.http.principal import (
    OWN_PROFILE,
    Principal,
    PrincipalKind,
    of_platform,
    principal_of,
    unplaced,
    unplaced_elsewhere,
)
from api.http.problems import TENANT_MISMATCH, Problem
from api.http.remembered import Remembered, digest_of
from domain.identity.tenant import PLATFORM
from infra.identity.access_tokens import ForeignToken, InvalidToken
from infra.identity.opening import Identity
from infra.identity.signed_in import Entered, Membership, SignedIn
from infra.identity.signing_keys import NoSigningKey

SEEN_EVERY: Final = timedelta(minutes=1)
"""How often it is noted that a session is used: it ends by being idle, which nobody measures in seconds."""


class User(NamedTuple):
    """A user who signed in, and the principal that they are in each of their tenants. No session: elsewhere, with a
    foreign issuer.
    """

    session_id: str | None
    is_browser: bool
    principals: Mapping[str, Principal]
    default: Principal

    def principal(self, tenant: str | None) -> Principal:
        """Who asks, in the tenant that is named; without one, in the only one there is, or in none."""
        if tenant is None:
            return self.default
        found = self.principals.get(tenant)
        if found is None:
            # The same whether the tenant exists, and whether its team has never heard of this user.
            raise Problem(TENANT_MISMATCH, param="X-Tenant-ID")
        return found


class UserSessions:
    """Finds users by what they show; whoever was found is remembered for `cache_s`, or until `forget`."""

    def __init__(self, identity: Identity, *, cache_s: float, max_users: int) -> None:
        self._identity = identity
        self._found: Remembered[User] = Remembered(lasts_s=cache_s, entries_max=max_users)

    def forget(self) -> None:
        """Believe nothing that was found before: who may do what has changed."""
        self._found.forget()

    def held(self, secret: str) -> User | None:
        """The user of a cookie or a token that was checked a moment ago."""
        return self._found.get(digest_of(secret))

    async def by_cookie(self, secret: str) -> User | None:
        """The user of a cookie's secret."""
        now = self._identity.clock()
        forgotten = self._found.forgotten
        signed_in = await self._identity.users.by_cookie(secret, now)
        return await self._remember(secret, signed_in, now, forgotten, bound_to=None)

    async def by_token(self, token: str) -> User | None:
        """The user of an access token. Why one is not valid is nothing for whoever sent it."""
        identity = self._identity
        now = identity.clock()
        forgotten = self._found.forgotten
        try:
            keys = await identity.keys_in_hand.get(now, kid=identity.tokens.key_id(token))
            found = identity.tokens.verify(keys, token, now)
        except (InvalidToken, NoSigningKey):
            return None
        if isinstance(found, ForeignToken):
            return await self._by_foreign(token, found, now, forgotten)
        signed_in = await identity.users.by_session(found.session_id, now)
        if signed_in is None or signed_in.session.user_id != found.user_id:
            return None
        if signed_in.session.tenant_id != found.tenant_id:
            return None
        return await self._remember(token, signed_in, now, forgotten, bound_to=found.tenant_id, until=found.expires_at)

    async def _by_foreign(self, token: str, found: ForeignToken, now: datetime, forgotten: int) -> User | None:
        digest = digest_of(token)
        linked = await self._identity.users.by_subject(found.issuer, found.subject)
        if not linked:
            self._found.drop(digest)
            return None
        user = _linked(linked)
        self._found.put(digest, user, ends_in_s=(found.expires_at - now).total_seconds(), forgotten=forgotten)
        return user

    async def _remember(
        self,
        secret: str,
        signed_in: SignedIn | None,
        now: datetime,
        forgotten: int,
        *,
        bound_to: str | None,
        until: datetime | None = None,
    ) -> User | None:
        digest = digest_of(secret)
        if signed_in is None:
            self._found.drop(digest)
            return None
        session = signed_in.session
        if now - session.seen_at >= SEEN_EVERY:
            await self._identity.sessions.seen(session.session_id, now)
        user = _user(signed_in, bound_to)
        entries_end = (each.ends_at for each in signed_in.entered)
        ends_at = min(filter(None, (session.idle_ends_at, session.ends_at, until, *entries_end)))
        self._found.put(digest, user, ends_in_s=(ends_at - now).total_seconds(), forgotten=forgotten)
        return user


def _user(signed_in: SignedIn, bound_to: str | None) -> User:
    session = signed_in.session
    principals = {
        each.tenant_id: _principal_in(signed_in, each)
        for each in signed_in.memberships
        if bound_to in (None, each.tenant_id)
    }
    if len(principals) == 1:
        (default,) = principals.values()
    else:
        default = unplaced(session.user_id, session.session_id, session.confirmed_at)
    if signed_in.is_super_admin and bound_to is None:
        # Where they are no member they say each time where they are: nobody changes a tenant for want of a header.
        principals |= {each.membership.tenant_id: _principal_of_entry(signed_in, each) for each in signed_in.entered}
        principals[PLATFORM] = of_platform(session.user_id, session.session_id, session.confirmed_at)
        if not default.tenant_id:
            default = principals[PLATFORM]
    return User(session.session_id, bound_to is None, principals, default)


def _linked(linked: Sequence[tuple[str, Membership]]) -> User:
    """Whoever a foreign issuer knows, in each tenant that linked them. They act by their role; but their profile and
    their sessions are theirs in every tenant, and no tenant's link gives them away.
    """
    principals: dict[str, Principal] = {}
    for user_id, place in linked:
        found = principal_of(
            PrincipalKind.USER,
            place.role,
            tenant_id=place.tenant_id,
            principal_id=user_id,
            mode=place.mode,
            is_suspended=place.is_suspended,
        )
        principals[place.tenant_id] = found._replace(permissions=found.permissions - OWN_PROFILE)
    if len(principals) == 1:
        (default,) = principals.values()
    else:
        default = unplaced_elsewhere(linked[0][0])
    return User(session_id=None, is_browser=False, principals=principals, default=default)


def _principal_of_entry(signed_in: SignedIn, entry: Entered) -> Principal:
    """The principal that whoever looks after the cell is in a tenant that they entered."""
    found = _principal_in(signed_in, entry.membership)
    return found._replace(has_entered=True, masked=not entry.is_revealed)


def _principal_in(signed_in: SignedIn, membership: Membership) -> Principal:
    """The principal that a user is in one of their tenants."""
    session = signed_in.session
    return principal_of(
        PrincipalKind.USER,
        membership.role,
        tenant_id=membership.tenant_id,
        principal_id=session.user_id,
        mode=membership.mode,
        session=session.session_id,
        is_suspended=membership.is_suspended,
    )._replace(confirmed_at=session.confirmed_at)
