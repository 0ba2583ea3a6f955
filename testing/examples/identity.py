"""Examples of tenants, teams, API keys and users, for specifications and other tests."""

from datetime import datetime, timedelta
from typing import Any

from domain.identity.api_key import CELLS_LIMITS, ApiKeyCreated, CreateApiKey, KeyTerms
from domain.identity.permissions import Role, Scope
from domain.identity.session import SessionStarted, StartSession
from domain.identity.team import AddMember, MemberAdded
from domain.identity.tenant import CreateTenant, TenantCreated
from domain.identity.user import RegisterUser, SuperAdminMade, UserRegistered, UserStatus
from domain.kernel.tenant_mode import TenantMode
from testing.examples.streams import PERSONAL, id_of
from testing.specification import NOW

TENANT_ID = "acme"
KEY_ID = id_of("key_")
SUCCESSOR_ID = id_of("key_", 2)
ADA = id_of("user_")
BOB = id_of("user_", 2)
EVE = id_of("user_", 3)
SESSION_ID = id_of("ses_")
INVITATION_ID = id_of("inv_")
LATER = NOW + timedelta(days=90)


def create_tenant() -> CreateTenant:
    return CreateTenant(tenant_id=TENANT_ID, name="Acme", mode=TenantMode.LIVE)


def tenant_created() -> TenantCreated:
    return TenantCreated(tenant_id=TENANT_ID, name="Acme", mode=TenantMode.LIVE, created_at=NOW)


def terms(**changes: Any) -> KeyTerms:
    usual: dict[str, Any] = {
        "name": "imports",
        "scope": Scope.WRITE,
        "expires_at": LATER,
        "is_end_given": False,
        "allowed_networks": (),
        "limits": CELLS_LIMITS,
    }
    return KeyTerms(**{**usual, **changes})


def create_key(by: str | None = None, **changes: Any) -> CreateApiKey:
    return CreateApiKey(tenant_id=TENANT_ID, key_id=KEY_ID, prefix="abcdefgh", terms=terms(**changes), by=by)


def key_created(made_by: str | None = None, **changes: Any) -> ApiKeyCreated:
    return ApiKeyCreated(
        key_id=KEY_ID,
        prefix="abcdefgh",
        terms=terms(**changes),
        rotated_from=None,
        made_by=made_by,
        created_at=NOW,
    )


def add(user_id: str, role: Role = Role.ADMIN, by: str | None = None) -> AddMember:
    return AddMember(tenant_id=TENANT_ID, user_id=user_id, role=role, by=by)


def added(user_id: str, role: Role = Role.ADMIN, invitation_id: str | None = None) -> MemberAdded:
    return MemberAdded(tenant_id=TENANT_ID, user_id=user_id, role=role, invitation_id=invitation_id)


def register(*, is_verified: bool = True) -> RegisterUser:
    return RegisterUser(user_id=ADA, personal=PERSONAL, is_verified=is_verified)


def registered(status: UserStatus = UserStatus.ACTIVE) -> UserRegistered:
    return UserRegistered(user_id=ADA, personal=PERSONAL, status=status, registered_at=NOW)


def super_admin() -> tuple[UserRegistered, SuperAdminMade]:
    """Ada, who looks after the cell."""
    return registered(), SuperAdminMade(user_id=ADA)


def start_session(expires_at: datetime = LATER) -> StartSession:
    return StartSession(session_id=SESSION_ID, user_id=ADA, expires_at=expires_at)


def session_started(expires_at: datetime = LATER) -> SessionStarted:
    return SessionStarted(session_id=SESSION_ID, user_id=ADA, started_at=NOW, expires_at=expires_at)
