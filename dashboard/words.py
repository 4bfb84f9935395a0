"""Outcomes, reasons, meters and lengths of time in words. Pure."""

from datetime import timedelta

from dashboard.queries import FAILED, RESCUED, SERVED, UNSERVED

OUTCOME_LEGEND = ((SERVED, "good"), (RESCUED, "warn"), (FAILED, "bad"), (UNSERVED, ""))
"""What became of requests, with the tones of `dashboard.pieces`."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400

_EXCLUSIONS: dict[str, str] = {
    "key_model": "the key does not allow this model",
    "key_provider": "the key does not allow this provider",
    "only": "not among `provider.only`",
    "ignore": "named in `provider.ignore`",
    "not_pinned": "the request pinned another provider",
    "not_free": "the free offer was asked for",
    "no_fallbacks": "fallbacks were not allowed",
    "quantization": "its quantization was not asked for",
    "data_collection": "it may collect data, or that is unknown",
    "zdr": "it may keep data, or that is unknown",
    "distillable": "its output may not be distilled",
    "max_price": "above the price cap",
    "unpriced": "it has no known price",
    "context": "its context window is too small",
    "max_output": "it cannot write that much",
    "modality": "it cannot read or write what was asked",
    "capability": "it cannot do what was asked",
    "require_parameters": "a parameter is not supported",
    "service_tier": "it does not offer the service tier",
    "min_throughput": "slower than asked for",
    "max_latency": "later than asked for",
    "max_cost": "the request might cost more than allowed",
    "budget": "the budget does not hold that much",
    "auto_models": "left out by the patterns for `auto`",
    "reasons": "it reasons, or that is unknown",
    "mode": "it does not chat",
    "retired": "the offer has ended",
    "disabled": "switched off by the operator",
    "credential": "its provider refused our credential",
    "cooling_down": "it was resting after failures",
    "rate_limited": "it was resting after a rate limit",
    "breaker_open": "it failed too often just before",
    "passed_over": "enough others came before it",
}

_METERS: dict[str, str] = {
    "input_tokens": "input, uncached",
    "cache_read_tokens": "input, cache read",
    "cache_write_tokens": "input, cache write",
    "cache_write_1h_tokens": "input, cache write for 1 h",
}

_COST_STATUS: dict[str, str] = {
    "exact": "",
    "upper_bound": "at most this",
    "estimated": "estimated",
    "unpriced": "no known price",
}


def outcome(code: str) -> str:
    """``rate_limited`` as "rate limited"."""
    return code.replace("_", " ")


def exclusion(reason: str) -> str:
    """Why an endpoint could not serve; "" for a reason that is newer than this list."""
    return _EXCLUSIONS.get(reason, "")


def meter(name: str) -> str:
    """A meter of `pricing.usage.Usage`."""
    return _METERS.get(name, name.removesuffix("_tokens").replace("_", " "))


def cost_status(code: str) -> str:
    """What to say beside a cost; "" when it is exact."""
    return _COST_STATUS.get(code, code)


def length(of: timedelta) -> str:
    """``hour``, ``3 hours``, ``30 minutes``."""
    seconds = int(of.total_seconds())
    for size, unit in ((_DAY_S, "day"), (_HOUR_S, "hour"), (_MINUTE_S, "minute")):
        if seconds >= size:
            number = seconds // size
            return unit if number == 1 else f"{number} {unit}s"
    return f"{seconds} seconds"


def the(period: str) -> str:
    """``the last 7 days``, but ``this period``."""
    return period if period.startswith("this") else f"the {period}"
