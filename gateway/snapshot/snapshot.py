"""The snapshot: one immutable value that a request reads from its beginning to its end."""

import msgspec

from gateway.domain.budgets import Budget
from gateway.domain.caller import Caller
from gateway.routing.rules.rule_set import NO_RULES, RuleSet
from pricing.catalogue import Catalogue


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, endpoints and names as they stand at one moment."""

    catalogue: Catalogue
    """Only enabled providers, with the operator's endpoints on top."""
    aliases: dict[str, str] = {}
    """The operator's names for models."""
    configured_models: frozenset[str] = frozenset()
    """Models named by the operator's own endpoints."""
    callers: dict[bytes, Caller] = {}
    """By the digest of the whole key, never of a part of it."""
    epoch: int = 0
    """Of the configuration in Postgres that the callers came from; 0 before the first load."""
    confirmed_at_s: float | None = None
    """When Postgres last confirmed the callers, in Unix seconds; None when it never did."""

    budgets: tuple[Budget, ...] = ()
    """Every budget there is, in the order of their ids."""
    rules: RuleSet | None = NO_RULES
    """None while it is not known which rules hold; nothing may be answered then."""
    rules_problem: str | None = None
    """What is wrong with newer rules that are therefore not in force; None when nothing is."""


class SnapshotHolder:
    """Holds the current snapshot; whoever starts a request keeps the one it found."""

    __slots__ = ("current",)

    def __init__(self, snapshot: Snapshot) -> None:
        self.current = snapshot
