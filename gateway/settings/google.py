"""What Vertex AI needs instead of a key: a service account, a project and a region."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.execution.google_token import ServiceAccount
from gateway.settings.load import SettingsError
from gateway.settings.values import ProviderSettings
from pricing.catalogue import Provider

_LOCATION: Final = re.compile(r"[a-z]+(?:-[a-z]+[0-9]+)?")
_PROJECT: Final = re.compile(r"[a-z0-9.:-]{4,64}")
_FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_PROJECT_VARIABLE: Final = "GOOGLE_CLOUD_PROJECT"
_LOCATION_VARIABLE: Final = "GOOGLE_CLOUD_LOCATION"
_SEVERAL_REGIONS: Final = frozenset({"us", "eu"})
_LOCAL: Final = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")
"""Where a stand-in for Google's token service may be asked without TLS."""


class _KeyFile(msgspec.Struct, kw_only=True):
    type: str = ""
    client_email: str = ""
    private_key: str = ""
    private_key_id: str | None = None
    project_id: str | None = None
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 -- an address


def is_on_vertex(shipped: Provider | None, table: ProviderSettings) -> bool:
    """Whether a provider that speaks Gemini does so on Vertex AI, where an address is a project."""
    if table.google_credentials_file or table.google_project or table.google_region:
        return True
    return shipped is not None and shipped.protocol == "gemini" and shipped.base_url is None


def names_vertex(shipped: Provider | None, environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for Vertex AI: a credential alone may be meant for others."""
    return is_on_vertex(shipped, ProviderSettings()) and all(
        environment.get(name, "").strip() for name in (_FILE, _LOCATION_VARIABLE)
    )


def find_service_account(
    name: str, table: ProviderSettings, environment: Mapping[str, str]
) -> ServiceAccount | None:
    """The service account of the table's file, or of the environment's; None when neither is named.

    Raises:
        SettingsError: the file is not one of a service account; what is in it is never shown.
    """
    where = table.google_credentials_file or environment.get(_FILE, "").strip()
    if not where:
        return None
    try:
        content = Path(where).expanduser().read_bytes()
    except OSError as exc:
        raise SettingsError(f"providers.{name}: cannot read {where}: {exc.strerror}") from exc
    try:
        found = msgspec.json.decode(content, type=_KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Not chained: the exception may hold a part of the file.
        raise SettingsError(f"providers.{name}: {where} is not a Google key file") from None
    if found.type != "service_account" or not found.client_email or not found.private_key:
        raise SettingsError(
            f"providers.{name}: {where} is not the key file of a service account; make one under "
            "IAM > Service accounts > Keys"
        )
    if not found.token_uri.startswith(("https://", *_LOCAL)):
        raise SettingsError(f"providers.{name}: the token_uri in {where} must begin with https://")
    return ServiceAccount(
        client_email=found.client_email,
        private_key=found.private_key,
        private_key_id=found.private_key_id,
        project_id=found.project_id,
        token_uri=found.token_uri,
    )


def vertex_address(
    name: str,
    table: ProviderSettings,
    environment: Mapping[str, str],
    account: ServiceAccount | None,
    base_url: str | None,
) -> str | None:
    """Where Vertex AI answers for a project and region; None when either is not known.

    A ``base_url`` is kept, and gets both when it does not name a publisher.

    Raises:
        SettingsError: one of them has not the form of one.
    """
    if base_url is not None and "/publishers/" in base_url:
        return base_url
    project = table.google_project or environment.get(_PROJECT_VARIABLE, "").strip()
    project = project or (account.project_id if account is not None else None)
    location = table.google_region or environment.get(_LOCATION_VARIABLE, "").strip()
    if not project or not location:
        return None
    if _PROJECT.fullmatch(project) is None:
        raise SettingsError(
            f"providers.{name}: google_project {project[:64]!r} is no project id; it is written "
            "like my-project-123456"
        )
    if _LOCATION.fullmatch(location) is None:
        raise SettingsError(
            f"providers.{name}: google_region {location[:32]!r} is no region; write global, or one "
            "like europe-west1"
        )
    base_url = base_url or f"https://{_host(location)}/v1"
    return f"{base_url.rstrip('/')}/projects/{project}/locations/{location}/publishers/google"


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _SEVERAL_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"
