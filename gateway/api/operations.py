"""Every operation of the data listener: where it is, what it reads, and what it answers."""

from typing import Any, Literal

import msgspec

from gateway.api.account import ActivityAnswer, CreditsAnswer, KeyAnswer
from gateway.api.examples import (
    CHAT_ANSWER,
    CHAT_REQUEST,
    EMBEDDING_REQUEST,
    MESSAGES_REQUEST,
    SELECT_ANSWER,
    SELECT_REQUEST,
)
from gateway.api.explain import CHAT_EXPLAIN_PATHS, MESSAGES_EXPLAIN_PATHS
from gateway.api.generations import GenerationAnswer
from gateway.api.health import Readiness
from gateway.api.json_schema import Schema
from gateway.api.listed import EndpointsAnswer, ListedModel, ModelList
from gateway.api.message_schemas import MessageAnswer, MessageEvent, MessagesRequest
from gateway.api.messages import COUNT_PATHS, MESSAGES_PATHS, TokenCount
from gateway.api.models import ProvidersAnswer
from gateway.api.paths import BASES, CHAT_PATHS
from gateway.api.schemas import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    CountAnswer,
    EmbeddingAnswer,
)
from gateway.api.select_model import PATH as SELECT_PATH
from gateway.api.select_model import SelectModelAnswer, SelectModelRequest
from gateway.chat.embeddings import EmbeddingRequest
from gateway.routing.explanation import Explanation

