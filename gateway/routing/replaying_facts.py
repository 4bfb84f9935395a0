"""What a record keeps of the request itself, so that it can be decided again under other rules.

Names, numbers and wishes that rules and filters ask for; never a word of what was said. What the
record has columns for (the typed model, labels, tags, user, session) is not kept twice.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.chat.dialects import Dialect
from gateway.chat.preferences import AutoPreferences, ProviderPreferences
from gateway.chat.reasoning import Reasoning
from gateway.chat.request import ChatRequest, Need
from gateway.routing.capabilities import ASKS_NOTHING, CAPABILITY_OF_PARAMETER

MEMBER = "asked"
"""Of a compact plan, where the facts stand."""
MOST_NAMES = 64
MOST_CHARACTERS = 256
"""Of one name. Requests whose lists or names are longer are not decided again."""

_NO_WISHES = ProviderPreferences()
_NO_AUTO = AutoPreferences()
_WISHES: tuple[tuple[str, object], ...] = tuple(
    (name, getattr(_NO_WISHES, name)) for name in ProviderPreferences.__struct_fields__
)


class TooLongError(Exception):
    """The request named more than a record keeps."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request's facts as they are stored; what is absent is what it usually is."""

    models: tuple[str, ...] | None = None
    """None: the one that the record says was typed, if any."""
    bytes: int = 0
    needs: frozenset[Need] = frozenset()
    parameters: frozenset[str] = frozenset()
    """Capabilities that its parameters stand for."""
    max_output: int | None = None
    choices: int = 1
    images: int = 0
    addresses: bool = False
    effort: str | None = None
    thinking: int | None = None
    """The budget of tokens for reasoning."""
    tier: str | None = None
    wishes: ProviderPreferences = _NO_WISHES
    auto: AutoPreferences = _NO_AUTO
    is_cut: bool = False


def facts_of(request: ChatRequest) -> dict[str, object]:
    """The facts, ready for JSON; called for every request, so that the usual one costs little."""
    known: dict[str, object] = {"bytes": request.prompt_bytes}
    if len(request.models) != 1:
        known["models"] = request.models
    if request.needs:
        known["needs"] = sorted(request.needs)
    parameters = [
        CAPABILITY_OF_PARAMETER.get(name, name)
        for name in request.parameters
        if name not in ASKS_NOTHING
    ]
    if parameters:
        known["parameters"] = sorted(parameters)
    if request.max_output_tokens is not None:
        known["max_output"] = request.max_output_tokens
    if request.choice_count != 1:
        known["choices"] = request.choice_count
    if request.image_count:
        known["images"] = request.image_count
    if request.names_addresses:
        known["addresses"] = True
    reasoning = request.reasoning
    if reasoning is not None:
        # A wish without either is told apart from no wish at all.
        known["effort"] = reasoning.effort or ""
        if reasoning.max_tokens is not None:
            known["thinking"] = reasoning.max_tokens
    if request.service_tier is not None:
        known["tier"] = request.service_tier
    wishes = request.provider
    if wishes is not _NO_WISHES and wishes != _NO_WISHES:
        known["wishes"] = {
            name: msgspec.to_builtins(value)
            for name, usual in _WISHES
            if (value := getattr(wishes, name)) != usual
        }
    if request.auto != _NO_AUTO:
        known["auto"] = msgspec.to_builtins(request.auto)
    # Most requests hold nothing that could be long.
    return known if len(known) == 1 or _is_short(known) else {"is_cut": True}


def request_of(
    facts: Mapping[str, Any],
    *,
    typed_model: str,
    dialect: str,
    stream: bool,
    prompt_tokens: int,
    user: str | None,
    session_id: str | None,
    tags: Mapping[str, str],
) -> ChatRequest:
    """The request as far as decisions look at it; its body is empty.

    Args:
        facts: as `facts_of` made them.
        typed_model: what the record says was asked for; empty when nothing was.
        dialect: as the record has it, like the others.
        stream: whether a stream was asked for.
        prompt_tokens: as estimated then.
        user: who the caller said was asking.
        session_id: what the caller named so.
        tags: the caller's own ``metadata``.

    Raises:
        TooLongError: the request named more than was kept.
        msgspec.ValidationError: ``facts`` are not what `facts_of` made.
        ValueError: ``dialect`` is none.
    """
    asked = msgspec.convert(facts, Asked)
    if asked.is_cut:
        raise TooLongError
    models = asked.models
    if models is None:
        models = (typed_model,) if typed_model else ()
    reasoning = None
    if asked.effort is not None:
        reasoning = Reasoning(effort=asked.effort or None, max_tokens=asked.thinking)
    return ChatRequest(
        dialect=Dialect(dialect),
        body={},
        models=models,
        stream=stream,
        max_output_tokens=asked.max_output,
        choice_count=asked.choices,
        provider=asked.wishes,
        auto=asked.auto,
        needs=asked.needs,
        parameters=asked.parameters,
        prompt_bytes=asked.bytes,
        image_count=asked.images,
        names_addresses=asked.addresses,
        prompt_tokens_estimate=prompt_tokens,
        reasoning=reasoning,
        service_tier=asked.tier,
        user=user,
        session_id=session_id,
        labels=dict(tags),
    )


def _is_short(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MOST_CHARACTERS
    if isinstance(value, dict):
        return all(map(_is_short, value.values()))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] - of anything
    if isinstance(value, list | tuple):
        return len(value) <= MOST_NAMES and all(map(_is_short, value))  # pyright: ignore[reportUnknownArgumentType] - of anything
    return True
