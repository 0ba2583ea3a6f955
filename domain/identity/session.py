"""A session: a user signed in, until it ends. Its secret and every failed attempt are no facts, and lie elsewhere.

It is published under its user's key, so that everybody sees what concerns one user in order.
"""

from dataclasses import dataclass
from datetime import datetime

from domain.identity.refreshing import EndReason
from domain.identity.tenant import PLATFORM
from domain.kernel.frozen import replace
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSession:
    session_id: str
    user_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession:
    session_id: str
    reason: EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTokenReuse:
    """A refresh token of a generation that is long over was presented: it is in two hands."""

    session_id: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted:
    session_id: str
    user_id: str
    started_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded:
    session_id: str
    reason: EndReason
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReuseDetected:
    session_id: str
    generation: int


SessionEvent = SessionStarted | SessionEnded | TokenReuseDetected


class SessionNotFound(Refusal):
    """There is no such session."""

    code = "session_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "session"


class SessionAlreadyExists(Refusal):
    """A session of this id exists already."""

    code = "session_already_exists"


class UserMayNotSignIn(Refusal):
    """The user is not verified yet, or suspended, or erased."""

    code = "user_may_not_sign_in"
    param = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    session_id: str
    user_id: str
    started_at: datetime
    expires_at: datetime
    ended_at: datetime | None


def evolve(session: Session | None, event: SessionEvent) -> Session:
    if isinstance(event, SessionStarted):
        return Session(
            session_id=event.session_id,
            user_id=event.user_id,
            started_at=event.started_at,
            expires_at=event.expires_at,
            ended_at=None,
        )
    assert session is not None, "the first event of a session is session.started"
    match event:
        case SessionEnded():
            return replace(session, ended_at=event.ended_at)
        case TokenReuseDetected():
            return session


EVENTS: dict[str, type] = {
    "session.started": SessionStarted,
    "session.ended": SessionEnded,
    "session.token_reuse_detected": TokenReuseDetected,
}

SESSION: Stream[Session] = Stream(
    name="session",
    id_field="session_id",
    topic=Topic.IDENTITY,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda session: session.user_id,
    not_found=SessionNotFound,
    already_exists=SessionAlreadyExists,
    home=PLATFORM,
)
