"""Specifications of a user's second factors."""

from domain.identity.second_factors import (
    FACTORS_MAX,
    FactorKind,
    SecondFactor,
    SecondFactorAlreadyExists,
    SecondFactorNotFound,
    TooManySecondFactors,
)
from domain.identity.user import (
    USER,
    AddSecondFactor,
    EraseUser,
    RemoveSecondFactor,
    SecondFactorAdded,
    SecondFactorRemoved,
    UserErased,
    UserIsErased,
)
from domain.kernel.access import SecondFactorAccess, UserAccess
from testing.examples.identity import ADA, registered
from testing.examples.streams import id_of
from testing.specification import NOW, given

PHONE, STICK = id_of("fac_"), id_of("fac_", 2)


def add(factor_id: str = PHONE, kind: FactorKind = FactorKind.TOTP) -> AddSecondFactor:
    return AddSecondFactor(user_id=ADA, factor_id=factor_id, kind=kind)


def added(factor_id: str = PHONE, kind: FactorKind = FactorKind.TOTP) -> SecondFactorAdded:
    return SecondFactorAdded(user_id=ADA, factor_id=factor_id, kind=kind)


def remove(factor_id: str = PHONE) -> RemoveSecondFactor:
    return RemoveSecondFactor(user_id=ADA, factor_id=factor_id)


def removed(factor_id: str = PHONE) -> SecondFactorRemoved:
    return SecondFactorRemoved(user_id=ADA, factor_id=factor_id)


def theirs(factor_id: str = PHONE, kind: str | None = "totp") -> SecondFactorAccess:
    return SecondFactorAccess(user_id=ADA, factor_id=factor_id, kind=kind)


def test_a_second_factor_takes_effect_with_its_event() -> None:
    (
        given(registered())
        .when(add())
        .then(added())
        .then_lets(theirs())
        .then_shows(USER, ADA, second_factors=(SecondFactor(factor_id=PHONE, kind=FactorKind.TOTP),))
        .when(add())
        .then_refused(SecondFactorAlreadyExists)
    )


def test_a_second_factor_is_removed_with_what_proves_it() -> None:
    stick = added(STICK, FactorKind.PASSKEY)
    (
        given(registered(), added(), stick)
        .when(remove())
        .then(removed())
        .then_lets(theirs(kind=None))
        .then_shows(USER, ADA, second_factors=(SecondFactor(factor_id=STICK, kind=FactorKind.PASSKEY),))
        .when(remove())
        .then_refused(SecondFactorNotFound, second_factor=PHONE)
    )


def test_a_user_has_a_bounded_number_of_second_factors() -> None:
    have = [added(id_of("fac_", number)) for number in range(FACTORS_MAX)]
    given(registered(), *have).when(add(id_of("fac_", FACTORS_MAX))).then_refused(
        TooManySecondFactors, second_factors_max=FACTORS_MAX
    )


def test_an_erased_users_second_factors_are_gone() -> None:
    erased = UserErased(user_id=ADA, erased_at=NOW)
    (
        given(registered(), added(), added(STICK))
        .when(EraseUser(user_id=ADA))
        .then(removed(), removed(STICK), erased)
        .then_lets(
            theirs(kind=None), theirs(STICK, None), UserAccess(user_id=ADA, status="erased", is_super_admin=False)
        )
        .when(add())
        .then_refused(UserIsErased)
        .when(remove())
        .then_refused(UserIsErased)
    )
