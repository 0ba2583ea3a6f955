"""docs/permissions.md, written from the matrix and from the operations that it decides on."""

from collections.abc import Sequence
from typing import Final

from api.http.operations import Operations
from domain.identity.permissions import MATRIX, Caution, Permission, Reach, Role, Scope, reach_of

_TEXT: Final = """\
# Permissions

Every operation of the API needs one permission, or is open. It is in the OpenAPI document (`x-permission`), and a
request without it is refused with 403 `permission_denied`, which names it (`permission`), before its `Idempotency-Key`
or its body is looked at. This page is written by `python -m api.http.permissions_page` from the table that decides.

An API key has a scope: `read`, `write` (and read), or `admin` (and both). Make keys with the least one that does:

```sh
tallybook tenants create-key acme --scope read
```

A user has a role in a tenant ([identity](guides/identity.md)); a customer is one in the portal
([portal](guides/portal.md)). A `super_admin` has every permission in the one tenant that they entered, and sees
personal data masked.

- *all*: everything in the tenant. *masked*: the same, with the personal data of customers masked (`a…@…`).
- *own*: only what is the customer's own, or the merchant's. What is another's is not there: 404, as for what does not
  exist.
- `*` asks a user for their password again. `†` asks a second person above the tenant's limit: refused with
  `approval_required`, and asked for by `POST /v1/approvals`.
- What `expand[]` opens is seen, and so needs the permission to see it. `paid_out_of_band` needs `invoices:write`,
  `tax_calculator` of a finalization `billing_settings:write`.

`X-Tenant-ID` gives no authority. An API key does not need it; where it is sent it must be the key's own tenant, else
403 `tenant_mismatch`, the same whether there is such a tenant or not.
"""
_MARKS: Final = {Caution.PASSWORD: " \\*", Caution.SECOND_PERSON: " †"}


def permissions_markdown(resources: Sequence[Operations]) -> str:
    """The page."""
    needed: dict[Permission, list[str]] = {}
    for resource in resources:
        for operation in resource.declared:
            if operation.needs is not None:
                needed.setdefault(operation.needs, []).append(operation.name)
    roles = [role for role in Role if role is not Role.SUPER_ADMIN]
    lines = [
        f"| permission | {' | '.join(roles)} | keys | operations |",
        f"|---|{'---|' * (len(roles) + 2)}",
    ]
    for row in MATRIX:
        permission = row.permission
        scopes = [scope for scope in Scope if permission in reach_of(scope)]
        cells = [
            f"`{permission}`{''.join(mark for caution, mark in _MARKS.items() if caution in row.cautions)}",
            *(_shown(reach_of(role).get(permission)) for role in roles),
            ", ".join(scopes) or "–",
            ", ".join(f"`{name}`" for name in needed.get(permission, [])) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join((_TEXT, *lines)) + "\n"


def _shown(reach: Reach | None) -> str:
    return "–" if reach is None else reach.value


if __name__ == "__main__":
    from api.app import RESOURCES

    print(permissions_markdown(RESOURCES), end="")  # noqa: T201  its output is the file
