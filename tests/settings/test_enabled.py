"""Which providers serve, with which address and credential, and why the others do not."""

from pathlib import Path
from typing import Any

import pytest

from gateway.settings.enabled import EnabledProvider, Skipped, find_enabled
from gateway.settings.load import SettingsError, load_settings
from gateway.settings.values import ProviderSettings
from pricing.catalogue import make_catalogue
from pricing.endpoint import Provider

SECRET = "sk-never-shown-0123456789"
SHIPPED = make_catalogue(
    providers=[
        Provider(
            id="openai",
            name="OpenAI",
            base_url="https://api.openai.com/v1",
            base_url_env="OPENAI_BASE_URL",
            credential_env="OPENAI_API_KEY",
        ),
        Provider(
            id="google",
            name="Google",
            base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            credential_env="GEMINI_API_KEY",
            credential_env_alternatives=("GOOGLE_API_KEY",),
        ),
        Provider(
            id="azure",
            name="Azure",
            base_url_env="AZURE_OPENAI_ENDPOINT",
            credential_env="AZURE_OPENAI_API_KEY",
        ),
        Provider(
            id="anthropic",
            name="Anthropic",
            protocol="anthropic",
            base_url="https://api.anthropic.com",
            credential_env="ANTHROPIC_API_KEY",
        ),
    ],
    endpoints=[],
    models=[],
    version="test",
)


def find(
    here: Path, text: str = "", extra: dict[str, ProviderSettings] | None = None, **env: str
) -> tuple[dict[str, EnabledProvider], dict[str, str]]:
    (here / "tollway.toml").write_text(text)
    settings = load_settings(environment=env, directory=here)
    enabled, skipped = find_enabled(settings, SHIPPED, frozenset({"openai"}), extra=extra)
    assert all(isinstance(entry, Skipped) for entry in skipped)
    return (
        {provider.id: provider for provider in enabled},
        {entry.provider: entry.reason for entry in skipped},
    )


def test_without_a_credential_or_a_table_nobody_serves(tmp_path: Path) -> None:
    assert find(tmp_path) == ({}, {})


def test_a_credential_in_the_environment_is_enough(tmp_path: Path) -> None:
    enabled, skipped = find(tmp_path, OPENAI_API_KEY=f" {SECRET}\n")

    openai = enabled["openai"]
    assert openai.secret == SECRET
    assert openai.base_url == "https://api.openai.com/v1"
    assert not openai.allow_private
    assert not openai.is_of_operator
    assert (set(enabled), skipped) == ({"openai"}, {})


@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_credential_is_none(tmp_path: Path, value: str) -> None:
    assert find(tmp_path, OPENAI_API_KEY=value) == ({}, {})


def test_other_names_of_a_credential_count_in_their_order(tmp_path: Path) -> None:
    only_second, _ = find(tmp_path, GOOGLE_API_KEY="second")
    both, _ = find(tmp_path, GOOGLE_API_KEY="second", GEMINI_API_KEY="first")

    assert only_second["google"].secret == "second"
    assert both["google"].secret == "first"


def test_several_credentials_are_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    several = '[providers.openai]\napi_keys = ["env:SECOND", "env:THIRD"]\n'
    with_first = several + 'api_key = "env:FIRST"\n'

    openai = find(tmp_path, several, SECOND="sk-2", THIRD="sk-3")[0]["openai"]
    assert (openai.secret, openai.further_secrets) == ("sk-2", ("sk-3",))
    openai = find(tmp_path, with_first, FIRST="sk-1", SECOND="sk-2", THIRD="sk-3")[0]["openai"]
    assert (openai.secret, openai.further_secrets) == ("sk-1", ("sk-2", "sk-3"))
    assert "sk-" not in repr(openai)


def test_the_same_credential_twice_is_refused_without_being_shown(tmp_path: Path) -> None:
    table = '[providers.openai]\napi_keys = ["env:FIRST", "env:SECOND"]\n'

    with pytest.raises(SettingsError, match=r"openai\.api_keys\[1\]: .*as api_keys\[0\]") as caught:
        find(tmp_path, table, FIRST="sk-1", SECOND="sk-1")
    assert "sk-1" not in str(caught.value)


def test_a_credential_that_is_missing_is_named_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"openai\.api_keys\[1\]: .*SECOND is not set"):
        find(
            tmp_path,
            '[providers.openai]\napi_keys = ["env:FIRST", "env:SECOND"]\n',
            FIRST="sk-1",
        )


def test_an_address_from_the_environment_counts_as_allowed_by_name(tmp_path: Path) -> None:
    enabled, _ = find(tmp_path, OPENAI_API_KEY="k", OPENAI_BASE_URL="http://127.0.0.1:9102/v1/")

    assert enabled["openai"].base_url == "http://127.0.0.1:9102/v1"
    assert enabled["openai"].provider.base_url == "http://127.0.0.1:9102/v1/"
    assert enabled["openai"].allow_private


