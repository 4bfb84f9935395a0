"""What Converse refuses beyond shapes: turns, tools and results, media, caching.

Messages are those that callers have quoted.
"""

import base64
import itertools
import re
from typing import Any

from gateway.simulator.bedrock_errors import invalid, unknown_model
from gateway.simulator.bedrock_models import check_model_fields, check_output, check_reasoning
from gateway.simulator.bedrock_schema import check_strict_schema
from gateway.simulator.bedrock_shapes import blocks_of, check_request, inner
from gateway.simulator.json_values import Json
from gateway.simulator.wire import Call

MAX_CACHE_POINTS = 4
MAX_IMAGES = 20
MAX_DOCUMENTS = 5
_MODEL = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9:./_-]{0,2047}")
_CHOOSES_TOOLS = re.compile(r"claude|nova|mistral-large|fast|smart")
_CACHES = re.compile(r"claude|nova|fast|smart")
# Prefilling ended with Opus 4.6 and Sonnet 4.6.
_NO_PREFILL = re.compile(r"claude-(?:opus-4-[6-9]|sonnet-4-[6-9]|[a-z]+-[5-9])|nova-2")


def check_converse(call: Call) -> None:
    """Raise `RefusedError` when the real service would."""
    if _MODEL.fullmatch(call.model) is None or (call.provider is not None and call.offer is None):
        raise unknown_model()
    body = call.body
    check_request(body, "")
    _check_turns(body, call.model)
    _check_texts(body)
    _check_tools(body, call.model)
    _check_media(body)
    _check_cache_points(body, call.model)
    check_model_fields(body, call.model)
    check_reasoning(body)
    check_output(body)


def _check_turns(body: dict[str, Any], model: str) -> None:
    roles = [message["role"] for message in body["messages"]]
    if roles[0] != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    if any(one == other for one, other in itertools.pairwise(roles)):
        raise invalid(
            "A conversation must alternate between user and assistant roles. Make sure the "
            "conversation alternates between user and assistant roles and try again."
        )
    if roles[-1] == "assistant" and _NO_PREFILL.search(model):
        raise invalid(
            "The model returned the following errors: This model does not support assistant "
            "message prefill. The conversation must end with a user message."
        )


def _check_texts(body: dict[str, Any]) -> None:
    for path, text in blocks_of(body, "text"):
        if not text.strip():
            raise invalid(
                f"The text field in the ContentBlock object at {path} is blank. Add text to the "
                "text field, and try again."
            )
    for index, block in enumerate(body.get("system") or ()):
        if "text" in block and not block["text"].strip():
            raise invalid(f"system.{index}: text content blocks must contain non-whitespace text")
    if body["messages"][-1]["role"] == "assistant":
        last = body["messages"][-1]["content"][-1]
        if "text" in last and last["text"] != last["text"].rstrip():
            raise invalid(
                "The model returned the following errors: final assistant content cannot end with "
                "trailing whitespace"
            )


def _check_tools(body: dict[str, Any], model: str) -> None:
    config = body.get("toolConfig")
    if config is None:
        if blocks_of(body, "toolUse") or blocks_of(body, "toolResult"):
            raise invalid(
                "The toolConfig field must be defined when using toolUse and toolResult content "
                "blocks."
            )
    else:
        _check_tool_config(config, model)
    waiting: list[str] = []
    for number, message in enumerate(body["messages"]):
        waiting = _check_pairing(message, f"messages.{number}.content", waiting)
    if waiting and body["messages"][-1]["role"] == "user":
        raise _without_results("messages", waiting)


def _check_tool_config(config: dict[str, Any], model: str) -> None:
    specs = [tool["toolSpec"] for tool in config["tools"] if "toolSpec" in tool]
    names = [spec["name"] for spec in specs]
    if not names:
        raise invalid("toolConfig.tools holds no tool.")
    if len(set(names)) != len(names):
        raise invalid("The model returned the following errors: Tool names must be unique.")
    for spec in specs:
        schema: Json = spec["inputSchema"]["json"]
        if schema.get("type") != "object":
            raise invalid(
                f"The value at toolConfig.tools.{names.index(spec['name'])}.toolSpec.inputSchema"
                ".json.type must be one of the following: object."
            )
        if {"oneOf", "anyOf", "allOf"} & set(schema):
            raise invalid(
                "The model returned the following errors: input_schema does not support oneOf, "
                "allOf, or anyOf at the top level"
            )
        if spec.get("strict"):
            check_strict_schema(schema, f"tools.{spec['name']}")
    choice = inner(config, "toolChoice")
    kind = next(iter(choice), "auto")
    if kind != "auto" and _CHOOSES_TOOLS.search(model) is None:
        raise invalid(
            f"This model doesn't support the toolConfig.toolChoice.{kind} field. Remove "
            f"toolConfig.toolChoice.{kind} and try again."
        )
    if kind == "tool" and choice["tool"]["name"] not in names:
        raise invalid("toolConfig.toolChoice.tool names a tool that is not among the tools.")


