"""What the way to a provider makes of its endpoints: abilities that a model has and a wire lacks.

The tables say what a model can do; whether it can be asked for here depends on the protocol and on
how the provider speaks it. Routing reads capabilities alone and never asks an adapter.
"""

from collections.abc import Iterable, Mapping

from msgspec import structs

from gateway.providers.base import Quirks
from gateway.providers.registry import quirks_of
from pricing.endpoint import Endpoint

_CUSTOM_TOOLS_FROM = ("gpt-5", "gpt-6")
"""platform.openai.com/docs/guides/function-calling#custom-tools: GPT-5 and later."""
_NO_WORD_FOR = {
    "anthropic": (
        "audio_input",
        "audio_output",
        "frequency_penalty",
        "image_output",
        "logit_bias",
        "logprobs",
        "min_p",
        "n",
        "prediction",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "top_a",
        "verbosity",
        "video_input",
    ),
    "bedrock": (
        "audio_output",
        # Converse takes bytes and s3:// addresses.
        "file_urls",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "min_p",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "verbosity",
        "web_search",
    ),
}
"""What a protocol cannot ask for, whatever the model can do."""
_TAKES = {"anthropic": ("parallel_tool_calls", "service_tier", "stop")}
"""What every model takes over a protocol."""
_OF_OPENAI = frozenset({"openai", "azure"})


def apply_wire_facts(endpoints: Iterable[Endpoint], protocols: Mapping[str, str]) -> list[Endpoint]:
    """Those whose capabilities change on the way, as they are after it."""
    changed: list[Endpoint] = []
    for endpoint in endpoints:
        facts = facts_of(endpoint, protocols[endpoint.provider])
        known = endpoint.capabilities
        if any(known.get(name) != fact for name, fact in facts.items()):
            changed.append(structs.replace(endpoint, capabilities={**known, **facts}))
    return changed


def assume_wire_facts(endpoint: Endpoint, protocol: str) -> Endpoint:
    """An operator's endpoint: what they assert stands, the rest follows from the wire."""
    facts = facts_of(endpoint, protocol)
    if not facts:
        return endpoint
    return structs.replace(endpoint, capabilities={**facts, **endpoint.capabilities})


def facts_of(endpoint: Endpoint, protocol: str) -> dict[str, bool]:
    """Capabilities that are certain, whatever the tables say."""
    if protocol != "openai":
        # Free-text tools are OpenAI's own.
        facts = {"custom_tools": False} | dict.fromkeys(_NO_WORD_FOR.get(protocol, ()), False)
        return facts | dict.fromkeys(_TAKES.get(protocol, ()), True)
    quirks = quirks_of(endpoint.provider)
    facts = dict.fromkeys(quirks.refused_parameters, False)
    if not _can_search(endpoint, quirks):
        facts["web_search"] = False
    if endpoint.provider in _OF_OPENAI and endpoint.provider_model.startswith(_CUSTOM_TOOLS_FROM):
        facts["custom_tools"] = True
    return facts


def _can_search(endpoint: Endpoint, quirks: Quirks) -> bool:
    return (
        quirks.web_search_form != "none" and quirks.web_search_model_mark in endpoint.provider_model
    )
