"""The endpoints of a large pool that are worth a closer look, found without looking at each.

A request's filters are a handful of intersections of sets that `AutoIndex` keeps; only what passes
is priced, with floats. Whatever is shortlisted goes through the same filters as any endpoint, with
exact money. Small pools are not shortlisted: there every endpoint is told why it may not serve.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias, cast

from gateway.chat.preferences import SortKey
from gateway.routing.admission import (
    expected_output_tokens,
    output_lengths,
    rests_until_ms,
)
from gateway.routing.auto_index import AutoIndex, Failing, set_of_places
from gateway.routing.demotions import demotion_of_speed, has_limits
from gateway.routing.filters import (
    FILTERS,
    Check,
    PriceCheck,
    Question,
    answers_at_length,
    fits_context,
    is_fast_enough,
)
from gateway.routing.patterns import is_named_by
from gateway.routing.plan import EndpointHealth, ExclusionReason, PlanInputs
from gateway.routing.price_filters import PRICE_FILTERS
from pricing.cost import expected_cost_usd
from pricing.endpoint import Endpoint
from pricing.price import STANDARD_SERVICE_TIERS, resolve

LISTED = 40
"""Pools up to this size are looked at one by one."""
KEPT = 12
"""How many of a larger pool's endpoints a plan holds; a request makes three attempts."""

AutoCounts: TypeAlias = dict[ExclusionReason, int]
_Placed: TypeAlias = tuple[float, int]
"""The expected cost (infinite when unknown), and the endpoint's place in the index."""

_UNKNOWN = float("inf")
_STRIDE = 8
_FIRST_LOOK = _STRIDE * KEPT
_INDEXES = 4


def shortlist(question: Question, inputs: PlanInputs, counted: AutoCounts) -> tuple[Endpoint, ...]:
    """Those of ``question.offers`` that may serve and cost least; the others are counted."""
    index = _index_of(inputs, question.offers)
    alive = _filtered(index, question, counted)
    walk = _Walk(index, question, inputs, counted)
    chosen = walk.choose(alive)
    passed_over = alive.bit_count() - walk.refused - len(chosen)
    if passed_over:
        counted[ExclusionReason.PASSED_OVER] = passed_over
    return tuple([index.endpoints[place] for place in chosen])


def _index_of(inputs: PlanInputs, offers: tuple[Endpoint, ...]) -> AutoIndex:
    """Worked out once per catalogue, pool and span of unchanged prices."""
    kept = inputs.catalogue.worked_out
    indexes = cast("dict[int, AutoIndex]", kept.setdefault("auto indexes", {}))
    key = id(offers)
    found = indexes.get(key)
    if found is None or found.offers is not offers or not found.holds_at(inputs.at):
        if len(indexes) >= _INDEXES:
            indexes.clear()
        found = indexes[key] = AutoIndex(offers, inputs.at)
    return found


def _filtered(index: AutoIndex, question: Question, counted: AutoCounts) -> int:
    """Who passes every filter but those of price, in the order of the reasons."""
    alive = index.all
    for ask in FILTERS:
        special = _SPECIAL.get(ask)
        if special is not None:
            failing = special(index, question)
        else:
            check = ask(question)
            if check is None:
                continue
            failing = index.failing(ask, check, question)
        for reason, members in failing:
            hit = alive & members
            if hit:
                counted[reason] = counted.get(reason, 0) + hit.bit_count()
                alive ^= hit
    return alive


def _context(index: AutoIndex, question: Question) -> Failing:
    prompt_tokens = question.request.prompt_tokens_estimate
    needed = prompt_tokens + (question.request.max_output_tokens or 0)
    short = (
        index.windows.unknown
        | index.windows.below(needed)
        | index.longest_inputs.below(prompt_tokens)
    )
    return ((ExclusionReason.CONTEXT, short),)


def _answers(index: AutoIndex, question: Question) -> Failing:
    asked = question.request.max_output_tokens
    if asked is None:
        return ()
    return ((ExclusionReason.MAX_OUTPUT, index.longest_answers.below(asked)),)


def _speed(index: AutoIndex, question: Question) -> Failing:
    check = is_fast_enough(question)
    if check is None:
        return ()
    places: dict[ExclusionReason, list[int]] = {}
    for endpoint in question.health:
        place = index.place_of.get(endpoint)
        verdict = None if place is None else check(index.endpoints[place])
        if place is not None and verdict is not None:
            places.setdefault(verdict[0], []).append(place)
    return tuple((reason, set_of_places(found)) for reason, found in places.items())


_SPECIAL: dict[Callable[[Question], Check | None], Callable[[AutoIndex, Question], Failing]] = {
    fits_context: _context,
    answers_at_length: _answers,
    is_fast_enough: _speed,
}
"""Filters that depend on more than a few values; all others are in `auto_index.KEYS`."""


