"""A whole answer of Converse -> `Completion`, or the fault that hides behind its 200."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, Fault, FaultError, Target
from gateway.providers.bedrock_errors import fault_in_stream, name_of_exception
from gateway.providers.bedrock_families import family_of
from gateway.providers.refusals import make_fault_in_answer, parse_error_body
from gateway.providers.translation.structure import ANSWER_TOOL
from gateway.providers.translation.turns import ReasoningDetail
from gateway.providers.translation.writing import (
    Annotation,
    Call,
    Choice,
    Citation,
    Image,
    ImageAddress,
    Message,
    make_call,
    render_choices,
    size_of,
)
from gateway.providers.usage import normalise_usage

FLAVOUR: Final = "bedrock"
_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
"""The model wrote what could not be read; asking again is worth it."""


class ReasoningText(msgspec.Struct, kw_only=True, gc=False):
    """What the model thought, and the signature with which it may come back."""

    text: str = ""
    signature: str | None = None


class ReasoningContent(msgspec.Struct, kw_only=True, gc=False):
    """One block of reasoning: readable, or encrypted as base64."""

    reasoning_text: ReasoningText | None = msgspec.field(default=None, name="reasoningText")
    redacted: str | None = msgspec.field(default=None, name="redactedContent")


class ToolUse(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """A call of a tool."""

    tool_use_id: str
    name: str
    input: Raw = Raw(b"{}")
    type: str | None = None


class Generated(msgspec.Struct, kw_only=True, gc=False):
    """A text with its sources."""

    text: str = ""


class WebLocation(msgspec.Struct, kw_only=True, gc=False):
    """Where on the web something stands."""

    url: str = ""


class Location(msgspec.Struct, kw_only=True, gc=False):
    """Where something stands; only the web has an address."""

    web: WebLocation | None = None


class Source(msgspec.Struct, kw_only=True, gc=False):
    """One of a text's sources."""

    title: str | None = None
    location: Location | None = None


class CitationsContent(msgspec.Struct, kw_only=True, gc=False):
    """A text whose sources are told."""

    content: list[Generated] = []
    citations: list[Source] = []


