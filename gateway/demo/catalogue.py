"""The simulated providers' endpoints alone, whatever else is enabled here."""

import msgspec

from gateway.settings.values import ProviderSettings
from gateway.settings.wire_facts import assume_wire_facts
from gateway.simulator.manifest import MANIFEST, manifest_tables
from pricing.catalogue import Catalogue, endpoint_from_config, make_catalogue
from pricing.endpoint import Provider

_NOWHERE = "http://127.0.0.1:9"


def simulated_catalogue() -> Catalogue:
    """What the simulated providers offer at their list prices."""
    tables = msgspec.convert(manifest_tables(_NOWHERE), dict[str, ProviderSettings])
    names = {provider.id: provider for provider in MANIFEST}
    return make_catalogue(
        providers=[Provider(id=one.id, name=one.name) for one in MANIFEST],
        endpoints=[
            assume_wire_facts(endpoint_from_config(provider, table), names[provider].protocol)
            for provider, settings in tables.items()
            for table in settings.endpoints
        ],
        version="simulated",
    )
