"""The typed part of a request body: shapes and ranges of the members that somebody here reads.

Members that are not named are skipped, and nothing is decoded that is only carried. Ranges are
those of the published APIs; where they differ, the wider one.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from gateway.chat.plugins import SentPlugin
from gateway.chat.reasoning import SentReasoning
from gateway.chat.web_search import SentSearch

ABSENT = Raw()
"""Stands where a raw member was not sent."""

Count = (
    Annotated[int, Meta(ge=1, le=2_147_483_647)] | Annotated[float, Meta(ge=1, le=2_147_483_647)]
)
"""An integer; one of the published APIs declares counts as doubles, so that ``5.0`` is one too."""
Penalty = Annotated[float, Meta(ge=-2, le=2)]
ShortText = Annotated[str, Meta(max_length=256)]
LongText = Annotated[str, Meta(max_length=512)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Kind = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
"""Of a tool, a function or a schema."""
Share = Annotated[float, Meta(ge=0, le=1)]


class Part(msgspec.Struct, kw_only=True, gc=False):
    """One content part; types that are not known here are carried."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Raw = ABSENT
    input_audio: Raw = ABSENT
    file: Raw = ABSENT
    video_url: Raw = ABSENT


class CalledFunction(msgspec.Struct, kw_only=True, gc=False):
    """The function of a tool call that an assistant made."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, kw_only=True, gc=False):
    """A tool call inside the conversation."""

    id: Annotated[str, Meta(min_length=1)]
    type: str = "function"
    function: CalledFunction | None = None
    custom: Raw = ABSENT


class Message(msgspec.Struct, kw_only=True, gc=False):
    """One message."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: CalledFunction | None = None


class FunctionDefinition(msgspec.Struct, kw_only=True, gc=False):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None


class Grammar(msgspec.Struct, kw_only=True, gc=False):
    """What free text must follow."""

    definition: str
    syntax: Literal["lark", "regex"]


class CustomFormat(msgspec.Struct, kw_only=True, gc=False):
    """The form of the free text that a tool takes."""

    type: Literal["text", "grammar"]
    grammar: Grammar | None = None


class CustomDefinition(msgspec.Struct, kw_only=True, gc=False):
    """A tool that takes free text."""

    name: Name
    description: str | None = None
    format: CustomFormat | None = None


class Tool(SentSearch, kw_only=True, gc=False):
    """A tool that the model may use; types beside function, custom and web_search are carried."""

    type: Kind
    function: FunctionDefinition | None = None
    custom: CustomDefinition | None = None


class NamedTool(msgspec.Struct, kw_only=True, gc=False):
    """The name inside a tool choice."""

    name: Name


class AllowedTools(msgspec.Struct, kw_only=True, gc=False):
    """A tool choice among some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[dict[str, Raw]]


class ToolChoice(msgspec.Struct, kw_only=True, gc=False):
    """A tool choice that is not one of the words."""

    type: Literal["function", "custom", "allowed_tools", "web_search"]
    function: NamedTool | None = None
    custom: NamedTool | None = None
    allowed_tools: AllowedTools | None = None


class JsonSchema(msgspec.Struct, kw_only=True, gc=False):
    """A schema that the answer must fit."""

    name: Name
    description: str | None = None
    schema: dict[str, Raw] | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, kw_only=True, gc=False):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    json_schema: JsonSchema | None = None
    grammar: str | None = None


class StreamOptions(msgspec.Struct, kw_only=True, gc=False):
    """What a stream carries besides the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Voice(msgspec.Struct, kw_only=True, gc=False):
    """A voice by its id."""

    id: Kind


class Audio(msgspec.Struct, kw_only=True, gc=False):
    """How spoken output sounds."""

    format: Word | None = None
    voice: Kind | Voice | None = None


class Prediction(msgspec.Struct, kw_only=True, gc=False):
    """Most of the answer, known in advance."""

    type: Literal["content"]
    content: str | list[Part]


class Debug(msgspec.Struct, kw_only=True, gc=False):
    """What an answer tells about the way it came."""

    echo_upstream_body: bool | None = None
    explain: bool | None = None


class View(msgspec.Struct, kw_only=True, gc=False):
    """What is read of a body. ``null`` and absence are the same, except for ``messages``."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    model: ShortText | None = None
    models: Annotated[list[ShortText], Meta(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=2_147_483_647)] | None = None
    min_p: Share | None = None
    top_a: Share | None = None
    repetition_penalty: Annotated[float, Meta(ge=0, le=2)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    n: Annotated[int, Meta(ge=1, le=8)] | None = None
    seed: Annotated[int, Meta(ge=-9007199254740991, le=9007199254740991)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | Annotated[float, Meta(ge=0, le=20)] | None = (
        None
    )
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    tools: Annotated[list[Tool], Meta(max_length=1024)] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionDefinition], Meta(max_length=1024)] | None = None
    function_call: Literal["none", "auto"] | NamedTool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Word | None = None
    reasoning: SentReasoning | None = None
    include_reasoning: bool | None = None
    effort: Literal["low", "medium", "high"] | None = None
    verbosity: Word | None = None
    web_search: bool | None = None
    web_search_options: SentSearch | None = None
    modalities: list[Literal["text", "audio", "image"]] | None = None
    audio: Audio | None = None
    prediction: Prediction | None = None
    service_tier: Word | None = None
    store: bool | None = None
    metadata: dict[str, Raw] | None = None
    user: LongText | None = None
    safety_identifier: LongText | None = None
    prompt_cache_key: LongText | None = None
    prompt_cache_retention: Word | None = None
    session_id: ShortText | None = None
    route: Literal["fallback", "sort"] | None = None
    plugins: Annotated[list[SentPlugin], Meta(max_length=32)] | None = None
    debug: Debug | None = None
    free_models_only: bool | None = None
    no_reasoning: bool | None = None
    image_config: dict[str, Raw] | None = None
    max_cost_usd: Decimal | None = None


VIEW = msgspec.json.Decoder(View)
