"""Customers at the portal, by the cookie that they got for their merchant's link."""

from typing import NamedTuple

from api.http.principal import Principal, PrincipalKind, principal_of
from api.http.remembered import Remembered, digest_of
from domain.identity.permissions import Role
from infra.identity.opening import Identity


class Visit(NamedTuple):
    """A customer's visit, and the principal that they are in it."""

    session_id: str
    principal: Principal


class PortalVisits:
    """Finds visits by cookie; one that was found is remembered for `cache_s`, or until `forget`."""

    def __init__(self, identity: Identity, *, cache_s: float, max_visits: int) -> None:
        self._identity = identity
        self._found: Remembered[Visit] = Remembered(lasts_s=cache_s, entries_max=max_visits)

    def forget(self) -> None:
        """Believe nothing that was found before: who may do what has changed."""
        self._found.forget()

    def held(self, secret: str) -> Visit | None:
        """The visit of a cookie that was checked a moment ago."""
        return self._found.get(digest_of(secret))

    async def by_cookie(self, secret: str) -> Visit | None:
        """The visit of a cookie's secret."""
        now, forgotten, digest = self._identity.clock(), self._found.forgotten, digest_of(secret)
        session = await self._identity.portal.by_cookie(secret, now)
        if session is None:
            self._found.drop(digest)
            return None
        principal = principal_of(
            PrincipalKind.CUSTOMER,
            Role.CUSTOMER,
            tenant_id=session.tenant_id,
            principal_id=session.customer_id,
            mode=session.mode,
            session=session.session_id,
            is_suspended=session.is_suspended,
        )._replace(plan_ids=session.plan_ids)
        visit = Visit(session.session_id, principal)
        ends_in_s = (session.ends_at - now).total_seconds()
        self._found.put(digest, visit, ends_in_s=ends_in_s, forgotten=forgotten)
        return visit