class _Walk:
    """Looks at what passed from the cheapest on, until enough of it is fit to serve."""

    def __init__(
        self, index: AutoIndex, question: Question, inputs: PlanInputs, counted: AutoCounts
    ) -> None:
        self.refused = 0
        """Counted while walking: no price that fits, or no credential."""
        self._index = index
        self._question = question
        self._inputs = inputs
        self._counted = counted
        self._lengths = output_lengths(question.request, inputs)
        self._output_tokens = expected_output_tokens(question.request, inputs)
        self._price_checks: list[PriceCheck] = [
            check for ask in PRICE_FILTERS if (check := ask(question)) is not None
        ]
        self._has_limits = has_limits(question.preferences)
        self._behind: list[int] = []
        self._seen: set[int] = set()

    def choose(self, alive: int) -> list[int]:
        """Places of those that a plan is made of, the unfit ones only where others are too few."""
        chosen: list[int] = []
        placed = self._placed(alive)
        named = self._named(alive)
        if named:
            self._take(sorted([p for p in placed if p[1] in named]), chosen)
        sort = self._question.preferences.sort
        if sort in _MEASURED:
            self._take(self._by_measure(placed, sort), chosen, most=KEPT)
        # What was never measured comes after what was, the cheapest first.
        if len(chosen) < KEPT:
            self._take_cheapest(placed, chosen)
        sticky = self._inputs.sticky
        place = None if sticky is None else self._index.place_of.get(sticky.endpoint)
        if place is not None and alive >> place & 1 and place not in self._seen:
            self._take([(0.0, place)], chosen, most=KEPT + 1)
        if len(chosen) < KEPT:
            chosen += self._behind
        return chosen

    def _take_cheapest(self, placed: list[_Placed], chosen: list[int]) -> None:
        if len(placed) > _FIRST_LOOK:
            # A sample tells about where the cheapest end, sooner than sorting all would.
            cut = sorted([cost for cost, _ in placed[::_STRIDE]])[KEPT // 2]
            self._take(sorted([one for one in placed if one[0] <= cut]), chosen, most=KEPT)
        if len(chosen) < KEPT:
            self._take(sorted(placed), chosen, most=KEPT)

    def _take(
        self, placed: Iterable[_Placed], chosen: list[int], *, most: int | None = None
    ) -> None:
        """From the first on, those that nothing puts behind."""
        health, now_ms = self._inputs.health, self._inputs.now_ms
        wishes, endpoints = self._question.preferences, self._index.endpoints
        has_limits = self._has_limits
        for _, place in placed:
            if most is not None and len(chosen) >= most:
                return
            if place in self._seen:
                continue
            self._seen.add(place)
            endpoint = endpoints[place]
            reason = self._refuses(endpoint) if self._price_checks else None
            seen = health.get(endpoint.id)
            if seen is None:
                seen = _UNHEARD_OF
            elif reason is None and seen.is_credential_refused:
                reason = ExclusionReason.CREDENTIAL
            if reason is not None:
                self.refused += 1
                self._counted[reason] = self._counted.get(reason, 0) + 1
            elif (
                seen.has_recent_outage
                or seen.is_half_open
                or (has_limits and demotion_of_speed(wishes, seen))
                or rests_until_ms(seen, now_ms) is not None
            ):
                self._behind.append(place)
            else:
                chosen.append(place)

    def _refuses(self, endpoint: Endpoint) -> ExclusionReason | None:
        request = self._question.request
        price = resolve(
            endpoint,
            at=self._inputs.at,
            prompt_tokens=request.prompt_tokens_estimate,
            service_tier=request.service_tier,
        )
        cost_usd = expected_cost_usd(
            price,
            prompt_tokens=request.prompt_tokens_estimate,
            output_tokens=self._lengths.get(endpoint.model, self._output_tokens),
            web_searches=self._searches,
        )
        for check in self._price_checks:
            verdict = check(endpoint, price, cost_usd)
            if verdict is not None:
                return verdict[0]
        return None

    @property
    def _searches(self) -> int:
        return 1 if "web_search" in self._question.request.needs else 0

    def _named(self, alive: int) -> frozenset[int]:
        """Places of those in the caller's ``order``."""
        slugs = self._question.preferences.order
        if not slugs:
            return frozenset()
        return frozenset(
            rate.place
            for rate in self._index.members(alive)
            if any(is_named_by(self._index.endpoints[rate.place], slug) for slug in slugs)
        )

    def _by_measure(self, placed: list[_Placed], sort: SortKey | None) -> list[_Placed]:
        """Those that were measured, the best first, then by cost."""
        place_of = self._index.place_of
        measures: dict[int, float] = {}
        for endpoint, seen in self._inputs.health.items():
            place = place_of.get(endpoint)
            measured = seen.latency_ms if sort == "latency" else seen.throughput_tokens_per_s
            if place is not None and measured is not None:
                measures[place] = measured.p50 if sort == "latency" else -measured.p50
        found = [(measures[place], cost, place) for cost, place in placed if place in measures]
        found.sort()
        return [(cost, place) for _, cost, place in found]

    def _placed(self, alive: int) -> list[_Placed]:
        """Expected costs as floats, of list prices where they hold, else of resolved ones."""
        index, request = self._index, self._question.request
        tokens, answer, lengths = request.prompt_tokens_estimate, self._output_tokens, self._lengths
        is_special = self._searches or request.service_tier not in _USUAL_TIERS
        usual = 0 if is_special else alive & index.priced & ~index.thresholds.up_to(tokens)
        members = index.members(usual)
        if lengths:
            length_of = lengths.get
            placed = [
                (a * tokens + b * length_of(model, answer) + fee, place)
                for a, b, fee, model, place in members
            ]
        else:
            placed = [(a * tokens + b * answer + fee, place) for a, b, fee, _, place in members]
        others = alive & ~usual
        if others:
            placed += [(self._cost(rate.place), rate.place) for rate in index.members(others)]
        return placed

    def _cost(self, place: int) -> float:
        endpoint, request = self._index.endpoints[place], self._question.request
        cost_usd = expected_cost_usd(
            resolve(
                endpoint,
                at=self._inputs.at,
                prompt_tokens=request.prompt_tokens_estimate,
                service_tier=request.service_tier,
            ),
            prompt_tokens=request.prompt_tokens_estimate,
            output_tokens=self._lengths.get(endpoint.model, self._output_tokens),
            web_searches=self._searches,
        )
        return _UNKNOWN if cost_usd is None else float(cost_usd)


_UNHEARD_OF = EndpointHealth()
_MEASURED = frozenset({"latency", "throughput"})
_USUAL_TIERS = STANDARD_SERVICE_TIERS | {None}
