"""How models behind Converse are told to think, and how what they thought is given back to them."""

from typing import Any, Final

import msgspec

from gateway.chat.reasoning import Reasoning
from gateway.providers.anthropic_content import merged_details
from gateway.providers.anthropic_thinking import plan_thinking
from gateway.providers.base import Target
from gateway.providers.bedrock_content import Block
from gateway.providers.bedrock_families import Family
from gateway.providers.translation.options import left_out
from gateway.providers.translation.thinking import effort_for, warn_of_effort
from gateway.providers.translation.turns import AssistantTurn, Conversation

_NOVA_EFFORTS: Final = ("low", "medium", "high")


class ThinkingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, and what does not go together with it."""

    fields: dict[str, Any] = {}
    """Members of ``additionalModelRequestFields``."""
    is_on: bool = False
    forbids_forcing: bool = False
    """No call may be forced."""
    forbids_sampling: bool = False
    """Temperature, top_k and the like stay at their defaults."""
    forbids_limit: bool = False
    """No largest answer may be given."""


OFF: Final = ThinkingPlan()


def plan(
    wish: Reasoning | None,
    family: Family,
    conversation: Conversation,
    target: Target,
    warnings: list[str],
    *,
    must_call: bool,
    max_tokens: int,
) -> ThinkingPlan:
    """How much to think, in the family's words. A forced call wins where both exclude each other.

    ``max_tokens`` is the largest answer, thinking included.
    """
    if wish is None or (wish.effort is None and wish.max_tokens is None):
        return OFF
    endpoint = target.endpoint
    thinking = endpoint.thinking
    is_known_not_to = endpoint.capabilities.get("reasoning") is False or (
        thinking is not None and thinking.style == "none"
    )
    if family.reasoning == "none" or is_known_not_to:
        if not wish.is_off:
            warnings.append(left_out("reasoning", endpoint.id))
        return OFF
    if family.reasoning == "claude":
        return _claude(
            wish, conversation, target, warnings, must_call=must_call, max_tokens=max_tokens
        )
    efforts = thinking.efforts if thinking is not None and thinking.efforts else _NOVA_EFFORTS
    if wish.is_off and "none" not in efforts:
        if family.reasoning == "effort":
            warnings.append(f"reasoning of {endpoint.id} cannot be switched off")
        return OFF
    effort = effort_for(wish, efforts, max_tokens)
    warn_of_effort(wish, effort, endpoint.id, warnings)
    if family.reasoning == "effort":
        return ThinkingPlan(fields={"reasoning_effort": effort}, is_on=True)
    # docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking: with high effort neither
    # temperature, topP nor maxTokens may be set; an answer may not be begun.
    if conversation.is_prefilled:
        warnings.append("reasoning was switched off: the answer's beginning is given")
        return OFF
    is_high = effort == "high"
    if is_high and max_tokens < (endpoint.max_output_tokens or max_tokens):
        # Money before effort: what the caller allowed to be written holds.
        effort, is_high = "medium", False
        warnings.append(
            f"`reasoning_effort` 'high' of {endpoint.id} does not go together with `max_tokens`; "
            "'medium' was sent"
        )
    config = {"type": "enabled", "maxReasoningEffort": effort}
    return ThinkingPlan(
        fields={"reasoningConfig": config},
        is_on=True,
        forbids_sampling=is_high,
        forbids_limit=is_high,
    )


def _claude(
    wish: Reasoning,
    conversation: Conversation,
    target: Target,
    warnings: list[str],
    *,
    must_call: bool,
    max_tokens: int,
) -> ThinkingPlan:
    thinking, effort = plan_thinking(
        wish, conversation, target, warnings, must_call=must_call, max_tokens=max_tokens
    )
    fields: dict[str, Any] = {}
    if thinking is not None:
        fields["thinking"] = thinking
    if effort is not None:
        fields["output_config"] = {"effort": effort}
    is_on = thinking is not None and thinking["type"] != "disabled"
    return ThinkingPlan(
        fields=fields,
        is_on=is_on,
        forbids_forcing=thinking is not None and thinking["type"] == "enabled",
        forbids_sampling=is_on,
    )


def reasoning_blocks(turn: AssistantTurn, family: Family) -> list[Block]:
    """What a model of this family thought in a turn, signed; empty when it is another's or lost."""
    blocks: list[Block] = []
    for detail in merged_details(turn.reasoning_details):
        if detail.format != family.reasoning_format:
            continue
        if detail.type == "reasoning.encrypted" and detail.data:
            blocks.append({"reasoningContent": {"redactedContent": detail.data}})
        elif detail.type == "reasoning.text" and detail.signature:
            # Thoughts that were not shown are an empty text, and signed all the same.
            said = {"text": detail.text or "", "signature": detail.signature}
            blocks.append({"reasoningContent": {"reasoningText": said}})
    return blocks
