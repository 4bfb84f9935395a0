"""What can be known of a large pool before any request comes: sets of endpoints, and their rates.

A set is an integer whose bits are places in the pool, so that a filter is one intersection.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import compress
from typing import NamedTuple, TypeAlias

from gateway.chat.request import ChatRequest
from gateway.routing.capabilities import needed_capabilities
from gateway.routing.filters import (
    Check,
    Question,
    allows_distillation,
    does_without_reasoning,
    has_quantization,
    is_among_auto_models,
    is_among_only,
    is_not_ignored,
    is_offered,
    keeps_data_private,
    key_allows_model,
    key_allows_provider,
    meets_needs,
    offers_tier,
    retains_nothing,
    supports_parameters,
)
from gateway.routing.offers import span_of
from gateway.routing.plan import ExclusionReason
from pricing.endpoint import Endpoint

Failing: TypeAlias = tuple[tuple[ExclusionReason, int], ...]
"""Who fails a filter, by reason; no endpoint twice."""

_MOST_SETS = 256
_ONE = ord("1")
_PER_TOKEN = 1e-6
_BITS = bytes(byte - 48 if byte in b"01" else 0 for byte in range(256))
"""Turns the digits of a binary number into selectors."""


class Rate(NamedTuple):
    """What an endpoint's list price is made of, as floats; ``place`` is its bit."""

    input_usd: float
    output_usd: float
    request_usd: float
    model: str
    place: int


class Steps:
    """Endpoints by a number: which of them have less than is needed."""

    def __init__(self, numbers: Sequence[int | None]) -> None:
        places: dict[int, list[int]] = {}
        unknown: list[int] = []
        for place, number in enumerate(numbers):
            (unknown if number is None else places.setdefault(number, [])).append(place)
        self.unknown = set_of_places(unknown)
        self._numbers = sorted(places)
        self._below = [0]
        for number in self._numbers:
            self._below.append(self._below[-1] | set_of_places(places[number]))

    def below(self, needed: int) -> int:
        """Those known to have less."""
        return self._below[bisect_left(self._numbers, needed)]

    def up_to(self, reached: int) -> int:
        """Those known to have as much or less."""
        return self._below[bisect_right(self._numbers, reached)]


class AutoIndex:
    """One pool at the prices of one time; ask `holds_at` before using it again."""

    def __init__(self, endpoints: Sequence[Endpoint], at: datetime) -> None:
        """Index a pool; takes some milliseconds for thousands of endpoints."""
        self.offers = endpoints
        by_id = sorted(endpoints, key=lambda endpoint: endpoint.id)
        self.endpoints = tuple(by_id)
        self.all = (1 << len(by_id)) - 1
        self._from, self._until = span_of(by_id, at)
        self.windows = Steps([endpoint.context_tokens for endpoint in by_id])
        self.longest_inputs = Steps([endpoint.max_input_tokens for endpoint in by_id])
        self.longest_answers = Steps([endpoint.max_output_tokens for endpoint in by_id])
        self.place_of = {endpoint.id: place for place, endpoint in enumerate(by_id)}
        self._sets: dict[tuple[object, object], Failing] = {}
        rates: list[Rate] = []
        thresholds: list[int | None] = []
        priced: list[int] = []
        for place, endpoint in enumerate(by_id):
            version = next((v for v in reversed(endpoint.prices) if v.holds_at(at)), None)
            thresholds.append(None if version is None else version.base_below_tokens)
            base = None if version is None else version.base
            rates.append(
                Rate(
                    float((base and base.input_usd_per_mtok) or 0) * _PER_TOKEN,
                    float((base and base.output_usd_per_mtok) or 0) * _PER_TOKEN,
                    float((base and base.request_usd) or 0),
                    endpoint.model,
                    place,
                )
            )
            if (
                base is not None
                and base.input_usd_per_mtok is not None
                and base.output_usd_per_mtok is not None
            ):
                priced.append(place)
        self.rates = tuple(rates)
        self.priced = set_of_places(priced)
        self.thresholds = Steps(thresholds)
        """Prompts at which the base price ends; 0 where it depends on the time of day."""

    def holds_at(self, at: datetime) -> bool:
        """Whether no price began or ended, and no endpoint was retired or switched, since."""
        return self._from <= at and (self._until is None or at < self._until)

    def failing(
        self, ask: Callable[[Question], Check | None], check: Check, question: Question
    ) -> Failing:
        """Who fails a filter whose check depends on `KEYS` alone."""
        key = (ask, KEYS[ask](question))
        found = self._sets.get(key)
        if found is None:
            if len(self._sets) >= _MOST_SETS:
                self._sets.clear()
            found = self._sets[key] = self.failing_now(check)
        return found

    def failing_now(self, check: Check) -> Failing:
        """Who fails any check, asked of everyone."""
        failing: dict[ExclusionReason, list[int]] = {}
        for place, endpoint in enumerate(self.endpoints):
            verdict = check(endpoint)
            if verdict is not None:
                failing.setdefault(verdict[0], []).append(place)
        return tuple((reason, set_of_places(places)) for reason, places in failing.items())

    def members(self, endpoints: int) -> Iterable[Rate]:
        """The rates of a set, in the order of endpoint ids."""
        digits = format(endpoints, "b").encode()[::-1]
        return compress(self.rates, digits.translate(_BITS))


def _needed(request: ChatRequest) -> tuple[str, ...]:
    return needed_capabilities(request.parameters)


KEYS: dict[Callable[[Question], Check | None], Callable[[Question], object]] = {
    is_offered: lambda _question: None,
    key_allows_model: lambda question: question.caller.allowed_models,
    key_allows_provider: lambda question: question.caller.allowed_providers,
    is_among_only: lambda question: question.preferences.only,
    is_not_ignored: lambda question: question.preferences.ignore,
    is_among_auto_models: lambda question: (
        question.auto and (question.auto.allowed_models, question.auto.excluded_models)
    ),
    has_quantization: lambda question: question.preferences.quantizations,
    keeps_data_private: lambda _question: None,
    retains_nothing: lambda _question: None,
    allows_distillation: lambda _question: None,
    meets_needs: lambda question: (question.needs, question.preferences.require_parameters),
    does_without_reasoning: lambda _question: None,
    supports_parameters: lambda question: _needed(question.request),
    offers_tier: lambda question: question.service_tier,
}
"""What the check of each filter depends on, beside the catalogue: the same key, the same check."""


def set_of_places(places: Sequence[int]) -> int:
    """The set of these bits."""
    if not places:
        return 0
    digits = bytearray(b"0" * (max(places) + 1))
    for place in places:
        digits[place] = _ONE
    digits.reverse()
    return int(digits, 2)
