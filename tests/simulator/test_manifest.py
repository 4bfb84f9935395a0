"""The manifest is a catalogue that routing can choose from."""

from decimal import Decimal

from gateway.simulator.manifest import MANIFEST, find_provider, manifest_tables
from pricing.declaration import endpoint_from_config


def test_every_provider_is_named_simulated_and_has_an_address_of_its_own() -> None:
    tables = manifest_tables("http://127.0.0.1:9102/")

    assert list(tables) == [provider.id for provider in MANIFEST]
    for name, table in tables.items():
        assert name.startswith("simulated-")
        assert table["base_url"] == f"http://127.0.0.1:9102/{name}/v1"
        assert (table["protocol"], table["allow_private"]) == ("openai", True)


def test_every_offer_is_one_the_catalogue_accepts() -> None:
    for name, table in manifest_tables("http://127.0.0.1:9102").items():
        endpoints = [endpoint_from_config(name, offer) for offer in table["endpoints"]]

        assert [endpoint.provider for endpoint in endpoints] == [name] * len(endpoints)
        assert all(endpoint.capabilities["temperature"] for endpoint in endpoints)


def test_twelve_models_of_five_providers_and_all_but_one_at_more_than_one_price() -> None:
    prices: dict[str, set[Decimal | None]] = {}
    for table in manifest_tables("http://localhost").values():
        for endpoint in table["endpoints"]:
            prices.setdefault(endpoint["model"], set()).add(endpoint.get("input_usd_per_mtok"))

    assert (len(MANIFEST), len(prices)) == (5, 12)
    assert prices.pop("simulated/preview") == {None}
    assert all(len(found) >= 2 and None not in found for found in prices.values())


def test_a_provider_and_its_offers_are_found_by_id() -> None:
    atlas = find_provider("simulated-atlas")

    assert atlas is not None
    assert atlas.model("fast") is not None
    assert atlas.model("vision") is None
    assert find_provider("openai") is None
