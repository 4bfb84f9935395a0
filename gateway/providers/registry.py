"""How each provider's wire differs, and which adapter speaks which protocol.

Rows state only what differs from the defaults of `Quirks`. A provider without a row (a local
server, a new company) gets the defaults, which the plainest OpenAI-compatible servers accept.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase

from msgspec import structs

from gateway.providers.anthropic import AnthropicAdapter
from gateway.providers.base import Adapter, Quirks
from gateway.providers.bedrock import BedrockAdapter
from gateway.providers.gemini import GeminiAdapter
from gateway.providers.openai import USER_AGENT, OpenAIAdapter

_OPENAI_ONLY = frozenset({"store", "prediction", "safety_identifier", "prompt_cache_retention"})
"""Parameters of OpenAI's own that copies of its API refuse or do not know."""

_OPENAI_FORMS = Quirks(
    max_tokens_field="max_completion_tokens",
    accepts_developer_role=True,
    accepts_obfuscation=True,
    accepts_allowed_tools=True,
    service_tiers=None,
    # platform.openai.com/docs/guides/tools-web-search: chat completions search with the models
    # gpt-…-search-… alone; all others need another API.
    web_search_model_mark="search",
    refused_message_members=frozenset(
        {"reasoning", "reasoning_content", "reasoning_details", "images"}
    ),
)

_REASONING = frozenset({"reasoning", "reasoning_content", "reasoning_details"})
"""Members of assistant messages in which services show reasoning, each in its own way."""

DEFAULT_QUIRKS = Quirks()

PROFILES: dict[str, Quirks] = {
    "openai": structs.replace(_OPENAI_FORMS, takes_session_as_cache_key=True),
    "azure": structs.replace(_OPENAI_FORMS, auth_header="api-key", auth_prefix=""),
    # console.groq.com/docs/openai: logprobs, logit_bias and top_logprobs are a 400.
    "groq": Quirks(
        max_tokens_field="max_completion_tokens",
        service_tiers=frozenset({"auto", "flex", "on_demand", "performance"}),
        # console.groq.com/docs/compound: these models search by themselves.
        web_search_form="builtin",
        refused_parameters=_OPENAI_ONLY | {"logit_bias", "top_logprobs"},
        refused_message_members=(_REASONING - {"reasoning"}) | {"refusal", "annotations"},
    ),
    "together": Quirks(refused_parameters=_OPENAI_ONLY),
    "fireworks": Quirks(refused_parameters=_OPENAI_ONLY - {"prediction"}),
    "deepinfra": Quirks(refused_parameters=_OPENAI_ONLY),
    "novita": Quirks(refused_parameters=_OPENAI_ONLY),
    "nebius": Quirks(refused_parameters=_OPENAI_ONLY),
    # docs.mistral.ai: the body forbids extra fields, stream_options among them; streams carry usage
    # unasked, and the seed is called random_seed.
    "mistral": Quirks(
        sends_stream_options=False,
        usage_flavour="mistral",
        refused_parameters=_OPENAI_ONLY - {"prediction"}
        | {"seed", "logit_bias", "logprobs", "top_logprobs", "user", "service_tier", "verbosity"},
        refused_message_members=_REASONING | {"refusal", "annotations", "audio", "images"},
    ),
    "deepseek": Quirks(usage_flavour="deepseek", refused_parameters=_OPENAI_ONLY | {"n", "seed"}),
    "x-ai": Quirks(
        max_tokens_field="max_completion_tokens",
        usage_flavour="xai",
        refused_parameters=_OPENAI_ONLY,
    ),
    "cerebras": Quirks(
        max_tokens_field="max_completion_tokens", refused_parameters=_OPENAI_ONLY - {"prediction"}
    ),
    "moonshotai": Quirks(usage_flavour="moonshot", refused_parameters=_OPENAI_ONLY),
    "zai": Quirks(refused_parameters=_OPENAI_ONLY),
    # help.aliyun.com/zh/model-studio/web-search: `enable_search` switches it on.
    "alibaba": Quirks(
        web_search_form="switch", accepts_cache_control=True, refused_parameters=_OPENAI_ONLY
    ),
    # docs.perplexity.ai: streams carry usage unasked; tools are unknown to Sonar.
    "perplexity": Quirks(
        sends_stream_options=False, usage_flavour="perplexity", refused_parameters=_OPENAI_ONLY
    ),
    "openrouter": Quirks(
        usage_flavour="openrouter",
        accepts_reasoning_object=True,
        accepts_cache_control=True,
        service_tiers=None,
        web_search_form="plugin",
    ),
    "amazon-bedrock": Quirks(usage_flavour="bedrock"),
    "nvidia": Quirks(refused_parameters=_OPENAI_ONLY),
    # docs.cohere.com/docs/compatibility-api lists what is not supported.
    "cohere": Quirks(
        usage_flavour="cohere",
        refused_parameters=_OPENAI_ONLY
        | {"logit_bias", "top_logprobs", "n", "modalities", "service_tier", "parallel_tool_calls"},
    ),
    # ai.google.dev/gemini-api/docs/openai; unknown members are a 400 ("Cannot find field").
    "google": Quirks(
        usage_flavour="gemini",
        web_search_form="none",
        refused_parameters=_OPENAI_ONLY | {"logit_bias", "top_k"},
    ),
    "google-vertex": Quirks(
        usage_flavour="gemini",
        web_search_form="none",
        refused_parameters=_OPENAI_ONLY | {"logit_bias", "top_k"},
    ),
}

_ADAPTERS: dict[str, Callable[[str], Adapter]] = {
    "openai": lambda user_agent: OpenAIAdapter(user_agent=user_agent),
    "anthropic": lambda user_agent: AnthropicAdapter(user_agent=user_agent),
    "bedrock": lambda user_agent: BedrockAdapter(user_agent=user_agent),
    "gemini": lambda user_agent: GeminiAdapter(user_agent=user_agent),
}

_REACHED: dict[tuple[str, str], tuple[str, ...]] = {
    ("google", "gemini"): ("gemini-*", "gemma-*", "learnlm-*"),
    # Models of other makers have protocols of their own there.
    ("google-vertex", "gemini"): ("gemini-*",),
}
"""Which of a provider's models a protocol reaches, by their native names; all where not listed."""

SUPPORTED_PROTOCOLS = frozenset(_ADAPTERS)


def quirks_of(provider: str) -> Quirks:
    """The quirks of a provider id; the defaults for one that has no row."""
    return PROFILES.get(provider, DEFAULT_QUIRKS)


def is_reached(provider: str, protocol: str, native_name: str) -> bool:
    """Whether a provider serves that model over that protocol."""
    patterns = _REACHED.get((provider, protocol))
    return patterns is None or any(fnmatchcase(native_name, one) for one in patterns)


def adapter_for(protocol: str, *, user_agent: str = USER_AGENT) -> Adapter:
    """An adapter that speaks a protocol; ``user_agent`` names us and our version to the provider.

    Raises:
        ValueError: nobody here speaks it; see `SUPPORTED_PROTOCOLS`.
    """
    try:
        make = _ADAPTERS[protocol]
    except KeyError:
        known = ", ".join(sorted(SUPPORTED_PROTOCOLS))
        raise ValueError(
            f"the protocol {protocol!r} is not spoken here; supported: {known}"
        ) from None
    return make(user_agent)
