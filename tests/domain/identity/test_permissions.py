"""Who may do what, against a second reading of the matrix: the table as people read it, and thirty lines."""

from collections.abc import Iterator

import pytest

from domain.identity.permissions import (
    CAUTIONS,
    HOLDERS,
    MATRIX,
    Caution,
    Holder,
    Permission,
    Reach,
    Role,
    Scope,
    Thing,
    UnknownRole,
    allows,
    permissions_of,
    reach_of,
    role_named,
    sees_masked,
)
from tests.domain.random_cases import CASES, seeded

# r read, w write, o own only, m personal data masked; * asks for the password when it changes something, † for a second
# person. The last column is the scope of keys; with two, the first reads and the second writes.
TABLE = """
| permission             | ADMIN | BILLING_ADMIN | MERCHANT | USER | VIEWER | CUSTOMER | key scope   |
| profile                | rw    | rw            | rw       | rw   | rw     | –        | –           |
| reports                | r     | r             | r        | –    | r      | –        | read        |
| customers              | rw    | rw            | r        | –    | r m    | o rw     | read, write |
| customers:erase *      | w     | –             | –        | –    | –      | –        | admin       |
| subscriptions          | rw    | rw            | r        | –    | r      | o rw     | read, write |
| invoices               | rw    | rw            | r        | r    | r      | o r, pay | read, write |
| credit_notes †         | rw    | rw            | r        | r    | r      | o r      | read, write |
| payments               | rw    | rw            | rw       | r    | r      | o r      | read, write |
| payment_methods        | rw    | rw            | r        | –    | r      | o rw     | read, write |
| refunds †              | rw    | rw            | rw       | –    | r      | o r      | read, write |
| approvals              | rw    | rw            | –        | –    | r      | –        | read, write |
| approval_limits *†     | rw    | r             | r        | –    | r      | –        | read        |
| billing_settings       | rw    | rw            | r        | –    | r      | –        | read, admin |
| catalogue              | rw    | rw            | r        | r    | r      | –        | read, write |
| usage                  | rw    | rw            | r        | –    | r      | o r      | read, write |
| wallets                | rw    | rw            | o rw     | –    | r      | o rw     | read, write |
| ledger *†              | rw    | rw            | –        | –    | r      | –        | read, admin |
| events                 | r     | r             | –        | –    | r      | –        | read        |
| operations *           | rw    | r             | –        | –    | –      | –        | admin       |
| test_clocks            | rw    | rw            | –        | –    | –      | –        | admin       |
| audit                  | rw    | r             | –        | –    | –      | –        | admin       |
| users *                | rw    | –             | –        | –    | –      | –        | admin       |
| api_keys *             | rw    | –             | –        | –    | –      | –        | admin       |
| webhooks *             | rw    | –             | rw       | –    | –      | –        | admin       |
| tenants                | r     | –             | –        | –    | –      | –        | –           |
| cell                   | –     | –             | –        | –    | –      | –        | –           |
"""
HEAD, *ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TABLE.strip().splitlines()]
CELLS = {row[0].rstrip(" *†"): dict(zip(HEAD[1:], row[1:], strict=True)) for row in ROWS}
SCOPES = ["read", "write", "admin"]


def name(holder: Holder) -> str:
    """Of its column: a role and a scope may have one name."""
    return f"{'key ' if isinstance(holder, Scope) else ''}{holder.value}"


def model(holder: str, permission: str, tenant: str, own: str | None, thing_tenant: str, owner: str | None) -> bool:
    """The thirty lines: whether it is allowed, read from the table's words."""
    if tenant != thing_tenant:
        return False
    if holder == "super_admin":
        return True
    area, _, action = permission.partition(":")
    cells = CELLS.get(permission) or CELLS[area]
    changes = action != "read"
    if holder.startswith("key "):
        words = cells["key scope"].split(", ")
        if words == ["–"] or (words == ["read"] and changes):
            return False
        least = words[-1] if changes else words[0]
        return SCOPES.index(holder.removeprefix("key ")) >= SCOPES.index(least)
    words = cells[holder.upper()].replace(",", "").split()
    is_own = "o" in words
    letters = "".join(word for word in words if word in ("r", "w", "rw"))
    if action == "create":  # nobody's own makes another customer
        may = "w" in letters and not is_own
    elif action == "pay":
        may = "w" in letters or "pay" in words
    else:
        may = ("w" if changes else "r") in letters
    return may and (not is_own or (own is not None and own == owner))


