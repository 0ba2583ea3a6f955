"""An API key that ends soon is told so with each answer, so that whoever runs the program makes another in time."""

from datetime import datetime, timedelta
from typing import Final

from api.http.principal import Principal
from api.http.replies import Header

NAME: Final = b"tallybook-key-expires"


def notice(principal: Principal | None, now: datetime, before: timedelta) -> tuple[Header, ...]:
    """The header from so long before the key's end."""
    if principal is None or principal.expires_at is None or principal.expires_at - now > before:
        return ()
    return ((NAME, principal.expires_at.isoformat(timespec="seconds").replace("+00:00", "Z").encode()),)
