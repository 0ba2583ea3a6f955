"""The limits of identity as settings say them, in the domain's terms."""

from datetime import timedelta

from domain.identity.key_rotation import KeyLimits
from domain.identity.lockout import LockoutLimits
from domain.identity.refreshing import SessionLimits
from infra.settings import AuthSettings


def session_limits(settings: AuthSettings) -> SessionLimits:
    """How long sessions last."""
    return SessionLimits(
        idle=timedelta(seconds=settings.session_idle_s),
        longest=timedelta(seconds=settings.session_max_s),
        grace=timedelta(seconds=settings.refresh_grace_s),
    )


def lockout_limits(settings: AuthSettings) -> LockoutLimits:
    """When a log-in has to wait."""
    return LockoutLimits(
        account_failures=settings.account_failures,
        address_failures=settings.address_failures,
        first_wait=timedelta(seconds=settings.lockout_first_s),
        longest_wait=timedelta(seconds=settings.lockout_max_s),
        forgotten_after=timedelta(seconds=settings.lockout_forget_s),
    )


def key_limits(settings: AuthSettings) -> KeyLimits:
    """How long signing keys live. A process that has not looked for a while signs with the one before."""
    return KeyLimits(
        life=timedelta(days=settings.signing_key_days),
        notice=timedelta(hours=settings.signing_key_notice_h),
        token_life=timedelta(seconds=settings.access_token_s + settings.token_leeway_s + settings.signing_keys_cache_s),
    )
