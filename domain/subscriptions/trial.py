"""A trial: it begins, it is extended, or ended before its time, as long as it runs."""

from dataclasses import dataclass
from datetime import datetime

from domain.kernel.refusal import Refusal, RefusalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTrialStarted:
    """Its time to begin has come, and its trial runs. Of one that begins at once its creation says so."""

    subscription_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTrialExtended:
    """It ends later, and period 0 begins then."""

    subscription_id: str
    trial_end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionTrialEnded:
    """It was ended before its time; period 0 begins at that instant."""

    subscription_id: str
    trial_end: datetime


class SubscriptionNotTrialing(Refusal):
    """The subscription is in no trial: none was agreed, it is over, or it is still to begin."""

    code = "subscription_not_trialing"


class TrialNotExtended(Refusal):
    """A trial is extended to a time after its present end: name a later one, or end it now."""

    code = "trial_not_extended"
    kind = RefusalKind.INVALID
    param = "trial_end"
