"""What an imported row charges, as the dated prices of our tables."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias, cast

Row: TypeAlias = dict[str, Any]
Note: TypeAlias = Callable[[str, str], None]

RATES = {
    "input": "input_usd_per_mtok",
    "cache_read": "cache_read_usd_per_mtok",
    "cache_write": "cache_write_usd_per_mtok",
    "cache_write_1h": "cache_write_1h_usd_per_mtok",
    "output": "output_usd_per_mtok",
    "reasoning": "reasoning_usd_per_mtok",
    "audio_in": "audio_input_usd_per_mtok",
    "cache_read_audio": "audio_cache_read_usd_per_mtok",
    "audio_out": "audio_output_usd_per_mtok",
    "image_in": "image_input_usd_per_mtok",
    "image_out": "image_output_usd_per_mtok",
    "video_in": "video_input_usd_per_mtok",
    "citation": "citation_usd_per_mtok",
}
PARENTS = {
    "reasoning_usd_per_mtok": "output_usd_per_mtok",
    "audio_input_usd_per_mtok": "input_usd_per_mtok",
    "image_input_usd_per_mtok": "input_usd_per_mtok",
    "video_input_usd_per_mtok": "input_usd_per_mtok",
}
CACHE_RATES = tuple(name for name in RATES.values() if "cache" in name)
SOURCES = {
    "genai-prices": "https://github.com/pydantic/genai-prices",
    "litellm": "https://github.com/BerriAI/litellm",
    "models.dev": "https://models.dev",
}


def dated_prices(row: Row, as_of: datetime, note: Note) -> list[dict[str, Any]]:
    """Dated prices, oldest first.

    Of a history, the entry in force when the snapshot was made says only when it began: what it
    costs now was agreed between sources.
    """
    if row.get("zero_price"):
        note(subject_of(row), "price 0 without being free: no price")
        return []
    history: list[Row] = row.get("history") or [{"effective_from": None}]
    begins = [instant(entry["effective_from"]) for entry in history]
    current = max(
        (n for n, begin in enumerate(begins) if begin is None or begin <= as_of), default=0
    )
    prices: list[dict[str, Any]] = []
    for number, entry in enumerate(history):
        price = _price(row if number == current else {**entry, "mode": row["mode"]}, row, note)
        if price is None:
            continue
        ends = begins[number + 1] if number + 1 < len(history) else None
        prices.append({"from": begins[number], "to": ends, **price})
    return prices


def _price(terms: Row, row: Row, note: Note) -> dict[str, Any] | None:
    rates = _rates(terms.get("prices", {}), row, note)
    rates |= _fees(terms.get("units", {}), row)
    if not rates:
        return None
    is_by_context = "per_web_search_by_context" in terms.get("units", {})
    price: dict[str, Any] = {
        **rates,
        "upper_bound": True if is_by_context or terms.get("schedule") else None,
        "region_multiplier": {
            region: Decimal(factor) for region, factor in terms.get("region_multiplier", {}).items()
        }
        or None,
        "source": row.get("source_url") or SOURCES.get(row["source"], row["source"]),
        "checked": _checked_on(row["as_of"]),
        "size_tiers": _size_tiers(terms, row, note) or None,
        "windows": _windows(terms, rates, row, note) or None,
        "service_tiers": _service_tiers(terms, row, note) or None,
    }
    _complete(price, row, note)
    return price


def _complete(price: dict[str, Any], row: Row, note: Note) -> None:
    """Lets a size or service tier name every rate that its base names, as far as it can be told.

    A rate that equals its parent in the base does so in the tier: sources then leave it out. A
    cache rate that a size tier lacks is left out of the base too: then its parent stands in, and
    the cost says that it is not exact.
    """
    size_tiers = _tables(price["size_tiers"])
    by_name: dict[str, Any] = price["service_tiers"] or {}
    services = _tables(list(by_name.values()))
    service_sizes = [tier for service in services for tier in _tables(service["size_tiers"])]
    for tier in (*size_tiers, *services, *service_sizes):
        for name, parent in PARENTS.items():
            if name in price and price[name] == price.get(parent) and parent in tier:
                tier.setdefault(name, tier[parent])
    for name in CACHE_RATES:
        if name in price and any(name not in tier for tier in size_tiers):
            del price[name]
            note(subject_of(row), f"`{name}` without a counterpart in every size tier: left out")


def _tables(value: list[Any] | None) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], value or [])


def _rates(prices: dict[str, str], row: Row, note: Note) -> dict[str, Decimal]:
    rates: dict[str, Decimal] = {}
    for key, name in RATES.items():
        if key not in prices:
            continue
        amount = Decimal(prices[key])
        is_base_of_chat = key in {"input", "output"} and row["mode"] in {"chat", "responses"}
        if amount == 0 and not is_base_of_chat:
            # Sources write 0 both for "no extra charge" and for "unknown".
            continue
        if key == "cache_read" and amount > Decimal(prices.get("input", amount)):
            note(subject_of(row), "cache reads dearer than input: no rate for them")
            continue
        rates[name] = amount
    return rates


def _fees(units: dict[str, Any], row: Row) -> dict[str, Decimal]:
    fees = {"request_usd": units.get("per_request"), "web_search_usd": units.get("per_web_search")}
    if "image" in row["modalities_out"]:
        fees["image_usd"] = units.get("per_output_image")
    return {
        name: Decimal(amount)
        for name, amount in fees.items()
        if amount is not None and Decimal(amount) > 0
    }


def _size_tiers(terms: Row, row: Row, note: Note) -> list[dict[str, Any]]:
    return [
        {
            "min_prompt_tokens": tier["min_prompt_tokens"],
            **_rates(tier["prices"], row, note),
        }
        for tier in terms.get("tiers", [])
    ]


def _service_tiers(terms: Row, row: Row, note: Note) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, tier in terms.get("service_tiers", {}).items():
        rates = _rates(tier["prices"], row, note)
        if not rates or any(amount == 0 for amount in rates.values()):
            continue
        tiers = _size_tiers(tier, row, note) or None
        found[name.removeprefix("speed:")] = {**rates, "size_tiers": tiers}
    return found


def _windows(terms: Row, base: dict[str, Decimal], row: Row, note: Note) -> list[dict[str, Any]]:
    windows: list[dict[str, Any]] = []
    for entry in terms.get("schedule", []):
        rates = _rates(entry["prices"], row, note)
        factors = {amount / base[name] for name, amount in rates.items() if name in base}
        change = {"scale": factors.pop()} if len(factors) == 1 else rates
        for window in entry["windows_utc"]:
            hours = window["hours_utc"]
            spans = [hours] if isinstance(hours, str) else cast(list[str], hours)
            windows.append(
                {
                    "utc": [_span(span) for span in spans],
                    "days": window["weekdays"],
                    **change,
                }
            )
    return windows


def _span(span: str) -> str:
    begin, _, end = span.partition("-")
    return f"{begin}-{'24:00' if end == '00:00' else end}"


def subject_of(row: Row) -> str:
    """How notes call a row."""
    return f"{row['provider']}/{row['provider_model']}"


def instant(text: str | None) -> datetime | None:
    """Midnight UTC for a date, since a date without an hour cannot say more."""
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _checked_on(as_of: str) -> date:
    """`2026-11 (0.2.3)` is some day of that month: the first, so that it never looks fresher."""
    day = as_of.partition(" ")[0]
    return date.fromisoformat(day if day.count("-") > 1 else f"{day}-01")
