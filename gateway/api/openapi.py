"""The published description of the data listener, made from the types it reads and writes."""

from collections.abc import Sequence

from gateway.api.examples import ERRORS
from gateway.api.health import Readiness
from gateway.api.json_schema import Schema, Schemas
from gateway.api.message_schemas import AnthropicError
from gateway.api.operations import OPERATIONS, REQUEST_ID, Operation
from gateway.api.paths import dialect_of
from gateway.api.schemas import (
    ChatCompletionRequest,
    FastAPIError,
    OpenAIError,
    OpenRouterError,
    describe_request,
)
from gateway.chat.dialects import Dialect
from gateway.version import CODE_VERSION

_ERROR_OF = {
    Dialect.OPENAI: OpenAIError,
    Dialect.OPENROUTER: OpenRouterError,
    Dialect.FASTAPI: FastAPIError,
    Dialect.ANTHROPIC: AnthropicError,
}
_STATUS: dict[int, str] = {
    400: "The request is wrong; the error names the field.",
    401: "No valid key was sent.",
    402: "The key's budget does not allow it.",
    403: "The key may not do this, or a provider refused the content.",
    404: "There is no such thing here, or no endpoint may serve it; the error says why.",
    408: "The body did not arrive in time.",
    409: "The first request with this Idempotency-Key is still open, or its answer was not kept.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The request is wrong (under /api/v1/openai), or an Idempotency-Key was used for another.",
    429: "Too many requests, by every provider's limits; Retry-After says when to come back.",
    431: "The headers are too large.",
    500: "A fault of the gateway.",
    502: "No provider answered as asked.",
    503: "The gateway or every provider is overloaded; Retry-After says when to come back.",
    504: "No provider answered in time.",
}
_HEADERS: dict[str, str] = {
    "X-Request-Id": "The caller's own, or one that was made here.",
    "X-Generation-Id": "The id of the request's record.",
    "X-Tollway-Attempts": "How many endpoints were tried.",
    "X-Tollway-Provider": "Who served.",
    "X-Tollway-Model": "What served.",
    "X-Tollway-Cost-Usd": "What all attempts cost together; not with a stream.",
    "X-Tollway-Warnings": "What was dropped or read leniently.",
    "X-Tollway-Strategy": "How endpoints were ordered.",
    "Idempotency-Replayed": "`true` when the answer is one that was given before.",
}
_ABOUT = """\
One gateway, five published chat-completions APIs, and Anthropic's Messages API beside them. The
path fixes the dialect: the shape of errors, what a slash in a model's name means, and whether the
model is echoed as it was asked for. A key is carried as `Authorization: Bearer KEY`, as the
password of `Authorization: Basic`, or as `X-API-Key: KEY`, on every path. Amounts of money are
exact USD; what is not known is null.
"""


def make_document() -> Schema:
    """The OpenAPI 3.1 document."""
    schemas = Schemas()
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        for number, path in enumerate(operation.paths):
            paths.setdefault(path, {})[operation.method] = _describe(
                operation, path, number, schemas
            )
    describe_request(schemas.components[ChatCompletionRequest.__name__])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tollway",
            "version": CODE_VERSION,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"basic": []}, {"key": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in OPERATIONS)],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any user name; the key is the password.",
                },
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "headers": {
                name: {"description": about, "schema": {"type": "string"}}
                for name, about in _HEADERS.items()
            },
            "schemas": dict(sorted(schemas.components.items())),
        },
    }


def _describe(operation: Operation, path: str, number: int, schemas: Schemas) -> Schema:
    dialect = dialect_of(path)
    described: Schema = {
        # Unique in the document: one operation stands on the paths of several dialects.
        "operationId": operation.id if number == 0 else f"{operation.id}_{number}",
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*operation.parameters, REQUEST_ID],
        "responses": _responses(operation, dialect, schemas),
    }
    if operation.about:
        described["description"] = operation.about
    if operation.is_open:
        described["security"] = []
    if operation.reads:
        read = [schemas.of(one, is_written=False) for one in operation.reads]
        content: Schema = {"schema": read[0] if len(read) == 1 else {"anyOf": read}}
        if operation.request_examples:
            content["examples"] = {
                name: {"value": value} for name, value in operation.request_examples.items()
            }
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _responses(operation: Operation, dialect: Dialect, schemas: Schemas) -> Schema:
    responses: Schema = {}
    if operation.answers is not None:
        content: Schema = {
            "application/json": {"schema": schemas.of(operation.answers, is_written=True)}
        }
        if operation.answer_example is not None:
            content["application/json"]["example"] = operation.answer_example
        if operation.streams is not None:
            name = schemas.of(operation.streams, is_written=True)["$ref"].rpartition("/")[2]
            # Readers of 3.1 disagree whether a schema here is of the stream or of one event.
            content["text/event-stream"] = {
                "schema": {"description": f"Server-sent events; the data of each is a `{name}`."}
            }
        names = _HEADERS if operation.reads else ["X-Request-Id"]
        responses["200"] = {
            "description": "The answer.",
            "headers": _header_references(names),
            "content": content,
        }
        if operation.answers is Readiness:
            responses["503"] = {**responses["200"], "description": "Not ready."}
    example = ERRORS[dialect]
    for status in operation.errors:
        error: Schema = {"schema": schemas.of(_ERROR_OF[dialect], is_written=True)}
        if status in example:
            error["example"] = example[status]
        responses[str(status)] = {
            "description": _STATUS[status],
            "headers": _header_references(["X-Request-Id"]),
            "content": {"application/json": error},
        }
    return responses


def _header_references(names: Sequence[str] | dict[str, str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
