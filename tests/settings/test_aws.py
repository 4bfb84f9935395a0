"""How Bedrock is enabled: a key or credentials to sign with, and a region."""

from pathlib import Path

import pytest

from gateway.settings.enabled import EnabledProvider, find_enabled
from gateway.settings.load import SettingsError, load_settings
from gateway.settings.offer import make_offer
from pricing.catalogue import make_catalogue
from pricing.endpoint import Provider

KEY = "bedrock-api-key-never-shown"
PAIR = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
SHIPPED = make_catalogue(
    providers=[
        Provider(
            id="amazon-bedrock",
            name="Amazon Bedrock",
            protocol="bedrock",
            base_url_env="BEDROCK_BASE_URL",
            credential_env="AWS_BEARER_TOKEN_BEDROCK",
        )
    ],
    endpoints=[],
    models=[],
    version="test",
)
TABLE = "[providers.amazon-bedrock]\n"


def find(here: Path, text: str = "", **env: str) -> tuple[EnabledProvider | None, str]:
    (here / "tollway.toml").write_text(text)
    settings = load_settings(environment=env, directory=here)
    enabled, skipped = find_enabled(settings, SHIPPED, frozenset({"bedrock"}))
    return (enabled[0] if enabled else None), (skipped[0].reason if skipped else "")


def test_a_key_and_a_region_in_the_environment_are_enough(tmp_path: Path) -> None:
    found, _ = find(tmp_path, AWS_BEARER_TOKEN_BEDROCK=KEY, AWS_REGION="eu-west-3")

    assert found is not None
    assert found.base_url == "https://bedrock-runtime.eu-west-3.amazonaws.com"
    assert (found.secret, found.aws) == (KEY, None)
    assert not found.allow_private


def test_a_key_without_a_region_says_what_is_missing(tmp_path: Path) -> None:
    found, reason = find(tmp_path, AWS_BEARER_TOKEN_BEDROCK=KEY)

    assert found is None
    assert "AWS_REGION" in reason


def test_credentials_of_aws_alone_enable_nothing(tmp_path: Path) -> None:
    assert find(tmp_path, **PAIR, AWS_REGION="us-east-1") == (None, "")


def test_with_a_table_requests_are_signed_with_them(tmp_path: Path) -> None:
    found, _ = find(tmp_path, TABLE, **PAIR, AWS_DEFAULT_REGION="us-east-1", AWS_SESSION_TOKEN="t")

    assert found is not None
    assert found.aws is not None
    assert found.secret == ""
    assert found.aws.region == "us-east-1"
    assert found.aws.session_token == "t"
    assert PAIR["AWS_SECRET_ACCESS_KEY"] not in f"{found!r}{found.aws!r}"


def test_a_key_wins_over_credentials_to_sign_with(tmp_path: Path) -> None:
    found, _ = find(tmp_path, TABLE, **PAIR, AWS_BEARER_TOKEN_BEDROCK=KEY, AWS_REGION="us-east-1")

    assert found is not None
    assert (found.secret, found.aws) == (KEY, None)


def test_a_table_without_any_credential_is_skipped_with_the_remedy(tmp_path: Path) -> None:
    found, reason = find(tmp_path, TABLE + 'aws_region = "us-east-1"\n')

    assert found is None
    assert "AWS_BEARER_TOKEN_BEDROCK" in reason


def test_the_region_of_an_address_that_is_given_is_read_from_it(tmp_path: Path) -> None:
    url = "https://vpce-1-abc.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com"

    found, _ = find(tmp_path, TABLE + f'base_url = "{url}"\n', **PAIR)

    assert found is not None
    assert found.aws is not None
    assert (found.base_url, found.aws.region) == (url, "ap-southeast-2")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param('aws_region = "http://evil"', "aws_region", id="no-region"),
        pytest.param(
            'aws_region = "us-east-1"\naws_access_key_id = "AKIAPLAIN"',
            "aws_access_key_id",
            id="plain",
        ),
        pytest.param(
            'aws_region = "us-east-1"\naws_access_key_id = "env:AWS_ACCESS_KEY_ID"',
            "aws_secret_access_key",
            id="half",
        ),
    ],
)
def test_wrong_settings_name_the_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        find(tmp_path, TABLE + text + "\n", **PAIR)


def test_the_offer_holds_what_the_region_has_and_converse_is_for(tmp_path: Path) -> None:
    environment = {"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "eu-central-1"}
    (tmp_path / "tollway.toml").write_text("")

    offer = make_offer(load_settings(environment=environment, directory=tmp_path), None)

    ids = {endpoint.provider_model for endpoint in offer.catalogue.endpoints_by_id.values()}
    assert "eu.anthropic.claude-sonnet-4-5-20250929-v1:0" in ids
    assert "us.anthropic.claude-sonnet-4-5-20250929-v1:0" not in ids
    assert {endpoint.mode for endpoint in offer.catalogue.endpoints_by_id.values()} == {"chat"}
