"""Which providers serve here: those with a credential in the environment or a table in the file."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway.execution.aws_signing import AwsCredential
from gateway.execution.google_token import ServiceAccount
from gateway.settings.aws import bedrock_address, find_aws_credential
from gateway.settings.google import (
    find_service_account,
    is_on_vertex,
    names_vertex,
    vertex_address,
)
from gateway.settings.load import SettingsError, read_secret
from gateway.settings.values import ProviderSettings, Settings
from pricing.catalogue import Catalogue, Provider


class EnabledProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that requests may go to. ``secret`` is a credential: never log this value."""

    provider: Provider
    base_url: str
    secret: str
    """Empty when the service asks for none."""
    further_secrets: tuple[str, ...] = ()
    """Credentials beside it, used in turn."""
    aws: AwsCredential | None = None
    """Signs requests where there is no secret to send along."""
    google: ServiceAccount | None = None
    """Gets access tokens where there is no secret that lasts."""
    allow_private: bool
    settings: ProviderSettings
    is_of_operator: bool
    """Not one of the shipped tables."""

    @property
    def id(self) -> str:
        return self.provider.id

    def __repr__(self) -> str:
        return f"EnabledProvider({self.provider.id})"


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that was asked for and cannot serve, and why."""

    provider: str
    reason: str


def find_enabled(
    settings: Settings,
    catalogue: Catalogue,
    supported_protocols: frozenset[str],
    *,
    extra: Mapping[str, ProviderSettings] | None = None,
) -> tuple[tuple[EnabledProvider, ...], tuple[Skipped, ...]]:
    """Enabled providers in alphabetical order, and those that were asked for but cannot serve.

    Args:
        settings: the file's providers and the environment.
        catalogue: the shipped providers.
        supported_protocols: wire protocols that this version speaks.
        extra: further provider tables (the simulated ones), as if they stood in the file.

    Raises:
        SettingsError: a provider table is incomplete.
    """
    tables = dict(settings.providers) | dict(extra or {})
    enabled: list[EnabledProvider] = []
    skipped: list[Skipped] = []
    for name in sorted({*catalogue.providers, *tables}):
        table = tables.get(name)
        shipped = catalogue.providers.get(name)
        if table is not None and not table.enabled:
            continue
        secrets = _find_secrets(name, shipped, table, settings.environment)
        if table is None and not secrets and not names_vertex(shipped, settings.environment):
            continue
        found = _enable(name, shipped, table or ProviderSettings(), secrets, settings)
        if isinstance(found, Skipped):
            skipped.append(found)
        elif found.provider.protocol not in supported_protocols:
            skipped.append(
                Skipped(
                    provider=name,
                    reason=f"its protocol ({found.provider.protocol}) is not spoken yet",
                )
            )
        else:
            enabled.append(found)
    return tuple(enabled), tuple(skipped)


def _find_secrets(
    name: str,
    shipped: Provider | None,
    table: ProviderSettings | None,
    environment: Mapping[str, str],
) -> tuple[str, ...]:
    """The credentials of a provider; none where the service asks for none, or has none here."""
    if table is not None and (table.api_key or table.api_keys):
        return _read_all(name, table, environment)
    if shipped is None:
        return ()
    names = [shipped.credential_env, *shipped.credential_env_alternatives]
    for variable in names:
        if variable and environment.get(variable, "").strip():
            return (environment[variable].strip(),)
    return ()


def _read_all(
    name: str, table: ProviderSettings, environment: Mapping[str, str]
) -> tuple[str, ...]:
    """The table's credentials, `api_key` first."""
    references = [(f"api_keys[{n}]", reference) for n, reference in enumerate(table.api_keys)]
    if table.api_key is not None:
        references.insert(0, ("api_key", table.api_key))
    found: dict[str, str] = {}
    for key, reference in references:
        secret = read_secret(f"providers.{name}.{key}", reference, environment)
        if secret in found:
            raise SettingsError(
                f"providers.{name}.{key}: the same credential as {found[secret]}; remove one"
            )
        found[secret] = key
    return tuple(found)


def _enable(
    name: str,
    shipped: Provider | None,
    table: ProviderSettings,
    secrets: tuple[str, ...],
    settings: Settings,
) -> EnabledProvider | Skipped:
    base_url = table.base_url
    if base_url is None and shipped is not None and shipped.base_url_env:
        base_url = settings.environment.get(shipped.base_url_env, "").strip() or None
    # An address that the operator gives counts as allowed by name; a table's own never does.
    is_given = base_url is not None
    protocol = table.protocol or (shipped.protocol if shipped is not None else "openai")
    if base_url is None and shipped is not None:
        base_url = shipped.base_url
    account: ServiceAccount | None = None
    if protocol == "gemini" and is_on_vertex(shipped, table):
        account = None if secrets else find_service_account(name, table, settings.environment)
        if account is None and not secrets:
            return Skipped(
                provider=name,
                reason="it has no credential; set GOOGLE_APPLICATION_CREDENTIALS to the key file "
                "of a service account",
            )
        base_url = vertex_address(name, table, settings.environment, account, base_url)
        if base_url is None:
            return Skipped(
                provider=name,
                reason="its project or region is not known; set GOOGLE_CLOUD_PROJECT and "
                "GOOGLE_CLOUD_LOCATION",
            )
    if base_url is None and protocol == "bedrock":
        base_url = bedrock_address(name, table, settings.environment)
        if base_url is None:
            return Skipped(provider=name, reason="its region is not known; set AWS_REGION")
    if base_url is None:
        if shipped is None:
            raise SettingsError(f"providers.{name}: base_url is missing; give the API's address")
        variable = shipped.base_url_env or "base_url in tollway.toml"
        return Skipped(provider=name, reason=f"its address is not known; set {variable}")
    if not _is_plain(base_url):
        raise SettingsError(
            f"providers.{name}: base_url must be http(s)://host[:port]/path without user or query"
        )
    fields: dict[str, Any] = {"base_url": base_url}
    if table.protocol is not None:
        fields["protocol"] = table.protocol
    if table.usage_flavour is not None:
        fields["usage_flavour"] = table.usage_flavour
    provider = (
        msgspec.structs.replace(shipped, **fields)
        if shipped is not None
        else Provider(id=name, name=name, **fields)
    )
    aws: AwsCredential | None = None
    if protocol == "bedrock" and not secrets:
        aws = find_aws_credential(name, table, settings.environment, base_url)
        if aws is None:
            return Skipped(
                provider=name,
                reason="it has no credential; set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY",
            )
    is_from_environment = is_given and table.base_url is None
    return EnabledProvider(
        provider=provider,
        base_url=base_url.rstrip("/"),
        secret=secrets[0] if secrets else "",
        further_secrets=secrets[1:],
        aws=aws,
        google=account,
        allow_private=table.allow_private or is_from_environment,
        settings=table,
        is_of_operator=shipped is None,
    )


def _is_plain(base_url: str) -> bool:
    try:
        parts = urlsplit(base_url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and has_port
        and not (parts.username or parts.password or parts.query or parts.fragment)
    )
