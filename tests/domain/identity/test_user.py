"""Specifications of users and their sessions."""

import pytest

from domain.identity.refreshing import EndReason
from domain.identity.session import (
    SESSION,
    EndSession,
    ReportTokenReuse,
    SessionAlreadyExists,
    SessionEnded,
    SessionNotFound,
    TokenReuseDetected,
    UserMayNotSignIn,
)
from domain.identity.user import (
    USER,
    ChangePassword,
    EraseUser,
    MakeSuperAdmin,
    PasswordChanged,
    ReactivateUser,
    SuperAdminMade,
    SuperAdminUnmade,
    SuspendUser,
    UnmakeSuperAdmin,
    UpdateUser,
    UserAlreadyExists,
    UserErased,
    UserIsErased,
    UserNotFound,
    UserReactivated,
    UserStatus,
    UserSuspended,
    UserUpdated,
    UserVerified,
    VerifyUser,
)
from domain.kernel.access import UserAccess
from domain.kernel.personal_reference import PersonalDataMoved, PersonalReference
from testing.examples.identity import ADA, LATER, SESSION_ID, register, registered, session_started, start_session
from testing.examples.streams import PERSONAL, id_of
from testing.specification import NOW, given

RENEWED = PersonalReference(reference=id_of("pd_", 2), commitment=bytes(32))
UPDATE = UpdateUser(user_id=ADA, personal=RENEWED, based_on=PERSONAL.reference)
VERIFY, SUSPEND, REACTIVATE = VerifyUser(user_id=ADA), SuspendUser(user_id=ADA), ReactivateUser(user_id=ADA)
CHANGE_PASSWORD, ERASE = ChangePassword(user_id=ADA), EraseUser(user_id=ADA)
SUSPENDED, VERIFIED = UserSuspended(user_id=ADA), UserVerified(user_id=ADA)
ERASED = UserErased(user_id=ADA, erased_at=NOW)
LOG_OUT = EndSession(session_id=SESSION_ID, reason=EndReason.LOGGED_OUT)
LOGGED_OUT = SessionEnded(session_id=SESSION_ID, reason=EndReason.LOGGED_OUT, ended_at=NOW)
REUSE = ReportTokenReuse(session_id=SESSION_ID, generation=3)


def may(status: UserStatus, *, is_super_admin: bool = False) -> UserAccess:
    return UserAccess(user_id=ADA, status=status.value, is_super_admin=is_super_admin)


def test_a_user_is_registered_with_a_reference_to_their_personal_data() -> None:
    given().when(register()).then(registered()).then_lets(may(UserStatus.ACTIVE)).when(register()).then_refused(
        UserAlreadyExists
    )


def test_a_user_whose_address_nobody_has_verified_is_pending_until_it_is() -> None:
    (
        given()
        .when(register(is_verified=False))
        .then(registered(UserStatus.PENDING))
        .then_lets(may(UserStatus.PENDING))
        .when(start_session())
        .then_refused(UserMayNotSignIn, status="pending")
        .when(VERIFY)
        .then(VERIFIED)
        .then_lets(may(UserStatus.ACTIVE))
        .when(VERIFY)
        .then_nothing()
    )


def test_a_new_revision_of_personal_data_gives_no_rights() -> None:
    updated = UserUpdated(user_id=ADA, personal=RENEWED)
    given(registered()).when(UPDATE).then(updated).then_lets().then_shows(USER, ADA, personal=RENEWED)


def test_a_revision_is_made_of_the_newest() -> None:
    with pytest.raises(PersonalDataMoved):
        given(registered(), UserUpdated(user_id=ADA, personal=RENEWED)).when(UPDATE)


def test_a_suspended_user_signs_in_again_once_reactivated() -> None:
    (
        given(registered())
        .when(SUSPEND)
        .then(SUSPENDED)
        .then_lets(may(UserStatus.SUSPENDED))
        .when(SUSPEND)
        .then_nothing()
        .when(start_session())
        .then_refused(UserMayNotSignIn, status="suspended")
        .when(REACTIVATE)
        .then(UserReactivated(user_id=ADA, status=UserStatus.ACTIVE))
        .then_lets(may(UserStatus.ACTIVE))
        .when(REACTIVATE)
        .then_nothing()
    )


