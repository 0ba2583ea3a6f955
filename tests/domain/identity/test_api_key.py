"""Specifications of API keys."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from domain.identity.api_key import (
    CELLS_LIMITS,
    NETWORKS_MAX,
    ApiKeyAlreadyExists,
    ApiKeyCreated,
    ApiKeyIsOver,
    ApiKeyIsRotated,
    ApiKeyNotFound,
    ApiKeyRevoked,
    ApiKeyRotated,
    ApiKeyUpdated,
    CreateApiKey,
    InvalidApiKeyTerms,
    InvalidOverlap,
    KeyLimits,
    RevokeApiKey,
    RotateApiKey,
    UpdateApiKey,
)
from domain.identity.authority import GrantsTooMuch, NotAllowed
from domain.identity.permissions import Role, Scope
from domain.identity.team import OF_TEAMS
from domain.identity.tenant import TenantNotFound
from domain.kernel.access import ApiKeyAccess
from domain.kernel.frozen import replace
from domain.kernel.unchanged import UNCHANGED
from testing.examples.identity import (
    ADA,
    BOB,
    KEY_ID,
    LATER,
    SUCCESSOR_ID,
    TENANT_ID,
    added,
    create_key,
    key_created,
    tenant_created,
    terms,
)
from testing.examples.streams import id_of
from testing.specification import NOW, given

DAY = timedelta(days=1)
REVOKE = RevokeApiKey(tenant_id=TENANT_ID, key_id=KEY_ID, by=None)
REVOKED = ApiKeyRevoked(key_id=KEY_ID, revoked_at=NOW)
LIMITS = KeyLimits(reads_per_hour=10_000, writes_per_hour=None, admin_per_hour=1)


def update(**changes: Any) -> UpdateApiKey:
    usual: dict[str, Any] = {
        "tenant_id": TENANT_ID,
        "key_id": KEY_ID,
        "name": UNCHANGED,
        "allowed_networks": UNCHANGED,
        "limits": UNCHANGED,
        "by": None,
    }
    return UpdateApiKey(**{**usual, **changes})


CHANGE_LIMITS = update(limits=LIMITS)


def rotate(overlap: timedelta = DAY, **changes: Any) -> RotateApiKey:
    usual: dict[str, Any] = {
        "tenant_id": TENANT_ID,
        "by": None,
        "key_id": KEY_ID,
        "successor_id": SUCCESSOR_ID,
        "successor_prefix": "ijklmnop",
        "successor_expires_at": LATER,
        "is_end_given": False,
    }
    return RotateApiKey(overlap=overlap, **{**usual, **changes})


def may(**changes: Any) -> ApiKeyAccess:
    usual: dict[str, Any] = {
        "key_id": KEY_ID,
        "prefix": "abcdefgh",
        "name": "imports",
        "scope": "write",
        "allowed_networks": (),
        "reads_per_hour": None,
        "writes_per_hour": None,
        "admin_per_hour": None,
        "created_at": NOW,
        "expires_at": LATER,
        "revoked_at": None,
        "successor_id": None,
    }
    return ApiKeyAccess(**{**usual, **changes})


def test_a_key_is_created_in_its_tenant_once() -> None:
    (
        given(tenant_created())
        .when(create_key())
        .then(key_created())
        .then_lets(may())
        .when(create_key())
        .then_refused(ApiKeyAlreadyExists)
    )


def test_only_a_tenant_has_keys() -> None:
    given().when(create_key()).then_refused(TenantNotFound)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"expires_at": NOW}, "expires_at"),
        ({"allowed_networks": ("192.0.2.0/24", "everywhere")}, "allowed_networks.1"),
        ({"allowed_networks": ("192.0.2.1/24",)}, "allowed_networks.0"),
        ({"allowed_networks": ("2001:db8::/32",) * (NETWORKS_MAX + 1)}, "allowed_networks"),
        ({"limits": KeyLimits(reads_per_hour=None, writes_per_hour=0, admin_per_hour=None)}, "limits.writes_per_hour"),
    ],
)
def test_terms_that_mean_nothing_are_refused(changes: dict[str, Any], path: str) -> None:
    given(tenant_created()).when(create_key(**changes)).then_refused(InvalidApiKeyTerms).then_is_about(path)


def test_a_key_may_be_bound_to_networks_and_to_no_end() -> None:
    networks = ("192.0.2.0/24", "2001:db8::/32", "198.51.100.7")
    (
        given(tenant_created())
        .when(create_key(expires_at=None, allowed_networks=networks))
        .then(key_created(expires_at=None, allowed_networks=networks))
        .then_lets(may(expires_at=None, allowed_networks=networks))
    )


def test_a_rotated_key_works_beside_its_successor_for_the_overlap() -> None:
    successor = ApiKeyCreated(
        key_id=SUCCESSOR_ID, prefix="ijklmnop", terms=terms(), rotated_from=KEY_ID, made_by=None, created_at=NOW
    )
    (
        given(key_created())
        .when(rotate())
        .then(ApiKeyRotated(key_id=KEY_ID, successor_id=SUCCESSOR_ID, works_until=NOW + DAY), successor)
        .then_lets(may(expires_at=NOW + DAY, successor_id=SUCCESSOR_ID), may(key_id=SUCCESSOR_ID, prefix="ijklmnop"))
    )


def test_an_overlap_makes_no_key_last_longer_than_it_would() -> None:
    ends = NOW + timedelta(hours=1)
    (
        given(key_created(expires_at=ends))
        .when(rotate())
        .then_lets(may(expires_at=ends, successor_id=SUCCESSOR_ID), may(key_id=SUCCESSOR_ID, prefix="ijklmnop"))
    )


def test_a_key_has_one_successor() -> None:
    given(key_created()).when(rotate()).when(rotate(successor_id=KEY_ID + "x")).then_refused(
        ApiKeyIsRotated, successor=SUCCESSOR_ID
    )


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=7, seconds=1)])
def test_an_overlap_is_up_to_a_week(overlap: timedelta) -> None:
    given(key_created()).when(rotate(overlap)).then_refused(InvalidOverlap)


def test_with_no_overlap_a_rotated_key_ends_at_once() -> None:
    given(key_created()).when(rotate(timedelta(0))).when(rotate()).then_refused(ApiKeyIsOver)


def test_a_key_is_revoked_for_good() -> None:
    (
        given(key_created())
        .when(REVOKE)
        .then(REVOKED)
        .then_lets(may(revoked_at=NOW))
        .when(REVOKE)
        .then_nothing()
        .when(rotate())
        .then_refused(ApiKeyIsOver)
        .when(CHANGE_LIMITS)
        .then_refused(ApiKeyIsOver)
    )


def test_a_key_that_has_expired_is_over() -> None:
    for command in (rotate(), CHANGE_LIMITS):
        given(key_created()).when(command, at=LATER).then_refused(ApiKeyIsOver)


def test_limits_change_from_now_on() -> None:
    (
        given(key_created())
        .when(CHANGE_LIMITS)
        .then(ApiKeyUpdated(key_id=KEY_ID, name="imports", allowed_networks=(), limits=LIMITS))
        .then_lets(may(reads_per_hour=10_000, admin_per_hour=1))
        .when(CHANGE_LIMITS)
        .then_nothing()
    )


def test_limits_are_at_least_one() -> None:
    none = KeyLimits(reads_per_hour=0, writes_per_hour=None, admin_per_hour=None)
    given(key_created()).when(update(limits=none)).then_refused(InvalidApiKeyTerms)


def test_a_key_that_is_not_there_is_not_found() -> None:
    for command in (REVOKE, CHANGE_LIMITS, rotate()):
        given().when(command).then_refused(ApiKeyNotFound, api_key=KEY_ID)


def test_a_key_is_changed_in_what_it_is_called_and_where_it_works() -> None:
    changed = update(name="nightly imports", allowed_networks=("192.0.2.0/24",))
    updated = ApiKeyUpdated(
        key_id=KEY_ID, name="nightly imports", allowed_networks=("192.0.2.0/24",), limits=CELLS_LIMITS
    )
    (
        given(key_created())
        .when(changed)
        .then(updated)
        .then_lets(may(name="nightly imports", allowed_networks=("192.0.2.0/24",)))
        .when(update())
        .then_nothing()
    )


MAKER = id_of("key_", 9)


def maker(**changes: Any) -> tuple[Any, ...]:
    """A key of the tenant that asks for others."""
    own = replace(key_created(scope=Scope.ADMIN, expires_at=None, **changes), key_id=MAKER)
    return (tenant_created(), own)


def test_a_key_makes_changes_and_revokes_others_and_itself() -> None:
    given(*maker()).when(create_key(by=MAKER, scope=Scope.ADMIN)).then(key_created(MAKER, scope=Scope.ADMIN))
    assert given(*maker(), key_created()).when(update(by=MAKER, name="n")).done.events
    assert given(*maker(), key_created()).when(rotate(by=MAKER)).done.events
    itself = RevokeApiKey(tenant_id=TENANT_ID, key_id=MAKER, by=MAKER)
    given(*maker()).when(itself).then(ApiKeyRevoked(key_id=MAKER, revoked_at=NOW)).when(itself).then_refused(NotAllowed)


SOON = NOW + DAY
SUCCESSOR = ApiKeyCreated(
    key_id=SUCCESSOR_ID, prefix="ijklmnop", terms=terms(), rotated_from=KEY_ID, made_by=ADA, created_at=NOW
)


@pytest.mark.parametrize(
    ("own", "asked", "ends", "is_given"),
    [
        ({"expires_at": SOON, "is_end_given": True}, {}, SOON, True),
        ({"expires_at": SOON, "is_end_given": False}, {}, LATER, False),
        ({"expires_at": None, "is_end_given": False}, {}, LATER, False),
        ({"expires_at": SOON, "is_end_given": True}, {"is_end_given": True}, LATER, True),
        (
            {"expires_at": SOON, "is_end_given": True},
            {"is_end_given": True, "successor_expires_at": None},
            None,
            False,
        ),
    ],
)
def test_a_successor_ends_as_asked_or_as_the_key_was_asked_to_or_as_keys_do(
    own: dict[str, Any], asked: dict[str, Any], ends: datetime | None, is_given: bool
) -> None:
    history = (tenant_created(), added(ADA), key_created(**own))
    done = given(*history).when(rotate(by=ADA, **asked)).done
    successor = replace(SUCCESSOR, terms=terms(expires_at=ends, is_end_given=is_given))
    assert done.events[-1] == successor


def test_a_key_whose_end_was_given_makes_none_that_lasts_longer_and_no_such_successor_of_itself() -> None:
    own = replace(maker()[1], terms=terms(scope=Scope.ADMIN, expires_at=SOON, is_end_given=True))
    history = (tenant_created(), own, key_created())
    itself = rotate(by=MAKER, key_id=MAKER)
    for command in (
        create_key(by=MAKER),
        create_key(by=MAKER, expires_at=None),
        rotate(by=MAKER),
        replace(itself, is_end_given=True),
        replace(itself, is_end_given=True, successor_expires_at=None),
    ):
        wanted = replace(command, key_id=SUCCESSOR_ID) if isinstance(command, CreateApiKey) else command
        given(*history).when(wanted).then_refused(GrantsTooMuch)
    as_long = replace(create_key(by=MAKER, expires_at=SOON), key_id=SUCCESSOR_ID)
    for allowed in (as_long, itself, update(by=MAKER, name="n")):
        assert given(*history).when(allowed).done.events


@pytest.mark.parametrize("command", [create_key(by=KEY_ID), rotate(by=KEY_ID), update(by=KEY_ID, name="n")])
def test_a_key_that_may_not_is_refused_when_it_is_decided(command: Any) -> None:
    for scope in (Scope.READ, Scope.WRITE):
        history = (tenant_created(), key_created(scope=scope))
        wanted = replace(command, key_id=SUCCESSOR_ID) if isinstance(command, CreateApiKey) else command
        given(*history).when(wanted).then_refused(NotAllowed, permission="api_keys:write")


def test_a_member_makes_keys_while_their_role_lets_them() -> None:
    for role in OF_TEAMS:
        asked = given(tenant_created(), added(ADA), added(BOB, role)).when(create_key(by=BOB))
        if role is Role.ADMIN:
            asked.then(key_created(BOB))
        else:
            asked.then_refused(NotAllowed)
    given(tenant_created()).when(create_key(by=BOB)).then_refused(NotAllowed)


@pytest.mark.parametrize(
    ("own", "wanted", "may_be"),
    [
        ((), (), True),
        ((), ("192.0.2.0/24",), True),
        (("192.0.2.0/24",), (), False),
        (("192.0.2.0/24",), ("192.0.2.128/25", "192.0.2.7"), True),
        (("192.0.2.0/24",), ("192.0.2.0/23",), False),
        (("192.0.2.0/24",), ("192.0.2.0/24", "198.51.100.0/24"), False),
        (("192.0.2.0/24",), ("2001:db8::/32",), False),
        (("2001:db8::/32", "192.0.2.0/24"), ("2001:db8:1::/48",), True),
    ],
)
def test_a_key_gives_no_place_away_from_which_it_does_not_work(
    own: tuple[str, ...], wanted: tuple[str, ...], may_be: bool
) -> None:
    for history, command in (
        (maker(allowed_networks=own), create_key(by=MAKER, allowed_networks=wanted)),
        ((*maker(allowed_networks=own), key_created()), update(by=MAKER, allowed_networks=wanted)),
        ((*maker(allowed_networks=own), key_created(allowed_networks=wanted)), rotate(by=MAKER)),
        (maker(allowed_networks=own), update(by=MAKER, key_id=MAKER, allowed_networks=wanted)),
    ):
        asked = given(*history).when(command)
        if may_be:
            assert asked.done
        else:
            asked.then_refused(GrantsTooMuch)
