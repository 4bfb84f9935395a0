"""``POST /v1/select-model``: who would serve a request, without asking anybody to.

The body is a chat request, or Nordlys's shorter one of ``models`` and ``prompt`` (older versions of
whose API name a model as an object of ``provider`` and ``model_name``).
"""

from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive
from msgspec import Meta, Raw

from gateway.answers import WholeAnswer
from gateway.api.answering import Answering
from gateway.api.body import read_json_body
from gateway.api.chat import Authenticate
from gateway.api.traffic import OpenRequest, Traffic
from gateway.api.wire import MaybeUsd, encode, usd
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.domain.errors import InvalidRequestError
from gateway.pipeline import Pipeline
from gateway.routing.plan import Plan

PATH = "/v1/select-model"

_JSON = [("content-type", "application/json")]
_LISTED_EXCLUSIONS = 20
_NOT_FOR_CHAT = frozenset({"prompt", "models", "cost_bias", "tool_call"})


class NamedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as older clients name it."""

    model_name: str
    provider: str | None = None


class SelectModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to choose among, and for what; members of a chat request may stand beside these."""

    models: Annotated[list[str | NamedModel], Meta(max_length=16)] = []
    prompt: str
    user: str | None = None
    cost_bias: Annotated[
        float | None, Meta(description="Read and ignored: the cheapest that fits is chosen.")
    ] = None
    tools: list[dict[str, Raw]] | None = None
    tool_call: Annotated[Raw, Meta(description="Read and ignored.")] = Raw(b"null")


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may serve."""

    provider: str
    model: str
    endpoint: str
    expected_cost_usd: MaybeUsd
    """For the prompt as it is estimated and an answer of the usual length."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that may not."""

    endpoint: str
    reason: str
    detail: str | None


class SelectModelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The first choice, and the others in the order in which they would be tried."""

    provider: str
    model: str
    endpoint: str
    expected_cost_usd: MaybeUsd
    alternatives: list[Selected]
    strategy: str
    cache_tier: None = None
    excluded: list[LeftOut]
    """The first 20."""


_REQUEST = msgspec.json.Decoder(SelectModelRequest)
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])


def select_model_routes(
    pipeline: Pipeline, authenticate: Authenticate, traffic: Traffic, *, body_limit: int
) -> list[HTTPRouteHandler]:
    """The dry run; it leaves no record and costs nothing."""

    async def serve(headers: dict[str, str], receive: Receive, request: OpenRequest) -> WholeAnswer:
        del request
        caller = authenticate(headers)
        body = await read_json_body(receive, headers, limit=body_limit)
        chat = decode_chat_request(to_chat_body(body), dialect=Dialect.OPENAI, headers=headers)
        answer = to_answer(pipeline.plan(chat, caller, headers=headers))
        return WholeAnswer(status=200, headers=_JSON, body=encode(answer))

    app = Answering(traffic, Dialect.OPENAI, serve)

    @post(PATH, status_code=200, operation_id="selectModel")
    async def select_model(request: Request[Any, Any, Any]) -> ASGIApp:
        """Choose, and answer with the choice."""
        del request
        return app

    return [select_model]


def to_chat_body(body: bytes) -> bytes:
    """A chat request with the same meaning; one that has messages stays as it is.

    Raises:
        InvalidRequestError: it is neither.
    """
    try:
        body.decode()
        members = _MEMBERS.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # The decoder of chat requests says it better.
        return body
    if "messages" in members or "prompt" not in members:
        return body
    try:
        wanted = _REQUEST.decode(body)
    except msgspec.DecodeError as exc:
        raise InvalidRequestError(
            f"The body must be a chat request, or an object of `prompt` and `models`: {exc}",
            code="invalid_value",
        ) from exc
    chat: dict[str, Any] = {
        name: value for name, value in members.items() if name not in _NOT_FOR_CHAT
    }
    chat["messages"] = [{"role": "user", "content": wanted.prompt}]
    if wanted.models:
        chat["models"] = [_name(model) for model in wanted.models]
    return encode(chat)


def _name(model: str | NamedModel) -> str:
    if isinstance(model, str):
        return model
    return model.model_name if not model.provider else f"{model.provider}/{model.model_name}"


def to_answer(plan: Plan) -> SelectModelAnswer:
    """A plan as clients are told it."""
    chosen, *others = [
        (candidate.endpoint, candidate.expected_cost_usd) for candidate in plan.candidates
    ]
    first, cost_usd = chosen
    return SelectModelAnswer(
        provider=first.provider,
        model=first.model,
        endpoint=first.id,
        expected_cost_usd=usd(cost_usd),
        alternatives=[
            Selected(
                provider=endpoint.provider,
                model=endpoint.model,
                endpoint=endpoint.id,
                expected_cost_usd=usd(other_usd),
            )
            for endpoint, other_usd in others
        ],
        strategy=plan.strategy,
        excluded=[
            LeftOut(endpoint=e.endpoint, reason=e.reason.value, detail=e.detail)
            for e in plan.exclusions[:_LISTED_EXCLUSIONS]
        ],
    )
