"""How Claude is told to think: a budget for older models, an effort for those that adapt."""

from typing import Final

from gateway.chat.reasoning import Reasoning
from gateway.providers.anthropic_content import Block, lacks_thinking
from gateway.providers.base import Target
from gateway.providers.translation.options import left_out
from gateway.providers.translation.thinking import budget_for, effort_for, warn_of_effort
from gateway.providers.translation.turns import Conversation
from pricing.endpoint import Endpoint, Thinking

_ADAPTIVE: Final = Thinking(style="adaptive")
_CANNOT: Final = Thinking(style="none")


def plan_thinking(
    wish: Reasoning | None,
    conversation: Conversation,
    target: Target,
    warnings: list[str],
    *,
    must_call: bool,
    max_tokens: int,
) -> tuple[Block | None, str | None]:
    """The ``thinking`` member and the effort, or None each.

    A forced call, and the beginning of an answer, win over thinking where both do not go together.
    """
    endpoint = target.endpoint
    if wish is None or (wish.effort is None and wish.max_tokens is None):
        return None, None
    facts = _facts(endpoint)
    if wish.summary is not None:
        warnings.append(left_out("reasoning.summary", endpoint.id))
    if facts.style == "none":
        if not wish.is_off:
            warnings.append(left_out("reasoning", endpoint.id))
        return None, None
    if facts.style == "adaptive":
        if wish.is_off and facts.can_be_off is not False:
            return ({"type": "disabled"} if facts.can_be_off is None else None), None
        if conversation.is_prefilled:
            warnings.append(_without("the last message of the assistant begins the answer"))
            return None, None
        effort = effort_for(wish, facts.efforts, max_tokens)
        warn_of_effort(wish, effort, endpoint.id, warnings)
        # Newer models show their thoughts only when asked.
        display = "omitted" if wish.is_excluded else "summarized"
        return {"type": "adaptive", "display": display}, effort
    if wish.is_off:
        return None, None
    reason = _why_no_budget(conversation, must_call=must_call)
    budget = budget_for(wish, max_tokens, facts)
    if reason is None and budget is None:
        reason = f"`max_tokens` {max_tokens} leaves no room for it"
    if reason is not None:
        warnings.append(_without(reason))
        return None, None
    return {"type": "enabled", "budget_tokens": budget}, None


def _facts(endpoint: Endpoint) -> Thinking:
    """How the model thinks; what nobody described is taken for a current one."""
    if endpoint.capabilities.get("reasoning") is False:
        return _CANNOT
    facts = endpoint.thinking
    if facts is None or facts.style not in {"none", "budget", "adaptive"}:
        return _ADAPTIVE
    return facts


def _why_no_budget(conversation: Conversation, *, must_call: bool) -> str | None:
    """What a budget for thinking does not go together with: the API would answer 400."""
    if must_call:
        return "`tool_choice` forces a call"
    if conversation.is_prefilled:
        return "the last message of the assistant begins the answer"
    if lacks_thinking(conversation):
        return "the calls of the last message of the assistant came without signed thinking"
    return None


def _without(reason: str) -> str:
    return f"reasoning was switched off: {reason}"
