"""What is decided about users and their sessions, in the tenant `platform`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from domain.identity.refreshing import EndReason
from domain.identity.second_factors import (
    FACTORS_MAX,
    SecondFactorAlreadyExists,
    SecondFactorNotFound,
    TooManySecondFactors,
)
from domain.identity.session import (
    SESSION,
    EndSession,
    ReportTokenReuse,
    SessionEnded,
    SessionStarted,
    StartSession,
    TokenReuseDetected,
    UserMayNotSignIn,
)
from domain.identity.user import (
    USER,
    AddSecondFactor,
    ChangePassword,
    EraseUser,
    MakeSuperAdmin,
    PasswordChanged,
    ReactivateUser,
    RegisterUser,
    RemoveSecondFactor,
    SecondFactorAdded,
    SecondFactorRemoved,
    SuperAdminMade,
    SuperAdminUnmade,
    SuspendUser,
    UnmakeSuperAdmin,
    UpdateUser,
    User,
    UserErased,
    UserIsErased,
    UserReactivated,
    UserRegistered,
    UserStatus,
    UserSuspended,
    UserUpdated,
    UserVerified,
    VerifyUser,
)
from domain.kernel.personal_reference import PersonalDataMoved
from domain.kernel.stream import Decision, Handler, Streams


def register_user(command: RegisterUser, streams: Streams, now: datetime) -> Decision:
    """That the address is nobody else's is found out by the append, from its digest."""
    USER.check_new(streams, command.user_id)
    registered = UserRegistered(
        user_id=command.user_id,
        personal=command.personal,
        status=UserStatus.ACTIVE if command.is_verified else UserStatus.PENDING,
        registered_at=now,
    )
    return Decision(now, [USER.change(registered)])


def verify_user(command: VerifyUser, streams: Streams, now: datetime) -> Decision:
    if _living(streams, command.user_id).is_verified:
        return Decision(now, [])
    return Decision(now, [USER.change(UserVerified(user_id=command.user_id))])


def update_user(command: UpdateUser, streams: Streams, now: datetime) -> Decision:
    user = _living(streams, command.user_id)
    newest = None if user.personal is None else user.personal.reference
    if command.based_on != newest:
        raise PersonalDataMoved(command.user_id)
    return Decision(now, [USER.change(UserUpdated(user_id=command.user_id, personal=command.personal))])


def suspend_user(command: SuspendUser, streams: Streams, now: datetime) -> Decision:
    if _living(streams, command.user_id).status is UserStatus.SUSPENDED:
        return Decision(now, [])
    return Decision(now, [USER.change(UserSuspended(user_id=command.user_id))])


def reactivate_user(command: ReactivateUser, streams: Streams, now: datetime) -> Decision:
    """As far as they had come: whoever was not verified is not verified now."""
    user = _living(streams, command.user_id)
    if user.status is not UserStatus.SUSPENDED:
        return Decision(now, [])
    status = UserStatus.ACTIVE if user.is_verified else UserStatus.PENDING
    return Decision(now, [USER.change(UserReactivated(user_id=command.user_id, status=status))])


def change_password(command: ChangePassword, streams: Streams, now: datetime) -> Decision:
    _living(streams, command.user_id)
    return Decision(now, [USER.change(PasswordChanged(user_id=command.user_id, changed_at=now))])


def add_second_factor(command: AddSecondFactor, streams: Streams, now: datetime) -> Decision:
    user = _living(streams, command.user_id)
    if user.has_factor(command.factor_id):
        raise SecondFactorAlreadyExists(second_factor=command.factor_id)
    if len(user.second_factors) >= FACTORS_MAX:
        raise TooManySecondFactors(second_factors_max=FACTORS_MAX)
    added = SecondFactorAdded(user_id=command.user_id, factor_id=command.factor_id, kind=command.kind)
    return Decision(now, [USER.change(added)])


def remove_second_factor(command: RemoveSecondFactor, streams: Streams, now: datetime) -> Decision:
    if not _living(streams, command.user_id).has_factor(command.factor_id):
        raise SecondFactorNotFound(second_factor=command.factor_id)
    return Decision(now, [USER.change(SecondFactorRemoved(user_id=command.user_id, factor_id=command.factor_id))])


def make_super_admin(command: MakeSuperAdmin, streams: Streams, now: datetime) -> Decision:
    if _living(streams, command.user_id).is_super_admin:
        return Decision(now, [])
    return Decision(now, [USER.change(SuperAdminMade(user_id=command.user_id))])


def unmake_super_admin(command: UnmakeSuperAdmin, streams: Streams, now: datetime) -> Decision:
    if not _living(streams, command.user_id).is_super_admin:
        return Decision(now, [])
    return Decision(now, [USER.change(SuperAdminUnmade(user_id=command.user_id))])


def erase_user(command: EraseUser, streams: Streams, now: datetime) -> Decision:
    """Teams know an erased user by id until they remove them; the id leads nowhere."""
    user = USER.of(streams, command.user_id)
    if user.status is UserStatus.ERASED:
        return Decision(now, [])
    removed = [
        USER.change(SecondFactorRemoved(user_id=command.user_id, factor_id=each.factor_id))
        for each in user.second_factors
    ]
    return Decision(now, [*removed, USER.change(UserErased(user_id=command.user_id, erased_at=now))])


def _living(streams: Streams, user_id: str) -> User:
    """The user, unless they were erased. Raises UserNotFound or UserIsErased."""
    user = USER.of(streams, user_id)
    if user.status is UserStatus.ERASED:
        raise UserIsErased(user=user_id)
    return user


def start_session(command: StartSession, streams: Streams, now: datetime) -> Decision:
    user = USER.of(streams, command.user_id)
    if user.status is not UserStatus.ACTIVE:
        raise UserMayNotSignIn(user=command.user_id, status=user.status.value)
    SESSION.check_new(streams, command.session_id)
    started = SessionStarted(
        session_id=command.session_id, user_id=command.user_id, started_at=now, expires_at=command.expires_at
    )
    return Decision(now, [SESSION.change(started)])


def end_session(command: EndSession, streams: Streams, now: datetime) -> Decision:
    """The first reason counts."""
    if SESSION.of(streams, command.session_id).ended_at is not None:
        return Decision(now, [])
    ended = SessionEnded(session_id=command.session_id, reason=command.reason, ended_at=now)
    return Decision(now, [SESSION.change(ended)])


def report_token_reuse(command: ReportTokenReuse, streams: Streams, now: datetime) -> Decision:
    """Told once: a thief who goes on trying does not fill the log."""
    if SESSION.of(streams, command.session_id).ended_at is not None:
        return Decision(now, [])
    detected = TokenReuseDetected(session_id=command.session_id, generation=command.generation)
    ended = SessionEnded(session_id=command.session_id, reason=EndReason.TOKEN_REUSED, ended_at=now)
    return Decision(now, [SESSION.change(detected), SESSION.change(ended)])


HANDLERS: Final[Mapping[type, Handler]] = {
    RegisterUser: register_user,
    VerifyUser: verify_user,
    UpdateUser: update_user,
    SuspendUser: suspend_user,
    ReactivateUser: reactivate_user,
    ChangePassword: change_password,
    AddSecondFactor: add_second_factor,
    RemoveSecondFactor: remove_second_factor,
    MakeSuperAdmin: make_super_admin,
    UnmakeSuperAdmin: unmake_super_admin,
    EraseUser: erase_user,
    StartSession: start_session,
    EndSession: end_session,
    ReportTokenReuse: report_token_reuse,
}
