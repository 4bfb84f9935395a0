"""What an endpoint can do, three-valued: True, False, or None when the tables do not know."""

from collections.abc import Iterable, Mapping

from gateway.chat.request import Need
from pricing.endpoint import Endpoint

IMPLIED_BY: Mapping[str, tuple[str, ...]] = {
    "json_mode": ("structured_outputs",),
    "tools": ("tool_choice", "parallel_tool_calls"),
}
"""A capability nobody wrote down is there when one that contains it is."""

_MODALITY_OF_NEED: Mapping[Need, tuple[str, str]] = {
    "vision": ("in", "image"),
    "audio_input": ("in", "audio"),
    "pdf_input": ("in", "pdf"),
    "video_input": ("in", "video"),
    "audio_output": ("out", "audio"),
    "image_output": ("out", "image"),
}

_TEXT_ONLY = ("text",)

CAPABILITY_OF_PARAMETER: Mapping[str, str] = {
    "functions": "tools",
    "function_call": "tool_choice",
    "top_logprobs": "logprobs",
    "reasoning_effort": "reasoning",
    "include_reasoning": "reasoning",
    "web_search_options": "web_search",
    "plugins": "web_search",
    "image_config": "image_output",
}
"""Parameters that belong to another capability; all others are capabilities of their own name."""

ASKS_NOTHING = frozenset(
    {
        "allow_fallbacks",
        "audio",
        "debug",
        "free_models_only",
        "max_completion_tokens",
        "max_cost_usd",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "models",
        "no_reasoning",
        "prompt_cache_key",
        "provider",
        "response_format",
        "route",
        "safety_identifier",
        "session_id",
        "sort",
        "store",
        "stream",
        "stream_options",
        "trace",
        "transforms",
        "usage",
        "user",
    }
)
"""Members the gateway handles itself, or whose meaning is among the request's needs."""


def meets(endpoint: Endpoint, need: Need) -> bool | None:
    """Whether the endpoint can do what the answer depends on.

    A list of modalities that says more than text is taken to be complete; text alone is what a
    table says that knows nothing.
    """
    known = has_capability(endpoint, need)
    modality = _MODALITY_OF_NEED.get(need)
    if known is not None or modality is None:
        return known
    direction, kind = modality
    listed = endpoint.modalities_in if direction == "in" else endpoint.modalities_out
    if kind in listed:
        return True
    return None if listed == _TEXT_ONLY else False


def has_capability(endpoint: Endpoint, capability: str) -> bool | None:
    """What the tables say about a capability, or about one that contains it."""
    known = endpoint.capabilities.get(capability)
    if known is None:
        for containing in IMPLIED_BY.get(capability, ()):
            if endpoint.capabilities.get(containing):
                return True
    return known


def needed_capabilities(parameters: Iterable[str]) -> tuple[str, ...]:
    """The capabilities that ``require_parameters`` asks for, sorted."""
    return tuple(
        sorted(
            {
                CAPABILITY_OF_PARAMETER.get(name, name)
                for name in parameters
                if name not in ASKS_NOTHING
            }
        )
    )
