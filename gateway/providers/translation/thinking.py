"""How much to think, in the terms of one model: a word it takes, or a budget that fits.

The words are shares of the largest answer, as OpenRouter publishes them. A budget never makes the
answer longer, and dearer, than the caller allowed: what does not fit is made smaller, or left out.
"""

from typing import Final

from gateway.chat.reasoning import Reasoning
from pricing.endpoint import EFFORTS, Thinking

SHARES: Final = {
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 0.95,
}
LEAST_BUDGET: Final = 1024
MOST_BUDGET: Final = 128_000
_LARGEST_SHARE: Final = 0.95
_WORDS_OF_BUDGET: Final = ((1024, "low"), (8192, "medium"))
_RANKS: Final = {effort: rank for rank, effort in enumerate(EFFORTS)}


def budget_for(
    wish: Reasoning,
    max_tokens: int,
    thinking: Thinking | None = None,
    *,
    least: int = LEAST_BUDGET,
    most: int = MOST_BUDGET,
) -> int | None:
    """Tokens to think, always below ``max_tokens``; None when not even the least fits.

    ``max_tokens`` is the largest answer, thinking included. The model's own limits win over
    ``least`` and ``most``. An unknown word counts as ``medium``.
    """
    if thinking is not None:
        least = thinking.min_tokens or least
        most = thinking.max_tokens or most
    if wish.max_tokens is not None:
        wanted = wish.max_tokens
    else:
        wanted = int(max_tokens * SHARES.get(wish.effort or "medium", SHARES["medium"]))
    room = max(int(max_tokens * _LARGEST_SHARE), min(least, max_tokens - 1))
    budget = min(max(wanted, least), most, room)
    return budget if budget >= least else None


def effort_for(wish: Reasoning, efforts: tuple[str, ...], max_tokens: int | None = None) -> str:
    """The word nearest to the wish among those that are taken; of two as near, the lesser.

    All words are taken where ``efforts`` is empty. A wish for a budget becomes the word whose share
    of ``max_tokens`` is nearest. ``none`` is only ever the answer to a wish for none.
    """
    if wish.max_tokens is not None:
        word = _word_of(wish.max_tokens, max_tokens)
    else:
        word = wish.effort or "medium"
    if not efforts or word in efforts:
        return word
    rank = _RANKS.get(word, _RANKS["medium"])
    candidates = [effort for effort in efforts if effort != "none"] or list(efforts)
    return min(candidates, key=lambda effort: (abs(_RANKS[effort] - rank), _RANKS[effort]))


def _word_of(budget: int, max_tokens: int | None) -> str:
    if max_tokens is None:
        for tokens, word in _WORDS_OF_BUDGET:
            if budget <= tokens:
                return word
        return "high"
    share = budget / max_tokens
    return min(list(SHARES)[:-1], key=lambda word: abs(SHARES[word] - share))


def warn_of_effort(wish: Reasoning, taken: str, endpoint_id: str, warnings: list[str]) -> None:
    """Say so when another word is sent than was asked for."""
    if wish.max_tokens is None and wish.effort is not None and wish.effort != taken:
        warnings.append(
            f"`reasoning_effort` {wish.effort[:64]!r} is not known by {endpoint_id}; "
            f"{taken!r} was sent"
        )
