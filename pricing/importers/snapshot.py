"""Turns a catalogue snapshot (genai-prices, LiteLLM and models.dev, merged) into price tables.

`python -m pricing.importers.snapshot PATH --out pricing/tables` writes one TOML per provider and
models.toml, and prints what it left out and why. What it writes is a proposal: review the diff.
Facts decided by hand stand in `curated.toml`, providers in `providers.toml`, beside this file.
"""

import argparse
import gzip
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias, cast

from pricing.declaration import endpoint_from_config
from pricing.errors import CatalogueError
from pricing.importers.names import model_of, with_author
from pricing.importers.writing import to_toml

Row: TypeAlias = dict[str, Any]
Note: TypeAlias = Callable[[str, str], None]

_HERE = Path(__file__).parent

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
CAPABILITIES = {
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "structured_output": "structured_outputs",
    "reasoning": "reasoning",
    "vision": "vision",
    "prompt_caching": "prompt_caching",
    "temperature": "temperature",
    "web_search": "web_search",
    "audio_in": "audio_input",
    "audio_out": "audio_output",
    "video_in": "video_input",
    "pdf_in": "pdf_input",
    "computer_use": "computer_use",
    "assistant_prefill": "assistant_prefill",
    "system_messages": "system_messages",
}
SOURCES = {
    "genai-prices": "https://github.com/pydantic/genai-prices",
    "litellm": "https://github.com/BerriAI/litellm",
    "models.dev": "https://models.dev",
}


def convert(
    snapshot: dict[str, Any],
    providers: dict[str, Any],
    curated: dict[str, Any],
    note: Note,
) -> dict[str, dict[str, Any]]:
    """Tables by file name. `note` is told the subject and the reason of everything left out."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in snapshot["endpoints"]:
        rows[row["provider"]].append(row)
    as_of = datetime.fromisoformat(snapshot["meta"]["generated_at"])
    files: dict[str, dict[str, Any]] = {}
    for provider_id in sorted(rows):
        endpoints = _endpoints(provider_id, rows[provider_id], curated, as_of, note)
        files[f"{provider_id}.toml"] = {
            "provider": _provider(provider_id, providers.get(provider_id, {}), note),
            "endpoints": endpoints,
        }
    files["models.toml"] = {"models": _models(files, providers, curated, note)}
    return files


def _provider(provider_id: str, facts: dict[str, Any], note: Note) -> dict[str, Any]:
    if not facts:
        note(provider_id, "nothing is known of this provider: add it to providers.toml")
    prefix: str | None = facts.get("prefix")
    return {
        "id": provider_id,
        "name": facts.get("name", provider_id),
        "protocol": facts.get("protocol", "openai"),
        "base_url": facts.get("base_url"),
        "base_url_env": facts.get("base_url_env", prefix and f"{prefix}_BASE_URL"),
        "credential_env": facts.get("credential_env", prefix and f"{prefix}_API_KEY"),
        "credential_env_alternatives": facts.get("credential_env_alternatives"),
        "usage_flavour": facts.get("usage_flavour", "openai"),
        "pricing_url": facts.get("pricing_url"),
    }


def _endpoints(
    provider_id: str, rows: list[Row], curated: dict[str, Any], as_of: datetime, note: Note
) -> list[dict[str, Any]]:
    by_hand = {
        item["id"]: {key: value for key, value in item.items() if key not in {"provider", "id"}}
        for item in curated.get("endpoints", [])
        if item["provider"] == provider_id
    }
    dropped = {
        item["id"]: item["reason"]
        for item in curated.get("drop", [])
        if item["provider"] == provider_id
    }
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: str(row["provider_model"])):
        their_id = _their_id(row)
        subject = f"{provider_id}/{their_id}"
        reason = dropped.get(their_id) or _superfluous(row, their_id, rows)
        if their_id in found:
            reason = "listed twice under two spellings of its id"
        if reason:
            note(subject, reason)
            continue
        table = _endpoint(row, their_id, rows, as_of, note)
        table.update(by_hand.pop(their_id, {}))
        checked = _checked(provider_id, table, note)
        if checked is not None:
            found[their_id] = checked
    for their_id in by_hand:
        note(f"{provider_id}/{their_id}", "curated, but the snapshot does not have it")
    return [found[their_id] for their_id in sorted(found)]


def _their_id(row: Row) -> str:
    """The name the provider's API takes, where sources abbreviate it."""
    their_id: str = row["provider_model"]
    if row["provider"] == "fireworks" and "/" not in their_id:
        return f"accounts/fireworks/models/{their_id}"
    if row["provider"] == "openrouter" and "/" not in their_id:
        return with_author(their_id) or their_id
    return their_id


