"""Bodies that can be sent as they stand, one for each operation of the admin API that reads one."""

from dataclasses import dataclass
from typing import Any

from litestar.openapi.spec import Operation, RequestBody

_RULES = """\
[[rules]]
name = "spending-cap"
when = { labels = { env = "dev" } }
then = { tighten = { max_price = { prompt = 1, completion = 5 } } }
"""

_PRICE = {
    "kind": "price",
    "target": "openai/gpt-4o-mini",
    "rates": {"input_usd_per_mtok": "0.12"},
    "reason": "negotiated",
}

EXAMPLES: dict[str, Any] = {
    "createBudget": {
        "name": "search, per month",
        "limit_usd": 500,
        "period": "month",
        "labels": {"team": "search"},
    },
    "changeBudget": {"limit_usd": 750, "mode": "soft"},
    "checkPriceChange": _PRICE,
    "changePrice": _PRICE,
    "previewPriceChange": {"change": _PRICE, "since": "2026-11-14T00:00:00Z"},
    "acceptPriceProposal": {"reason": "as their price list says"},
    "refusePriceProposal": {"reason": "the list has cents for dollars"},
    "explainAsKey": {
        "request": {
            "model": "openai/gpt-4o-mini",
            "messages": [{"role": "user", "content": "Hello"}],
        }
    },
    "createKey": {
        "name": "search in production",
        "labels": {"team": "search", "env": "prod"},
        "allowed_models": ["openai/*", "anthropic/*"],
        "requests_per_minute": 600,
    },
    "changeKey": {
        "labels": {"team": "search", "env": "prod"},
        "requests_per_minute": 900,
        "tokens_per_minute": None,
        "expires_at": "2036-01-31T00:00:00Z",
    },
    "rotateKey": {"overlap_s": 86_400},
    "createWebhook": {
        "url": "https://alerts.example.com/tollway",
        "kinds": ["budget_threshold", "provider_down"],
    },
    "signIn": {"name": "ada", "password": "correct horse battery"},
    "changeOwnPassword": {"current": "correct horse battery", "new": "another long password"},
    "createUser": {"name": "ada", "role": "operator", "password": "correct horse battery"},
    "changeRole": {"role": "auditor"},
    "changePassword": {"password": "another long password"},
    "checkRules": {"source": _RULES},
    "diffRules": {"source": _RULES},
    "replayRules": {"source": _RULES, "since": "2026-11-14T00:00:00Z", "sample": 10_000},
    "compareSavings": {
        "since": "2026-11-14T00:00:00Z",
        "baseline": "previous-rules",
        "by": "model",
    },
    "applyRules": {"source": _RULES, "comment": "development stays cheap"},
}


@dataclass
class ExampledOperation(Operation):
    """An operation whose body has an example."""

    def __post_init__(self) -> None:
        example = EXAMPLES.get(self.operation_id or "")
        if example is None or not isinstance(self.request_body, RequestBody):
            return
        for media in self.request_body.content.values():
            media.example = example