def test_an_address_in_the_file_must_be_allowed_beside_it(tmp_path: Path) -> None:
    table = "[providers.mock]\nbase_url = 'http://127.0.0.1:9102/v1'\n"
    enabled, _ = find(tmp_path, table)
    allowed, _ = find(tmp_path, table + "allow_private = true\n")

    assert not enabled["mock"].allow_private
    assert allowed["mock"].allow_private


def test_the_address_in_the_file_beats_the_environments(tmp_path: Path) -> None:
    enabled, _ = find(
        tmp_path,
        "[providers.openai]\nbase_url = 'https://proxy.example/v1'\n",
        OPENAI_API_KEY="k",
        OPENAI_BASE_URL="http://127.0.0.1:1/v1",
    )

    assert enabled["openai"].base_url == "https://proxy.example/v1"
    assert not enabled["openai"].allow_private


def test_a_provider_of_the_operators_own_needs_no_credential(tmp_path: Path) -> None:
    enabled, _ = find(
        tmp_path, "[providers.local]\nbase_url = 'http://127.0.0.1:11434/v1'\nallow_private = true"
    )

    local = enabled["local"]
    assert (local.secret, local.is_of_operator) == ("", True)
    assert (local.provider.name, local.provider.protocol) == ("local", "openai")


def test_a_provider_of_the_operators_own_needs_an_address(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"providers\.local: base_url is missing"):
        find(tmp_path, "[providers.local]\n")


@pytest.mark.parametrize(
    "address",
    [
        "ftp://example.com",
        "example.com/v1",
        "https://",
        "https://user:secret@example.com/v1",
        "https://example.com/v1?key=secret",
        "https://example.com/v1#part",
        "http://[::1/v1",
        "http://example.com:99999/v1",
    ],
)
def test_what_is_no_plain_address_is_refused_without_being_shown(
    tmp_path: Path, address: str
) -> None:
    with pytest.raises(SettingsError, match=r"providers\.local: base_url must be") as caught:
        find(tmp_path, f"[providers.local]\nbase_url = '{address}'\n")
    assert "secret" not in str(caught.value)


def test_a_disabled_provider_does_not_serve_whatever_the_environment_holds(tmp_path: Path) -> None:
    enabled, skipped = find(
        tmp_path, "[providers.openai]\nenabled = false\n", OPENAI_API_KEY="k", GEMINI_API_KEY="k"
    )

    assert set(enabled) == {"google"}
    assert skipped == {}


def test_a_protocol_that_is_not_spoken_is_skipped_with_the_reason(tmp_path: Path) -> None:
    enabled, skipped = find(tmp_path, ANTHROPIC_API_KEY="k")

    assert enabled == {}
    assert skipped == {"anthropic": "its protocol (anthropic) is not spoken yet"}


def test_an_unknown_address_is_skipped_with_the_variable_to_set(tmp_path: Path) -> None:
    _, skipped = find(tmp_path, AZURE_OPENAI_API_KEY="k")
    assert skipped == {"azure": "its address is not known; set AZURE_OPENAI_ENDPOINT"}

    enabled, _ = find(
        tmp_path, AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_ENDPOINT="https://me.openai.azure.com"
    )
    assert enabled["azure"].base_url == "https://me.openai.azure.com"


def test_the_file_may_say_where_the_credential_is(tmp_path: Path) -> None:
    table = "[providers.openai]\napi_key = 'env:TEAM_KEY'\n"
    enabled, _ = find(tmp_path, table, TEAM_KEY=SECRET, OPENAI_API_KEY="other")
    assert enabled["openai"].secret == SECRET

    with pytest.raises(SettingsError, match=r"providers\.openai\.api_key: .* TEAM_KEY is not set"):
        find(tmp_path, table)


def test_the_file_may_change_protocol_and_way_of_counting(tmp_path: Path) -> None:
    enabled, _ = find(
        tmp_path,
        "[providers.anthropic]\nprotocol = 'openai'\nusage_flavour = 'deepseek'\n",
        ANTHROPIC_API_KEY="k",
    )

    assert enabled["anthropic"].provider.protocol == "openai"
    assert enabled["anthropic"].provider.usage_flavour == "deepseek"


def test_further_tables_serve_as_if_they_stood_in_the_file(tmp_path: Path) -> None:
    extra = {"simulated": ProviderSettings(base_url="http://127.0.0.1:1/v1", allow_private=True)}
    enabled, _ = find(tmp_path, extra=extra)

    assert enabled["simulated"].allow_private


def test_providers_come_in_alphabetical_order(tmp_path: Path) -> None:
    enabled, _ = find(
        tmp_path,
        "[providers.zeta]\nbase_url = 'https://z.example'\n"
        "[providers.alpha]\nbase_url = 'https://a.example'\n",
        OPENAI_API_KEY="k",
        GEMINI_API_KEY="k",
    )

    assert list(enabled) == ["alpha", "google", "openai", "zeta"]


def test_no_credential_is_printed(tmp_path: Path) -> None:
    enabled: dict[str, Any] = find(tmp_path, OPENAI_API_KEY=SECRET)[0]

    assert SECRET not in f"{enabled} {enabled['openai']} {enabled['openai']!r}"