def test_a_suspension_verifies_nobody() -> None:
    (
        given(registered(UserStatus.PENDING), SUSPENDED)
        .when(REACTIVATE)
        .then(UserReactivated(user_id=ADA, status=UserStatus.PENDING))
        .then_lets(may(UserStatus.PENDING))
    )


def test_who_verifies_while_suspended_stays_suspended() -> None:
    given(registered(UserStatus.PENDING), SUSPENDED).when(VERIFY).then_lets(may(UserStatus.SUSPENDED)).when(
        REACTIVATE
    ).then_lets(may(UserStatus.ACTIVE))


def test_a_changed_password_is_a_fact_without_the_password() -> None:
    changed = PasswordChanged(user_id=ADA, changed_at=NOW)
    given(registered()).when(CHANGE_PASSWORD).then(changed).then_lets()


def test_an_erased_user_stays_erased() -> None:
    erased = given(registered()).when(ERASE).then(ERASED).then_lets(may(UserStatus.ERASED))
    erased.then_shows(USER, ADA, personal=None).when(ERASE).then_nothing()
    for command in (UPDATE, VERIFY, SUSPEND, REACTIVATE, CHANGE_PASSWORD):
        given(registered(), ERASED).when(command).then_refused(UserIsErased)
    given(registered(), ERASED).when(start_session()).then_refused(UserMayNotSignIn, status="erased")


def test_a_user_who_is_not_there_is_not_found() -> None:
    for command in (UPDATE, VERIFY, SUSPEND, REACTIVATE, CHANGE_PASSWORD, ERASE, start_session()):
        given().when(command).then_refused(UserNotFound, user=ADA)


def test_a_session_is_started_for_an_active_user_and_ends_once() -> None:
    later = EndSession(session_id=SESSION_ID, reason=EndReason.REVOKED)
    (
        given(registered())
        .when(start_session())
        .then(session_started())
        .then_lets()
        .when(start_session())
        .then_refused(SessionAlreadyExists)
        .when(LOG_OUT)
        .then(LOGGED_OUT)
        .when(later)
        .then_nothing()
    )


def test_a_sessions_events_go_with_its_user() -> None:
    session = given(registered(), session_started()).books.get(SESSION, SESSION_ID)
    assert session is not None
    assert SESSION.customer_of(session) == ADA


def test_a_reused_token_ends_its_session_and_is_told_once() -> None:
    ended = SessionEnded(session_id=SESSION_ID, reason=EndReason.TOKEN_REUSED, ended_at=NOW)
    (
        given(registered(), session_started(LATER))
        .when(REUSE)
        .then(TokenReuseDetected(session_id=SESSION_ID, generation=3), ended)
        .when(REUSE)
        .then_nothing()
    )


def test_a_session_that_is_not_there_is_not_found() -> None:
    for command in (LOG_OUT, REUSE):
        given().when(command).then_refused(SessionNotFound, session=SESSION_ID)


def test_a_user_looks_after_the_cell_until_that_is_taken_back_or_they_are_erased() -> None:
    make, unmake = MakeSuperAdmin(user_id=ADA), UnmakeSuperAdmin(user_id=ADA)
    made = SuperAdminMade(user_id=ADA)
    (
        given(registered())
        .when(make)
        .then(made)
        .then_lets(may(UserStatus.ACTIVE, is_super_admin=True))
        .when(make)
        .then_nothing()
        .when(unmake)
        .then(SuperAdminUnmade(user_id=ADA))
        .then_lets(may(UserStatus.ACTIVE))
        .when(unmake)
        .then_nothing()
    )
    given(registered(), made).when(ERASE).then(ERASED).then_lets(may(UserStatus.ERASED))
    given(registered(), ERASED).when(make).then_refused(UserIsErased)
    given(registered(), made).when(SUSPEND).then_lets(may(UserStatus.SUSPENDED, is_super_admin=True))
