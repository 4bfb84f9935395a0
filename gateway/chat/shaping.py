"""Choices as this caller wants them: healed, without the reasoning it hides, in the older form."""

from collections.abc import Callable

from gateway.chat.healing import heal_choices
from gateway.chat.legacy_functions import to_legacy_choices
from gateway.chat.reasoning import hide_reasoning
from gateway.chat.request import ChatRequest

Shape = Callable[[bytes], bytes]


def shape_of(request: ChatRequest) -> Shape | None:
    """What changes the choices of an answer or of each of its chunks; None when nothing does."""
    steps: list[Shape] = []
    if request.reasoning is not None and request.reasoning.is_excluded:
        steps.append(hide_reasoning)
    if request.uses_legacy_functions:
        steps.append(to_legacy_choices)
    if not steps:
        return None
    if len(steps) == 1:
        return steps[0]
    return lambda choices: to_legacy_choices(hide_reasoning(choices))


def shape_whole(choices: bytes, request: ChatRequest) -> tuple[bytes, tuple[str, ...]]:
    """The choices of a whole answer, and what was repaired in them."""
    repairs: tuple[str, ...] = ()
    if request.heals_response:
        healed = heal_choices(choices, request)
        choices, repairs = healed.choices, tuple(healed.notes)
    shape = shape_of(request)
    return (choices if shape is None else shape(choices)), repairs
