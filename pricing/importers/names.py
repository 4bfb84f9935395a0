"""Which model an imported row is an offer of, named `author/slug` the same way whoever says it."""

import re
from collections.abc import Iterable
from typing import Any

# What sources call an author, and what we call them (OpenRouter's spelling).
AUTHORS = {
    "alibaba": "qwen",
    "bytedance": "bytedance-seed",
    "deepseek-ai": "deepseek",
    "ibm": "ibm-granite",
    "mistral": "mistralai",
    "moonshot": "moonshotai",
    "thinking-machines": "thinkingmachines",
    "xai": "x-ai",
    "zai": "z-ai",
    "zai-org": "z-ai",
}

# Authors of names that came without one, by how the name begins; the first that fits decides, so
# derivatives that carry another maker's name stand before it.
AUTHORS_BY_PREFIX = (
    ("llama-3-lumimaid", "neversleep"),
    ("llama-3.1-lumimaid", "neversleep"),
    ("llama-3.1-nemotron", "nvidia"),
    ("llama-3.3-nemotron", "nvidia"),
    ("llama-3.1-sonar", "perplexity"),
    ("llama3.1-typhoon2", "scb10x"),
    ("codellama-7b-instruct-solidity", "alfredpros"),
    ("deepseek-", "deepseek"),
    ("claude-", "anthropic"),
    ("chatgpt-", "openai"),
    ("codex-", "openai"),
    ("gpt-", "openai"),
    ("o1-", "openai"),
    ("gemini-", "google"),
    ("gemma-", "google"),
    ("grok-", "x-ai"),
    ("codestral-", "mistralai"),
    ("devstral-", "mistralai"),
    ("magistral-", "mistralai"),
    ("ministral-", "mistralai"),
    ("mistral-", "mistralai"),
    ("mixtral-", "mistralai"),
    ("pixtral-", "mistralai"),
    ("llama-", "meta-llama"),
    ("qwen", "qwen"),
    ("qwq-", "qwen"),
    ("glm-", "z-ai"),
    ("jamba-", "ai21"),
    ("command", "cohere"),
    ("phi-", "microsoft"),
    ("minimax-", "minimax"),
    ("lfm-", "liquid"),
    ("hermes-", "nousresearch"),
    ("nous-hermes-", "nousresearch"),
    ("mercury-", "inception"),
    ("sonar-", "perplexity"),
    ("r1-1776", "perplexity"),
    ("yi-", "01-ai"),
    ("eva-", "eva-unit-01"),
    ("magnum-v2-", "anthracite-org"),
    ("magnum-72b", "alpindale"),
    ("goliath-", "alpindale"),
    ("l3-euryale-", "sao10k"),
    ("fimbulvetr-", "sao10k"),
    ("noromaid-", "neversleep"),
    ("midnight-rose-", "sophosympatheia"),
    ("mythalion-", "pygmalionai"),
    ("openhands-", "all-hands"),
    ("arcee-", "arcee-ai"),
    ("caller-", "arcee-ai"),
    ("maestro-", "arcee-ai"),
    ("spotlight", "arcee-ai"),
    ("virtuoso-", "arcee-ai"),
    ("anubis-", "thedrummer"),
    ("valkyrie-", "thedrummer"),
)

_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8})$")


def with_author(name: str) -> str | None:
    """`author/slug` in our spelling; None when no author is named and none can be told."""
    name = name.removeprefix("~")
    author, slash, slug = name.partition("/")
    if slash:
        return f"{AUTHORS.get(author, author)}/{slug}"
    for prefix, known in AUTHORS_BY_PREFIX:
        if name.startswith(prefix):
            return f"{known}/{name}"
    return None


def model_of(row: dict[str, Any], siblings: Iterable[dict[str, Any]]) -> str | None:
    """The canonical model of a row; None when it has none and is reached by pinning.

    `siblings` are the rows of the same provider. A dated version beside the undated one is a model
    of its own (`openai/gpt-4o-2024-08-06`): who asks for `gpt-4o` must not be served an older one.
    """
    their_id: str = row["provider_model"]
    if row["provider"] == "openrouter":
        # Their ids are the names; `:batch`, `:free` and the like are offers apart.
        return with_author(their_id)
    canonical: str | None = row.get("canonical")
    named = with_author(canonical) if canonical else None
    if named is None or their_id.startswith("ft:"):
        return None
    date = _DATE.search(their_id)
    if date is None or named.endswith(date.group(1)):
        return named
    has_undated_sibling = any(
        other.get("canonical") == canonical and not _DATE.search(other["provider_model"])
        for other in siblings
    )
    return f"{named}-{date.group(1)}" if has_undated_sibling else named
