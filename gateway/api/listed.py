"""What is shown of models and endpoints: OpenAI's objects with OpenRouter's members."""

import msgspec


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in and what comes out."""

    modality: str
    """``text+image->text``."""
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    tokenizer: str | None = None
    instruct_type: str | None = None


class Pricing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """USD per token or per piece as exact text. What is unknown is null or absent, never "0"."""

    prompt: str | None
    completion: str | None
    request: str | None = None
    image: str | None = None
    web_search: str | None = None
    internal_reasoning: str | None = None
    input_cache_read: str | None = None
    input_cache_write: str | None = None
    audio: str | None = None
    input_audio_cache: str | None = None
    audio_output: str | None = None
    image_token: str | None = None
    image_output: str | None = None


class TopProvider(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest endpoint's limits; ``is_moderated`` is not known of any."""

    context_length: int | None
    max_completion_tokens: int | None
    is_moderated: bool | None = None


class ListedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model, with the endpoints that serve it."""

    id: str
    object: str = "model"
    created: int
    """Unix seconds of its release; 0 when that is not known."""
    owned_by: str
    name: str
    canonical_slug: str
    description: str | None = None
    context_length: int | None = None
    """The largest of its endpoints; None when none is known."""
    architecture: Architecture
    pricing: Pricing
    """Of the cheapest endpoint for a prompt of 1,000 and an answer of 500 tokens."""
    top_provider: TopProvider
    supported_parameters: tuple[str, ...]
    """Those that one of its endpoints is known to support."""
    per_request_limits: None = None
    providers: tuple[str, ...] = ()


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list object."""

    object: str = "list"
    data: list[ListedModel]


class ListedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's offer of a model, with what this worker has seen of it lately."""

    id: str
    name: str
    model_name: str
    context_length: int | None
    pricing: Pricing
    provider_name: str
    tag: str
    """What ``provider.order`` and its like call it."""
    quantization: str | None
    max_completion_tokens: int | None
    max_prompt_tokens: int | None
    supported_parameters: tuple[str, ...]
    status: int
    """0 serves; -1 failed within the last 30 s; -2 rests, as its provider asked; -3 its provider
    refuses our credential."""
    uptime_last_30m: float | None
    """Percent of its attempts that did not fail; None without attempts. Of this worker alone."""
    supports_implicit_caching: bool | None = None
    latency_p50_ms: float | None
    throughput_p50_tokens_per_s: float | None


class ModelWithEndpoints(msgspec.Struct, frozen=True, kw_only=True):
    """A model and each of its endpoints."""

    id: str
    name: str
    created: int
    description: str | None = None
    architecture: Architecture
    endpoints: tuple[ListedEndpoint, ...]


class EndpointsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``GET …/models/{author}/{slug}/endpoints``."""

    data: ModelWithEndpoints