def _triples() -> Iterator[tuple[Holder, Permission, str, str | None, Thing]]:
    draw = seeded()
    for _ in range(CASES * 10):
        own = draw.choice(["cus_1", "cus_2", None])
        thing = Thing(draw.choice(["acme", "other"]), draw.choice(["cus_1", "cus_2", None]))
        yield draw.choice(HOLDERS), draw.choice(list(Permission)), draw.choice(["acme", "other"]), own, thing


def test_random_triples_are_allowed_as_the_table_says() -> None:
    allowed = 0
    for holder, permission, tenant, own, thing in _triples():
        found = allows(holder, permission, tenant_id=tenant, own_id=own, thing=thing)
        wanted = model(name(holder), permission.value, tenant, own, thing.tenant_id, thing.owner_id)
        assert found is wanted, (holder, permission, tenant, own, thing)
        allowed += found
    assert allowed, "some are"


@pytest.mark.parametrize("holder", HOLDERS)
def test_each_holder_holds_what_the_table_says_and_no_more(holder: Holder) -> None:
    wanted = {each for each in Permission if model(name(holder), each.value, "acme", "cus_1", "acme", "cus_1")}
    assert permissions_of(holder) == wanted


def test_the_matrix_has_one_row_for_each_permission() -> None:
    assert [row.permission for row in MATRIX] == list(Permission)


def test_an_admin_and_a_key_of_the_scope_admin_are_two() -> None:
    assert permissions_of(Role.ADMIN) - permissions_of(Scope.ADMIN) == {
        Permission.PROFILE_READ,
        Permission.PROFILE_WRITE,
        Permission.APPROVAL_LIMITS_WRITE,
        Permission.TENANTS_READ,
    }


def test_a_scope_holds_those_below_it() -> None:
    assert permissions_of(Scope.READ) < permissions_of(Scope.WRITE) < permissions_of(Scope.ADMIN)


def test_a_scope_that_reads_changes_nothing() -> None:
    assert {each.partition(":")[2] for each in permissions_of(Scope.READ)} == {"read"}


def test_no_role_holds_what_an_admin_does_not_but_the_one_that_runs_the_cell() -> None:
    for role in Role:
        assert (permissions_of(role) <= permissions_of(Role.ADMIN)) is (role is not Role.SUPER_ADMIN)


def test_the_stars_and_the_daggers_of_the_table_are_its_cautions() -> None:
    marks = {"*": Caution.PASSWORD, "†": Caution.SECOND_PERSON}
    marked = {row[0].rstrip(" *†"): {marks[sign] for sign in row[0] if sign in marks} for row in ROWS}
    for each in Permission:
        wanted = marked.get(each) or marked.get(each.partition(":")[0]) or set()
        assert CAUTIONS[each] == (set() if each.endswith(":read") else wanted), each


def test_personal_data_are_plain_for_those_who_hold_them_plain_and_for_nobody_else() -> None:
    assert [holder for holder in HOLDERS if sees_masked(holder)] == [Role.SUPER_ADMIN, Role.USER, Role.VIEWER]
    assert reach_of(Role.VIEWER)[Permission.CUSTOMERS_READ] is Reach.MASKED


def test_a_customer_has_nothing_but_their_own() -> None:
    assert set(reach_of(Role.CUSTOMER).values()) == {Reach.OWN}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("billing_viewer", Role.VIEWER),
        ("Billing-Admin", Role.BILLING_ADMIN),
        ("SUPER_ADMIN", Role.SUPER_ADMIN),
        (" viewer ", Role.VIEWER),
    ],
)
def test_roles_are_known_by_the_names_that_others_give_them(name: str, role: Role) -> None:
    assert role_named(name) is role


@pytest.mark.parametrize("name", ["", "root", "admin;viewer", "billing"])
def test_a_name_that_is_no_role_is_none(name: str) -> None:
    with pytest.raises(UnknownRole):
        role_named(name)
