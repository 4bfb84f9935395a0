"""What the models behind Converse refuse: thinking, sampling, signatures, forms of the answer.

Rules of Claude and Nova come from their pages in Amazon Bedrock's user guide.
"""

import base64
import hashlib
import re
from typing import Any

import msgspec

from gateway.simulator.bedrock_errors import invalid
from gateway.simulator.bedrock_schema import check_strict_schema
from gateway.simulator.bedrock_shapes import blocks_of, inner
from gateway.simulator.json_values import Json, as_array, as_object

LEAST_BUDGET = 1024


def check_model_fields(body: dict[str, Any], model: str) -> None:
    """Refuse parameters that the model's family does not take, or not in this combination."""
    fields = inner(body, "additionalModelRequestFields")
    config = inner(body, "inferenceConfig")
    if "claude" in model:
        _check_claude(fields, config, body, model)
    elif "nova" in model:
        _check_nova(fields, config)
    else:
        _check_keys(fields, {"top_k", "reasoning_effort", "top_logprobs", "seed"})


def _check_keys(fields: dict[str, Any], known: set[str]) -> None:
    for name in fields:
        if name not in known:
            raise invalid(
                f"The model returned the following errors: Malformed input request: #: extraneous "
                f"key [{name}] is not permitted, please reformat your input and try again."
            )


def _check_claude(
    fields: dict[str, Any], config: dict[str, Any], body: dict[str, Any], model: str
) -> None:
    _check_keys(fields, {"top_k", "thinking", "output_config", "anthropic_beta", "tool_choice"})
    is_newest = re.search(r"claude-(?:opus-4-[7-9]|[a-z]+-[5-9])", model) is not None
    if is_newest and ({"temperature", "topP"} & set(config) or "top_k" in fields):
        raise invalid(
            "The model returned the following errors: `temperature`, `top_p` and `top_k` are not "
            "supported by this model."
        )
    if "temperature" in config and "topP" in config and re.search(r"-4-[1-9]", model):
        raise invalid(
            "The model returned the following errors: `temperature` and `top_p` cannot both be "
            "specified for this model. Please use only one."
        )
    stops = as_array(config.get("stopSequences")) or []
    if any(not stop.strip() for stop in stops):
        raise invalid(
            "The model returned the following errors: stop_sequences: each stop sequence must "
            "contain non-whitespace"
        )
    thinking = as_object(fields.get("thinking"))
    if thinking is None:
        return
    _check_keys(thinking, {"type", "budget_tokens", "display"})
    kind = thinking.get("type")
    if kind not in {"enabled", "adaptive", "disabled"}:
        raise invalid("thinking.type: Input should be 'enabled', 'adaptive' or 'disabled'")
    if thinking.get("display") not in {None, "summarized", "omitted"}:
        raise invalid("thinking.display: Input should be 'summarized' or 'omitted'")
    if kind == "disabled":
        return
    if kind == "enabled":
        _check_budget(thinking, config)
    if kind == "enabled" and is_newest:
        raise invalid("thinking.type: this model thinks adaptively and takes no budget")
    if config.get("temperature", 1) != 1 or "top_k" in fields:
        raise invalid(
            "The model returned the following errors: `temperature` may only be set to 1 when "
            "thinking is enabled."
        )
    choice = inner(inner(body, "toolConfig"), "toolChoice")
    if kind == "enabled" and {"any", "tool"} & set(choice):
        raise invalid(
            "The model returned the following errors: Thinking may not be enabled when tool_choice "
            "forces tool use."
        )


def _check_budget(thinking: dict[str, Any], config: dict[str, Any]) -> None:
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < LEAST_BUDGET:
        raise invalid(
            "The model returned the following errors: thinking.enabled.budget_tokens: Input should "
            f"be greater than or equal to {LEAST_BUDGET}"
        )
    if budget >= config.get("maxTokens", 4096):
        raise invalid(
            "The model returned the following errors: `max_tokens` must be greater than "
            "`thinking.budget_tokens`."
        )


def _check_nova(fields: dict[str, Any], config: dict[str, Any]) -> None:
    _check_keys(fields, {"inferenceConfig", "reasoningConfig"})
    _check_keys(inner(fields, "inferenceConfig"), {"topK"})
    wish = inner(fields, "reasoningConfig")
    _check_keys(wish, {"type", "maxReasoningEffort"})
    if wish.get("type", "disabled") == "disabled":
        return
    effort = wish.get("maxReasoningEffort")
    if effort not in {"low", "medium", "high"}:
        raise invalid("reasoningConfig.maxReasoningEffort must be low, medium or high")
    given = {"temperature", "topP", "maxTokens"} & set(config)
    if effort == "high" and given:
        raise invalid(f"{', '.join(sorted(given))} must be unset when maxReasoningEffort is high")


def sign_reasoning(text: str) -> str:
    """The signature that belongs to a reasoning text; only such a one may come back."""
    digest = hashlib.blake2b(text.encode(), key=b"simulated-bedrock", digest_size=48).digest()
    return base64.b64encode(digest).decode()


def check_reasoning(body: dict[str, Any]) -> None:
    """Refuse reasoning that this service did not write, and tool loops that lost theirs."""
    for path, block in blocks_of(body, "reasoningContent"):
        if body["messages"][int(path.split(".")[1])]["role"] != "assistant":
            raise invalid(f"{path}: reasoningContent belongs to messages of the assistant.")
        said = block.get("reasoningText")
        if said is not None and said.get("signature") != sign_reasoning(said["text"]):
            raise invalid(
                f"The model returned the following errors: {path}: Invalid `signature` in "
                "`thinking` block"
            )
    thinking = inner(inner(body, "additionalModelRequestFields"), "thinking")
    if thinking.get("type") != "enabled":
        return
    # In a tool loop the turn that called must begin with what the model thought.
    for number, message in enumerate(body["messages"][:-1]):
        blocks: list[dict[str, Any]] = message["content"]
        is_open = number >= _loop_start(body)
        if (
            message["role"] == "assistant"
            and is_open
            and any("toolUse" in block for block in blocks)
            and "reasoningContent" not in blocks[0]
        ):
            raise invalid(
                f"The model returned the following errors: messages.{number}.content.0.type: "
                "Expected `thinking` or `redacted_thinking`, but found `tool_use`."
            )


def _loop_start(body: dict[str, Any]) -> int:
    """Index of the first message after the last one in which the user said something new."""
    for number in range(len(body["messages"]) - 1, -1, -1):
        message = body["messages"][number]
        if message["role"] == "user" and not any(
            "toolResult" in block for block in message["content"]
        ):
            return number + 1
    return 0


def check_output(body: dict[str, Any]) -> None:
    """Refuse a form of the answer that cannot be held to."""
    form = inner(inner(body, "outputConfig"), "textFormat")
    if not form:
        return
    try:
        schema: Json = msgspec.json.decode(form["structure"]["jsonSchema"]["schema"])
    except msgspec.DecodeError as exc:
        raise invalid("outputConfig.textFormat: the schema is not valid JSON.") from exc
    if as_object(schema) is None:
        raise invalid("outputConfig.textFormat: the schema is not an object.")
    check_strict_schema(schema, "outputConfig.textFormat")
