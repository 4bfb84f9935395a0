"""What was learned from answers: how long they are, by key and model, and who holds whose prompt.

How many bytes a token has stands in `token_ratios.py`, and outlives the process.

Advice for routing, kept in this process alone, bounded, and lost with it: the longest unused goes
first.
"""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

import msgspec

from gateway.domain.attempts import AttemptEnd
from gateway.domain.outcomes import CONSEQUENCES, Outcome
from gateway.domain.token_ratio import PromptSize
from gateway.execution.histogram import Histogram
from gateway.execution.token_ratios import TokenRatios
from gateway.routing.plan import Sticky
from pricing.usage import Usage

_NOTHING: Mapping[str, float] = MappingProxyType({})
_P95 = 0.95
_UNKNOWN_SHARE = 0.5


class ExperienceRules(msgspec.Struct, frozen=True, kw_only=True):
    """How much is remembered, and for how long."""

    keys: int = 2_000
    models_per_key: int = 32
    least_answers: int = 3
    """Fewer say nothing yet."""
    memory_answers: int = 50
    """A new answer changes the mean by at least one part in so many."""
    halve_after: int = 400
    """Lengths that were counted once there are so many count half from then on."""
    conversations: int = 10_000
    idle_s: float = 300.0
    """Prompt caches are kept for five minutes after their last use."""


class _Lengths:
    __slots__ = ("answers", "histogram", "mean")

    def __init__(self) -> None:
        self.answers = 0
        self.mean = 0.0
        self.histogram = Histogram()


class _KeyMemory:
    __slots__ = ("lengths", "means")

    def __init__(self) -> None:
        self.lengths: OrderedDict[str, _Lengths] = OrderedDict()
        self.means: dict[str, float] = {}


class _Pin:
    __slots__ = ("endpoint", "share", "used_at_ms")

    def __init__(self, endpoint: str, share: float, used_at_ms: float) -> None:
        self.endpoint = endpoint
        self.share = share
        self.used_at_ms = used_at_ms


class Experience:
    """Learned output lengths and affinities of one process."""

    def __init__(self, rules: ExperienceRules | None = None) -> None:
        self._rules = rules or ExperienceRules()
        self._keys: OrderedDict[UUID, _KeyMemory] = OrderedDict()
        self.ratios = TokenRatios()
        self._pins: OrderedDict[bytes, _Pin] = OrderedDict()
        self._shares: OrderedDict[str, float] = OrderedDict()
        """By endpoint: what part of a prompt it usually finds in its cache when asked again."""

    def learned(self, key_id: UUID) -> Mapping[str, float]:
        """Tokens that one choice of an answer has on the average, by canonical model.

        Models with too few answers are missing. The mapping goes on changing: read it at once.
        """
        memory = self._keys.get(key_id)
        return _NOTHING if memory is None else memory.means

    def output_p95(self, key_id: UUID, model: str) -> float | None:
        """The length that 95 % of the key's answers from a model do not exceed, in tokens."""
        memory = self._keys.get(key_id)
        lengths = memory.lengths.get(model) if memory is not None else None
        if lengths is None or lengths.answers < self._rules.least_answers:
            return None
        return lengths.histogram.quantile(_P95)

    def sticky(self, affinity: bytes | None, now_ms: float) -> Sticky | None:
        """Who answered this conversation last, while a prompt cache may still hold it."""
        pin = self._pins.get(affinity) if affinity is not None else None
        if pin is None or self._is_idle(pin, now_ms):
            return None
        return Sticky(endpoint=pin.endpoint, cached_share=pin.share)

    def report(
        self,
        end: AttemptEnd,
        *,
        key_id: UUID,
        affinity: bytes | None,
        choice_count: int,
        now_ms: float,
        prompt: PromptSize | None = None,
    ) -> None:
        """Learn from an attempt's end.

        Args:
            end: of the attempt.
            key_id: whose request it was.
            affinity: None where nothing tells a conversation.
            choice_count: how many answers were asked for.
            now_ms: on the monotonic clock.
            prompt: how large the prompt was; None where it held more than text.
        """
        self.ratios.learn(end, prompt)
        if end.outcome is Outcome.SUCCESS:
            usage = end.usage
            if usage is not None and usage.completion_tokens:
                self._learn_length(key_id, end.start.endpoint.model, usage, choice_count)
            if affinity is not None:
                self._pin(affinity, end.start.endpoint.id, usage, now_ms)
        elif affinity is not None:
            self._unpin(affinity, end)

    def _learn_length(self, key_id: UUID, model: str, usage: Usage, choice_count: int) -> None:
        rules = self._rules
        memory = self._keys.get(key_id)
        if memory is None:
            memory = self._keys[key_id] = _KeyMemory()
            if len(self._keys) > rules.keys:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key_id)
        lengths = memory.lengths.get(model)
        if lengths is None:
            lengths = memory.lengths[model] = _Lengths()
            if len(memory.lengths) > rules.models_per_key:
                forgotten, _ = memory.lengths.popitem(last=False)
                memory.means.pop(forgotten, None)
        else:
            memory.lengths.move_to_end(model)
        tokens = usage.completion_tokens / max(choice_count, 1)
        lengths.answers += 1
        lengths.mean += (tokens - lengths.mean) / min(lengths.answers, rules.memory_answers)
        lengths.histogram.add(tokens)
        if lengths.histogram.count >= rules.halve_after:
            lengths.histogram.halve()
        if lengths.answers >= rules.least_answers:
            memory.means[model] = lengths.mean

    def _pin(self, affinity: bytes, endpoint: str, usage: Usage | None, now_ms: float) -> None:
        pins = self._pins
        pin = pins.get(affinity)
        if pin is None or pin.endpoint != endpoint or self._is_idle(pin, now_ms):
            share = self._shares.get(endpoint, _UNKNOWN_SHARE)
            pins[affinity] = _Pin(endpoint, share, now_ms)
            pins.move_to_end(affinity)
            if len(pins) > self._rules.conversations:
                pins.popitem(last=False)
            return
        pins.move_to_end(affinity)
        pin.used_at_ms = now_ms
        if usage is None or not usage.prompt_tokens:
            return
        found = (usage.cache_read_tokens + usage.audio_cache_read_tokens) / usage.prompt_tokens
        pin.share = (pin.share + found) / 2
        usual = self._shares.pop(endpoint, found)
        self._shares[endpoint] = usual + (found - usual) / 8
        if len(self._shares) > self._rules.conversations:
            self._shares.popitem(last=False)

    def _unpin(self, affinity: bytes, end: AttemptEnd) -> None:
        """Whoever failed is not preferred any more; the next to answer is."""
        pin = self._pins.get(affinity)
        if pin is None or pin.endpoint != end.start.endpoint.id:
            return
        consequence = CONSEQUENCES[end.outcome]
        if consequence.is_failure or consequence.cools_down or consequence.blames_credential:
            del self._pins[affinity]

    def _is_idle(self, pin: _Pin, now_ms: float) -> bool:
        return now_ms - pin.used_at_ms > self._rules.idle_s * 1000
