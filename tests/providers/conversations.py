"""Any valid conversation in OpenAI's form, for tests of translators.

``bodies()`` yields whole request bodies, ``to_request`` decodes one as the gateway does. They hold
what clients really send: blank texts, neighbours of the same role, system messages anywhere,
parallel calls answered out of order or not at all, results of calls that nobody made, repeated and
odd ids, arguments that are no JSON, images, files, marks for caches, foreign reasoning.
"""

# Hypothesis does not tell lambdas what they are given.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import json
from typing import Any

from hypothesis import strategies as st

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG_CALLED_PNG = "data:image/png;base64,/9j/4AAQSkZJRgABAQEASABIAAD/2w=="
PDF = "data:application/pdf;base64,JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoK"
TEXT_FILE = "data:text/plain;base64,VG9sbCByb2Fkcw=="

NAMES = ("get_weather", "look_up", "pay_toll")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "description": "Where"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"enum": ["C", "F"], "default": "C"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["city"],
    "additionalProperties": False,
}
REFERRING_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"home": {"$ref": "#/$defs/place"}, "work": {"$ref": "#/$defs/place"}},
    "$defs": {
        "place": {
            "type": "object",
            "title": "Place",
            "properties": {"lat": {"type": ["number", "null"]}, "label": {"type": "string"}},
            "required": ["lat"],
        }
    },
}


def _name_of(tool: Any) -> str:
    return tool["function"]["name"]


texts = st.one_of(
    st.sampled_from(["", " ", "\n", "Where does the toll road lead?", "Größe 東京 → 🌉", "Yes. "]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
)
said = texts.filter(lambda text: bool(text.strip()))
ids = st.sampled_from(
    ["call_1", "call_2", "call_3", "functions.get_weather:0", "toolu_01A", "x" * 80, "é"]
)
arguments = st.sampled_from(
    ['{"city":"Oslo"}', "", "{}", "not json", "[1]", '"{\\"a\\":1}"', "null"]
)


def _part(**members: Any) -> dict[str, Any]:
    return members


text_parts = st.builds(
    lambda text, mark: {"type": "text", "text": text} | mark,
    texts,
    st.sampled_from(
        [
            {},
            {},
            {"cache_control": {"type": "ephemeral"}},
            {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ]
    ),
)
image_parts = st.sampled_from(
    [
        _part(type="image_url", image_url={"url": PNG, "detail": "low"}),
        _part(type="image_url", image_url={"url": JPEG_CALLED_PNG}),
    ]
)
remote_image_parts = st.just(
    _part(type="image_url", image_url={"url": "https://example.com/bridge.png"})
)
file_parts = st.sampled_from(
    [
        _part(type="file", file={"filename": "tolls.pdf", "file_data": PDF}),
        _part(type="file", file={"filename": "tolls.txt", "file_data": TEXT_FILE}),
    ]
)


def user_contents(
    *, images: bool = True, remote_images: bool = True, files: bool = True
) -> st.SearchStrategy[Any]:
    """Text, or parts of the kinds that are wanted."""
    kinds: list[st.SearchStrategy[Any]] = [text_parts]
    kinds += [image_parts] if images else []
    kinds += [remote_image_parts] if images and remote_images else []
    kinds += [file_parts] if files else []
    return st.one_of(texts, st.lists(st.one_of(*kinds), min_size=1, max_size=4))


system_messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "developer"]),
    st.one_of(texts, st.lists(text_parts, min_size=1, max_size=2)),
)

foreign_details = st.sampled_from(
    [
        [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "acme-v1"}],
        [{"type": "reasoning.encrypted", "data": "b3BhcXVl", "format": "openai-responses-v1"}],
        [{"type": "reasoning.summary", "summary": "I thought."}],
        [{"something": "else"}],
    ]
)


@st.composite
def _tool_rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant's calls and their results, as orderly as clients are."""
    calls = draw(
        st.lists(st.tuples(ids, st.sampled_from(NAMES), arguments), min_size=1, max_size=3)
    )
    assistant: dict[str, Any] = {
        "role": "assistant",
        "content": draw(st.one_of(st.none(), texts)),
        "tool_calls": [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": text}}
            for id_, name, text in calls
        ],
    }
    if draw(st.booleans()):
        assistant["reasoning_details"] = draw(foreign_details)
    contents = st.one_of(texts, st.lists(text_parts, min_size=1, max_size=2))
    results = [
        {"role": "tool", "tool_call_id": id_, "content": draw(contents)} for id_, _, _ in calls
    ]
    results = draw(st.permutations(results))
    results = results[: draw(st.integers(0, len(results)))] if draw(st.booleans()) else results
    if draw(st.integers(0, 4)) == 0:
        results.append({"role": "tool", "tool_call_id": "nobody_asked", "content": "42"})
    return [assistant, *results]


