"""A whole answer of Anthropic's Messages API -> `Completion`, or the fault that hides in it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from gateway.chat.finish import to_finish_reason
from gateway.domain.outcomes import Outcome
from gateway.providers.anthropic_content import REASONING_FORMAT
from gateway.providers.base import Completion, Fault, FaultError, Target
from gateway.providers.refusals import make_fault_in_answer, parse_error_body, read_error
from gateway.providers.translation.structure import ANSWER_TOOL
from gateway.providers.translation.turns import ReasoningDetail
from gateway.providers.translation.writing import (
    Annotation,
    Call,
    Choice,
    Citation,
    Message,
    make_call,
    render_choices,
    size_of,
)
from gateway.providers.usage import normalise_usage

USAGE_FLAVOUR: Final = "anthropic"
_ABSENT: Final = Raw()
_NULL: Final = Raw(b"null")
_USUAL_SPEEDS: Final = frozenset({None, "standard"})
_NO_GEO: Final = "not_available"


class SentCitation(msgspec.Struct, kw_only=True, gc=False):
    """Where a text was found: on the web, or in a document (without an address)."""

    url: str | None = None
    title: str | None = None
    cited_text: str | None = None


class SentBlock(msgspec.Struct, kw_only=True, gc=False):
    """A content block, whole or as a stream begins it."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = _ABSENT
    citations: list[SentCitation] | None = None


