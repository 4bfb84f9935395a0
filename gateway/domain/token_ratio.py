"""How many bytes of text a token has, and how large a prompt is by that. No tokenizer anywhere."""

from collections.abc import Callable
from math import ceil

import msgspec

USUAL_BYTES_PER_TOKEN = 4.0
"""Of English; of Chinese too, whose characters are three bytes and about one token."""


class TokenRatio(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """UTF-8 bytes that one billed token of a model stands for, on the average."""

    prompt: float = USUAL_BYTES_PER_TOKEN
    output: float = USUAL_BYTES_PER_TOKEN
    """Of what is seen of an answer: thinking that is billed and not shown makes it smaller."""


USUAL = TokenRatio()
RatioOf = Callable[[str], TokenRatio]
"""By canonical model; of one that nothing is known of, the usual ratio."""


def usual_ratio(_model: str) -> TokenRatio:
    """Where nothing is learned."""
    return USUAL


class PromptSize(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a prompt's size before anybody read it."""

    text_bytes: int
    other_tokens: int = 0
    """Of what is no text: the frames of messages, and images."""

    def tokens(self, ratio: TokenRatio) -> int:
        """The prompt's tokens, estimated."""
        return ceil(self.text_bytes / ratio.prompt) + self.other_tokens


def prompt_size(*, text_bytes: int, tokens_estimate: int) -> PromptSize:
    """Take apart an estimate that was made with the usual ratio."""
    other = tokens_estimate - (text_bytes + 3) // 4
    return PromptSize(text_bytes=text_bytes, other_tokens=max(0, other))


def tokens_in(text_bytes: int, bytes_per_token: float) -> int:
    """Whole tokens, rounded up."""
    return ceil(text_bytes / bytes_per_token)