@st.composite
def conversations(
    draw: st.DrawFn, *, images: bool = True, remote_images: bool = True, files: bool = True
) -> list[dict[str, Any]]:
    """Messages; at least one of them is not a system message."""
    contents = user_contents(images=images, remote_images=remote_images, files=files)
    user = st.builds(
        lambda content, name: [{"role": "user", "content": content} | name],
        contents,
        st.sampled_from([{}, {}, {"name": "ada"}, {"name": "bob"}]),
    )
    assistant = st.builds(
        lambda text, more: [{"role": "assistant", "content": text} | more],
        texts,
        st.sampled_from([{}, {}, {"refusal": "I would rather not."}, {"reasoning": "Hm."}]),
    )
    steps = draw(
        st.lists(
            st.one_of(user, assistant, _tool_rounds(), system_messages.map(lambda one: [one])),
            min_size=1,
            max_size=6,
        )
    )
    messages = [message for step in steps for message in step]
    if all(message["role"] in {"system", "developer"} for message in messages):
        messages += draw(user)
    return messages


tool_definitions = st.lists(
    st.builds(
        lambda name, schema, description, strict: {
            "type": "function",
            "function": {"name": name} | schema | description | strict,
        },
        st.sampled_from(NAMES),
        st.sampled_from(
            [
                {},
                {"parameters": SCHEMA},
                {"parameters": REFERRING_SCHEMA},
                {"parameters": {"type": "object", "properties": {}}},
            ]
        ),
        st.sampled_from([{}, {"description": "What it does."}, {"description": ""}]),
        st.sampled_from([{}, {}, {"strict": True}]),
    ),
    min_size=1,
    max_size=3,
    unique_by=_name_of,
)


@st.composite
def _tool_members(draw: st.DrawFn) -> dict[str, Any]:
    tools = draw(tool_definitions)
    named = _name_of(tools[0])
    members: dict[str, Any] = {"tools": tools}
    choice = draw(
        st.sampled_from(
            [
                None,
                "auto",
                "none",
                "required",
                {"type": "function", "function": {"name": named}},
                {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": named}}],
                    },
                },
            ]
        )
    )
    if choice is not None:
        members["tool_choice"] = choice
    parallel = draw(st.sampled_from([None, True, False]))
    if parallel is not None:
        members["parallel_tool_calls"] = parallel
    return members


_forms = st.sampled_from(
    [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}},
        {"type": "json_schema", "json_schema": {"name": "trip", "schema": REFERRING_SCHEMA}},
    ]
)

parameters = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 100_000),
        "temperature": st.sampled_from([0, 0.7, 1, 1.5, 2]),
        "top_p": st.sampled_from([0.1, 0.95, 1]),
        "top_k": st.sampled_from([1, 40]),
        "seed": st.sampled_from([7, 2**40]),
        "stop": st.one_of(said, st.just(["\n", "END"])),
        "frequency_penalty": st.just(0.5),
        "presence_penalty": st.just(0.5),
        "logit_bias": st.just({"50256": -100}),
        "logprobs": st.just(True),
        "n": st.sampled_from([1, 2]),
        "user": st.just("user-17"),
        "metadata": st.just({"team": "tolls"}),
        "service_tier": st.sampled_from(["auto", "default", "flex"]),
        "prompt_cache_key": st.just("road"),
        "response_format": _forms,
        "verbosity": st.just("low"),
    },
)
reasonings = st.sampled_from(
    [
        {},
        {},
        {"reasoning_effort": "none"},
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "low"},
        {"reasoning_effort": "high"},
        {"reasoning_effort": "xhigh"},
        {"reasoning": {"max_tokens": 2000}},
        {"reasoning": {"enabled": True}},
        {"reasoning": {"enabled": False}},
        {"reasoning": {"effort": "medium", "exclude": True}},
    ]
)


@st.composite
def bodies(
    draw: st.DrawFn, *, images: bool = True, remote_images: bool = True, files: bool = True
) -> dict[str, Any]:
    """Whole bodies; what an endpoint cannot see at all can be left out."""
    body: dict[str, Any] = {
        "model": "acme/one",
        "messages": draw(conversations(images=images, remote_images=remote_images, files=files)),
    }
    if draw(st.booleans()):
        body |= draw(_tool_members())
    return (
        body | draw(parameters) | draw(reasonings) | draw(st.sampled_from([{}, {"stream": True}]))
    )


def to_request(body: dict[str, Any]) -> ChatRequest:
    """The request as adapters get it."""
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENAI, headers={})