class Served(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the usage of an answer tells beside its counts."""

    service_tier: str | None = None
    speed: str | None = None
    """platform.claude.com/docs/en/build-with-claude/fast-mode: ``fast`` where it was, else
    ``standard``."""
    inference_geo: str | None = None
    """platform.claude.com/docs/en/build-with-claude/data-residency: ``us``, ``global``, or that a
    model has none."""

    @property
    def tier(self) -> str | None:
        """The tier that served: another speed than the usual one is a tier."""
        return self.service_tier if self.speed in _USUAL_SPEEDS else self.speed

    @property
    def region(self) -> str | None:
        """Where it was processed."""
        return None if self.inference_geo == _NO_GEO else self.inference_geo


class SentMessage(msgspec.Struct, kw_only=True, gc=False):
    """An answer, whole or as a stream begins it."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[SentBlock] | None = None
    stop_reason: str | None = None
    usage: Raw = _ABSENT
    error: Raw = _ABSENT


_MESSAGE: Final = msgspec.json.Decoder(SentMessage)
_SERVED: Final = msgspec.json.Decoder(Served)
_UNTOLD: Final = Served()


def parse_answer(
    status: int, headers: Mapping[str, str], body: bytes, target: Target
) -> Completion:
    """Read a 2xx answer.

    Raises:
        FaultError: it is not an answer.
    """
    provider = target.endpoint.provider
    try:
        sent = _MESSAGE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        found = parse_error_body(body)
        if body.lstrip()[:1] in {b"{", b"["} and found.message[:1] not in {"", "{", "["}:
            raise FaultError(make_fault_in_answer(found, provider=provider, status=status)) from exc
        what = "an empty body" if not body.strip() else "something that is not an answer"
        kind = headers.get("content-type", "no content type").partition(";")[0][:64]
        raise FaultError(bad_response(target, f"{what} ({kind})", status=status)) from exc
    if sent.type == "error" or sent.error not in (_ABSENT, _NULL):
        raise FaultError(fault_of(sent.error, target, status=status, upstream_id=sent.id))
    if sent.content is None:
        raise FaultError(bad_response(target, "an answer without content", status=status))
    said = _Said()
    for block in sent.content:
        said.take(block)
    message = said.message()
    reason = finish_of(sent.stop_reason or "end_turn", calls=len(message.tool_calls))
    metered = normalise_usage(sent.usage if sent.usage != _ABSENT else None, USAGE_FLAVOUR)
    served = served_of(sent.usage)
    choice = Choice(
        index=0, message=message, finish_reason=reason, native_finish_reason=sent.stop_reason
    )
    return Completion(
        choices=render_choices([choice]),
        finish_reason=reason,
        native_finish_reason=sent.stop_reason,
        usage=metered.usage,
        is_usage_doubtful=metered.is_doubtful,
        service_tier=served.tier,
        served_region=served.region,
        upstream_id=sent.id,
        upstream_model=sent.model,
        text_bytes=size_of(message),
    )


class _Said:
    """What the blocks of an answer come to."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._length = 0
        self._has_text = False
        self._reasoning: list[str] = []
        self._details: list[ReasoningDetail] = []
        self._calls: list[Call] = []
        self._annotations: list[Annotation] = []

    def take(self, block: SentBlock) -> None:
        kind = block.type
        if kind == "text":
            self._add_text(block.text or "", block.citations or [])
        elif kind == "thinking":
            self._reasoning.append(block.thinking or "")
            self._details.append(
                ReasoningDetail(
                    type="reasoning.text",
                    text=block.thinking,
                    signature=block.signature,
                    format=REASONING_FORMAT,
                    index=len(self._details),
                )
            )
        elif kind == "redacted_thinking":
            self._details.append(encrypted_detail(block, len(self._details)))
        elif kind == "tool_use":
            arguments = bytes(block.input).decode() if block.input != _ABSENT else "{}"
            if block.name == ANSWER_TOOL:
                self._add_text(arguments, [])
            else:
                self._calls.append(make_call(block.id or "", block.name or "", arguments))
        # Searches that the provider ran itself show in the text's citations and in the usage.

    def _add_text(self, text: str, citations: list[SentCitation]) -> None:
        start = self._length
        self._content.append(text)
        self._length += len(text)
        self._has_text = True
        self._annotations += annotations_of(citations, start, self._length)

    def message(self) -> Message:
        has_content = self._has_text or not self._calls
        return Message(
            content="".join(self._content) if has_content else None,
            reasoning="\n".join(self._reasoning) or None,
            reasoning_details=self._details,
            tool_calls=self._calls,
            annotations=self._annotations,
        )


def encrypted_detail(block: SentBlock, index: int) -> ReasoningDetail:
    """Thinking that only Claude can read."""
    return ReasoningDetail(
        type="reasoning.encrypted", data=block.data or "", format=REASONING_FORMAT, index=index
    )


def annotations_of(citations: list[SentCitation], start: int, end: int) -> list[Annotation]:
    """Citations of addresses, for the characters from start to end; documents have none."""
    return [
        Annotation(
            url_citation=Citation(
                url=citation.url,
                title=citation.title or "",
                start_index=start,
                end_index=end,
                content=citation.cited_text,
            )
        )
        for citation in citations
        if citation.url
    ]


def finish_of(native: str, *, calls: int) -> str:
    """Why the answer ended; a forced call that was the answer itself counts as ``stop``."""
    if native == "tool_use" and not calls:
        return "stop"
    return to_finish_reason(native, has_tool_calls=calls > 0) or "stop"


def served_of(usage: Raw) -> Served:
    """What the usage tells of how it was served, and where."""
    try:
        return _SERVED.decode(usage) if usage not in (_ABSENT, _NULL) else _UNTOLD
    except (msgspec.DecodeError, RecursionError):
        return _UNTOLD


def fault_of(
    error: Raw, target: Target, *, status: int = 200, upstream_id: str | None = None
) -> Fault:
    """A fault from the ``error`` member of an answer or of an event."""
    value: Any = None
    if error != _ABSENT:
        try:
            value = msgspec.json.decode(error)
        except (msgspec.DecodeError, RecursionError):
            value = None
    return make_fault_in_answer(
        read_error({"error": value}),
        provider=target.endpoint.provider,
        status=status,
        upstream_id=upstream_id,
    )


def bad_response(target: Target, what: str, *, status: int = 200) -> Fault:
    """The provider sent something that is not an answer."""
    return Fault(
        outcome=Outcome.BAD_RESPONSE,
        message=f"{target.endpoint.provider} sent {what}"[:512],
        status_code=status,
    )
