"""Lays over an imported endpoint how its model thinks and what it refuses (`behaviour.toml`)."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any


def behave(provider_id: str, table: dict[str, Any], rules: Iterable[Mapping[str, Any]]) -> None:
    """Give the endpoint the facts of the first rule that matches its id.

    Thinking is the rule's; the largest answer and each capability count only where nothing is
    known. Only endpoints that chat take any.
    """
    if table["mode"] not in {"chat", "responses"}:
        return
    rule = next((rule for rule in rules if _matches(provider_id, table["id"], rule)), None)
    if rule is None:
        return
    capabilities: dict[str, bool] = dict(table.get("capabilities") or {})
    for name, is_there in rule.get("capabilities", {}).items():
        capabilities.setdefault(name, is_there)
    style = rule.get("thinking", {}).get("style")
    if style is not None:
        capabilities.setdefault("reasoning", style != "none")
        # The sources contradict us at times; what cannot be told to think does not.
        if capabilities["reasoning"] == (style != "none"):
            table["thinking"] = dict(rule["thinking"])
    table["capabilities"] = capabilities or None
    if table.get("max_output_tokens") is None:
        table["max_output_tokens"] = rule.get("max_output_tokens")


def _matches(provider_id: str, their_id: str, rule: Mapping[str, Any]) -> bool:
    providers = rule.get("providers")
    return (providers is None or provider_id in providers) and any(
        fnmatchcase(their_id, pattern) for pattern in rule["ids"]
    )
