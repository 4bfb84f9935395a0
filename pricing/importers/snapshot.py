"""Turns a catalogue snapshot (genai-prices, LiteLLM and models.dev, merged) into price tables.

`python -m pricing.importers.snapshot PATH --out pricing/tables` writes one TOML per provider and
models.toml, and prints what it left out and why. What it writes is a proposal: review the diff.
Facts decided by hand stand in `curated.toml`, how models behave in `behaviour.toml`, providers in
`providers.toml`, beside this file.
"""

import argparse
import gzip
import json
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from pricing.declaration import endpoint_from_config
from pricing.errors import CatalogueError
from pricing.importers.behaviour import behave
from pricing.importers.names import model_of, with_author
from pricing.importers.prices import Note, Row, dated_prices, instant
from pricing.importers.writing import to_toml

_HERE = Path(__file__).parent

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
        behave(provider_id, table, curated.get("rules", []))
        table.update(by_hand.pop(their_id, {}))
        _mark_reviewed(subject, table, curated.get("reviewed", []))
        checked = _checked(provider_id, table, note)
        if checked is not None:
            found[their_id] = checked
    for their_id in by_hand:
        note(f"{provider_id}/{their_id}", "curated, but the snapshot does not have it")
    return [found[their_id] for their_id in sorted(found)]


def _mark_reviewed(subject: str, table: dict[str, Any], reviewed: Iterable[dict[str, Any]]) -> None:
    """Write on prices that look wrong which rules somebody has let them break."""
    rules = [
        item["rule"]
        for item in reviewed
        if any(fnmatchcase(subject, pattern) for pattern in item["endpoints"])
    ]
    for price in cast(list[dict[str, Any]], table["prices"] or []):
        found = [rule for rule in rules if _BREAKS[rule](price)]
        if found:
            price["reviewed"] = found


def _keeps_cheaply(price: dict[str, Any]) -> bool:
    kept, read = price.get("cache_write_usd_per_mtok"), price.get("input_usd_per_mtok")
    return kept is not None and read is not None and 0 < kept < read


_BREAKS: dict[str, Callable[[dict[str, Any]], bool]] = {"cache-write-below-input": _keeps_cheaply}


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
        "retired_at": instant(retired) if retired else None,
        "status": status,
        "free": True if is_free else None,
        "prices": None if is_free else dated_prices(row, as_of, note) or None,
    }


def _smaller(limit: int | None, context: int | None) -> int | None:
    """An input limit says something only when it is below the context window."""
    return limit if limit and (context is None or limit < context) else None


def _is_free(row: Row) -> bool:
    return bool(row.get("zero_price")) and row["provider_model"].endswith(":free")


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


def _day(text: str | None) -> date | None:
    """A date that is known to the day; sources also write a month or a year alone."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


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
        _read_toml(_HERE / "curated.toml") | _read_toml(_HERE / "behaviour.toml"),
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
