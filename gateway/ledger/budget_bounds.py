"""The most that one attempt may cost at each endpoint: what budgets reserve for it. Pure.

The prompt counts with one token a byte, which no tokenizer that works on bytes exceeds, and what
frames its messages. The answer counts with the request's own limit, what 95 % of this key's answers
of that model do not exceed, or the installation's cap, whichever is least; strictly, with the
longest that the endpoint can give. The price is that of such a prompt, tier and all, in the region
where it is highest.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from math import ceil

import msgspec

from gateway.chat.request import ChatRequest
from gateway.routing.plan import Candidate
from pricing.cost import worst_nano_estimator
from pricing.endpoint import Endpoint
from pricing.price import dearest_region, resolve

TOKENS_PER_IMAGE_AT_MOST = 1_600
_FRAMES = 2
"""Estimates count 4 tokens a message for what frames it; 8 is what the dearest known takes."""

LearnedP95 = Callable[[str], float | None]
"""By canonical model: tokens of one choice that 95 % of this key's answers do not exceed."""


class BoundRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is not the request's to say."""

    answer_tokens: int = 4_096
    """The cap: reserved for an answer that has no limit of its own and nothing was learned of."""


def prompt_bound(request: ChatRequest) -> int:
    """Tokens that the prompt has at most; sound and video are not in it."""
    return (
        request.prompt_bytes
        + _FRAMES * request.prompt_tokens_estimate
        + TOKENS_PER_IMAGE_AT_MOST * request.image_count
    )


def attempt_bounds(
    request: ChatRequest,
    candidates: Sequence[Candidate],
    *,
    at: datetime,
    rules: BoundRules,
    learned: LearnedP95,
    is_strict: bool,
) -> dict[str, int]:
    """By endpoint, nano-dollars; endpoints whose cost has no bound are missing."""
    prompt_tokens = prompt_bound(request)
    worst = worst_nano_estimator(
        prompt_tokens=prompt_tokens, web_searches=1 if "web_search" in request.needs else 0
    )
    choices, tier = request.choice_count, request.service_tier
    lengths: dict[str, int] = {}
    bounds: dict[str, int] = {}
    for candidate in candidates:
        endpoint, price = candidate.endpoint, candidate.price
        if price is None:
            continue
        longest = endpoint.max_output_tokens
        if is_strict:
            answer_tokens = _longest(request, endpoint)
            if answer_tokens is None:
                continue
        else:
            answer_tokens = lengths.get(endpoint.model)
            if answer_tokens is None:
                answer_tokens = _usual(request, endpoint.model, rules, learned)
                lengths[endpoint.model] = answer_tokens
            if longest is not None and answer_tokens > longest:
                answer_tokens = longest
        answer_tokens *= choices
        most = worst(price, answer_tokens)
        if most is None:
            continue
        # The price was resolved for the prompt that is expected; this one may reach another tier,
        # and be processed where it costs most.
        tiered = resolve(
            endpoint,
            at=at,
            prompt_tokens=prompt_tokens,
            service_tier=tier,
            region=dearest_region(endpoint, at),
        )
        if tiered is not None and tiered is not price:
            other = worst(tiered, answer_tokens)
            if other is None:
                continue
            most = max(most, other)
        bounds[endpoint.id] = most
    return bounds


def _usual(request: ChatRequest, model: str, rules: BoundRules, learned: LearnedP95) -> int:
    known = learned(model)
    tokens = rules.answer_tokens if known is None else min(ceil(known), rules.answer_tokens)
    asked = request.max_output_tokens
    return tokens if asked is None else min(tokens, asked)


def _longest(request: ChatRequest, endpoint: Endpoint) -> int | None:
    """What the answer cannot exceed; None when nobody knows."""
    asked = request.max_output_tokens
    known = endpoint.max_output_tokens or endpoint.context_tokens
    if asked is None or known is None:
        return known if asked is None else asked
    return min(asked, known)
