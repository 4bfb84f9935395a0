"""What chat requests, answers and errors look like, for the published document alone.

Requests are read as `gateway.chat.view.View`; answers are put together from bytes, whose shape
stands here in words of types. Providers may add members to what is theirs.
"""

from typing import Any, Literal

import msgspec

from gateway.api.wire import MaybeUsd
from gateway.chat.fields import BY_NAME
from gateway.chat.routing_report import AnswerMetadata
from gateway.chat.view import View


class PriceCaps(msgspec.Struct, kw_only=True):
    """Hard caps: USD per million tokens, per request and per image; as a number or as text."""

    prompt: float | str | None = None
    completion: float | str | None = None
    request: float | str | None = None
    image: float | str | None = None
    audio: float | str | None = None


class SortWish(msgspec.Struct, kw_only=True):
    """A sort with its partition."""

    by: Literal["price", "latency", "throughput"] | None = None
    partition: Literal["model", "none"] | None = None


class ProviderObject(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who may serve, in which order, for how much. An unknown member is refused."""

    order: list[str] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: list[str] | None = None
    sort: Literal["price", "latency", "throughput"] | SortWish | None = None
    max_price: PriceCaps | None = None
    max_cost_usd: float | str | None = None
    preferred_min_throughput: Any = None
    preferred_max_latency: Any = None


class ChatCompletionRequest(View, kw_only=True):
    """A chat request. Members that are not listed are carried to the provider as they are."""

    provider: ProviderObject | None = None
    provider_order: list[str] | None = None
    provider_only: list[str] | None = None
    provider_ignore: list[str] | None = None
    provider_sort: Literal["price", "latency", "throughput"] | None = None
    provider_quantizations: list[str] | None = None
    provider_data_collection: Literal["allow", "deny"] | None = None
    provider_zdr: bool | None = None
    provider_require_parameters: bool | None = None
    provider_enforce_distillable_text: bool | None = None
    provider_max_prompt_price: float | str | None = None
    provider_max_completion_price: float | str | None = None
    provider_max_request_price: float | str | None = None
    provider_max_image_price: float | str | None = None
    usage: dict[str, Any] | None = None
    transforms: list[str] | None = None
    trace: dict[str, Any] | None = None


class AnswerMessage(msgspec.Struct, kw_only=True):
    """What the model said; ``reasoning``, ``audio``, ``images`` and more come where there are."""

    role: str
    content: Any = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None
    images: list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    function_call: dict[str, Any] | None = None


class AnswerChoice(msgspec.Struct, kw_only=True):
    """One of the answers."""

    index: int
    message: AnswerMessage
    finish_reason: str | None = None
    """stop, length, tool_calls, function_call, content_filter or error."""
    native_finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChunkChoice(msgspec.Struct, kw_only=True):
    """A piece of one of the answers."""

    index: int
    delta: dict[str, Any]
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class PromptDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of the prompt's tokens."""

    cached_tokens: int
    cache_write_tokens: int
    audio_tokens: int


class CompletionDetails(msgspec.Struct, kw_only=True):
    """Parts of the answer's tokens."""

    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None
    image_tokens: int | None = None


class CostDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The cost once more, in OpenRouter's parts."""

    upstream_inference_cost: MaybeUsd
    upstream_inference_prompt_cost: MaybeUsd
    upstream_inference_completions_cost: MaybeUsd


class AnswerUsage(msgspec.Struct, kw_only=True):
    """What was metered and what it cost, in the names of all published APIs.

    Prompt tokens include what was read from and written to a cache, completion tokens include
    reasoning. The parts of the cost add up to ``cost_usd_total``, which equals ``cost``.
    """

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    prompt_tokens_details: PromptDetails | None
    completion_tokens_details: CompletionDetails | None
    reasoning_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation_input_tokens: int | None
    cost: MaybeUsd
    is_byok: bool
    cost_details: CostDetails
    cost_usd_total: MaybeUsd
    cost_usd_input: MaybeUsd
    cost_usd_output: MaybeUsd
    cost_usd_cached_input: MaybeUsd
    cost_usd_cache_write: MaybeUsd
    cost_usd_request: MaybeUsd
    cost_usd_web_search: MaybeUsd
    cost_status: Literal["exact", "upper_bound", "estimated", "unpriced"]
    is_estimated: bool = False


class ChatCompletion(msgspec.Struct, kw_only=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    """The canonical model that answered; under /api/v1/openai the one that was asked for."""
    provider: str
    choices: list[AnswerChoice]
    usage: AnswerUsage | None
    metadata: AnswerMetadata
    service_tier: str | None = None
    system_fingerprint: str | None = None


class ChatCompletionChunk(msgspec.Struct, kw_only=True):
    """One event of a stream; ``data: [DONE]`` is the last. An error comes as an event too."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    provider: str
    choices: list[ChunkChoice]
    usage: AnswerUsage | None = None
    metadata: AnswerMetadata | None = None
    error: dict[str, Any] | None = None


class Embedding(msgspec.Struct, kw_only=True):
    """One vector: numbers, or base64 where that was asked for."""

    object: str
    index: int
    embedding: list[float] | str


class EmbeddingAnswer(msgspec.Struct, kw_only=True):
    """The vectors, with what they cost."""

    id: str
    object: Literal["list"]
    created: int
    model: str
    provider: str
    data: list[Embedding]
    usage: AnswerUsage | None
    metadata: AnswerMetadata


class OpenAIErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None
    metadata: dict[str, Any] = {}


class OpenAIError(msgspec.Struct, kw_only=True):
    """An error under /v1 and /."""

    error: OpenAIErrorBody


class OpenRouterErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong; ``code`` is the HTTP status."""

    code: int
    message: str
    metadata: dict[str, Any]


class OpenRouterError(msgspec.Struct, kw_only=True):
    """An error under /api/v1."""

    error: OpenRouterErrorBody
    user_id: str | None


class FastAPIFault(msgspec.Struct, kw_only=True):
    """One fault of a request; ``input`` is left out where it is long or might be private."""

    type: str
    loc: list[str | int]
    msg: str
    input: str | float | bool | dict[str, Any] | None = None
    ctx: dict[str, Any] = {}


class FastAPIError(msgspec.Struct, kw_only=True):
    """An error under /api/v1/openai: faults with 422, else a text."""

    detail: str | list[FastAPIFault]
    metadata: dict[str, Any] = {}
    """What other dialects have inside their error; never beside faults."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """A number of models."""

    count: int


class CountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many models there are."""

    data: Count


def describe_request(schema: dict[str, Any]) -> None:
    """Say of each member of a chat request what it means and what it may be."""
    for name, property_ in schema["properties"].items():
        field = BY_NAME.get(name)
        if field is not None:
            property_["description"] = f"{field.meaning}; {field.accepts}"
