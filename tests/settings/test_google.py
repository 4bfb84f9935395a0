"""Vertex AI is enabled by a key file, a project and a region."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.settings.enabled import EnabledProvider, find_enabled
from gateway.settings.load import SettingsError, load_settings
from gateway.settings.offer import make_offer
from gateway.settings.values import Flags
from pricing.catalogue import load_catalogue

SHIPPED = load_catalogue()
KEY_FILE: dict[str, Any] = {
    "type": "service_account",
    "client_email": "robot@tolls.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n",
    "private_key_id": "k1",
    "project_id": "tolls-1234",
}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(KEY_FILE))
    return path


def look(
    tmp_path: Path, *, table: str = "", **environment: str
) -> tuple[EnabledProvider | None, str]:
    """The provider as it is enabled, or why it is not."""
    config = tmp_path / "tollway.toml"
    config.write_text(table)
    settings = load_settings(Flags(config=config), environment=environment, directory=tmp_path)
    enabled, skipped = find_enabled(settings, SHIPPED, frozenset({"gemini", "openai"}))
    reasons = {one.provider: one.reason for one in skipped}
    found = next((one for one in enabled if one.id == "google-vertex"), None)
    return found, reasons.get("google-vertex", "")


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("europe-west1", "europe-west1-aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_the_environment_enables_it(tmp_path: Path, key_file: Path, region: str, host: str) -> None:
    found, _ = look(
        tmp_path,
        GOOGLE_APPLICATION_CREDENTIALS=str(key_file),
        GOOGLE_CLOUD_LOCATION=region,
    )

    assert found is not None
    project = f"projects/tolls-1234/locations/{region}/publishers/google"
    assert found.base_url == f"https://{host}/v1/{project}"
    assert found.google is not None
    assert found.google.client_email == KEY_FILE["client_email"]
    assert found.secret == ""
    assert "secret" not in repr(found)


def test_a_credential_alone_may_be_meant_for_others(tmp_path: Path, key_file: Path) -> None:
    found, reason = look(tmp_path, GOOGLE_APPLICATION_CREDENTIALS=str(key_file))

    assert (found, reason) == (None, "")


def test_the_table_wins_over_the_environment(tmp_path: Path, key_file: Path) -> None:
    table = f"""[providers.google-vertex]
google_credentials_file = "{key_file}"
google_project = "other-project"
google_region = "us-central1"
base_url = "http://127.0.0.1:9102/gemini/v1"
allow_private = true
"""

    found, _ = look(tmp_path, table=table, GOOGLE_CLOUD_LOCATION="global")

    assert found is not None
    assert found.base_url == (
        "http://127.0.0.1:9102/gemini/v1/projects/other-project/locations/us-central1"
        "/publishers/google"
    )


def test_a_token_of_ones_own_needs_no_key_file(tmp_path: Path) -> None:
    table = """[providers.google-vertex]
api_key = "env:TOKEN"
google_project = "tolls-1234"
google_region = "global"
"""

    found, _ = look(tmp_path, table=table, TOKEN="ya29.mine")

    assert found is not None
    assert (found.secret, found.google) == ("ya29.mine", None)


def test_what_is_missing_is_named(tmp_path: Path, key_file: Path) -> None:
    table = "[providers.google-vertex]\n"

    _, without_credential = look(tmp_path, table=table)
    _, without_region = look(tmp_path, table=table, GOOGLE_APPLICATION_CREDENTIALS=str(key_file))

    assert "GOOGLE_APPLICATION_CREDENTIALS" in without_credential
    assert "GOOGLE_CLOUD_LOCATION" in without_region


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"type": "authorized_user"}, "not the key file of a service account", id="user"
        ),
        pytest.param({"private_key": ""}, "not the key file of a service account", id="no-key"),
        pytest.param({"token_uri": "http://evil.example"}, "must begin with https", id="plain"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(KEY_FILE | change))

    with pytest.raises(SettingsError, match=message) as caught:
        look(tmp_path, GOOGLE_APPLICATION_CREDENTIALS=str(path), GOOGLE_CLOUD_LOCATION="global")

    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_file_that_is_no_key_file_is_refused_without_showing_it(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match="not a Google key file"):
        look(tmp_path, GOOGLE_APPLICATION_CREDENTIALS=str(path), GOOGLE_CLOUD_LOCATION="global")


@pytest.mark.parametrize(
    ("project", "region"), [("a/b", "global"), ("tolls-1234", "../evil"), ("tolls-1234", "x.y")]
)
def test_project_and_region_cannot_bend_the_address(
    tmp_path: Path, key_file: Path, project: str, region: str
) -> None:
    with pytest.raises(SettingsError, match="google_"):
        look(
            tmp_path,
            GOOGLE_APPLICATION_CREDENTIALS=str(key_file),
            GOOGLE_CLOUD_PROJECT=project,
            GOOGLE_CLOUD_LOCATION=region,
        )


def test_models_of_other_makers_are_not_offered_over_geminis_protocol(
    tmp_path: Path, key_file: Path
) -> None:
    environment = {
        "GOOGLE_APPLICATION_CREDENTIALS": str(key_file),
        "GOOGLE_CLOUD_LOCATION": "global",
    }
    settings = load_settings(Flags(data_dir=tmp_path), environment=environment, directory=tmp_path)

    offer = make_offer(settings, None)

    names = {endpoint.provider_model for endpoint in offer.catalogue.endpoints_by_id.values()}
    assert "gemini-3.8-flash" in names
    assert all(name.startswith("gemini-") for name in names)
