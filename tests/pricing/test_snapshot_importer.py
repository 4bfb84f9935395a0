"""The importer turns a merged snapshot into tables, and says what it left out and why."""

import gzip
import json
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pricing.catalogue import load_catalogue
from pricing.importers.names import model_of, with_author
from pricing.importers.snapshot import convert, main
from pricing.importers.writing import to_toml

PROVIDERS = {"openai": {"name": "OpenAI", "prefix": "OPENAI", "author": "openai"}}


def _row(**keys: Any) -> dict[str, Any]:
    return {
        "provider": "openai",
        "provider_model": "gpt-x",
        "canonical": "openai/gpt-x",
        "mode": "chat",
        "modalities_in": ["text"],
        "modalities_out": ["text"],
        "prices": {"input": "0.0625", "output": "2"},
        "source": "litellm",
        "as_of": "2026-11 (1.109.1)",
        **keys,
    }


def _import(
    *rows: dict[str, Any], curated: dict[str, Any] | None = None
) -> tuple[dict[str, dict[str, Any]], list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []
    snapshot = {"meta": {"generated_at": "2026-11-21T12:00:00+00:00"}, "endpoints": list(rows)}

    def note(subject: str, reason: str) -> None:
        notes.append((subject, reason))

    files = convert(snapshot, PROVIDERS, curated or {}, note)
    endpoints = {e["id"]: e for file in files.values() for e in file.get("endpoints", [])}
    return endpoints, notes


def test_a_row_keeps_its_exact_price_its_source_and_what_is_known() -> None:
    row = _row(
        context_length=128_000,
        supports={"tools": True, "vision": False},
        units={"per_web_search": "0.01"},
        source_url="https://example.com/prices",
    )

    endpoints, notes = _import(row)

    assert notes == []
    assert endpoints["gpt-x"] == {
        "id": "gpt-x",
        "model": "openai/gpt-x",
        "context_tokens": 128_000,
        "capabilities": {"tools": True, "vision": False},
        "prices": [
            {
                "input_usd_per_mtok": Decimal("0.0625"),
                "output_usd_per_mtok": Decimal(2),
                "web_search_usd": Decimal("0.01"),
                "source": "https://example.com/prices",
                "checked": datetime(2026, 11, 1, tzinfo=UTC).date(),
            }
        ],
    }


def test_a_history_becomes_dated_prices_and_the_current_one_is_what_sources_agreed_on() -> None:
    row = _row(
        history=[
            {"effective_from": None, "prices": {"input": "5", "output": "9"}},
            {"effective_from": "2026-08-21", "prices": {"input": "4", "output": "8"}},
            {"effective_from": "2027-01-01", "prices": {"input": "3", "output": "7"}},
        ],
        prices={"input": "4", "output": "8", "cache_read": "1"},
    )

    endpoints, _ = _import(row)

    august, january = datetime(2026, 8, 21, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    prices = endpoints["gpt-x"]["prices"]
    assert [(p.get("from"), p.get("to")) for p in prices] == [
        (None, august),
        (august, january),
        (january, None),
    ]
    assert [p["input_usd_per_mtok"] for p in prices] == [5, 4, 3]
    assert [p.get("cache_read_usd_per_mtok") for p in prices] == [None, 1, None]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        pytest.param(
            {"prices": {"input": "0", "output": "0"}, "zero_price": True},
            "price 0 without being free: no price",
            id="zero",
        ),
        pytest.param(
            {"prices": {"input": "3200", "output": "9710"}},
            "`input_usd_per_mtok` must be at most 200",
            id="unit slip",
        ),
        pytest.param({"prices": {"input": "1"}}, "a chat price needs", id="half"),
        pytest.param(
            {"tiers": [{"min_prompt_tokens": 9, "prices": {"input": "0.01", "output": "2"}}]},
            "is cheaper than the base price",
            id="cheaper tier",
        ),
    ],
)
def test_a_doubtful_price_is_left_out_with_its_reason_and_the_endpoint_stays(
    keys: dict[str, Any], reason: str
) -> None:
    endpoints, notes = _import(_row(**keys))

    assert "prices" not in endpoints["gpt-x"]
    assert [subject for subject, _ in notes] == ["openai/gpt-x"]
    assert reason in notes[0][1]


def test_an_impossible_limit_is_left_out_and_the_price_stays() -> None:
    endpoints, notes = _import(_row(context_length=100, max_output=200))

    assert "max_output_tokens" not in endpoints["gpt-x"]
    assert endpoints["gpt-x"]["prices"]
    assert "max_output_tokens" in notes[0][1]


def test_only_a_free_offer_of_openrouter_is_free() -> None:
    row = _row(
        provider="openrouter",
        provider_model="openai/gpt-x:free",
        prices={"input": "0", "output": "0"},
        zero_price=True,
    )

    endpoints, _ = _import(row)

    assert endpoints["openai/gpt-x:free"]["free"] is True
    assert endpoints["openai/gpt-x:free"]["model"] == "openai/gpt-x:free"


