"""What a Gemini model takes, by its name: thinking by budget or by level, tools together, outputs.

From ai.google.dev/gemini-api/docs/thinking and …/gemini-3. A name that says nothing is treated like
a Gemini 2.5 Flash.
"""

import re

import msgspec

_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """One model's limits. `budget` is None where thinking is set by level, or not at all."""

    generation: float
    budget: tuple[int, int] | None = None
    can_stop_thinking: bool = True
    levels: tuple[str, ...] = ()
    makes_images: bool = False
    makes_audio: bool = False

    @property
    def thinks(self) -> bool:
        return self.budget is not None or bool(self.levels)

    @property
    def is_third(self) -> bool:
        """Of the third generation or later: signatures, levels, tools beside each other."""
        return self.generation >= 3  # noqa: PLR2004 -- Gemini 3


def abilities(model: str) -> Abilities:
    """What the model of that name takes."""
    found = _GENERATION.search(model)
    generation = float(f"{found[1]}.{found[2] or 0}") if found else 2.5
    budget: tuple[int, int] | None = None
    levels: tuple[str, ...] = ()
    makes_images, makes_audio = "image" in model, "tts" in model
    is_third = generation >= 3  # noqa: PLR2004 -- Gemini 3
    if makes_audio or generation < 2.5:  # noqa: PLR2004 -- Gemini 2.5 was the first that thinks
        pass
    elif is_third:
        levels = ("LOW", "MEDIUM", "HIGH")
        if "flash" in model and generation < 3.7:  # noqa: PLR2004 -- Gemini 3.7 Flash
            levels = ("MINIMAL", *levels)
    elif "pro" in model:
        budget = (128, 32_768)
    elif not makes_images:
        budget = (512 if "lite" in model else 1, 24_576)
    return Abilities(
        generation=generation,
        budget=budget,
        can_stop_thinking="pro" not in model and not is_third,
        levels=levels,
        makes_images=makes_images,
        makes_audio=makes_audio,
    )
