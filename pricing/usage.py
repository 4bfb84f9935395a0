"""The metered quantities of one attempt, as disjoint counts that add up."""

from typing import Self

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt used. Every token is counted in exactly one meter.

    Counts are never negative: whoever reads them from a provider sees to that.
    `input_tokens` is text that was neither read from nor written to a cache; `cache_write_tokens`
    are writes kept for five minutes, `cache_write_1h_tokens` those kept for an hour;
    `output_tokens` is visible text, without reasoning; `requests` is 1 for a normal call;
    `images` are generated images that are priced by the piece.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_cache_read_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    video_input_tokens: int = 0
    citation_tokens: int = 0
    requests: int = 0
    web_searches: int = 0
    images: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Everything the model read, cached or not: what long-context tiers are measured by."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
            + self.audio_input_tokens
            + self.audio_cache_read_tokens
            + self.image_input_tokens
            + self.video_input_tokens
        )

    @property
    def completion_tokens(self) -> int:
        """Everything the model wrote, reasoning included."""
        return (
            self.output_tokens
            + self.reasoning_tokens
            + self.audio_output_tokens
            + self.image_output_tokens
        )

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together. Citation tokens are billed beside both, in neither."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def is_empty(self) -> bool:
        """Nothing was metered at all, not even a request."""
        return not any(getattr(self, meter) for meter in METERS)

    def __add__(self, other: Self) -> "Usage":
        return Usage(**{meter: getattr(self, meter) + getattr(other, meter) for meter in METERS})


METERS: tuple[str, ...] = Usage.__struct_fields__
