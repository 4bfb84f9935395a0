"""What Claude's generations take and refuse, by the names of the models.

From platform.claude.com: extended thinking, adaptive thinking, effort, structured outputs, and the
overview of models.
"""

import re

import msgspec

_DATED = re.compile(r"-20\d{6}.*$")
_FAMILY = "opus|sonnet|haiku|fable|mythos"
_OLD = re.compile(rf"claude-(\d)(?:-(\d))?-(?:{_FAMILY})")
_NEW = re.compile(rf"claude-(?:{_FAMILY})-(\d)(?:-(\d))?\b")
_CURRENT = (4, 5)
_ADAPTIVE = (4, 7)


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model takes."""

    budget: bool
    """Thinking of the type `enabled`."""
    adaptive: bool
    effort: bool
    schemas: bool
    prefill: bool
    sampling: bool
    """Temperature, top_p and top_k at all."""
    both_samplings: bool
    """Temperature and top_p together."""
    max_output_tokens: int


def abilities(model: str) -> Abilities:
    """By the generation in the name; a name without one is of 4.5, or later when it says so."""
    version = _version(model)
    return Abilities(
        budget=(3, 7) <= version < (4, 7),
        adaptive=version >= (4, 6),
        effort=version >= (4, 6) or "opus-4-5" in model,
        schemas=version >= (4, 5),
        prefill=version < (4, 6),
        sampling=version < (4, 7),
        both_samplings=version < (4, 1),
        max_output_tokens=_max_output(version, model),
    )


def _version(model: str) -> tuple[int, int]:
    if "adaptive" in model:
        return _ADAPTIVE
    for pattern in (_OLD, _NEW):
        found = pattern.search(_DATED.sub("", model))
        if found is not None:
            return int(found[1]), int(found[2] or 0)
    return _CURRENT


def _max_output(version: tuple[int, int], model: str) -> int:
    if version < (3, 5):
        return 4096
    if version < (3, 7):
        return 8192
    if version >= (4, 6):
        return 128_000
    return 32_000 if "opus" in model and version < (4, 5) else 64_000
