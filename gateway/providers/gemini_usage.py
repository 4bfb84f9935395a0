"""``usageMetadata`` of generateContent -> disjoint meters.

Thoughts are counted beside the candidates, cached tokens inside the prompt, what tools fetched
beside it; the lists by modality may be partial, and what they leave out is text. Documents count
like images. ai.google.dev/api/generate-content#UsageMetadata
"""

from typing import Final

import msgspec
from msgspec import Raw

from gateway.providers.usage import Metered, UsageCounter
from pricing.usage import Usage

_TIERS: Final = {
    "standard": "default",
    "flex": "flex",
    "priority": "priority",
    "on_demand": "default",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}
"""Our words for what was served: AI Studio's ``serviceTier``, Vertex AI's ``trafficType``."""
_LARGEST_FLOAT: Final = 1e15
_MOST_BELIEVED: Final = 1_000_000_000


class ModalityCount(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """Tokens of one modality."""

    modality: str = "TEXT"
    token_count: int = 0


Modalities = list[ModalityCount]


class UsageMetadata(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """The counts as they come; None where one was not sent."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: Modalities | None = None
    cache_tokens_details: Modalities | None = None
    candidates_tokens_details: Modalities | None = None
    tool_use_prompt_tokens_details: Modalities | None = None
    service_tier: str | None = None
    traffic_type: str | None = None

    @property
    def tier(self) -> str | None:
        """The service tier in our words; None when it is not told or unknown."""
        return _TIERS.get((self.service_tier or self.traffic_type or "").lower())


_STRICT: Final = msgspec.json.Decoder(UsageMetadata)
_NULL: Final = Raw(b"null")


def read_usage_metadata(raw: Raw | bytes | None) -> tuple[UsageMetadata | None, bool]:
    """The counts, and whether they had to be read leniently; None when there are none."""
    if raw is None or not bytes(raw) or raw == _NULL:
        return None, False
    try:
        return _STRICT.decode(raw), False
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        # Numbers written as text, or as fractions.
        return msgspec.convert(_whole(msgspec.json.decode(raw)), UsageMetadata, strict=False), True
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None, True


def _whole(value: object) -> object:
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- decoded JSON
    if isinstance(value, list):
        return [_whole(one) for one in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- decoded JSON
    if isinstance(value, float):
        return round(value) if abs(value) < _LARGEST_FLOAT else int(_LARGEST_FLOAT)
    return value


def merge_usage(earlier: UsageMetadata | None, later: UsageMetadata) -> UsageMetadata:
    """Streamed counts are snapshots; what a later one leaves out stands as it was."""
    if earlier is None:
        return later
    for name in UsageMetadata.__struct_fields__:
        if not getattr(later, name):
            setattr(later, name, getattr(earlier, name))
    return later


def is_plain(raw: UsageMetadata) -> bool:
    """Whether all that was written is text beside the thoughts, so that its count is its meter."""
    thoughts, written = raw.thoughts_token_count or 0, raw.candidates_token_count or 0
    prompt = (raw.prompt_token_count or 0) + (raw.tool_use_prompt_token_count or 0)
    return (
        raw.candidates_tokens_details is None
        and 0 < written <= _MOST_BELIEVED
        and raw.total_token_count == prompt + written + thoughts
    )


def only_writes_on(earlier: UsageMetadata, later: UsageMetadata) -> bool:
    """Whether a snapshot differs from a plain one in the count of what was written alone."""
    return (
        later.prompt_token_count == earlier.prompt_token_count
        and later.thoughts_token_count == earlier.thoughts_token_count
        and later.cached_content_token_count == earlier.cached_content_token_count
        and later.tool_use_prompt_token_count == earlier.tool_use_prompt_token_count
        and later.prompt_tokens_details == earlier.prompt_tokens_details
        and later.cache_tokens_details == earlier.cache_tokens_details
        and is_plain(later)
    )


def meter_gemini(raw: UsageMetadata, *, searches: int = 0, is_doubtful: bool = False) -> Metered:
    """Disjoint meters; ``searches`` are billed beside the tokens."""
    count = UsageCounter()
    prompt = count.total(raw.prompt_token_count)
    candidates = count.total(raw.candidates_token_count)
    if prompt is None and candidates is None and not raw.thoughts_token_count:
        return Metered(is_doubtful=is_doubtful or count.is_doubtful)
    fetched = count.part(count.MOST, raw.tool_use_prompt_token_count)
    thoughts = count.part(count.MOST, raw.thoughts_token_count)
    total = count.total(raw.total_token_count)
    if prompt is None:
        rest = None if total is None else max(0, total - (candidates or 0) - thoughts - fetched)
        prompt, count.is_doubtful = rest or 0, True
    prompt += fetched
    if candidates is None:
        # Left out when it is zero; the total knows.
        candidates = max(0, total - prompt - thoughts) if total is not None else 0
    elif thoughts and thoughts <= candidates and total == prompt + candidates:
        candidates -= thoughts
    usage = Usage(
        **_prompt_meters(raw, prompt, count),
        **_candidate_meters(raw, candidates, count),
        reasoning_tokens=thoughts,
        requests=1,
        web_searches=searches,
    )
    return Metered(usage=usage, is_doubtful=is_doubtful or count.is_doubtful)


def _prompt_meters(raw: UsageMetadata, prompt: int, count: UsageCounter) -> dict[str, int]:
    cached = count.part(prompt, raw.cached_content_token_count)
    if raw.prompt_tokens_details is None and raw.cache_tokens_details is None:
        return {"input_tokens": prompt - cached, "cache_read_tokens": cached}
    read = _by_modality(raw.prompt_tokens_details, raw.tool_use_prompt_tokens_details)
    audio = count.part(prompt, read.get("AUDIO"))
    video = count.part(prompt - audio, read.get("VIDEO"))
    image = count.part(prompt - audio - video, _images(read))
    text = prompt - audio - video - image
    if raw.cache_tokens_details is not None:
        kept = _by_modality(raw.cache_tokens_details)
        cached_audio = min(kept.get("AUDIO", 0), audio, cached)
        cached_video = min(kept.get("VIDEO", 0), video, cached - cached_audio)
        cached_image = min(_images(kept), image, cached - cached_audio - cached_video)
    else:
        cached_audio = cached_video = cached_image = 0
    # What does not fit beside the others must be one of them.
    over = cached - cached_audio - cached_video - cached_image - text
    if over > 0:
        more = min(over, image - cached_image)
        cached_image += more
        over -= more
        more = min(over, video - cached_video)
        cached_video += more
        cached_audio += over - more
    cached_text = cached - cached_audio - cached_video - cached_image
    return {
        "input_tokens": text - cached_text,
        "cache_read_tokens": cached - cached_audio,
        "audio_input_tokens": audio - cached_audio,
        "audio_cache_read_tokens": cached_audio,
        "image_input_tokens": image - cached_image,
        "video_input_tokens": video - cached_video,
    }


def _candidate_meters(raw: UsageMetadata, candidates: int, count: UsageCounter) -> dict[str, int]:
    if raw.candidates_tokens_details is None:
        return {"output_tokens": candidates}
    made = _by_modality(raw.candidates_tokens_details)
    audio = count.part(candidates, made.get("AUDIO"))
    image = count.part(candidates - audio, _images(made))
    return {
        "output_tokens": candidates - audio - image,
        "audio_output_tokens": audio,
        "image_output_tokens": image,
    }


def _by_modality(*lists: Modalities | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entries in lists:
        for entry in entries or ():
            name = entry.modality.upper()
            counts[name] = counts.get(name, 0) + max(0, entry.token_count)
    return counts


def _images(counts: dict[str, int]) -> int:
    return counts.get("IMAGE", 0) + counts.get("DOCUMENT", 0)
