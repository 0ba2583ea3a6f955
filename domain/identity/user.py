"""A user of the platform: a person who may sign in. Which tenants they may see is said by those tenants' teams.

Name and address are in the vault, under the user's own key, in the tenant `platform`; events bear a reference and a
commitment. The password's hash and the address's digest are no facts either: they lie in the schema `access`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.identity.second_factors import FactorKind, SecondFactor
from domain.identity.tenant import PLATFORM
from domain.kernel.access import AccessChange, SecondFactorAccess, UserAccess
from domain.kernel.frozen import replace
from domain.kernel.personal_reference import PersonalReference
from domain.kernel.refusal import Refusal, RefusalKind
from domain.kernel.stream import Stream, Topic


class UserStatus(StrEnum):
    """Only an active user signs in."""

    PENDING = "pending"  # until the address is verified
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUser:
    """`is_verified`: whoever invited them, or the operator, has shown that the address is theirs."""

    user_id: str
    personal: PersonalReference
    is_verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyUser:
    """The address is theirs: they had what was sent there."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateUser:
    """`based_on` is the reference of the revision that the new one was made from."""

    user_id: str
    personal: PersonalReference
    based_on: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendUser:
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivateUser:
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePassword:
    """The hash comes beside the command, as a credential."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSecondFactor:
    """The user has shown it once. What proves it the next time lies in the schema `access` already."""

    user_id: str
    factor_id: str
    kind: FactorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSecondFactor:
    """What proves it goes in the same batch."""

    user_id: str
    factor_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeSuperAdmin:
    """Let them look after the cell: a right of no tenant's, which the operator alone gives."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmakeSuperAdmin:
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseUser:
    """Destroy the personal data for good; what they are known by goes in the same batch, and the vault's key."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered:
    user_id: str
    personal: PersonalReference
    status: UserStatus
    registered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserVerified:
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdated:
    user_id: str
    personal: PersonalReference


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSuspended:
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserReactivated:
    user_id: str
    status: UserStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordChanged:
    user_id: str
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorAdded:
    user_id: str
    factor_id: str
    kind: FactorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorRemoved:
    user_id: str
    factor_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperAdminMade:
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperAdminUnmade:
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserErased:
    user_id: str
    erased_at: datetime


UserEvent = (
    UserRegistered
    | UserVerified
    | UserUpdated
    | UserSuspended
    | UserReactivated
    | PasswordChanged
    | SecondFactorAdded
    | SecondFactorRemoved
    | SuperAdminMade
    | SuperAdminUnmade
    | UserErased
)


class UserNotFound(Refusal):
    """There is no such user."""

    code = "user_not_found"
    kind = RefusalKind.NOT_FOUND
    param = "user"


class UserAlreadyExists(Refusal):
    """A user of this id exists already."""

    code = "user_already_exists"


class UserIsErased(Refusal):
    """The user was erased, and nothing may be kept of them."""

    code = "user_erased"
    param = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """`is_verified` outlives a suspension."""

    user_id: str
    personal: PersonalReference | None
    status: UserStatus
    is_verified: bool
    registered_at: datetime
    password_changed_at: datetime | None
    second_factors: tuple[SecondFactor, ...]
    is_super_admin: bool

    def has_factor(self, factor_id: str) -> bool:
        """Whether this second factor is theirs."""
        return any(each.factor_id == factor_id for each in self.second_factors)


def evolve(user: User | None, event: UserEvent) -> User:
    if isinstance(event, UserRegistered):
        return User(
            user_id=event.user_id,
            personal=event.personal,
            status=event.status,
            is_verified=event.status is UserStatus.ACTIVE,
            registered_at=event.registered_at,
            password_changed_at=None,
            second_factors=(),
            is_super_admin=False,
        )
    assert user is not None, "the first event of a user is user.registered"
    match event:
        case UserVerified():
            status = UserStatus.ACTIVE if user.status is UserStatus.PENDING else user.status
            return replace(user, status=status, is_verified=True)
        case UserUpdated():
            return replace(user, personal=event.personal)
        case UserSuspended():
            return replace(user, status=UserStatus.SUSPENDED)
        case UserReactivated():
            return replace(user, status=event.status)
        case PasswordChanged():
            return replace(user, password_changed_at=event.changed_at)
        case SecondFactorAdded():
            added = SecondFactor(factor_id=event.factor_id, kind=event.kind)
            return replace(user, second_factors=(*user.second_factors, added))
        case SecondFactorRemoved():
            left = tuple(each for each in user.second_factors if each.factor_id != event.factor_id)
            return replace(user, second_factors=left)
        case SuperAdminMade():
            return replace(user, is_super_admin=True)
        case SuperAdminUnmade():
            return replace(user, is_super_admin=False)
        case UserErased():
            return replace(user, status=UserStatus.ERASED, personal=None, is_super_admin=False)


def access(event: UserEvent, user: User) -> tuple[AccessChange, ...]:
    match event:
        case UserUpdated() | PasswordChanged():
            return ()
        case SecondFactorAdded():
            return (SecondFactorAccess(user_id=user.user_id, factor_id=event.factor_id, kind=event.kind.value),)
        case SecondFactorRemoved():
            return (SecondFactorAccess(user_id=user.user_id, factor_id=event.factor_id, kind=None),)
        case _:
            row = UserAccess(user_id=user.user_id, status=user.status.value, is_super_admin=user.is_super_admin)
            return (row,)


EVENTS: dict[str, type] = {
    "user.registered": UserRegistered,
    "user.verified": UserVerified,
    "user.updated": UserUpdated,
    "user.suspended": UserSuspended,
    "user.reactivated": UserReactivated,
    "user.password_changed": PasswordChanged,
    "user.second_factor_added": SecondFactorAdded,
    "user.second_factor_removed": SecondFactorRemoved,
    "user.super_admin_made": SuperAdminMade,
    "user.super_admin_unmade": SuperAdminUnmade,
    "user.erased": UserErased,
}

USER: Stream[User] = Stream(
    name="user",
    id_field="user_id",
    topic=Topic.IDENTITY,
    events=EVENTS,
    evolve=evolve,
    customer_of=lambda user: None,
    not_found=UserNotFound,
    already_exists=UserAlreadyExists,
    access=access,
    home=PLATFORM,
)
