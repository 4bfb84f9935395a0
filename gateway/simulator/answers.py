"""What a simulated model says, before any wire format: text, token counts, the prompt cache.

Everything follows from a seed that the request gives, so the same request gets the same words.
A token is four bytes of UTF-8, here and in every count of the simulator.
"""

import random
from collections import OrderedDict
from hashlib import blake2b

TOKEN_BYTES = 4
IMAGE_TOKENS = 256
AUDIO_TOKENS = 128
FILE_TOKENS = 512

# OpenAI caches prefixes from 1,024 tokens on, in steps of 128.
CACHE_LEAST_TOKENS = 1024
CACHE_STEP_TOKENS = 128
CACHE_MAX_BLOCKS = 65_536

_WORDS = [
    "the",
    "a",
    "one",
    "this",
    "our",
    "every",
    "road",
    "toll",
    "bridge",
    "river",
    "harbour",
    "market",
    "caravan",
    "ledger",
    "lantern",
    "carries",
    "crosses",
    "keeps",
    "counts",
    "leads",
    "opens",
    "follows",
    "gathers",
    "returns",
    "measures",
    "early",
    "often",
    "slowly",
    "at",
    "by",
    "under",
    "beyond",
    "toward",
    "with",
    "and",
    "but",
    "so",
    "then",
    "while",
    "because",
    "north",
    "quiet",
    "bright",
    "narrow",
    "old",
    "copper",
    "stone",
    "morning",
    "winter",
    "café",
    "naïve",
    "Größe",
    "東京",
    "→",
    "passage",
    "traveller",
    "evening",
]


def seeded(seed: int | bytes) -> random.Random:
    """Chance that is the same for the same seed."""
    return random.Random(seed)  # noqa: S311 -- simulated words and delays guard nothing


def count_tokens(text: str) -> int:
    """Tokens of a text: a quarter of its bytes, rounded up."""
    return tokens_of_bytes(len(text.encode()))


def tokens_of_bytes(size: int) -> int:
    """Tokens of that many bytes, rounded up."""
    return -(-size // TOKEN_BYTES)


def word(chance: random.Random) -> str:
    """One ASCII word."""
    return chance.choice(_WORDS[:40])


def prose(chance: random.Random, tokens: int) -> str:
    """Text of exactly that many tokens."""
    if tokens <= 0:
        return ""
    words: list[str] = []
    size = 0
    while size < tokens * TOKEN_BYTES:
        sentence = chance.choices(_WORDS, k=chance.randint(5, 12))
        sentence[0] = sentence[0].capitalize()
        line = " ".join(sentence) + ". "
        words.append(line)
        size += len(line.encode())
    return cut("".join(words), tokens)


def cut(text: str, tokens: int) -> str:
    """The longest start of `text` that has at most that many tokens."""
    return text.encode()[: tokens * TOKEN_BYTES].decode(errors="ignore")


def pieces(text: str, chance: random.Random) -> list[str]:
    """The text in runs of one to three words, as a stream carries it; joined they give it back."""
    runs: list[str] = []
    words = text.split(" ")
    at = 0
    for size in chance.choices((1, 2, 3), k=len(words)):
        if at >= len(words):
            break
        run = " ".join(words[at : at + size])
        runs.append(run if at == 0 else f" {run}")
        at += size
    return [run for run in runs if run]


class PromptCache:
    """Which prompt prefixes a provider has seen lately, in blocks of 128 tokens; bounded."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def look_up(self, model: str, prompt: bytes) -> int:
        """Cached tokens of this prompt, 0 or at least 1,024; from now on the prompt is known."""
        step = CACHE_STEP_TOKENS * TOKEN_BYTES
        digest = blake2b(model.encode(), digest_size=8)
        known = 0
        is_prefix = True
        for end in range(step, len(prompt) + 1, step):
            digest.update(prompt[end - step : end])
            key = digest.digest()
            is_prefix = is_prefix and key in self._blocks
            known += is_prefix
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > CACHE_MAX_BLOCKS:
            self._blocks.popitem(last=False)
        tokens = known * CACHE_STEP_TOKENS
        return tokens if tokens >= CACHE_LEAST_TOKENS else 0

    def clear(self) -> None:
        """Forget every prefix."""
        self._blocks.clear()
