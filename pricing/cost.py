"""Usage times price, line by line: the only file that adds up money."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from typing import Literal, TypeAlias

import msgspec

from pricing.price import Price
from pricing.usage import METERS, Usage

CostStatus: TypeAlias = Literal["exact", "upper_bound", "estimated", "unpriced"]
CostSource: TypeAlias = Literal["computed", "provider_reported"]

Drift: TypeAlias = Literal["within", "above", "below", "unknown"]

DRIFT_SHARE = Decimal("0.01")
"""Of our own figure: a provider's that is off by more is a drift."""
TOKENS_PER_MTOK = Decimal(1_000_000)

# Our own context, since the caller's may be narrower or trap; 60 digits hold any product exactly.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
MAX_DECIMALS = 12
_SMALLEST_USD = Decimal(1).scaleb(-MAX_DECIMALS)
# What NUMERIC(24, 12) holds.
_MOST_USD = Decimal(10**12)
_ZERO = Decimal(0)
_MTOK_EXPONENT = Decimal(-6)
# How many lengths of answers a table of costs keeps.
_MOST_LENGTHS = 16
_NANO_EXPONENT = Decimal(9)


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Exact USD, line by line.

    `lines` is keyed by the meter of `Usage`, used meters only, and adds up exactly to the computed
    total (when a provider reported another total, `computed_usd` is what the lines add up to).
    `total_usd` None with status `unpriced` means that a used meter has no known price: the cost is
    unknown, not 0. `upper_bound`: the true cost may be lower. `estimated`: it may differ
    either way.
    """

    total_usd: Decimal | None
    lines: dict[str, Decimal] = {}
    status: CostStatus = "exact"
    source: CostSource = "computed"
    computed_usd: Decimal | None = None
    price_version: str | None = None


UNPRICED = Cost(total_usd=None, status="unpriced")

# What stands in for a rate that the table does not name, dearest guess first, and what that makes
# of the cost. `exact`: providers bill it at that rate unless they publish another (reasoning is
# output, an image is input tokens). `upper_bound`: the specific rate is a discount where it exists.
# `estimated`: the specific rate is a surcharge where it exists, so the true cost may be higher.
_PARENTS: dict[str, tuple[tuple[str, ...], CostStatus]] = {
    "cache_read": (("input",), "upper_bound"),
    "cache_write": (("input",), "estimated"),
    "cache_write_1h": (("cache_write", "input"), "estimated"),
    "reasoning": (("output",), "exact"),
    "audio_input": (("input",), "estimated"),
    # The dearer parent first: text cache reads cost less than cached audio.
    "audio_cache_read": (("audio_input", "cache_read", "input"), "upper_bound"),
    "audio_output": (("output",), "estimated"),
    "image_input": (("input",), "exact"),
    "image_output": (("output",), "estimated"),
    "video_input": (("input",), "exact"),
    "citation": (("input",), "upper_bound"),
}
_UNIT_RATES = {"web_searches": "web_search_usd", "images": "image_usd", "requests": "request_usd"}


class _Meter(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    rate: str
    parents: tuple[str, ...] = ()
    status_by_parent: CostStatus = "exact"
    is_tokens: bool = True


def _meter(name: str) -> _Meter:
    if name in _UNIT_RATES:
        return _Meter(name=name, rate=_UNIT_RATES[name], is_tokens=False)
    stem = name.removesuffix("_tokens")
    parents, status = _PARENTS.get(stem, ((), "exact"))
    return _Meter(
        name=name,
        rate=f"{stem}_usd_per_mtok",
        parents=tuple(f"{parent}_usd_per_mtok" for parent in parents),
        status_by_parent=status,
    )


_METERS = tuple(_meter(name) for name in METERS)
_WORSE = {"exact": 0, "upper_bound": 1, "estimated": 2, "unpriced": 3}


def compute_cost(
    usage: Usage,
    price: Price | None,
    *,
    is_estimated: bool = False,
    reported_usd: Decimal | None = None,
) -> Cost:
    """What `usage` costs at `price`.

    A missing rate is taken from its parent (`reasoning` from `output`, `cache_read` from `input`);
    a used meter without any rate makes the cost unknown. A missing fee per request means there is
    none; used searches and images without a price make the cost unknown.
    `is_estimated` says the usage was not reported by the provider. `reported_usd`, the provider's
    own figure for this attempt, beats ours; both are kept. One that cannot be a cost (negative, not
    a number, beyond what an account can owe) is passed over.
    """
    computed = _compute(usage, price, is_estimated=is_estimated) if price is not None else UNPRICED
    if reported_usd is None or not _is_plausible(reported_usd):
        return computed
    return Cost(
        total_usd=_EXACT.quantize(reported_usd, _SMALLEST_USD),
        lines=computed.lines,
        status="exact",
        source="provider_reported",
        computed_usd=computed.total_usd,
        price_version=computed.price_version,
    )


def _is_plausible(reported_usd: Decimal) -> bool:
    # Compared only when finite: a comparison with a signalling NaN raises.
    return reported_usd.is_finite() and 0 <= reported_usd < _MOST_USD


def _compute(usage: Usage, price: Price, *, is_estimated: bool) -> Cost:
    multiply, add, scaleb = _EXACT.multiply, _EXACT.add, _EXACT.scaleb
    status: CostStatus = "exact"
    if is_estimated or price.is_estimated:
        status = "estimated"
    elif price.is_upper_bound:
        status = "upper_bound"
    lines: dict[str, Decimal] = {}
    total = _ZERO
    for meter in _METERS:
        quantity: int = getattr(usage, meter.name)
        if not quantity:
            continue
        rate: Decimal | None = getattr(price, meter.rate)
        if rate is None:
            if meter.name == "requests":
                continue
            rate = _parent_rate(price, meter)
            if rate is None:
                return Cost(total_usd=None, status="unpriced", price_version=price.version)
            if rate and _WORSE[meter.status_by_parent] > _WORSE[status]:
                status = meter.status_by_parent
        line = multiply(rate, quantity)
        if meter.is_tokens:
            line = scaleb(line, _MTOK_EXPONENT)
        lines[meter.name] = line
        total = add(total, line)
    rounded = _EXACT.quantize(total, _SMALLEST_USD)
    # A sum has as many decimals as the longest of its parts.
    if _decimals(total) > MAX_DECIMALS:
        lines = _rounded_lines(lines, rounded)
    return Cost(total_usd=rounded, lines=lines, status=status, price_version=price.version)


def _parent_rate(price: Price, meter: _Meter) -> Decimal | None:
    for parent in meter.parents:
        rate: Decimal | None = getattr(price, parent)
        if rate is not None:
            return rate
    return None


def _decimals(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _rounded_lines(lines: dict[str, Decimal], total: Decimal) -> dict[str, Decimal]:
    """Lines of 12 decimals that add up to the total; the largest one takes the residue."""
    rounded = {meter: _EXACT.quantize(line, _SMALLEST_USD) for meter, line in lines.items()}
    largest = max(rounded, key=rounded.__getitem__)
    residue = total
    for line in rounded.values():
        residue = _EXACT.subtract(residue, line)
    rounded[largest] = _EXACT.add(rounded[largest], residue)
    return rounded


def add_costs(costs: Iterable[Cost]) -> Cost:
    """The sum of the costs of several attempts.

    The total is None when any is None, the status is the worst of all, the source is
    `provider_reported` only when all were, and the price version stands only when all agree.
    """
    total: Decimal | None = _ZERO
    computed: Decimal | None = _ZERO
    lines: dict[str, Decimal] = {}
    status: CostStatus = "exact"
    sources: set[CostSource] = set()
    versions: set[str | None] = set()
    for cost in costs:
        total = _sum_or_none(total, cost.total_usd)
        ours = cost.total_usd if cost.source == "computed" else cost.computed_usd
        computed = _sum_or_none(computed, ours)
        for meter, line in cost.lines.items():
            lines[meter] = _EXACT.add(lines.get(meter, _ZERO), line)
        if _WORSE[cost.status] > _WORSE[status]:
            status = cost.status
        sources.add(cost.source)
        versions.add(cost.price_version)
    is_reported = "provider_reported" in sources
    return Cost(
        total_usd=total,
        lines=lines,
        status=status,
        source="provider_reported" if sources == {"provider_reported"} else "computed",
        computed_usd=computed if is_reported else None,
        price_version=versions.pop() if len(versions) == 1 else None,
    )


def group_lines(cost: Cost, group_of: Mapping[str, str], otherwise: str) -> dict[str, Decimal]:
    """The lines added up by group: every group of `group_of` is there, unknown meters go otherwise.

    Empty when the groups would not add up to the total, as when a provider reports another total
    than the lines make.
    """
    groups = dict.fromkeys(group_of.values(), _ZERO)
    total = _ZERO
    for meter, line in cost.lines.items():
        group = group_of.get(meter, otherwise)
        groups[group] = _EXACT.add(groups[group], line)
        total = _EXACT.add(total, line)
    return groups if total == cost.total_usd else {}


def sum_known(*amounts: Decimal | None) -> Decimal | None:
    """The exact sum; None when any is None."""
    total: Decimal | None = _ZERO
    for amount in amounts:
        total = _sum_or_none(total, amount)
    return total


def _sum_or_none(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    if left is None or right is None:
        return None
    return _EXACT.add(left, right) if left else right


def expected_cost_usd(
    price: Price | None,
    *,
    prompt_tokens: int,
    output_tokens: int,
    cached_tokens: int = 0,
    images: int = 0,
    web_searches: int = 0,
) -> Decimal | None:
    """What a request will probably cost, for routing; None when a needed rate is unknown.

    `prompt_tokens` is the inclusive prompt, of which `cached_tokens` are expected cache reads;
    `output_tokens` includes reasoning. The fee per request is added where there is one. Exact and
    not rounded.
    """
    if price is None:
        return None
    input_rate, output_rate = price.input_usd_per_token, price.output_usd_per_token
    if (input_rate is None and prompt_tokens) or (output_rate is None and output_tokens):
        return None
    total = _ZERO
    if input_rate is not None:
        total = _EXACT.multiply(input_rate, prompt_tokens)
        if cached_tokens and price.cache_read_usd_per_mtok is not None:
            cached_rate = _EXACT.scaleb(price.cache_read_usd_per_mtok, _MTOK_EXPONENT)
            dearer = _EXACT.subtract(cached_rate, input_rate)
            total = _EXACT.fma(dearer, min(cached_tokens, prompt_tokens), total)
    if output_rate is not None:
        total = _EXACT.fma(output_rate, output_tokens, total)
    if price.request_usd is not None:
        total = _EXACT.add(total, price.request_usd)
    if images:
        if price.image_usd is None:
            return None
        total = _EXACT.fma(price.image_usd, images, total)
    if web_searches:
        if price.web_search_usd is None:
            return None
        total = _EXACT.fma(price.web_search_usd, web_searches, total)
    return total


def cost_estimator(
    *, prompt_tokens: int, output_tokens: int, web_searches: int = 0
) -> Callable[[Price | None], Decimal | None]:
    """`expected_cost_usd` of one request at many prices; what they share is worked out once."""

    def estimate_any(price: Price | None) -> Decimal | None:
        return expected_cost_usd(
            price,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            web_searches=web_searches,
        )

    if web_searches:
        return estimate_any
    multiply, fma = _EXACT.multiply, _EXACT.fma
    prompt, output = Decimal(prompt_tokens), Decimal(output_tokens)

    def estimate(price: Price | None) -> Decimal | None:
        if price is None:
            return None
        rates = price.token_rates
        if rates is None:
            return estimate_any(price)
        return fma(rates[1], output, multiply(rates[0], prompt))

    return estimate


class CostTable:
    """`expected_cost_usd` of many requests at the same prices.

    What depends on the answer's length alone is kept, so that a price takes one multiplication.
    """

    __slots__ = ("_answers", "_input_rates", "_prices")

    def __init__(self, prices: Sequence[Price | None]) -> None:
        self._prices = tuple(prices)
        self._input_rates: list[Decimal] = []
        for price in prices:
            rates = None if price is None else price.token_rates
            self._input_rates.append(_ZERO if rates is None else rates[0])
        self._answers: dict[int, list[Decimal | None]] = {}

    def expected_usd(self, *, prompt_tokens: int, output_tokens: int) -> list[Decimal | None]:
        """In the order of the prices; None where a price is unknown."""
        answers = self._answers.get(output_tokens)
        if answers is None:
            if len(self._answers) >= _MOST_LENGTHS:
                self._answers.clear()
            answers = self._answers[output_tokens] = self._costs_of_answers(output_tokens)
        fma, prompt = _EXACT.fma, Decimal(prompt_tokens)
        return [
            fma(rate, prompt, answer)
            if answer is not None
            else expected_cost_usd(price, prompt_tokens=prompt_tokens, output_tokens=output_tokens)
            for rate, answer, price in zip(self._input_rates, answers, self._prices, strict=True)
        ]

    def _costs_of_answers(self, output_tokens: int) -> list[Decimal | None]:
        """None where a request costs more than its tokens, or an unknown amount."""
        found: list[Decimal | None] = []
        for price in self._prices:
            rates = None if price is None else price.token_rates
            found.append(None if rates is None else _EXACT.multiply(rates[1], output_tokens))
        return found


def worst_cost_usd(
    price: Price | None, *, prompt_tokens: int, output_tokens: int, web_searches: int = 0
) -> Decimal | None:
    """The most that so many tokens can cost; None when a needed rate is unknown or may be higher.

    Every prompt token may be written to the cache, and every output token may be reasoning:
    whichever is dearer counts.
    """
    if price is None or price.is_estimated:
        return None
    inputs = [price.input_usd_per_mtok, price.cache_write_usd_per_mtok]
    outputs = [price.output_usd_per_mtok, price.reasoning_usd_per_mtok]
    if inputs[0] is None or outputs[0] is None or (web_searches and price.web_search_usd is None):
        return None
    dearest_in = max([rate for rate in inputs if rate is not None])
    dearest_out = max([rate for rate in outputs if rate is not None])
    tokens_usd = _EXACT.fma(dearest_out, output_tokens, _EXACT.multiply(dearest_in, prompt_tokens))
    total = _EXACT.scaleb(tokens_usd, _MTOK_EXPONENT)
    if price.request_usd is not None:
        total = _EXACT.add(total, price.request_usd)
    if price.web_search_usd is not None and web_searches:
        total = _EXACT.fma(price.web_search_usd, web_searches, total)
    return total


_PICOS_PER_NANO = 1_000


def worst_nano_estimator(
    *, prompt_tokens: int, web_searches: int = 0
) -> Callable[[Price, int], int | None]:
    """`worst_cost_usd` of one prompt by price and output tokens, for reservations.

    In whole nano-dollars, rounded up; None where a needed rate is unknown or may be higher.
    """

    def estimate(price: Price, output_tokens: int) -> int | None:
        rates = price.dearest_rates
        if rates is None:
            return None
        prompt, answer, request, search = rates
        picos = prompt * prompt_tokens + request
        if answer is not None:
            picos += answer * output_tokens
        elif output_tokens:
            return None
        if web_searches:
            if search is None:
                return None
            picos += search * web_searches
        return -(-picos // _PICOS_PER_NANO)

    return estimate


def to_nano_usd(amount_usd: Decimal) -> int:
    """Nano-dollars, as budgets count them; a fraction of one counts whole."""
    return int(_EXACT.scaleb(amount_usd, _NANO_EXPONENT).to_integral_value(ROUND_CEILING))


def from_nano_usd(nano_usd: int) -> Decimal:
    """USD of so many nano-dollars, exactly."""
    return _EXACT.scaleb(Decimal(nano_usd), -_NANO_EXPONENT)


def at_most(known: Cost, most_usd: Decimal) -> Cost:
    """A cost of which only a part is known: the rest, up to ``most_usd``, counts as the answer's.

    For attempts whose end nobody saw and that were reserved for.
    """
    if known.total_usd is None or most_usd < known.total_usd:
        return Cost(
            total_usd=most_usd,
            lines={"output_tokens": most_usd} if most_usd else {},
            status="upper_bound",
            price_version=known.price_version,
        )
    rest = _EXACT.subtract(most_usd, known.total_usd)
    output = _EXACT.add(known.lines.get("output_tokens", _ZERO), rest)
    return Cost(
        total_usd=most_usd,
        lines={**known.lines, "output_tokens": output} if output else known.lines,
        status="upper_bound",
        price_version=known.price_version,
    )


def difference_usd(after: Decimal | None, before: Decimal | None) -> Decimal:
    """What comes on top of ``before``, perhaps negative; an unknown amount counts as nothing."""
    return _EXACT.subtract(after or _ZERO, before or _ZERO)


def drift_of(cost: Cost) -> Drift | None:
    """How a provider's own figure is off ours; None where it told none."""
    if cost.source != "provider_reported" or cost.total_usd is None:
        return None
    ours = cost.computed_usd
    if ours is None:
        return "unknown"
    off = _EXACT.subtract(cost.total_usd, ours)
    if _EXACT.abs(off) <= _EXACT.multiply(ours, DRIFT_SHARE):
        return "within"
    return "above" if off > 0 else "below"


def in_proportion(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """What an amount, found of a part (not 0), is of the whole; rounded to 12 decimals."""
    return _EXACT.quantize(_EXACT.divide(_EXACT.multiply(amount, whole), part), _SMALLEST_USD)


def ratio_text(after: Decimal, before: Decimal) -> str:
    """``after`` by ``before`` (above 0) to three digits; for people, not to compute with."""
    ratio = Context(prec=3, rounding=ROUND_HALF_EVEN).divide(after, before)
    return format(ratio.normalize(), "f")
