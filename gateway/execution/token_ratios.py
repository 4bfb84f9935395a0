"""Learns how many bytes of text a token has, model by model, from what providers count.

What was learned outlives the process in a small file; that of a worker which has none begins with
the first one's.
"""

import asyncio
import logging
from collections import OrderedDict
from pathlib import Path

import msgspec

from gateway.domain.attempts import AttemptEnd
from gateway.domain.outcomes import Outcome
from gateway.domain.token_ratio import USUAL, USUAL_BYTES_PER_TOKEN, PromptSize, TokenRatio
from gateway.snapshot.copies import write_copy

_log = logging.getLogger("tollway.token_ratios")

LEAST_BYTES, MOST_BYTES = 1.0, 12.0
"""A token that stands for fewer or more bytes than these is none that text is made of."""
MOST_MODELS = 512
_PRIOR_TOKENS = 500
"""So many tokens at the usual ratio are believed to have been seen of every model."""
_HALVE_AT = 400_000
"""Tokens that were counted once there are so many count half from then on."""
_LEAST_TEXT_BYTES = 16
_WELL_KNOWN, _ONE_IN = 64, 16
_WRITE_EVERY_S = 60.0


class Sums(msgspec.Struct, gc=False):
    """Of one model: what was seen, and in how many answers."""

    answers: int = 0
    passed_over: int = 0
    """Ends of attempts that are not looked at before the next one is."""
    prompt_bytes: int = 0
    prompt_tokens: int = 0
    output_bytes: int = 0
    output_tokens: int = 0

    def add_prompt(self, text_bytes: int, tokens: int) -> None:
        """Count what a model read, if it can be text alone."""
        if _is_believable(text_bytes, tokens):
            self.prompt_bytes += text_bytes
            self.prompt_tokens += tokens
            if self.prompt_tokens >= _HALVE_AT:
                self.prompt_bytes //= 2
                self.prompt_tokens //= 2

    def add_output(self, text_bytes: int, tokens: int) -> None:
        """Count what a model wrote."""
        if _is_believable(text_bytes, tokens):
            self.output_bytes += text_bytes
            self.output_tokens += tokens
            if self.output_tokens >= _HALVE_AT:
                self.output_bytes //= 2
                self.output_tokens //= 2

    def ratio(self) -> TokenRatio:
        """What they come to."""
        return TokenRatio(
            prompt=_bytes_per_token(self.prompt_bytes, self.prompt_tokens),
            output=_bytes_per_token(self.output_bytes, self.output_tokens),
        )


class TokenRatios:
    """Bytes a token by model; bounded, the longest unused goes first."""

    def __init__(self) -> None:
        self._sums: OrderedDict[str, Sums] = OrderedDict()
        self._ratios: dict[str, TokenRatio] = {}
        self.learned = 0
        """Answers that were learned from."""

    def of(self, model: str) -> TokenRatio:
        """The ratio of a canonical model, the usual one where nothing is known."""
        return self._ratios.get(model, USUAL)

    def learn(self, end: AttemptEnd, prompt: PromptSize | None) -> None:
        """Learn from an answered attempt; ``prompt`` is None where it holds more than text.

        Of a model that is well known one attempt in sixteen is looked at.
        """
        model = end.start.endpoint.model
        sums = self._sums.get(model)
        if sums is not None and sums.passed_over:
            # On the way of every request: nothing else is looked at.
            sums.passed_over -= 1
            return
        usage = end.usage
        if usage is None or end.outcome is not Outcome.SUCCESS or end.is_usage_doubtful:
            return
        if sums is None:
            sums = self._remember(model)
        sums.answers += 1
        if sums.answers >= _WELL_KNOWN:
            sums.passed_over = _ONE_IN - 1
        self._sums.move_to_end(model)
        if prompt is not None and not usage.web_searches:
            sums.add_prompt(prompt.text_bytes, usage.prompt_tokens - prompt.other_tokens)
        # Pictures and sound leave no text.
        if not (usage.audio_output_tokens or usage.image_output_tokens):
            sums.add_output(end.text_bytes, usage.output_tokens + usage.reasoning_tokens)
        self._ratios[model] = sums.ratio()
        self.learned += 1

    def _remember(self, model: str) -> "Sums":
        sums = self._sums[model] = Sums()
        if len(self._sums) > MOST_MODELS:
            forgotten, _ = self._sums.popitem(last=False)
            self._ratios.pop(forgotten, None)
        return sums

    def known(self) -> dict[str, Sums]:
        """What was learned, for a copy on disk."""
        return {model: msgspec.structs.replace(sums) for model, sums in self._sums.items()}

    def restore(self, known: dict[str, Sums]) -> None:
        """Go on from what a copy says."""
        for model, sums in list(known.items())[-MOST_MODELS:]:
            self._sums[model] = sums
            self._ratios[model] = sums.ratio()


def _is_believable(text_bytes: int, tokens: int) -> bool:
    """Counts of a prompt that a provider adds much of its own to say nothing of the text."""
    return text_bytes >= _LEAST_TEXT_BYTES and tokens * MOST_BYTES >= text_bytes >= tokens / 2 > 0


def _bytes_per_token(text_bytes: int, tokens: int) -> float:
    seen = text_bytes + _PRIOR_TOKENS * USUAL_BYTES_PER_TOKEN
    return min(max(seen / (tokens + _PRIOR_TOKENS), LEAST_BYTES), MOST_BYTES)


class RatioCopy:
    """Keeps what a worker learned in a file of its own. ``run`` is its task."""

    def __init__(self, ratios: TokenRatios, directory: Path, *, worker: int) -> None:
        """Read what was learned before, if it can be read."""
        self._ratios = ratios
        self._path = directory / f"token-ratios-{worker}.msgpack"
        for path in (self._path, directory / "token-ratios-0.msgpack"):
            known = _read(path)
            if known is not None:
                ratios.restore(known)
                break
        self._written: int = ratios.learned

    async def run(self) -> None:
        """Write what changed once a minute, until cancelled."""
        while True:
            await asyncio.sleep(_WRITE_EVERY_S)
            if self._ratios.learned != self._written:
                self._written = self._ratios.learned
                await asyncio.to_thread(self._write, self._ratios.known())

    def write(self) -> None:
        """Write what was learned since the last time; the worker ends."""
        if self._ratios.learned != self._written:
            self._written = self._ratios.learned
            self._write(self._ratios.known())

    def _write(self, known: dict[str, Sums]) -> None:
        write_copy(self._path, known, of="token ratios")


def _read(path: Path) -> dict[str, Sums] | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=dict[str, Sums])
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as exc:
        _log.warning("%s cannot be used, bytes a token are learned anew: %s", path, exc)
        return None
