"""A whole OpenAI-compatible answer -> `Completion`, or the fault that hides behind its 200."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway.chat.answer import OWN_MEMBERS
from gateway.chat.finish import to_finish_reason
from gateway.domain.outcomes import Outcome
from gateway.providers.base import Completion, Fault, FaultError, Target
from gateway.providers.openai_choices import (
    CHOICES,
    Choice,
    has_error,
    is_in_our_shape,
    rewrite_answer,
    text_bytes,
)
from gateway.providers.refusals import (
    make_fault_in_answer,
    parse_error_body,
    read_error,
)
from gateway.providers.usage import Metered, normalise_usage

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_NULL = Raw(b"null")
_ABSENT = Raw()
_NO_ERRORS = frozenset({b"", b"false", b'""', b"{}", b"[]"})
LEFT_OUT = OWN_MEMBERS | {"x_groq", "cost"}
"""Members that are read or replaced; ``x_groq`` holds a second usage object."""
_MAX_NAME_CHARACTERS = 256


def parse_answer(
    status: int, headers: Mapping[str, str], body: bytes, target: Target
) -> Completion:
    """Read a 2xx answer.

    Raises:
        FaultError: it is not an answer.
    """
    members = _decode(status, headers, body, target)
    upstream_id = text_of(members.get("id"))
    choices = members.get("choices", _NULL)
    error = members.get("error")
    if error is not None and is_error(error):
        raise FaultError(fault_of_raw(error, target, status=status, upstream_id=upstream_id))
    try:
        typed = CHOICES.decode(choices) if choices != _NULL else []
    except (msgspec.DecodeError, RecursionError) as exc:
        raise FaultError(bad_response(target, status, f"unreadable choices: {exc}")) from exc
    if not typed:
        raise FaultError(_without_choices(status, body, members, target))
    for choice in typed:
        if has_error(choice):
            raise FaultError(
                fault_of_raw(choice.error, target, status=status, upstream_id=upstream_id)
            )
        if choice.message is None:
            raise FaultError(bad_response(target, status, "a choice without a message"))
    metered = normalise_usage(usage_of(members), target.quirks.usage_flavour)
    return _to_completion(choices, typed, members, metered)


def _to_completion(
    choices: Raw, typed: list[Choice], members: dict[str, Raw], metered: Metered
) -> Completion:
    reasons: list[str] = []
    is_ours = True
    size = 0
    for choice in typed:
        said = choice.message
        if said is None:
            continue
        has_calls = bool(said.tool_calls)
        reason = (
            to_finish_reason(choice.finish_reason or "stop", has_tool_calls=has_calls) or "stop"
        )
        reasons.append(reason)
        size += text_bytes(said)
        is_ours = (
            is_ours and is_in_our_shape(choice, said, reason) and not has_calls_with_objects(choice)
        )
    natives = [choice.finish_reason for choice in typed]
    return Completion(
        choices=bytes(choices) if is_ours else rewrite_answer(choices, reasons, natives),
        extras={name: raw for name, raw in members.items() if name not in LEFT_OUT},
        finish_reason=reasons[0],
        native_finish_reason=natives[0],
        usage=metered.usage,
        is_usage_doubtful=metered.is_doubtful,
        usage_details=metered.details,
        reported_cost_usd=metered.reported_cost_usd,
        service_tier=text_of(members.get("service_tier")),
        upstream_id=text_of(members.get("id")),
        upstream_model=text_of(members.get("model")),
        text_bytes=size,
    )


def has_calls_with_objects(choice: Choice) -> bool:
    """Whether arguments came as objects where strings belong."""
    said = choice.message
    return said is not None and any(
        call.function is not None and bytes(call.function.arguments)[:1] == b"{"
        for call in said.tool_calls or ()
    )


def _decode(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> dict[str, Raw]:
    if not body.strip():
        raise FaultError(bad_response(target, status, "an empty body"))
    try:
        if not body.isascii():
            body.decode()
        return _MEMBERS.decode(body)
    except msgspec.ValidationError as exc:
        found = parse_error_body(body)
        if found.message:
            raise FaultError(
                make_fault_in_answer(found, provider=target.endpoint.provider, status=status)
            ) from exc
        raise FaultError(bad_response(target, status, "JSON that is not an object")) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        kind = headers.get("content-type", "no content type").partition(";")[0]
        what = "HTML" if body.lstrip()[:1] == b"<" else f"something that is not JSON ({kind[:64]})"
        raise FaultError(bad_response(target, status, what)) from exc


def fault_of_raw(
    error: Raw, target: Target, *, status: int = 200, upstream_id: str | None = None
) -> Fault:
    """A fault from an error member as it came; an absent one is a failure without explanation."""
    value: object = None
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


def is_error(raw: Raw | None) -> bool:
    """Whether an ``error`` member holds one; several services always send it, empty."""
    return raw is not None and raw != _NULL and bytes(raw) not in _NO_ERRORS


def _without_choices(status: int, body: bytes, members: Mapping[str, Raw], target: Target) -> Fault:
    found = parse_error_body(body)
    if found.message and "choices" not in members:
        return make_fault_in_answer(found, provider=target.endpoint.provider, status=status)
    return bad_response(target, status, "an answer without choices")


def bad_response(target: Target, status: int, what: str) -> Fault:
    """The provider sent something that is not an answer."""
    return Fault(
        outcome=Outcome.BAD_RESPONSE,
        message=f"{target.endpoint.provider} sent {what}"[:512],
        status_code=status,
    )


def usage_of(members: Mapping[str, Raw]) -> Raw | None:
    """The usage object; Groq also has one inside ``x_groq``."""
    usage = members.get("usage")
    if usage is not None and usage != _NULL:
        return usage
    groq = members.get("x_groq")
    if groq is None:
        return None
    try:
        return _MEMBERS.decode(groq).get("usage")
    except msgspec.DecodeError:
        return None


def text_of(raw: Raw | None) -> str | None:
    """A string member; None for anything else, and at most 256 characters."""
    if raw is None:
        return None
    value = bytes(raw)
    if value[:1] != b'"':
        return None
    if b"\\" not in value and value.isascii():
        return value[1:-1][:_MAX_NAME_CHARACTERS].decode() or None
    try:
        return msgspec.json.decode(value, type=str)[:_MAX_NAME_CHARACTERS] or None
    except msgspec.DecodeError:
        return None
