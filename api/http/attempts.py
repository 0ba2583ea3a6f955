"""What the auth log gets of a request: that it was refused, from where, and that an API key was used."""

from typing import TYPE_CHECKING, Final

from api.http.principal import PrincipalKind
from api.http.problems import SECOND_FACTOR_REQUIRED, WRONG_CREDENTIALS, WRONG_PASSWORD, WRONG_SECOND_FACTOR
from domain.identity.auth_event import AuthEventKind
from domain.identity.tenant import PLATFORM
from infra.identity.auth_log import AuthLog

if TYPE_CHECKING:
    from api.http.edge import Exchange

REFUSED: Final = frozenset({401, 403})
TOLD: Final = frozenset(
    kind.code for kind in (WRONG_CREDENTIALS, WRONG_PASSWORD, WRONG_SECOND_FACTOR, SECOND_FACTOR_REQUIRED)
)
"""Steps of signing in, which tell more of themselves where they are taken (`proving`), or are no failures."""


def note(auth_log: AuthLog, exchange: "Exchange", address: str) -> None:
    """Note a request that was answered."""
    principal = exchange.principal
    if exchange.status in REFUSED:
        if exchange.code in TOLD:
            return
        auth_log.record(
            AuthEventKind.REQUEST_REFUSED,
            tenant_id=principal.tenant_id or None if principal else PLATFORM,
            user_id=principal.id if principal and principal.kind is PrincipalKind.USER else None,
            actor=principal.actor if principal else None,
            session_id=principal.session if principal else None,
            code=exchange.code,
            route=exchange.route,
            address=address,
            user_agent=exchange.headers.get(b"user-agent", b"").decode("latin-1"),
            request_id=exchange.request_id,
        )
    elif principal is not None and principal.kind is PrincipalKind.API_KEY:
        auth_log.key_used(principal.id, principal.tenant_id)