def _superfluous(row: Row, their_id: str, rows: Iterable[Row]) -> str | None:
    written: str = row["provider_model"]
    if written.startswith("fireworks-ai-"):
        return "a price class by model size, not a model"
    if their_id != written and any(other["provider_model"] == their_id for other in rows):
        return "listed under its full id too"
    undated = written.removesuffix("@default")
    if undated != written and any(other["provider_model"] == undated for other in rows):
        return "the default version, listed under its plain id too"
    return None


def _endpoint(
    row: Row, their_id: str, siblings: Iterable[Row], as_of: datetime, note: Note
) -> dict[str, Any]:
    status: str | None = row.get("status")
    retired: str | None = row.get("deprecation_date")
    capabilities = {
        name: row["supports"][key]
        for key, name in CAPABILITIES.items()
        if key in row.get("supports", {})
    }
    is_free = _is_free(row)
    return {
        "id": their_id,
        "model": model_of(row, siblings),
        "name": row.get("name"),
        "mode": row["mode"],
        "context_tokens": row.get("context_length") or None,
        "max_input_tokens": _smaller(row.get("max_input"), row.get("context_length")),
        "max_output_tokens": row.get("max_output") or None,
        "modalities_in": row["modalities_in"],
        "modalities_out": row["modalities_out"],
        "capabilities": capabilities or None,
        "quantization": row.get("quantization"),
        "open_weights": row.get("open_weights"),
        "release_date": _day(row.get("release_date")),
        "retired_at": _instant(retired) if retired else None,
        "status": status,
        "free": True if is_free else None,
        "prices": None if is_free else _prices(row, as_of, note) or None,
    }


def _smaller(limit: int | None, context: int | None) -> int | None:
    """An input limit says something only when it is below the context window."""
    return limit if limit and (context is None or limit < context) else None


def _is_free(row: Row) -> bool:
    return bool(row.get("zero_price")) and row["provider_model"].endswith(":free")


def _prices(row: Row, as_of: datetime, note: Note) -> list[dict[str, Any]]:
    """Dated prices, oldest first.

    Of a history, the entry in force when the snapshot was made says only when it began: what it
    costs now was agreed between sources.
    """
    if row.get("zero_price"):
        note(_subject(row), "price 0 without being free: no price")
        return []
    history: list[Row] = row.get("history") or [{"effective_from": None}]
    begins = [_instant(entry["effective_from"]) for entry in history]
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
    return {
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
            note(_subject(row), "cache reads dearer than input: no rate for them")
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
        tiers = _size_tiers(tier, row, note)
        found[name.removeprefix("speed:")] = {**rates, "size_tiers": tiers or None}
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


def _checked(provider_id: str, table: dict[str, Any], note: Note) -> dict[str, Any] | None:
    """The table as far as it passes our own rules: without a wrong limit, without a wrong price."""
    subject = f"{provider_id}/{table['id']}"
    table = _without_none(table)
    while True:
        try:
            endpoint_from_config(provider_id, table)
        except CatalogueError as exc:
            wrong = "max_output_tokens" if exc.key == "max_output_tokens" else "prices"
            note(subject, f"{exc.problem}: {'left out' if wrong in table else 'dropped'}")
            if wrong not in table:
                return None
            table = {key: value for key, value in table.items() if key != wrong}
        else:
            return _without_defaults(table)


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _pruned(value) for key, value in table.items() if value is not None}