class ImageSource(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An image as base64."""

    bytes: str = ""


class ImageBlock(msgspec.Struct, kw_only=True, gc=False):
    """An image."""

    format: str = "png"
    source: ImageSource = ImageSource()


class Block(msgspec.Struct, kw_only=True, gc=False):
    """One block of content; of an unknown kind when nothing is set."""

    text: str | None = None
    reasoning: ReasoningContent | None = msgspec.field(default=None, name="reasoningContent")
    tool_use: ToolUse | None = msgspec.field(default=None, name="toolUse")
    cited: CitationsContent | None = msgspec.field(default=None, name="citationsContent")
    image: ImageBlock | None = None


class _Said(msgspec.Struct, kw_only=True, gc=False):
    content: list[Block]


class _Output(msgspec.Struct, kw_only=True, gc=False):
    message: _Said | None = None


class Tier(msgspec.Struct, kw_only=True, gc=False):
    """``serviceTier``: how the request was served."""

    type: str | None = None


class _Answer(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    output: _Output | None = None
    stop_reason: str | None = None
    usage: Raw = Raw()
    service_tier: Tier | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def finish_of(native: str, *, call_count: int) -> str:
    """The canonical finish reason; an unknown word means that the answer ended."""
    reason = _FINISH_REASONS.get(native, "stop")
    if reason == "stop" and call_count:
        return "tool_calls"
    # The call that was forced to get an answer in JSON is no call to the client.
    return "stop" if reason == "tool_calls" and not call_count else reason


def malformed(native: str, target: Target) -> Fault:
    """The fault behind a stop reason that says that the model's output could not be read."""
    provider = target.endpoint.provider
    return Fault(
        outcome=Outcome.BAD_RESPONSE,
        message=f"{provider} could not read what the model wrote ({native})",
        status_code=200,
        code=native,
    )


def parse_answer(
    status: int, headers: Mapping[str, str], body: bytes, target: Target
) -> Completion:
    """Read a 2xx answer.

    Raises:
        FaultError: it is not an answer.
    """
    answer = _decode(status, headers, body, target)
    said = answer.output.message if answer.output is not None else None
    if said is None or answer.stop_reason is None:
        raise FaultError(_not_an_answer(status, headers, body, target))
    if answer.stop_reason in MALFORMED:
        raise FaultError(malformed(answer.stop_reason, target))
    metered = normalise_usage(answer.usage or None, FLAVOUR)
    content = _Content(family_of(target.endpoint).reasoning_format)
    for block in said.content:
        content.add(block)
    text = "".join(content.texts)
    message = Message(
        content=text if text or not content.calls else None,
        reasoning="\n".join(content.reasoning) or None,
        reasoning_details=content.details,
        tool_calls=content.calls,
        annotations=content.annotations,
        images=content.images,
    )
    reason = finish_of(answer.stop_reason, call_count=len(content.calls))
    choice = Choice(
        index=0,
        message=message,
        finish_reason=reason,
        native_finish_reason=answer.stop_reason,
    )
    return Completion(
        choices=render_choices([choice]),
        finish_reason=reason,
        native_finish_reason=answer.stop_reason,
        usage=metered.usage,
        is_usage_doubtful=metered.is_doubtful,
        service_tier=answer.service_tier.type if answer.service_tier is not None else None,
        upstream_id=headers.get("x-amzn-requestid"),
        text_bytes=size_of(message),
    )


class _Content:
    """The blocks of an answer, sorted by what they become."""

    def __init__(self, reasoning_format: str) -> None:
        self.texts: list[str] = []
        self.reasoning: list[str] = []
        self.details: list[ReasoningDetail] = []
        self.calls: list[Call] = []
        self.annotations: list[Annotation] = []
        self.images: list[Image] = []
        self._format = reasoning_format

    def add(self, block: Block) -> None:
        if block.text is not None:
            self.texts.append(block.text)
        elif block.reasoning is not None:
            self._add_reasoning(block.reasoning)
        elif block.tool_use is not None:
            self._add_call(block.tool_use)
        elif block.cited is not None:
            self._add_cited(block.cited)
        elif block.image is not None and block.image.source.bytes:
            url = f"data:image/{block.image.format};base64,{block.image.source.bytes}"
            self.images.append(Image(image_url=ImageAddress(url=url)))

    def _add_reasoning(self, said: ReasoningContent) -> None:
        index = len(self.details)
        if said.reasoning_text is not None:
            text = said.reasoning_text
            if text.text:
                self.reasoning.append(text.text)
            self.details.append(
                ReasoningDetail(
                    type="reasoning.text",
                    text=text.text,
                    signature=text.signature,
                    format=self._format,
                    index=index,
                )
            )
        elif said.redacted is not None:
            self.details.append(
                ReasoningDetail(
                    type="reasoning.encrypted",
                    data=said.redacted,
                    format=self._format,
                    index=index,
                )
            )

    def _add_call(self, call: ToolUse) -> None:
        if call.type is not None:
            # Run by the service itself.
            return
        arguments = bytes(call.input).decode()
        if call.name == ANSWER_TOOL:
            self.texts.append(arguments)
        else:
            self.calls.append(make_call(call.tool_use_id, call.name, arguments))

    def _add_cited(self, cited: CitationsContent) -> None:
        start = sum(len(text) for text in self.texts)
        self.texts.extend(part.text for part in cited.content)
        end = sum(len(text) for text in self.texts)
        self.annotations += [
            annotation
            for source in cited.citations
            if (annotation := annotation_of(source, start, end)) is not None
        ]


def annotation_of(source: Source, start: int, end: int) -> Annotation | None:
    """A source on the web as an annotation; None for places inside documents."""
    web = source.location.web if source.location is not None else None
    if web is None or not web.url:
        return None
    return Annotation(
        url_citation=Citation(
            url=web.url, title=source.title or web.url, start_index=start, end_index=end
        )
    )


def _decode(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> _Answer:
    try:
        if not body.isascii():
            body.decode()
        return _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise FaultError(_not_an_answer(status, headers, body, target)) from exc


def _not_an_answer(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> Fault:
    """An exception in disguise, or something else altogether."""
    provider = target.endpoint.provider
    name = name_of_exception(headers, body)
    if name is not None:
        return fault_in_stream(name, body, provider)
    text = body.lstrip()
    if text[:1] == b"{":
        found = parse_error_body(body)
        if found.message and found.message[:1] not in "{[":
            return make_fault_in_answer(found, provider=provider, status=status)
    kind = headers.get("content-type", "no content type").partition(";")[0]
    what = "HTML" if text[:1] == b"<" else f"something that is not an answer ({kind[:64]})"
    return Fault(
        outcome=Outcome.BAD_RESPONSE,
        message=f"{provider} answered {status} with {what if text else 'an empty body'}",
        status_code=status,
        upstream_id=headers.get("x-amzn-requestid"),
    )