_MODEL_ERRORS = (400, 401, 402, 403, 404, 408, 413, 415, 422, 429, 431, 500, 502, 503, 504)
_DRY_ERRORS = (400, 401, 403, 404, 408, 413, 415, 422, 431, 500, 503)
_READ_ERRORS = (400, 401, 404, 431, 500, 503)
Method = Literal["get", "post"]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation, on the paths of all its dialects."""

    id: str
    method: Method
    paths: tuple[str, ...]
    tag: str
    summary: str
    about: str = ""
    reads: tuple[Any, ...] = ()
    answers: Any = None
    streams: Any = None
    parameters: tuple[Schema, ...] = ()
    errors: tuple[int, ...] = _READ_ERRORS
    is_open: bool = False
    request_examples: dict[str, Any] = {}
    answer_example: Any = None


def _header(name: str, about: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "description": about, "schema": schema}


def _in_path(name: str, about: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about,
        "schema": {"type": "string", "minLength": 1},
    }


_AUTHOR = _in_path("author", "The part of the model's name before the slash.")
_SLUG = _in_path("slug", "The part behind it.")
REQUEST_ID = _header(
    "X-Request-Id",
    "Comes back on the answer; up to 128 printable characters of ASCII.",
    {"type": "string", "maxLength": 128},
)
_CHAT_HEADERS = (
    _header(
        "Idempotency-Key",
        "The same request under the same key is answered once within 24 hours, from the memory of "
        "one worker process. Not with `stream`.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    ),
    _header("X-Session-Id", "What belongs together; `session_id` wins.", {"type": "string"}),
    _header("X-No-Fallback", "`true`: the first endpoint or nobody.", {"type": "string"}),
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="createChatCompletion",
        method="post",
        paths=tuple(CHAT_PATHS),
        tag="chat",
        summary="Answer a chat",
        about="Served by the endpoint that fits the request at the best price, by the next one "
        "when that fails. With `stream` the answer comes as server-sent events.",
        reads=(ChatCompletionRequest,),
        answers=ChatCompletion,
        streams=ChatCompletionChunk,
        parameters=_CHAT_HEADERS,
        errors=tuple(sorted((*_MODEL_ERRORS, 409))),
        request_examples=CHAT_REQUEST,
        answer_example=CHAT_ANSWER,
    ),
    Operation(
        id="createMessage",
        method="post",
        paths=MESSAGES_PATHS,
        tag="messages",
        summary="Answer a Messages request",
        about="Anthropic's Messages API; any endpoint may answer, with the same keys, routing and "
        "accounts as a chat. With `stream` the answer comes as named server-sent events.",
        reads=(MessagesRequest,),
        answers=MessageAnswer,
        streams=MessageEvent,
        parameters=_CHAT_HEADERS,
        errors=tuple(sorted((*_MODEL_ERRORS, 409))),
        request_examples=MESSAGES_REQUEST,
    ),
    Operation(
        id="countMessageTokens",
        method="post",
        paths=COUNT_PATHS,
        tag="messages",
        summary="Say about how many tokens a prompt has",
        about="Estimated from its bytes. Nobody is asked and nothing is recorded.",
        reads=(MessagesRequest,),
        answers=TokenCount,
        errors=(400, 401, 403, 408, 413, 415, 431, 500, 503),
        request_examples=MESSAGES_REQUEST,
    ),
    Operation(
        id="createEmbedding",
        method="post",
        paths=tuple(f"{base}/embeddings" for base in BASES),
        tag="embeddings",
        summary="Embed texts",
        about="The cheapest endpoint of the model answers, the next one when it fails; never "
        "another model.",
        reads=(EmbeddingRequest,),
        answers=EmbeddingAnswer,
        errors=_MODEL_ERRORS,
        request_examples=EMBEDDING_REQUEST,
    ),
    Operation(
        id="selectModel",
        method="post",
        paths=(SELECT_PATH,),
        tag="chat",
        summary="Tell who would serve a request",
        about="The body may also be a chat request. Nobody is asked and nothing is recorded.",
        reads=(SelectModelRequest, ChatCompletionRequest),
        answers=SelectModelAnswer,
        errors=(400, 401, 403, 404, 408, 413, 415, 431, 500, 503),
        request_examples=SELECT_REQUEST,
        answer_example=SELECT_ANSWER,
    ),
    Operation(
        id="explainChat",
        method="post",
        paths=CHAT_EXPLAIN_PATHS,
        tag="explain",
        summary="Tell who would serve a chat, and why not the others",
        about="The path fixes the dialect, as for a chat. Nobody is asked and nothing is recorded. "
        "A request that nobody may serve is a 200 too, with the `refusal` that its caller would "
        "be told.",
        reads=(ChatCompletionRequest,),
        answers=Explanation,
        parameters=_CHAT_HEADERS[1:],
        errors=_DRY_ERRORS,
        request_examples=CHAT_REQUEST,
    ),
    Operation(
        id="explainMessage",
        method="post",
        paths=MESSAGES_EXPLAIN_PATHS,
        tag="explain",
        summary="Tell who would serve a Messages request, and why not the others",
        about="Nobody is asked and nothing is recorded.",
        reads=(MessagesRequest,),
        answers=Explanation,
        parameters=_CHAT_HEADERS[1:],
        errors=_DRY_ERRORS,
        request_examples=MESSAGES_REQUEST,
    ),
    Operation(
        id="createCompletion",
        method="post",
        paths=tuple(f"{base}/completions" for base in BASES),
        tag="chat",
        summary="Legacy completions are not served",
        about="Always 404, with the path to send `messages` to.",
        errors=(401, 404, 431, 500, 503),
    ),
    Operation(
        id="listModels",
        method="get",
        paths=tuple(f"{base}/models" for base in BASES),
        tag="models",
        summary="List the chat models that the key can use",
        answers=ModelList,
        errors=(400, 401, 431, 500, 503),
    ),
    Operation(
        id="retrieveModel",
        method="get",
        paths=tuple(f"{base}/models/{{author}}/{{slug}}" for base in BASES),
        tag="models",
        summary="One model",
        about="A bare slug does too, where it names one model.",
        parameters=(_AUTHOR, _SLUG),
        answers=ListedModel,
    ),
    Operation(
        id="listEndpoints",
        method="get",
        paths=tuple(f"{base}/models/{{author}}/{{slug}}/endpoints" for base in BASES),
        tag="models",
        summary="Each endpoint of a model, with what was seen of it lately",
        about="Uptime, latency and throughput are those of the worker process that answers.",
        parameters=(_AUTHOR, _SLUG),
        answers=EndpointsAnswer,
    ),
    Operation(
        id="countModels",
        method="get",
        paths=("/api/v1/models/count",),
        tag="models",
        summary="How many chat models the key can use",
        answers=CountAnswer,
        errors=(400, 401, 431, 500, 503),
    ),
    Operation(
        id="listEmbeddingModels",
        method="get",
        paths=("/api/v1/embeddings/models",),
        tag="models",
        summary="List the embedding models that the key can use",
        answers=ModelList,
        errors=(400, 401, 431, 500, 503),
    ),
    Operation(
        id="listProviders",
        method="get",
        paths=("/api/v1/providers",),
        tag="models",
        summary="The providers that serve the key",
        answers=ProvidersAnswer,
        errors=(400, 401, 431, 500, 503),
    ),
    Operation(
        id="getKey",
        method="get",
        paths=("/api/v1/key", "/api/v1/auth/key"),
        tag="account",
        summary="The key of this request, and what it spent",
        answers=KeyAnswer,
        errors=(400, 401, 431, 500, 503),
    ),
    Operation(
        id="getCredits",
        method="get",
        paths=("/api/v1/credits",),
        tag="account",
        summary="What the key spent in all",
        about="Nobody buys credits here, so that `total_credits` is null.",
        answers=CreditsAnswer,
        errors=(400, 401, 431, 500, 503),
    ),
    Operation(
        id="getActivity",
        method="get",
        paths=("/api/v1/activity",),
        tag="account",
        summary="What the key did on each of the last 30 UTC days, by model and provider",
        parameters=(
            {
                "name": "date",
                "in": "query",
                "description": "One UTC day of the last 30, today included.",
                "schema": {"type": "string", "format": "date"},
            },
        ),
        answers=ActivityAnswer,
        errors=(400, 401, 431, 500, 503),
    ),
    Operation(
        id="getGeneration",
        method="get",
        paths=("/api/v1/generation",),
        tag="account",
        summary="A request of this key, as it was recorded",
        about="A record can be read a moment after its answer.",
        parameters=(
            {
                "name": "id",
                "in": "query",
                "required": True,
                "description": "The `id` of the answer.",
                "schema": {"type": "string"},
                "example": "gen-019aa5c0d4a87c3c8f1e2d3c4b5a6978",
            },
        ),
        answers=GenerationAnswer,
    ),
    Operation(
        id="healthz",
        method="get",
        paths=("/healthz",),
        tag="health",
        summary="The process lives",
        answers=dict[str, str],
        errors=(),
        is_open=True,
    ),
    Operation(
        id="readyz",
        method="get",
        paths=("/readyz",),
        tag="health",
        summary="Whether traffic should come here",
        about="503 with the same body while it should not.",
        answers=Readiness,
        errors=(),
        is_open=True,
    ),
)
"""Every route but the two that serve this document; a test holds them against the application."""
