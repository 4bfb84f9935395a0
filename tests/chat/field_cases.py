"""One or more examples of every request member: what is sent, and what an endpoint then gets."""

from typing import Any

import msgspec

Members = dict[str, Any]

HELLO: list[Members] = [{"role": "user", "content": "hello"}]
FUNCTION: Members = {"name": "look_up", "parameters": {"type": "object", "default": None}}
TOOL: Members = {"type": "function", "function": FUNCTION}
OTHER_TOOL: Members = {"type": "function", "function": {"name": "other"}}
GRAMMAR: Members = {"type": "grammar", "grammar": {"definition": "a+", "syntax": "regex"}}
CUSTOM_TOOL: Members = {"type": "custom", "custom": {"name": "note", "format": GRAMMAR}}
SCHEMA: Members = {"name": "city", "schema": {"type": "object", "default": None}, "strict": True}
PLACE: Members = {"city": "Graz", "country": "AT", "region": "Styria", "timezone": "Europe/Vienna"}
SEARCHES: dict[str, bool] = {"web_search": True}
NOTHING: Members = {}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One request beside ``model`` and ``messages``, and the body that it becomes."""

    field: str
    sent: Members
    upstream: Members = {}
    """Beside the model; ``messages`` too when they differ from those that were sent."""
    warns_of: str | None = None
    provider: str = "acme"
    """Whose quirks the endpoint has; ``acme`` is a plain OpenAI-compatible one."""
    provider_model: str = "native-1"
    capabilities: dict[str, bool] = {}
    note: str = ""


def same(field: str, *values: object, **more: Any) -> list[Case]:
    """Members that pass as they are."""
    return [
        Case(field=field, sent={field: value, **more}, upstream={field: value, **more})
        for value in values
    ]


def kept(field: str, *values: object) -> list[Case]:
    """Members that no endpoint sees."""
    return [Case(field=field, sent={field: value}) for value in values]


def search(field: str, sent: Members, options: Members) -> list[Case]:
    """A wish for a search: conveyed where one is known to be, else left out with a warning."""
    return [
        Case(
            field=field,
            sent=sent,
            upstream={"web_search_options": options},
            capabilities=SEARCHES,
            note="by an endpoint that is known to search",
        ),
        Case(field=field, sent=sent, warns_of="no web search", note="by any other"),
    ]


CALL: Members = {"name": "look_up", "arguments": "{}"}
LEGACY_MESSAGES: list[Members] = [
    *HELLO,
    {"role": "assistant", "content": None, "function_call": CALL},
    {"role": "function", "name": "look_up", "content": "4"},
]
TOOL_MESSAGES: list[Members] = [
    *HELLO,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": CALL}],
    },
    {"role": "tool", "content": "4", "tool_call_id": "call_1"},
]
ALLOWED: Members = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "required",
        "tools": [{"type": "function", "function": {"name": "look_up"}}],
    },
}

CASES: tuple[Case, ...] = (
    Case(field="model", sent={}, note="the endpoint's own name of the model"),
    *kept("models", ["acme/two", "acme/three"]),
    Case(
        field="messages",
        sent={"messages": [{"role": "developer", "content": "be brief"}, *HELLO]},
        upstream={"messages": [{"role": "system", "content": "be brief"}, *HELLO]},
        note="`developer` becomes `system` where it is unknown",
    ),
    Case(
        field="messages",
        sent={"messages": LEGACY_MESSAGES},
        upstream={"messages": TOOL_MESSAGES},
        note="the role `function` becomes `tool`",
    ),
    Case(
        field="stream",
        sent={"stream": True},
        upstream={"stream": True, "stream_options": {"include_usage": True}},
    ),
    Case(field="stream", sent={"stream": False}),
    Case(
        field="stream_options",
        sent={"stream": True, "stream_options": {"include_obfuscation": False}},
        upstream={"stream": True, "stream_options": {"include_usage": True}},
        note="`include_obfuscation` to OpenAI alone; usage is always asked for",
    ),
    Case(
        field="stream_options",
        sent={"stream": True, "stream_options": {"include_obfuscation": False}},
        upstream={
            "stream": True,
            "stream_options": {"include_obfuscation": False, "include_usage": True},
        },
        provider="openai",
    ),
    *same("max_tokens", 100),
    Case(field="max_tokens", sent={"max_tokens": 100.0}, upstream={"max_tokens": 100}),
    Case(
        field="max_completion_tokens",
        sent={"max_completion_tokens": 100},
        upstream={"max_tokens": 100},
        note="under the name that the endpoint knows",
    ),
    Case(
        field="max_completion_tokens",
        sent={"max_completion_tokens": 100, "max_tokens": 5},
        upstream={"max_completion_tokens": 100},
        provider="openai",
        warns_of="`max_tokens` (5) and `max_completion_tokens` (100) differ",
    ),
    *same("temperature", 0, 0.7, 2),
    *same("top_p", 0.9),
    *same("top_k", 40),
    *same("min_p", 0.05),
    *same("top_a", 0.1),
    *same("repetition_penalty", 1.1),
    *same("frequency_penalty", -2, 0.5),
    *same("presence_penalty", 2),
    *same("n", 2),
    *same("seed", 7, -9007199254740991),
    *same("stop", "END", ["a", "b", "c", "d"]),
    Case(
        field="stop",
        sent={"stop": ["a", "b", "a"]},
        upstream={"stop": ["a", "b"]},
        note="without repeats",
    ),
    *same("logprobs", True),
    *same("top_logprobs", 5, logprobs=True),
    *same("logit_bias", {"50256": -100}),
    *same("tools", [TOOL], [CUSTOM_TOOL]),
    *search(
        "tools",
        {"tools": [{"type": "web_search", "search_context_size": "low", "user_location": PLACE}]},
        {
            "search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": PLACE},
        },
    ),
    *same("tool_choice", "required", TOOL, tools=[TOOL]),
    Case(
        field="tool_choice",
        sent={"tools": [TOOL, OTHER_TOOL], "tool_choice": ALLOWED},
        upstream={"tools": [TOOL, OTHER_TOOL], "tool_choice": ALLOWED},
        provider="openai",
    ),
    Case(
        field="tool_choice",
        sent={"tools": [TOOL, OTHER_TOOL], "tool_choice": ALLOWED},
        upstream={"tools": [TOOL], "tool_choice": "required"},
        note="only the allowed tools, where `allowed_tools` is unknown",
    ),
    *same("parallel_tool_calls", False, tools=[TOOL]),
    Case(field="functions", sent={"functions": [FUNCTION]}, upstream={"tools": [TOOL]}),
    Case(
        field="function_call",
        sent={"functions": [FUNCTION], "function_call": {"name": "look_up"}},
        upstream={
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "look_up"}},
        },
    ),
    Case(
        field="function_call",
        sent={"functions": [FUNCTION], "function_call": "auto"},
        upstream={"tools": [TOOL], "tool_choice": "auto"},
    ),
    *same(
        "response_format",
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": SCHEMA},
        {"type": "text"},
        {"type": "grammar", "grammar": "root ::= a"},
        {"type": "python"},
    ),
    *same("reasoning_effort", "high", "none"),
    Case(
        field="reasoning_effort",
        sent={"reasoning_effort": "high"},
        capabilities={"reasoning": False},
        warns_of="`reasoning_effort` is not supported",
        note="by an endpoint that cannot reason",
    ),
    Case(
        field="reasoning",
        sent={"reasoning": {"effort": "low", "exclude": True}},
        upstream={"reasoning_effort": "low"},
    ),
    Case(
        field="reasoning",
        sent={"reasoning": {"effort": "low", "max_tokens": 9000}, "reasoning_effort": "low"},
        upstream={"reasoning": {"max_tokens": 9000}},
        provider="openrouter",
        note="a budget wins; OpenRouter gets the object",
    ),
    Case(
        field="reasoning",
        sent={"reasoning": {"effort": "high", "summary": "auto", "exclude": True}},
        upstream={"reasoning": {"effort": "high", "summary": "auto", "exclude": True}},
        provider="openrouter",
    ),
    Case(
        field="reasoning",
        sent={"reasoning": {"enabled": False, "effort": "high"}},
        upstream={"reasoning_effort": "none"},
        warns_of="`reasoning.enabled` is false",
    ),
    *kept("include_reasoning", False, True),
    Case(field="effort", sent={"effort": "low"}, warns_of="`effort` is not supported"),
    *same("verbosity", "low"),
    *search("web_search", {"web_search": True}, {}),
    Case(field="web_search", sent={"web_search": False}),
    *search(
        "web_search_options",
        {
            "web_search_options": {
                "search_context_size": "high",
                "user_location": {"type": "approximate", "approximate": PLACE},
            }
        },
        {
            "search_context_size": "high",
            "user_location": {"type": "approximate", "approximate": PLACE},
        },
    ),
    Case(
        field="web_search_options",
        sent={"web_search_options": NOTHING},
        upstream={"web_search_options": NOTHING},
        provider="openai",
        provider_model="gpt-5-search-api",
        capabilities=SEARCHES,
    ),
    *same("modalities", ["text", "audio"], audio={"format": "wav", "voice": "alloy"}),
    *same("audio", {"format": "wav", "voice": "alloy"}, {"format": "mp3", "voice": {"id": "v1"}}),
    *same(
        "prediction",
        {"type": "content", "content": "as before"},
        {"type": "content", "content": [{"type": "text", "text": "as before"}]},
    ),
    *same("service_tier", "flex"),
    Case(
        field="service_tier",
        sent={"service_tier": "tomorrow"},
        warns_of="`service_tier` is not supported",
        note="words that are not published go to OpenAI alone",
    ),
    Case(
        field="service_tier",
        sent={"service_tier": "tomorrow"},
        upstream={"service_tier": "tomorrow"},
        provider="openai",
    ),
    *same("store", True),
    *kept("metadata", {"team": "blue"}),
    Case(
        field="metadata",
        sent={"metadata": {"team": "blue"}, "store": True},
        upstream={"metadata": {"team": "blue"}, "store": True},
        note="together with `store`",
    ),
    *same("user", "u-1"),
    *same("safety_identifier", "ab12"),
    *same("prompt_cache_key", "docs"),
    *same("prompt_cache_retention", "24h"),
    *kept("session_id", "s-1"),
    Case(
        field="session_id",
        sent={"session_id": "s-1"},
        upstream={"prompt_cache_key": "6a840baf5d8c3ff241688aeb14546e65"},
        provider="openai",
        note="OpenAI gets its hash, so that caches stay warm",
    ),
    *kept("provider", {"sort": "price", "max_price": {"prompt": "0.5"}}, NOTHING),
    *kept("provider_order", ["acme"]),
    *kept("provider_only", ["acme", "other"]),
    *kept("provider_ignore", ["other"]),
    *kept("provider_sort", "price", {"by": "latency"}),
    *kept("provider_quantizations", ["fp8"]),
    *kept("provider_data_collection", "deny"),
    *kept("provider_zdr", True),
    *kept("provider_require_parameters", True),
    *kept("provider_enforce_distillable_text", False),
    *kept("provider_max_prompt_price", 0.5, "0.5"),
    *kept("provider_max_completion_price", 2),
    *kept("provider_max_request_price", 0),
    *kept("provider_max_image_price", 0.01),
    *kept("route", "fallback"),
    *kept("plugins", [{"id": "moderation", "enabled": False}], []),
    Case(
        field="plugins",
        sent={
            "plugins": [{"id": "response-healing"}],
            "response_format": {"type": "json_object"},
        },
        upstream={"response_format": {"type": "json_object"}},
    ),
    *search("plugins", {"plugins": [{"id": "web", "engine": "native"}]}, {}),
    Case(
        field="debug",
        sent={"debug": {"echo_upstream_body": True}, "stream": True},
        upstream={"stream": True, "stream_options": {"include_usage": True}},
    ),
    Case(
        field="debug",
        sent={"debug": {"echo_upstream_body": True}},
        warns_of="`debug.echo_upstream_body` works on streams only",
    ),
    Case(field="debug", sent={"debug": {"explain": True}}),
    *kept("free_models_only", False),
    *kept("no_reasoning", False),
    *kept("max_cost_usd", 0.25, "0.25"),
    *same("image_config", {"aspect_ratio": "1:1"}),
    *kept("usage", {"include": True}),
    Case(field="transforms", sent={"transforms": []}, warns_of="`transforms` is not supported"),
    Case(field="trace", sent={"trace": {"id": "t"}}, warns_of="`trace` is not supported"),
)

WRONG: tuple[tuple[str, object, str], ...] = (
    ("model", 3, "model"),
    ("models", "a", "models"),
    ("models", ["a"] * 17, "models"),
    ("messages", [], "messages"),
    ("stream", "yes", "stream"),
    ("stream_options", {"include_usage": 1}, "stream_options.include_usage"),
    ("stream_options", {"include_obfuscation": "x"}, "stream_options.include_obfuscation"),
    ("max_tokens", 0, "max_tokens"),
    ("max_tokens", 1.5, "max_tokens"),
    ("max_completion_tokens", -1, "max_completion_tokens"),
    ("temperature", 2.01, "temperature"),
    ("top_p", 1.01, "top_p"),
    ("top_k", -1, "top_k"),
    ("min_p", 2, "min_p"),
    ("top_a", 2, "top_a"),
    ("repetition_penalty", 3, "repetition_penalty"),
    ("frequency_penalty", 2.1, "frequency_penalty"),
    ("presence_penalty", -2.1, "presence_penalty"),
    ("n", 0, "n"),
    ("seed", 2**53, "seed"),
    ("seed", 1.5, "seed"),
    ("stop", ["a"] * 5, "stop"),
    ("stop", "", "stop"),
    ("logprobs", 1, "logprobs"),
    ("top_logprobs", 21, "top_logprobs"),
    ("top_logprobs", 1.5, "top_logprobs"),
    ("logit_bias", {"1": "x"}, "logit_bias.*"),
    ("tools", [{"type": "function", "function": {"name": "x" * 65}}], "tools.0.function.name"),
    ("tools", [{"type": "custom", "custom": {"name": ""}}], "tools.0.custom.name"),
    ("tools", [{"type": "web_search", "max_uses": 0}], "tools.0.max_uses"),
    (
        "tools",
        [{"type": "custom", "custom": {"name": "x", "format": {"type": "grammar"}}}],
        "tools.0.custom.format.grammar",
    ),
    ("tool_choice", "perhaps", "tool_choice"),
    ("tool_choice", {"type": "function"}, "tool_choice.function"),
    ("parallel_tool_calls", "no", "parallel_tool_calls"),
    ("functions", [{"name": "x" * 65}], "functions.0.name"),
    ("functions", NOTHING, "functions"),
    ("function_call", "required", "function_call"),
    ("function_call", {"name": "nobody"}, "function_call"),
    ("response_format", {"type": "xml"}, "response_format.type"),
    ("response_format", {"type": "grammar"}, "response_format.grammar"),
    (
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "x" * 65}},
        "response_format.json_schema.name",
    ),
    ("reasoning_effort", "", "reasoning_effort"),
    ("reasoning", {"max_tokens": 0}, "reasoning.max_tokens"),
    ("reasoning", {"enabled": "yes"}, "reasoning.enabled"),
    ("include_reasoning", 1, "include_reasoning"),
    ("effort", "xhigh", "effort"),
    ("verbosity", 3, "verbosity"),
    ("web_search", "yes", "web_search"),
    (
        "web_search_options",
        {"search_context_size": "huge"},
        "web_search_options.search_context_size",
    ),
    (
        "web_search_options",
        {"user_location": {"type": "exact"}},
        "web_search_options.user_location.type",
    ),
    ("modalities", ["smell"], "modalities.0"),
    ("audio", {"format": 3}, "audio.format"),
    ("prediction", {"type": "x", "content": "y"}, "prediction.type"),
    ("prediction", {"type": "content", "content": ""}, "prediction.content"),
    ("service_tier", "x" * 65, "service_tier"),
    ("store", "yes", "store"),
    ("metadata", {"a": []}, "metadata"),
    ("metadata", {"a": "x" * 513}, "metadata"),
    ("metadata", {"x" * 65: "a"}, "metadata"),
    ("metadata", {str(number): "x" for number in range(17)}, "metadata"),
    ("user", 3, "user"),
    ("safety_identifier", 3, "safety_identifier"),
    ("prompt_cache_key", 3, "prompt_cache_key"),
    ("prompt_cache_retention", 3, "prompt_cache_retention"),
    ("session_id", "x" * 257, "session_id"),
    ("provider", {"max_prce": 1}, "provider.max_prce"),
    ("provider_order", "acme", "provider_order"),
    ("provider_only", [""], "provider_only.0"),
    ("provider_ignore", 3, "provider_ignore"),
    ("provider_sort", "cheapest", "provider_sort"),
    ("provider_quantizations", ["int2"], "provider_quantizations.0"),
    ("provider_data_collection", "maybe", "provider_data_collection"),
    ("provider_zdr", "yes", "provider_zdr"),
    ("provider_require_parameters", 1, "provider_require_parameters"),
    ("provider_enforce_distillable_text", 1, "provider_enforce_distillable_text"),
    ("provider_max_prompt_price", -1, "provider_max_prompt_price"),
    ("provider_max_completion_price", "NaN", "provider_max_completion_price"),
    ("provider_max_request_price", [], "provider_max_request_price"),
    ("provider_max_image_price", "x", "provider_max_image_price"),
    ("provider_configs", {"acme": {"base_url": "http://127.0.0.1"}}, "provider_configs"),
    ("route", "random", "route"),
    ("plugins", [{"id": "file-parser"}], "plugins.0"),
    ("plugins", [{"id": "unheard-of"}], "plugins.0"),
    ("plugins", [{"id": "web", "engine": "exa"}], "plugins.0.engine"),
    ("plugins", [NOTHING], "plugins.0.id"),
    ("debug", {"echo_upstream_body": "yes"}, "debug.echo_upstream_body"),
    ("debug", {"explain": 1}, "debug.explain"),
    ("free_models_only", "yes", "free_models_only"),
    ("no_reasoning", 1, "no_reasoning"),
    ("image_config", [], "image_config"),
    ("max_cost_usd", -1, "max_cost_usd"),
    ("max_cost_usd", "cheap", "max_cost_usd"),
)
"""Member, a value that is refused, and the ``param`` of the refusal."""

ANYTHING = frozenset({"usage", "transforms", "trace"})
"""Members without effect, whose values are therefore not checked."""
