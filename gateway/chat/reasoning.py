"""How much a model is to think: one wish from the several fields that say so."""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from gateway.domain.errors import InvalidRequestError

_OBJECTS = msgspec.json.Decoder(list[dict[str, Raw]])
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()
_NULL = Raw(b"null")
_HIDDEN = ("reasoning", "reasoning_content", "reasoning_details")
_EMPTY = frozenset({b"null", b'""', b"[]"})


Word = Annotated[str, Meta(min_length=1, max_length=64)]


class SentReasoning(msgspec.Struct, kw_only=True, gc=False):
    """The ``reasoning`` object as clients send it."""

    effort: Word | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2_147_483_647)] | None = None
    enabled: bool | None = None
    exclude: bool | None = None
    summary: Word | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """One wish. None leaves a part to the endpoint."""

    effort: str | None = None
    """``none`` switches reasoning off."""
    max_tokens: int | None = None
    """A budget; wins over the effort, which is then None."""
    is_excluded: bool = False
    """Think, and do not show it."""
    summary: str | None = None

    @property
    def is_off(self) -> bool:
        """No reasoning at all is wanted."""
        return self.effort == "none"


def read_reasoning(
    sent: SentReasoning | None,
    effort: str | None,
    include: bool | None,  # noqa: FBT001
    warnings: list[str],
) -> Reasoning | None:
    """One wish from ``reasoning``, ``reasoning_effort`` and the older ``include_reasoning``.

    None when nothing is asked. ``warnings`` receives what loses against another wish.

    Raises:
        InvalidRequestError: two of them contradict each other.
    """
    if sent is None:
        if effort is None and include is not False:
            return None
        return Reasoning(effort=effort, is_excluded=include is False)
    if sent.effort is not None and effort is not None and sent.effort != effort:
        raise _contradiction("reasoning_effort", "reasoning.effort")
    if include is not None and sent.exclude is not None and include == sent.exclude:
        raise _contradiction("include_reasoning", "reasoning.exclude")
    wished = sent.effort or effort
    budget = sent.max_tokens
    if sent.enabled is False:
        if budget is not None or wished not in {None, "none"}:
            warnings.append("`reasoning.enabled` is false, so that no reasoning is asked for")
        wished, budget = "none", None
    elif budget is not None:
        wished = None
    elif wished is None and sent.enabled:
        wished = "medium"
    excluded = sent.exclude is True or include is False
    if wished is None and budget is None and not excluded and sent.summary is None:
        return None
    return Reasoning(effort=wished, max_tokens=budget, is_excluded=excluded, summary=sent.summary)


def _contradiction(first: str, second: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"`{first}` and `{second}` differ; send one of them.", param=first, code="contradiction"
    )


def hide_reasoning(choices: bytes) -> bytes:
    """Choices of an answer or of a chunk without any reasoning.

    ``[]`` when a chunk held nothing else: such a chunk need not be sent. Choices without reasoning
    come back byte for byte.
    """
    if b'"reasoning' not in choices:
        return choices
    decoded = _OBJECTS.decode(choices)
    is_silent = True
    for choice in decoded:
        for name in ("message", "delta"):
            raw = choice.get(name, _NULL)
            if raw == _NULL:
                continue
            members = _MEMBERS.decode(raw)
            hidden = [key for key in _HIDDEN if key in members]
            for key in hidden:
                del members[key]
            if hidden:
                choice[name] = Raw(_ENCODER.encode(members))
            says = name == "message" or any(
                bytes(value) not in _EMPTY for value in members.values()
            )
            is_silent = is_silent and bool(hidden) and not says
        is_silent = is_silent and choice.get("finish_reason", _NULL) == _NULL
    return b"[]" if is_silent else _ENCODER.encode(decoded)
