"""A provider that processes in one region only is paid at that region's prices, everywhere."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.settings.load import SettingsError, load_settings
from gateway.settings.offer import make_offer
from pricing.catalogue import Catalogue, endpoint_from_config
from pricing.operator_layer import PriceChange, apply_changes
from pricing.price import Price, resolve
from pricing.regions import in_region

AT = datetime(2026, 11, 18, 12, tzinfo=UTC)
D = Decimal
OPENAI = {"OPENAI_API_KEY": "k"}
ANTHROPIC = {"ANTHROPIC_API_KEY": "k"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def offered(data: Path, text: str = "", **env: str) -> Catalogue:
    (data / "tollway.toml").write_text(text)
    settings = load_settings(environment={"TOLLWAY_DATA_DIR": str(data), **env}, directory=data)
    return make_offer(settings, None).catalogue


def price_of(catalogue: Catalogue, endpoint: str, tokens: int = 1) -> Price:
    held = resolve(catalogue.endpoints_by_id[endpoint], at=AT, prompt_tokens=tokens)
    assert held is not None
    return held


@pytest.mark.parametrize(
    ("address", "factor"),
    [
        ("https://api.openai.com/v1", "1"),
        ("https://us.api.openai.com/v1", "1.1"),
        ("https://eu.api.openai.com/v1", "1.1"),
    ],
)
def test_the_address_of_openai_tells_the_region(data: Path, address: str, factor: str) -> None:
    usual = price_of(offered(data, **OPENAI), "openai/gpt-5.4")
    there = price_of(offered(data, **OPENAI, OPENAI_BASE_URL=address), "openai/gpt-5.4")

    assert usual.input_usd_per_mtok is not None
    assert there.input_usd_per_mtok == usual.input_usd_per_mtok * D(factor)
    assert there.web_search_usd == usual.web_search_usd
    assert there.version.removeprefix(usual.version) in {"", "+us", "+eu"}


def test_an_endpoint_added_by_a_change_is_as_one_of_the_settings(data: Path) -> None:
    table: dict[str, Any] = {
        "model": "anthropic/claude-own",
        "prices": [
            {
                "input_usd_per_mtok": D(5),
                "output_usd_per_mtok": D(25),
                "region_multiplier": {"us": D("1.1")},
            }
        ],
    }
    settled = """
[providers.anthropic]
region = "us"

[[providers.anthropic.endpoints]]
id = "own"
model = "anthropic/claude-own"

[[providers.anthropic.endpoints.prices]]
input_usd_per_mtok = 5
output_usd_per_mtok = 25
region_multiplier = { us = 1.1 }
"""
    change = PriceChange(
        id="1",
        kind="endpoint",
        target="anthropic/own",
        effective_from=AT,
        endpoint=table,
        recorded_at=AT,
        recorded_by="ann",
        reason="new",
    )
    there = offered(data, '[providers.anthropic]\nregion = "us"\n', **ANTHROPIC)

    changed = apply_changes(there, [change]).endpoints_by_id["anthropic/own"]

    declared = offered(data, settled, **ANTHROPIC).endpoints_by_id["anthropic/own"]
    assert changed == declared
    assert changed.prices[0].base.input_usd_per_mtok == D("5.5")
    assert changed.capabilities["logprobs"] is False


def test_a_workspace_that_stays_in_the_us_says_so_in_the_settings(data: Path) -> None:
    usual = price_of(offered(data, **ANTHROPIC), "anthropic/claude-sonnet-5")
    there = price_of(
        offered(data, '[providers.anthropic]\nregion = "us"\n', **ANTHROPIC),
        "anthropic/claude-sonnet-5",
    )

    assert (usual.input_usd_per_mtok, usual.output_usd_per_mtok) == (2, 10)
    assert (there.input_usd_per_mtok, there.output_usd_per_mtok) == (D("2.2"), 11)
    assert there.cache_read_usd_per_mtok == D("0.22")


def test_a_region_that_no_price_knows_is_an_error_that_names_those_known(data: Path) -> None:
    with pytest.raises(SettingsError, match=r"providers\.anthropic: .*'uss'; known are us"):
        offered(data, '[providers.anthropic]\nregion = "uss"\n', **ANTHROPIC)


def test_every_condition_is_scaled_and_fees_by_the_piece_are_not() -> None:
    flex = {"input_usd_per_mtok": D("0.5"), "output_usd_per_mtok": D(1)}
    endpoint = endpoint_from_config(
        "acme",
        {
            "id": "m",
            "input_usd_per_mtok": D(1),
            "output_usd_per_mtok": D(2),
            "request_usd": D("0.01"),
            "size_tiers": [{"min_prompt_tokens": 100, "scale": D(2)}],
            "service_tiers": {"flex": flex},
            "region_multiplier": {"us": D("1.1")},
        },
    )

    there = in_region(endpoint, "us")

    for tokens, tier in ((1, None), (100, None), (1, "flex"), (100, "flex")):
        asked = resolve(endpoint, at=AT, prompt_tokens=tokens, service_tier=tier, region="us")
        always = resolve(there, at=AT, prompt_tokens=tokens, service_tier=tier, region="us")
        assert asked is not None
        assert always is not None
        assert asked.input_usd_per_mtok == always.input_usd_per_mtok
        assert asked.output_usd_per_mtok == always.output_usd_per_mtok
        assert (asked.request_usd, always.request_usd) == (D("0.01"), D("0.01"))
    assert in_region(endpoint, "eu") is endpoint
