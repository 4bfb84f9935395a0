"""Who is changing or reading the configuration: a signed-in user, or the holder of a token."""

from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

Role: TypeAlias = Literal["owner", "operator", "auditor"]
"""Each may do what those after it may: an auditor reads, an operator also changes prices, rules and
budgets, an owner everything, users, keys and webhooks included."""

ROLES: tuple[Role, ...] = ("owner", "operator", "auditor")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who was let in. There is no default one: signing in yields one or raises."""

    name: str
    """As the audit log names them."""
    role: Role
    user_id: UUID | None = None
    """None for the owner token, which belongs to the machine."""
    session_id: UUID | None = None

    def may(self, role: Role) -> bool:
        """Whether what needs that role is open to them."""
        return ROLES.index(self.role) <= ROLES.index(role)


OWNER = Principal(name="owner", role="owner")
"""Whoever holds the owner token of the data directory."""
