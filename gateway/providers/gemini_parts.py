"""Answers of generateContent as they come, and what their parts mean in our chat shape."""

import base64
import hashlib
import struct
from typing import Final

import msgspec
from msgspec import Raw

from gateway.providers.translation.writing import Image, ImageAddress

_ABSENT: Final = Raw()
_RATE: Final = 24_000
_ENCODER: Final = msgspec.json.Encoder()

FINISH_REASONS: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "LANGUAGE": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
    "NO_IMAGE": "error",
}
"""Others (``OTHER``, ``IMAGE_OTHER``, new words) mean that the answer ended."""


class InlineData(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """Bytes in base64."""

    mime_type: str = ""
    data: str = ""


class FunctionCall(msgspec.Struct, kw_only=True, gc=False):
    """A call; without arguments the member is left out."""

    name: str = ""
    id: str | None = None
    args: Raw = _ABSENT

    @property
    def arguments(self) -> str:
        """The arguments as JSON text."""
        raw = bytes(self.args)
        return raw.decode() if raw and raw != b"null" else "{}"


class ExecutableCode(msgspec.Struct, kw_only=True, gc=False):
    """Code that Google runs itself."""

    code: str = ""
    language: str = ""


class CodeResult(msgspec.Struct, kw_only=True, gc=False):
    """What it came to."""

    output: str = ""


class Part(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """One part of an answer."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: InlineData | None = None
    executable_code: ExecutableCode | None = None
    code_execution_result: CodeResult | None = None

    @property
    def said(self) -> str:
        """What of it belongs into the content."""
        if self.text is not None:
            return self.text
        if self.executable_code is not None:
            code = self.executable_code
            return f"\n```{code.language.lower()}\n{code.code}\n```\n"
        if self.code_execution_result is not None:
            return f"\n```\n{self.code_execution_result.output}\n```\n"
        return ""


class Content(msgspec.Struct, kw_only=True, gc=False):
    """What a candidate says."""

    parts: list[Part] | None = None


class Web(msgspec.Struct, kw_only=True, gc=False):
    """A page, or a document, that was found."""

    uri: str | None = None
    title: str | None = None


class GroundingChunk(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """A source."""

    web: Web | None = None
    retrieved_context: Web | None = None
    maps: Web | None = None


class Segment(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """A stretch of a part, counted in bytes; zeros are left out."""

    part_index: int = 0
    start_index: int = 0
    end_index: int = 0
    text: str | None = None


class GroundingSupport(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """Which sources stand behind a stretch."""

    segment: Segment | None = None
    grounding_chunk_indices: list[int] = []


class Grounding(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """What was searched for and found."""

    web_search_queries: list[str] = []
    grounding_chunks: list[GroundingChunk] = []
    grounding_supports: list[GroundingSupport] = []


class CitationSource(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """A work that the answer recites."""

    start_index: int = 0
    end_index: int = 0
    uri: str | None = None
    title: str | None = None


class Citations(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """``citationSources`` on AI Studio, ``citations`` on Vertex AI."""

    citation_sources: list[CitationSource] = []
    citations: list[CitationSource] = []


class LogprobCandidate(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """A token and how likely it was."""

    token: str = ""
    log_probability: float = 0.0


class TopCandidates(msgspec.Struct, kw_only=True, gc=False):
    """The likeliest tokens of one step."""

    candidates: list[LogprobCandidate] = []


class Logprobs(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """Token by token."""

    chosen_candidates: list[LogprobCandidate] = []
    top_candidates: list[TopCandidates] = []


class Candidate(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """One answer, or a piece of one."""

    index: int | None = None
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    grounding_metadata: Grounding | None = None
    citation_metadata: Citations | None = None
    logprobs_result: Logprobs | None = None


class PromptFeedback(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """Why there is no answer."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class Response(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """A whole answer, or one event of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Raw = _ABSENT
    model_version: str | None = None
    response_id: str | None = None
    error: Raw = _ABSENT

    @property
    def is_error(self) -> bool:
        """Whether it holds an error instead of an answer."""
        return self.error is not _ABSENT and bytes(self.error) not in _NOTHING


_NOTHING: Final = frozenset({b"", b"null", b"{}"})

RESPONSE: Final = msgspec.json.Decoder(Response)


def to_finish(native: str, *, has_calls: bool) -> str:
    """The canonical finish reason; an answer with calls ends for their sake."""
    reason = FINISH_REASONS.get(native, "stop")
    return "tool_calls" if reason == "stop" and has_calls else reason


def id_of_call(call: FunctionCall, seed: str, number: int) -> str:
    """The call's own id, or one made up from what is unique to it."""
    if call.id:
        return call.id
    return f"call_{hashlib.sha256(f'{seed}:{number}'.encode()).hexdigest()[:24]}"


def to_image(blob: InlineData) -> Image:
    """An image as clients get it."""
    return Image(image_url=ImageAddress(url=f"data:{blob.mime_type};base64,{blob.data}"))


def to_wav(blob: InlineData) -> str:
    """Base64 of a WAV file: bare samples (``audio/L16``) get the header that says what they are."""
    if not blob.mime_type.lower().startswith(("audio/l16", "audio/pcm")):
        return blob.data
    rate = _RATE
    for parameter in blob.mime_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "rate" and value.isdecimal():
            rate = int(value[:6])
    try:
        samples = base64.b64decode(blob.data)
    except ValueError:
        return blob.data
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(samples),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        rate * 2,
        2,
        16,
        b"data",
        len(samples),
    )
    return base64.b64encode(header + samples).decode()


def to_logprobs(result: Logprobs) -> Raw:
    """Log probabilities in OpenAI's form."""
    tops = result.top_candidates
    content = [
        _token(chosen)
        | {
            "top_logprobs": [
                _token(one) for one in (tops[number].candidates if number < len(tops) else ())
            ]
        }
        for number, chosen in enumerate(result.chosen_candidates)
    ]
    return Raw(_ENCODER.encode({"content": content, "refusal": None}))


def _token(one: LogprobCandidate) -> dict[str, object]:
    return {
        "token": one.token,
        "logprob": one.log_probability,
        "bytes": list(one.token.encode()),
    }