def _check_pairing(message: dict[str, Any], path: str, waiting: list[str]) -> list[str]:
    """Check the results of one message against the calls before; the calls it makes itself."""
    # A cache point belongs to the block before it.
    blocks = [block for block in message["content"] if "cachePoint" not in block]
    results = [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
    calls = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
    if message["role"] == "user":
        if calls:
            raise invalid(f"{path}: toolUse blocks may only be in messages of the assistant.")
        if len(results) > len(waiting):
            raise invalid(
                f"The number of toolResult blocks at {path} exceeds the number of toolUse blocks "
                "of previous turn."
            )
        missing = [one for one in waiting if one not in results]
        if missing or len(set(results)) != len(results):
            raise _without_results(path, missing)
        if any("toolResult" in block for block in blocks[len(results) :]):
            raise invalid(
                f"The model returned the following errors: {path}: messages following tool_use "
                "blocks must begin with a matching number of tool_result blocks."
            )
        return []
    if results:
        raise invalid(f"{path}: toolResult blocks may only be in messages of the user.")
    if len(set(calls)) != len(calls):
        raise invalid(f"The model returned the following errors: {path}: ids must be unique")
    return calls


def _without_results(path: str, ids: list[str]) -> Exception:
    return invalid(f"Expected toolResult blocks at {path} for the following Ids: {', '.join(ids)}")


def _check_media(body: dict[str, Any]) -> None:
    names: list[str] = []
    images = 0
    for number, message in enumerate(body["messages"]):
        blocks: list[dict[str, Any]] = message["content"]
        media = [block for block in blocks if {"image", "document", "video", "audio"} & set(block)]
        if media and message["role"] != "user":
            raise invalid(f"messages.{number}: media may only be in messages of the user.")
        inner = [
            part
            for block in blocks
            if "toolResult" in block
            for part in block["toolResult"]["content"]
        ]
        for block in [*blocks, *inner]:
            if "image" in block:
                images += 1
                _check_image(block["image"])
            if "document" in block:
                names.append(block["document"]["name"])
                if "format" not in block["document"] and "bytes" in block["document"]["source"]:
                    raise invalid("The document's format is required.")
        if any("document" in block for block in blocks) and not any(
            "text" in block for block in blocks
        ):
            raise invalid(
                f"messages.{number}: a message with a document must also have a text block."
            )
    if images > MAX_IMAGES or len(names) > MAX_DOCUMENTS:
        raise invalid("Too many images or documents in the request.")
    if len(set(names)) != len(names):
        raise invalid("Duplicate document names in the request; each must have its own.")


def _check_image(image: dict[str, Any]) -> None:
    data = image["source"].get("bytes")
    if data is None:
        return
    head = base64.b64decode(data)[:16]
    starts = {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff", "gif": b"GIF8", "webp": b"RIFF"}
    if not head.startswith(starts[image["format"]]):
        raise invalid(
            "The model returned the following errors: Could not process image: the bytes are not "
            f"{image['format']}."
        )


def _check_cache_points(body: dict[str, Any], model: str) -> None:
    """At most four, none in front of anything, and longer ones before shorter ones."""
    lists: list[list[Any]] = [
        inner(body, "toolConfig").get("tools") or [],
        body.get("system") or [],
    ]
    lists += [message["content"] for message in body["messages"]]
    ttls: list[str] = []
    for blocks in lists:
        for index, block in enumerate(blocks):
            if "cachePoint" in block:
                if index == 0 or "cachePoint" in blocks[index - 1]:
                    raise invalid("A cachePoint has nothing before it that could be cached.")
                ttls.append(block["cachePoint"].get("ttl", "5m"))
    if len(ttls) > MAX_CACHE_POINTS:
        raise invalid(
            "The model returned the following errors: A maximum of 4 blocks with cache_control may "
            f"be provided. Found {len(ttls)}."
        )
    if "1h" in ttls and "5m" in ttls and ttls.index("5m") < len(ttls) - 1 - ttls[::-1].index("1h"):
        raise invalid(
            "The model returned the following errors: a ttl='1h' cache_control block must not come "
            "after a ttl='5m' cache_control block."
        )
    if ttls and _CACHES.search(model) is None:
        raise invalid(
            "You invoked an unsupported model or your request did not allow prompt caching. See "
            "the documentation for more information."
        )
