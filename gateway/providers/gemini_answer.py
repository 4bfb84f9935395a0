"""A whole answer of generateContent -> `Completion`, or the fault that hides behind its 200."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import structs

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, Fault, FaultError, Target
from gateway.providers.gemini_contents import detail_of_signature, tag_of
from gateway.providers.gemini_errors import read_google_error_in_answer
from gateway.providers.gemini_grounding import annotate, count_searches
from gateway.providers.gemini_names import from_wire_name
from gateway.providers.gemini_parts import (
    RESPONSE,
    Candidate,
    Part,
    Response,
    id_of_call,
    to_finish,
    to_image,
    to_logprobs,
    to_wav,
)
from gateway.providers.gemini_usage import meter_gemini, read_usage_metadata
from gateway.providers.translation.turns import ReasoningDetail
from gateway.providers.translation.writing import (
    Choice,
    Message,
    make_call,
    render_choices,
    size_of,
)
from gateway.providers.usage import Metered

TIER_HEADER: Final = "x-gemini-service-tier"
_TIERS: Final = {"standard": "default", "flex": "flex", "priority": "priority"}


def parse_answer(
    status: int, headers: Mapping[str, str], body: bytes, target: Target
) -> Completion:
    """Read a 2xx answer.

    Raises:
        FaultError: it is not an answer.
    """
    response = _decode(status, headers, body, target)
    usage, is_lenient = read_usage_metadata(response.usage_metadata)
    candidates = response.candidates or []
    grounded = [candidate.grounding_metadata for candidate in candidates]
    searches = sum(count_searches(one, target.endpoint) for one in grounded)
    metered = Metered(is_doubtful=is_lenient)
    if usage is not None:
        metered = meter_gemini(usage, searches=searches, is_doubtful=is_lenient)
    choices = _choices(status, response, candidates, target)
    first = choices[0]
    tier = None if usage is None else usage.tier
    return Completion(
        choices=render_choices(choices),
        finish_reason=first.finish_reason,
        native_finish_reason=first.native_finish_reason,
        usage=metered.usage,
        is_usage_doubtful=metered.is_doubtful,
        service_tier=tier or _TIERS.get(headers.get(TIER_HEADER, "").lower()),
        upstream_id=response.response_id,
        upstream_model=response.model_version,
        text_bytes=sum(size_of(choice.message) for choice in choices),
    )


def _choices(
    status: int, response: Response, candidates: list[Candidate], target: Target
) -> list[Choice]:
    blocked = None if response.prompt_feedback is None else response.prompt_feedback.block_reason
    if not candidates and blocked:
        message = Message(content="", refusal=_why(response))
        return [
            Choice(
                index=0,
                message=message,
                finish_reason="content_filter",
                native_finish_reason=blocked,
            )
        ]
    if not candidates:
        raise FaultError(bad_response(target, status, "an answer without candidates"))
    choices: list[Choice] = []
    for number, candidate in enumerate(candidates):
        native = candidate.finish_reason
        if native is None and not _has_parts(candidate):
            raise FaultError(bad_response(target, status, "a candidate without content"))
        seed = f"{target.endpoint.id}:{response.response_id}:{candidate.index or number}"
        message = read_message(candidate, seed, tag_of(target))
        reason = to_finish(native or "STOP", has_calls=bool(message.tool_calls))
        if reason == "error":
            raise FaultError(failed_candidate(target, status, candidate, response.response_id))
        logprobs = candidate.logprobs_result
        choices.append(
            Choice(
                index=candidate.index or number,
                message=message,
                finish_reason=reason,
                native_finish_reason=native,
                logprobs=None if logprobs is None else to_logprobs(logprobs),
            )
        )
    return choices


def _why(response: Response) -> str | None:
    feedback = response.prompt_feedback
    return None if feedback is None else feedback.block_reason_message


def _has_parts(candidate: Candidate) -> bool:
    return candidate.content is not None and bool(candidate.content.parts)


def read_message(candidate: Candidate, seed: str, tag: str) -> Message:
    """What one candidate says, in our shape; ``seed`` makes ids of calls that have none."""
    message = Message(content=None)
    thoughts: list[str] = []
    texts: list[str] = []
    details: list[ReasoningDetail] = []
    parts = candidate.content.parts if candidate.content is not None else None
    for part in parts or ():
        if part.thought:
            thoughts.append(part.text or "")
            details.append(
                ReasoningDetail(
                    type="reasoning.text", text=part.text or "", format=tag, index=len(details)
                )
            )
            texts.append("")
        else:
            texts.append(part.said)
            _take(part, message, seed)
        if part.thought_signature:
            id_ = id_of_signed(part, message)
            details.append(detail_of_signature(part.thought_signature, len(details), tag, id_))
    content = "".join(texts)
    message.content = content or (None if message.tool_calls or message.audio else "")
    message.reasoning = "\n".join(thoughts) or None
    message.reasoning_details = details
    message.annotations = annotate(candidate.grounding_metadata, candidate.citation_metadata, texts)
    return message


def _take(part: Part, message: Message, seed: str) -> None:
    """A call, an image or a sound."""
    call, blob = part.function_call, part.inline_data
    if call is not None:
        id_ = id_of_call(call, seed, len(message.tool_calls))
        message.tool_calls.append(make_call(id_, from_wire_name(call.name), call.arguments))
    if blob is None:
        return
    if blob.mime_type.startswith("image/"):
        message.images.append(to_image(blob))
    elif blob.mime_type.startswith("audio/"):
        message.audio = _sound(seed, to_wav(blob))


def _sound(seed: str, data: str) -> dict[str, Any]:
    return {
        "id": f"audio_{seed.rpartition(':')[2]}",
        "data": data,
        "transcript": "",
        "expires_at": 0,
    }


def id_of_signed(part: Part, message: Message) -> str | None:
    """Where a signature belongs: to the latest call, the latest image, or to neither."""
    if part.function_call is not None:
        return message.tool_calls[-1].id
    if part.inline_data is not None and message.images:
        return f"image:{len(message.images) - 1}"
    return None


def _decode(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> Response:
    if not body.strip():
        raise FaultError(bad_response(target, status, "an empty body"))
    try:
        response = RESPONSE.decode(body)
    except (msgspec.ValidationError, UnicodeDecodeError) as exc:
        raise FaultError(_fault_of(body, target, status, str(exc))) from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        kind = headers.get("content-type", "no content type").partition(";")[0]
        what = "HTML" if body.lstrip()[:1] == b"<" else f"something that is not JSON ({kind[:64]})"
        raise FaultError(bad_response(target, status, what)) from exc
    if response.is_error:
        raise FaultError(_fault_of(body, target, status, "an error"))
    return response


def _fault_of(body: bytes, target: Target, status: int, what: str) -> Fault:
    """JSON of another form: an error, also in an array, or nothing that is known."""
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bad_response(target, status, f"something unreadable: {what}")
    if b'"error"' in body:
        return read_google_error_in_answer(value, target.endpoint.provider, status=status)
    return bad_response(target, status, f"an answer of an unknown form: {what}")


def failed_candidate(
    target: Target, status: int, candidate: Candidate, upstream_id: str | None
) -> Fault:
    """The model broke off by itself, as with a call that cannot be read; asking again may help."""
    about = f": {candidate.finish_message}" if candidate.finish_message else ""
    fault = bad_response(target, status, f"{candidate.finish_reason}{about}")
    return structs.replace(fault, code=candidate.finish_reason, upstream_id=upstream_id)


def bad_response(target: Target, status: int, what: str) -> Fault:
    """The provider sent something that is not an answer."""
    return Fault(
        outcome=Outcome.BAD_RESPONSE,
        message=f"{target.endpoint.provider} sent {what}"[:512],
        status_code=status,
    )