def _pruned(value: object) -> object:
    if isinstance(value, dict):
        return _without_none(cast(dict[str, Any], value))
    if isinstance(value, list):
        return [_pruned(item) for item in cast(list[object], value)]
    return value


def _without_defaults(table: dict[str, Any]) -> dict[str, Any]:
    defaults = {"mode": "chat", "modalities_in": ["text"], "modalities_out": ["text"]}
    return {key: value for key, value in table.items() if defaults.get(key) != value}


def _models(
    files: dict[str, dict[str, Any]],
    providers: dict[str, Any],
    curated: dict[str, Any],
    note: Note,
) -> list[dict[str, Any]]:
    """Facts of models: the pool of `auto`, and the makers' own spellings as other names."""
    models: dict[str, dict[str, Any]] = {}
    served = {
        endpoint["model"]
        for table in files.values()
        for endpoint in table["endpoints"]
        if "model" in endpoint
    }
    for item in curated.get("models", []):
        if item["id"] in served:
            models[item["id"]] = dict(item)
        else:
            note(item["id"], "curated, but nobody serves it")
    taken: set[str] = set()
    for provider_id, facts in providers.items():
        author: str | None = facts.get("author")
        for endpoint in files.get(f"{provider_id}.toml", {}).get("endpoints", []):
            model: str = endpoint.get("model", "")
            alias = f"{author}/{endpoint['id']}"
            if model.partition("/")[0] != author or alias in served or alias in taken:
                continue
            taken.add(alias)
            entry = models.setdefault(model, {"id": model})
            entry.setdefault("aliases", []).append(alias)
    return [models[model] for model in sorted(models)]


def _subject(row: Row) -> str:
    return f"{row['provider']}/{row['provider_model']}"


def _day(text: str | None) -> date | None:
    """A date that is known to the day; sources also write a month or a year alone."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _instant(text: str | None) -> datetime | None:
    """Midnight UTC for a date, since a date without an hour cannot say more."""
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _checked_on(as_of: str) -> date:
    """`2026-11 (0.2.3)` is some day of that month: the first, so that it never looks fresher."""
    day = as_of.partition(" ")[0]
    return date.fromisoformat(day if day.count("-") > 1 else f"{day}-01")


def _write(files: dict[str, dict[str, Any]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, table in files.items():
        out.joinpath(name).write_text(to_toml(table), encoding="utf-8")


def _read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)


def main(arguments: list[str] | None = None) -> None:
    """Reads the snapshot named on the command line and writes the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("snapshot", type=Path, help="catalogue snapshot, JSON or JSON in gzip")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    options = parser.parse_args(arguments)
    content: bytes = options.snapshot.read_bytes()
    if options.snapshot.suffix == ".gz":
        content = gzip.decompress(content)
    notes: list[tuple[str, str]] = []
    files = convert(
        json.loads(content, parse_float=Decimal),
        _read_toml(_HERE / "providers.toml"),
        _read_toml(_HERE / "curated.toml"),
        lambda subject, reason: notes.append((subject, reason)),
    )
    _write(files, options.out)
    report = [f"{subject}: {reason}" for subject, reason in notes]
    endpoints = [e for table in files.values() for e in table.get("endpoints", [])]
    unpriced = sum("prices" not in e and "free" not in e for e in endpoints)
    unnamed = sum("model" not in e for e in endpoints)
    report.append(
        f"{len(files)} files, {len(endpoints)} endpoints, {unpriced} without a price, "
        f"{unnamed} without a canonical model"
    )
    sys.stdout.write("\n".join(report) + "\n")


if __name__ == "__main__":
    main()
