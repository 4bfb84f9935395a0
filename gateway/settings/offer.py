"""What can be routed to here: the enabled providers and the endpoints they offer."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.providers.bedrock_regions import unreached_models
from gateway.providers.registry import SUPPORTED_PROTOCOLS, is_reached
from gateway.settings.enabled import EnabledProvider, Skipped, find_enabled
from gateway.settings.regions import region_of
from gateway.settings.values import ProviderSettings, Settings
from gateway.settings.wire_facts import apply_wire_facts, assume_wire_facts
from gateway.simulator.manifest import manifest_tables
from pricing.catalogue import (
    Catalogue,
    CatalogueError,
    Endpoint,
    endpoint_from_config,
    load_catalogue,
)
from pricing.regions import in_region, regions_of


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What can be routed to: the enabled providers and their endpoints."""

    catalogue: Catalogue
    providers: tuple[EnabledProvider, ...]
    skipped: tuple[Skipped, ...]
    configured_models: frozenset[str]


def make_offer(settings: Settings, simulated_url: str | None) -> Offer:
    """The providers that serve here and their endpoints.

    Raises:
        SettingsError: a provider's table is incomplete.
        CatalogueError: an endpoint's table is wrong.
    """
    shipped = load_catalogue(cache=settings.data_dir / "catalogue.cache")
    simulated: dict[str, ProviderSettings] = (
        msgspec.convert(manifest_tables(simulated_url), dict[str, ProviderSettings])
        if simulated_url
        else {}
    )
    providers, skipped = find_enabled(
        settings, shipped, frozenset(SUPPORTED_PROTOCOLS), extra=simulated
    )
    protocols = {provider.id: provider.provider.protocol for provider in providers}
    endpoints = [
        assume_wire_facts(_declared(settings, provider.id, table), protocols[provider.id])
        for provider in providers
        for table in provider.settings.endpoints
    ]
    unreached = {
        endpoint.id
        for endpoint in shipped.endpoints_by_id.values()
        if endpoint.provider in protocols
        and not is_reached(endpoint.provider, protocols[endpoint.provider], endpoint.provider_model)
    }
    for provider in providers:
        if provider.provider.protocol == "bedrock":
            unreached |= _unreached_of_bedrock(provider, shipped)
    reached = shipped.restricted_to(protocols, without=unreached)
    changed = apply_wire_facts(reached.endpoints_by_id.values(), protocols)
    beside = reached.with_endpoints([], [*changed, *endpoints])
    catalogue = reached.with_endpoints(
        [provider.provider for provider in providers],
        [*changed, *endpoints, *_in_their_regions(providers, beside.endpoints_by_id.values())],
    )
    by_id = {provider.id: provider for provider in providers}
    complete = functools.partial(_completed, providers=by_id)
    return Offer(
        catalogue=msgspec.structs.replace(catalogue, complete=complete),
        providers=providers,
        skipped=skipped,
        configured_models=frozenset(endpoint.model for endpoint in endpoints),
    )


def _in_their_regions(
    providers: Iterable[EnabledProvider], endpoints: Iterable[Endpoint]
) -> list[Endpoint]:
    """Those that cost something else where their provider processes."""
    by_provider: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_provider.setdefault(endpoint.provider, []).append(endpoint)
    found: list[Endpoint] = []
    for provider in providers:
        own = by_provider.get(provider.id, [])
        region = region_of(provider, regions_of(own))
        if region is not None:
            found += [
                there for endpoint in own if (there := in_region(endpoint, region)) is not endpoint
            ]
    return found


def _completed(endpoint: Endpoint, *, providers: Mapping[str, EnabledProvider]) -> Endpoint:
    """One that is added while this runs, as if it stood in the settings."""
    provider = providers.get(endpoint.provider)
    if provider is None:
        return endpoint
    known, named = regions_of([endpoint]), provider.settings.region
    if named is None or named in known:
        region = region_of(provider, known)
        if region is not None:
            endpoint = in_region(endpoint, region)
    return assume_wire_facts(endpoint, provider.provider.protocol)


def _declared(settings: Settings, provider: str, table: dict[str, Any]) -> Endpoint:
    try:
        return endpoint_from_config(provider, table)
    except CatalogueError as exc:
        if settings.config_path is None:
            raise
        text = settings.config_path.read_text("utf-8", errors="replace")
        raise exc.in_file(str(settings.config_path), text, provider=provider) from None


def _unreached_of_bedrock(provider: EnabledProvider, shipped: Catalogue) -> set[str]:
    """Ids of endpoints that its region does not offer, or that Converse is not for."""
    own = [
        endpoint
        for endpoint in shipped.endpoints_by_id.values()
        if endpoint.provider == provider.id
    ]
    chats = {endpoint.provider_model: endpoint.id for endpoint in own if endpoint.mode == "chat"}
    others = {endpoint.id for endpoint in own if endpoint.mode != "chat"}
    return others | {chats[model] for model in unreached_models(chats, provider.base_url)}