def test_a_schedule_at_half_price_becomes_windows_with_a_scale() -> None:
    row = _row(
        prices={"input": "2", "output": "4"},
        schedule=[
            {
                "windows_utc": [
                    {"hours_utc": ["10:00-00:00"], "weekdays": [1, 2]},
                    {"hours_utc": "00:00-00:00", "weekdays": [6, 7]},
                ],
                "prices": {"input": "1", "output": "2"},
            }
        ],
    )

    endpoints, _ = _import(row)

    half = Decimal("0.5")
    assert endpoints["gpt-x"]["prices"][0]["windows"] == [
        {"utc": ["10:00-24:00"], "days": [1, 2], "scale": half},
        {"utc": ["00:00-24:00"], "days": [6, 7], "scale": half},
    ]
    assert endpoints["gpt-x"]["prices"][0]["upper_bound"] is True


def test_a_rate_that_equals_its_parent_does_so_in_every_tier() -> None:
    row = _row(
        prices={"input": "1", "output": "2", "reasoning": "2", "cache_read": "0.5"},
        tiers=[{"min_prompt_tokens": 9, "prices": {"input": "3", "output": "4"}}],
        service_tiers={"batch": {"prices": {"input": "0.5", "output": "1"}}},
    )

    endpoints, notes = _import(row)

    price = endpoints["gpt-x"]["prices"][0]
    assert price["size_tiers"][0]["reasoning_usd_per_mtok"] == 4
    assert price["service_tiers"]["batch"]["reasoning_usd_per_mtok"] == 1
    assert "cache_read_usd_per_mtok" not in price
    assert "without a counterpart" in notes[0][1]


def test_curated_facts_replace_imported_ones_and_drop_what_is_wrong() -> None:
    curated = {
        "endpoints": [
            {"provider": "openai", "id": "gpt-x", "model": "openai/gpt-y"},
            {"provider": "openai", "id": "gpt-gone", "name": "gone"},
        ],
        "drop": [{"provider": "openai", "id": "gpt-z", "reason": "not served"}],
        "models": [{"id": "openai/gpt-none", "auto": True}],
    }

    endpoints, notes = _import(_row(), _row(provider_model="gpt-z"), curated=curated)

    assert endpoints.keys() == {"gpt-x"}
    assert endpoints["gpt-x"]["model"] == "openai/gpt-y"
    assert notes == [
        ("openai/gpt-z", "not served"),
        ("openai/gpt-gone", "curated, but the snapshot does not have it"),
        ("openai/gpt-none", "curated, but nobody serves it"),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mistral/ministral-8b", "mistralai/ministral-8b"),
        ("mistralai/ministral-8b", "mistralai/ministral-8b"),
        ("~anthropic/claude-opus-latest", "anthropic/claude-opus-latest"),
        ("claude-3-opus", "anthropic/claude-3-opus"),
        ("llama-3.1-nemotron-70b-instruct", "nvidia/llama-3.1-nemotron-70b-instruct"),
        ("toppy-m-7b", None),
    ],
)
def test_authors_are_spelt_one_way(name: str, expected: str | None) -> None:
    assert with_author(name) == expected


def test_a_dated_version_beside_the_undated_one_is_a_model_of_its_own() -> None:
    undated, dated = _row(), _row(provider_model="gpt-x-2026-01-31")

    assert model_of(dated, [undated, dated]) == "openai/gpt-x-2026-01-31"
    assert model_of(dated, [dated]) == "openai/gpt-x"
    assert model_of(undated, [undated, dated]) == "openai/gpt-x"


def test_what_is_written_reads_back_the_same() -> None:
    document = {
        "provider": {"id": 'a "quoted"\nname', "address": "C:\\x", "tab": "\t"},
        "endpoints": [
            {
                "id": "m",
                "context_tokens": 1_000_000,
                "amount": Decimal("0.000000125"),
                "whole": Decimal("1E+2"),
                "capabilities": {"tools": True, "odd key": False},
                "since": datetime(2026, 8, 16, 16, tzinfo=UTC),
                "prices": [{"a": Decimal(1), "service_tiers": {"batch": {"b": Decimal("0.5")}}}],
            }
        ],
    }

    assert tomllib.loads(to_toml(document), parse_float=Decimal) == document


def test_the_command_writes_tables_that_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = {
        "meta": {"generated_at": "2026-11-21T12:00:00+00:00"},
        "endpoints": [_row(), _row(provider_model="bad", prices={"input": "1"})],
    }
    source = tmp_path / "snapshot.json.gz"
    source.write_bytes(gzip.compress(json.dumps(snapshot).encode()))

    main([str(source), "--out", str(tmp_path / "tables")])

    catalogue = load_catalogue(tmp_path / "tables")
    printed = capsys.readouterr().out
    assert catalogue.endpoints_by_id.keys() == {"openai/bad", "openai/gpt-x"}
    assert catalogue.providers["openai"].credential_env == "OPENAI_API_KEY"
    assert "openai/bad: a chat price needs `output_usd_per_mtok`" in printed
    assert "2 endpoints, 1 without a price" in printed
