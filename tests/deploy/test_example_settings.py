"""The example configuration loads, names every key there is, and tells the true defaults."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway.providers.registry import SUPPORTED_PROTOCOLS
from gateway.settings.enabled import find_enabled
from gateway.settings.load import load_settings
from gateway.settings.values import FileSettings, Flags, ProviderSettings, Settings
from pricing.catalogue import endpoint_from_config, load_catalogue

EXAMPLE = Path(__file__).parents[2] / "deploy/tollway.example.toml"
ENVIRONMENT = {
    "DATABASE_URL": "postgresql://tollway@db.example/tollway",
    "OPENAI_API_KEY": "sk-example",
    "OPENAI_API_KEY_2": "sk-example-2",
    "OPENAI_API_KEY_3": "sk-example-3",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "token-example",
}
# What stands in the example is not what holds without it.
NO_DEFAULTS = {
    "database_url",
    "rules",
    "spool_bytes",
    "auto_models",
    "baseline",
    "hedge_after_ms",
    "aliases",
    "providers",
    "origins",
}
# Known only once environment and flags are joined with the file.
JOINED_DEFAULTS = (
    "host",
    "port",
    "admin_port",
    "dashboard_port",
    "dashboard_host",
    "dashboard_sign_in",
    "workers",
)


def uncommented(text: str) -> str:
    """Every setting of the example in force; prose keeps its ``# `` and is left alone."""
    return re.sub(r'^#(?=[\[a-z"])', "", text, flags=re.MULTILINE)


def load(text: str, directory: Path) -> Settings:
    path = directory / "tollway.toml"
    path.write_text(text)
    return load_settings(Flags(config=path), environment=ENVIRONMENT)


@pytest.fixture
def example() -> str:
    return EXAMPLE.read_text("utf-8")


def missing_keys(
    struct: type[msgspec.Struct], table: dict[str, Any], place: str = ""
) -> Iterator[str]:
    """Fields of a settings struct, and of those that it holds, which a document does not name."""
    for field in msgspec.structs.fields(struct):
        if field.name not in table:
            yield place + field.name
            continue
        value = table[field.name]
        inner = next(
            (
                kind
                for kind in (field.type, *get_args(field.type))
                if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
            ),
            None,
        )
        if inner is None:
            continue
        if inner is field.type:
            yield from missing_keys(inner, value, f"{place}{field.name}.")
        else:
            # A table of tables under names of the operator: together they show every key.
            together = {key: member for named in value.values() for key, member in named.items()}
            yield from missing_keys(inner, together, f"{place}{field.name}.NAME.")


def test_the_example_changes_nothing_as_it_stands(example: str, tmp_path: Path) -> None:
    settings = load(example, tmp_path)

    (tmp_path / "tollway.toml").write_text("")
    defaults = load("", tmp_path)
    assert settings == defaults


def test_the_example_loads_with_every_setting_in_force(example: str, tmp_path: Path) -> None:
    key_file = tmp_path / "vertex.json"
    key_file.write_text('{"type":"service_account","client_email":"a@b.example","private_key":"k"}')
    settings = load(
        uncommented(example).replace("/etc/tollway/vertex.json", str(key_file)), tmp_path
    )

    enabled, skipped = find_enabled(settings, load_catalogue(), SUPPORTED_PROTOCOLS)
    endpoints = [
        endpoint_from_config(provider.id, table)
        for provider in enabled
        for table in provider.settings.endpoints
    ]
    assert [provider.id for provider in enabled] == [
        "amazon-bedrock",
        "anthropic",
        "google-vertex",
        "my-server",
        "openai",
    ]
    assert not skipped
    assert [endpoint.model for endpoint in endpoints] == ["my-server/llama"]


def test_every_key_of_the_settings_stands_in_the_example(example: str) -> None:
    document = tomllib.loads(uncommented(example))

    assert not list(missing_keys(FileSettings, document))


def test_the_example_tells_the_true_defaults(example: str, tmp_path: Path) -> None:
    in_force, defaults = load(uncommented(example), tmp_path), load("", tmp_path)

    assert in_force.data_dir == defaults.data_dir
    for name in JOINED_DEFAULTS:
        assert getattr(in_force, name) == getattr(defaults, name), name
    for table in ("routing", "deadlines", "limits", "cors"):
        shown: Any = getattr(in_force, table)
        default: Any = getattr(defaults, table)
        for name in set(shown.__struct_fields__) - NO_DEFAULTS:
            assert getattr(shown, name) == getattr(default, name), f"{table}.{name}"
    assert in_force.providers["openai"].enabled == ProviderSettings().enabled
    assert in_force.providers["openai"].on_disconnect == ProviderSettings().on_disconnect
