"""Rules of a text applied to a request, for tests."""

from datetime import UTC, datetime
from typing import Any

from gateway.routing.rules.apply import Meaning, Ruled, apply_rules
from gateway.routing.rules.rule_set import RuleSet, compile_rules
from tests.routing.factories import make_caller, make_request

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
SALT = b"a secret of the tests"


def rules_of(text: str) -> RuleSet:
    return compile_rules(text, source="rules.toml")


def rule(then: str, when: str = "", *, name: str = "one", rest: str = "") -> str:
    """One rule's text."""
    return f'[[rules]]\nname = "{name}"\nwhen = {{ {when} }}\nthen = {{ {then} }}\n{rest}\n'


def ruled(
    text: str,
    *models: str,
    labels: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    at: datetime = AT,
    seed: int = 1,
    api: str = "chat",
    meanings: dict[str, Meaning] | None = None,
    caller: dict[str, Any] | None = None,
    **request: Any,
) -> Ruled:
    known = meanings or {}
    return apply_rules(
        rules_of(text),
        make_request(*models, labels=metadata or {}, **request),
        make_caller(labels=labels or {}, **(caller or {})),
        at=at,
        headers=headers or {},
        secret_salt=SALT,
        seed=seed,
        meaning_of=lambda name: known.get(name, Meaning(model=name)),
        api=api,
    )


def applies(when: str, *models: str, **asked: Any) -> bool:
    """Whether a rule with these conditions applies."""
    return bool(ruled(rule('labels = { hit = "yes" }', when), *models, **asked).rules)
