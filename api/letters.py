"""The letters that people get. Each link bears its token in the fragment, which no browser sends and no server logs,
and begins with the address that settings say: what a Host header says is somebody else's word.
"""

from typing import Final, Protocol

from api.http.callers import public_url
from infra.mail.port import Letter
from infra.settings import Settings

_FOOT: Final = "\n\nIf you did not ask for this, you need do nothing: without the link nothing happens.\n"
_HOURS: Final = 3_600


def link(settings: Settings, page: str, token: str) -> str:
    """A link that is good once."""
    return f"{public_url(settings)}/{page}#token={token}"


def reset(settings: Settings, to: str, token: str) -> Letter:
    """To whoever forgot their password."""
    return Letter(
        to=to,
        subject="Choose another password",
        text=f"Choose another password here, within {_lasts(settings.auth.reset_lasts_s)}:\n\n"
        f"{link(settings, 'reset-password', token)}{_FOOT}",
    )


def verification(settings: Settings, to: str, token: str) -> Letter:
    """To whoever registered, or somebody in their name."""
    return Letter(
        to=to,
        subject="Is this your address?",
        text=f"Somebody registered with this address. If it was you, say so within "
        f"{_lasts(settings.auth.verification_lasts_s)}:\n\n{link(settings, 'verify-email', token)}{_FOOT}",
    )


def registered_already(settings: Settings, to: str) -> Letter:
    """To whoever is known, and was registered again."""
    return Letter(
        to=to,
        subject="You are registered already",
        text="Somebody registered with this address, which has a user already. If it was you and you have forgotten "
        f"your password, choose another one here:\n\n{public_url(settings)}/forgot-password{_FOOT}",
    )


def invitation(settings: Settings, to: str, token: str, *, tenant_name: str) -> Letter:
    """To whoever is to join a team."""
    return Letter(
        to=to,
        subject=f"Join {' '.join(tenant_name.split())}",
        text=f"You are invited to join {tenant_name}. Accept within {_lasts(settings.auth.invitation_lasts_s)}:\n\n"
        f"{link(settings, 'accept-invitation', token)}{_FOOT}",
    )


def token_reused(settings: Settings, to: str) -> Letter:
    """To whoever's refresh token is in two hands."""
    return Letter(
        to=to,
        subject="A session was ended: its token was used twice",
        text="One of your programs' sessions was ended, because a token of it was used a second time: somebody may "
        "have copied it. Sign in again where you need it. If you do not know why this happened, look at your sessions "
        f"and change your password:\n\n{public_url(settings)}/\n",
    )


def second_factors_changed(settings: Settings, to: str) -> Letter:
    """To whoever's second factors or recovery codes have changed."""
    return Letter(
        to=to,
        subject="Your second factors were changed",
        text="A second factor of yours was added or removed, or your recovery codes were made anew. If it was not you, "
        f"somebody knows your password: choose another one at once, and look at your second factors:\n\n"
        f"{public_url(settings)}/\n",
    )


class OfLink(Protocol):
    """A letter about how a foreign issuer knows a member."""

    def __call__(self, settings: Settings, to: str, *, issuer: str, tenant_name: str) -> Letter:
        """To the member."""
        ...


def identity_linked(settings: Settings, to: str, *, issuer: str, tenant_name: str) -> Letter:
    """To whoever a foreign issuer's tokens now stand for."""
    return Letter(
        to=to,
        subject="Another issuer's tokens act as you",
        text=f"In {' '.join(tenant_name.split())}, programs that show an access token of\n\n{issuer}\n\nfor a subject "
        "that was named there now act as you, as far as your role goes. If you do not know of it, ask whoever looks "
        f"after your team at once: they see the link, and remove it.\n\n{public_url(settings)}/\n",
    )


def identity_unlinked(settings: Settings, to: str, *, issuer: str, tenant_name: str) -> Letter:
    """To whoever a foreign issuer's tokens stood for until now."""
    return Letter(
        to=to,
        subject="Another issuer's tokens act as you no more",
        text=f"In {' '.join(tenant_name.split())}, programs that show an access token of\n\n{issuer}\n\nno longer act "
        "as you: the link was removed. If you use such programs and do not know of it, ask whoever looks after your "
        f"team.\n\n{public_url(settings)}/\n",
    )


def _lasts(seconds: int) -> str:
    hours = seconds // _HOURS
    if hours >= 48:
        return f"{hours // 24} days"
    if hours >= 1:
        return f"{hours} hour{'s' if hours > 1 else ''}"
    return f"{seconds // 60} minutes"
