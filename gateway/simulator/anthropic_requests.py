"""What Anthropic refuses in a request, refused here in the same words.

A lenient simulator would let a wrong adapter pass its tests. Conversations are checked in
`anthropic_messages.py`, tools and schemas in `anthropic_tools.py`.
"""

from typing import Any

from gateway.simulator.anthropic_errors import refuse, unknown_model
from gateway.simulator.anthropic_messages import (
    check_cache_marks,
    check_messages,
    check_system,
    has_tool_blocks,
)
from gateway.simulator.anthropic_models import Abilities, abilities
from gateway.simulator.anthropic_tools import check_schema, check_tool_choice, check_tools
from gateway.simulator.json_values import as_array, as_object
from gateway.simulator.wire import Call

_VERSIONS = frozenset({"2023-01-01", "2023-06-01", "2026-10-21"})
_MEMBERS = frozenset(
    {
        "cache_control",
        "container",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
FAST_BETA = "fast-mode-2026-02-01"
"""platform.claude.com/docs/en/build-with-claude/fast-mode"""
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
LEAST_BUDGET = 1024
_LEAST_TOP_P = 0.95


def check_request(call: Call) -> None:
    """Raise `RefusedError` for whatever Anthropic would refuse."""
    version = call.headers.get("anthropic-version")
    if version is None:
        refuse("anthropic-version", "header is required")
    if version not in _VERSIONS:
        refuse("anthropic-version", f'"{version}" is not a valid version')
    body = call.body
    for name in body:
        if name not in _MEMBERS:
            refuse(name, "Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            refuse(name, "Field required")
    # The bench model is served everywhere; see `bench.py`.
    if call.provider is not None and call.offer is None and not call.model.startswith("bench"):
        raise unknown_model(call.asked_model)
    able = abilities(call.model)
    _check_max_tokens(call, able)
    _check_sampling(body, able)
    thinking = _check_thinking(body, able)
    check_system(body.get("system"))
    tools = check_tools(body.get("tools"), able)
    check_tool_choice(body.get("tool_choice"), tools, thinks_by_budget=thinking == "enabled")
    check_messages(body["messages"], able, thinking)
    if not tools and has_tool_blocks(body["messages"]):
        refuse(
            "",
            "Requests which include `tool_use` or `tool_result` blocks must define tools",
        )
    check_cache_marks(body)
    _check_output(body, able)
    _check_rest(body)
    _check_speed(call)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_max_tokens(call: Call, able: Abilities) -> None:
    value = call.body["max_tokens"]
    if not _is_integer(value):
        refuse("max_tokens", "Input should be a valid integer")
    if value < 1:
        refuse("max_tokens", "must be greater than or equal to 1")
    most = call.offer.max_output_tokens if call.offer is not None else able.max_output_tokens
    if value > most:
        refuse(
            "max_tokens",
            f"{value} > {most}, which is the maximum allowed number of output tokens for "
            f"{call.model}",
        )


def _check_sampling(body: dict[str, Any], able: Abilities) -> None:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None and (not _is_number(value) or not 0 <= value <= 1):
            refuse(name, "range: 0..1")
    top_k = body.get("top_k")
    if top_k is not None and (not _is_integer(top_k) or top_k < 1):
        refuse("top_k", "Input should be greater than or equal to 1")
    if not able.sampling:
        for name in ("temperature", "top_p", "top_k"):
            if body.get(name) is not None:
                refuse("", f"`{name}` is deprecated for this model.")
    is_both = body.get("temperature") is not None and body.get("top_p") is not None
    if is_both and not able.both_samplings:
        refuse(
            "",
            "`temperature` and `top_p` cannot both be specified for this model. Please use only "
            "one.",
        )


def _check_thinking(body: dict[str, Any], able: Abilities) -> str | None:
    """The type of thinking that is on, None when there is none."""
    given = body.get("thinking")
    if given is None:
        return None
    thinking = as_object(given)
    kind = thinking.get("type") if thinking is not None else None
    if thinking is None or kind not in {"enabled", "disabled", "adaptive"}:
        refuse("thinking", "Input tag found does not match any of the expected tags")
    if thinking.get("display") not in {None, "summarized", "omitted"}:
        refuse("thinking.display", "Input should be 'summarized' or 'omitted'")
    if kind == "disabled":
        return None
    if kind == "adaptive":
        if not able.adaptive:
            refuse("thinking.type", "adaptive thinking is not supported on this model")
        if set(thinking) - {"type", "display"}:
            refuse("thinking.adaptive", "Extra inputs are not permitted")
    else:
        if not able.budget:
            refuse("", '"thinking.type.enabled" is not supported for this model.')
        _check_budget(thinking.get("budget_tokens"), body)
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if temperature is not None and temperature != 1:
        refuse("", "`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("top_k") is not None:
        refuse("", "`top_k` must be unset when thinking is enabled.")
    if top_p is not None and top_p < _LEAST_TOP_P:
        refuse(
            "", "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled."
        )
    return kind


def _check_budget(budget: object, body: dict[str, Any]) -> None:
    at = "thinking.enabled.budget_tokens"
    if not isinstance(budget, int) or isinstance(budget, bool):
        refuse(at, "Field required")
    if budget < LEAST_BUDGET:
        refuse(at, f"Input should be greater than or equal to {LEAST_BUDGET}")
    if budget >= body["max_tokens"]:
        refuse("", "`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_output(body: dict[str, Any], able: Abilities) -> None:
    given = body.get("output_config")
    if given is None:
        return
    output = as_object(given)
    if output is None or set(output) - {"effort", "format"}:
        refuse("output_config", "Extra inputs are not permitted")
    effort = output.get("effort")
    if effort is not None:
        if effort not in _EFFORTS:
            refuse("output_config.effort", f"Input should be one of {', '.join(_EFFORTS)}")
        if not able.effort:
            refuse("", "This model does not support the effort parameter.")
    form = output.get("format")
    if form is None:
        return
    if not able.schemas:
        refuse("", "Structured outputs are not supported for this model.")
    if body["messages"][-1]["role"] == "assistant":
        refuse("", "`output_config.format` is incompatible with prefilling the response.")
    shape = as_object(form)
    if shape is None or set(shape) != {"type", "schema"} or shape["type"] != "json_schema":
        refuse("output_config.format", "Input should be a JSON schema format")
    check_schema(shape["schema"], "output_config.format.schema")


def _check_rest(body: dict[str, Any]) -> None:
    if not isinstance(body.get("stream", False), bool):
        refuse("stream", "Input should be a valid boolean")
    stops = body.get("stop_sequences")
    if stops is not None:
        listed: list[object] = as_array(stops) or [None]
        for index, stop in enumerate(listed):
            if not isinstance(stop, str):
                refuse(f"stop_sequences.{index}", "Input should be a valid string")
            if not stop.strip():
                refuse("stop_sequences", "each stop sequence must contain non-whitespace")
    metadata = body.get("metadata")
    if metadata is not None:
        facts = as_object(metadata)
        if facts is None or set(facts) - {"user_id"}:
            refuse("metadata", "Extra inputs are not permitted")
        user = facts.get("user_id")
        if user is not None and (not isinstance(user, str) or len(user) > 256):  # noqa: PLR2004 -- as documented
            refuse("metadata.user_id", "String should have at most 256 characters")
    if body.get("service_tier") not in {None, "auto", "standard_only"}:
        refuse("service_tier", "Input should be 'auto' or 'standard_only'")
    if body.get("inference_geo") not in {None, "us", "global"}:
        refuse("inference_geo", "Input should be 'us' or 'global'")


def _check_speed(call: Call) -> None:
    speed = call.body.get("speed")
    if speed is None:
        return
    if FAST_BETA not in call.headers.get("anthropic-beta", "").split(","):
        refuse("speed", "Extra inputs are not permitted")
    if speed not in {"standard", "fast"}:
        refuse("speed", "Input should be 'standard' or 'fast'")
