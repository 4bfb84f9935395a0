"""The offers this installation knows: price tables read into one immutable, indexed value."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path

import msgspec

from pricing.declaration import endpoint_from_config
from pricing.endpoint import DataPolicy, Endpoint, Model, Provider, Thinking
from pricing.errors import CatalogueError
from pricing.loading import read_tables
from pricing.nearest import Names

__all__ = [
    "TABLES",
    "Catalogue",
    "CatalogueError",
    "DataPolicy",
    "Endpoint",
    "Model",
    "Provider",
    "Thinking",
    "endpoint_from_config",
    "load_catalogue",
    "make_catalogue",
]

TABLES = Path(__file__).parent / "tables"


def as_declared(endpoint: Endpoint) -> Endpoint:
    """Itself, where nothing more is known of the way to its provider."""
    return endpoint


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Every provider, model and endpoint, indexed. Never changed: layers make a new one.

    `version` is a hash of the content. Endpoints of a model stand in the order of their ids.
    `known_providers` has the ids of those that were left out, too. `complete` is what becomes here
    of an endpoint that the operator adds while the catalogue is in use.
    """

    version: str
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    endpoints_by_id: Mapping[str, Endpoint]
    endpoints_by_model: Mapping[str, tuple[Endpoint, ...]]
    known_providers: frozenset[str] = frozenset()
    complete: Callable[[Endpoint], Endpoint] = as_declared

    @cached_property
    def worked_out(self) -> dict[object, object]:
        """Whatever readers work out of this catalogue and want to find again while it is in use.

        Each reader uses keys of its own and keeps their number small.
        """
        return {}

    def endpoints_of(self, model: str) -> tuple[Endpoint, ...]:
        """All offers of a model, named by its id or an alias; empty when there is none."""
        return self.endpoints_by_model.get(self.model_named(model) or "", ())

    def model_named(self, name: str) -> str | None:
        """The id of the model called `name`, an id or an alias; None when nobody serves one."""
        if name in self.endpoints_by_model:
            return name
        model = self._model_by_alias.get(name)
        return model if model in self.endpoints_by_model else None

    def models_of_slug(self, slug: str) -> tuple[str, ...]:
        """Models whose name without the author, or one of whose aliases, is `slug`; sorted."""
        return self._models_by_slug.get(slug, ())

    def nearest(self, name: str, limit: int = 3) -> tuple[str, ...]:
        """Up to `limit` model names that look like `name`, best first, for messages only."""
        return self._model_names.nearest(name, limit)

    def with_endpoints(
        self,
        providers: Iterable[Provider] = (),
        endpoints: Iterable[Endpoint] = (),
        models: Iterable[Model] = (),
    ) -> "Catalogue":
        """This catalogue with others layered on top; what has the same id is replaced."""
        layer = (tuple(providers), tuple(models), tuple(endpoints))
        content = msgspec.msgpack.encode([self.version, *layer])
        return make_catalogue(
            providers=[*self.providers.values(), *layer[0]],
            models=[*self.models.values(), *layer[1]],
            endpoints=[*self.endpoints_by_id.values(), *layer[2]],
            version=hashlib.sha256(content).hexdigest()[:16],
            known_providers=self.known_providers,
            complete=self.complete,
        )

    def restricted_to(
        self, provider_ids: Iterable[str], *, without: Collection[str] = ()
    ) -> "Catalogue":
        """Only these providers and what they serve; ids that are unknown are passed over.

        ``without`` are ids of endpoints that are left out all the same.
        """
        kept = frozenset(provider_ids)
        endpoints = [
            e for e in self.endpoints_by_id.values() if e.provider in kept and e.id not in without
        ]
        served = {endpoint.model for endpoint in endpoints}
        content = f"{self.version} {sorted(kept)} {sorted(without)}".encode()
        return make_catalogue(
            providers=[p for p in self.providers.values() if p.id in kept],
            models=[m for m in self.models.values() if m.id in served],
            endpoints=endpoints,
            version=hashlib.sha256(content).hexdigest()[:16],
            known_providers=self.known_providers,
            complete=self.complete,
        )

    @cached_property
    def _model_by_alias(self) -> dict[str, str]:
        return {alias: m.id for m in self.models.values() for alias in m.aliases}

    @cached_property
    def _models_by_slug(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {}
        for model in self.models.values():
            if model.id not in self.endpoints_by_model:
                continue
            for name in (model.id, *model.aliases):
                found.setdefault(name.partition("/")[2] or name, set()).add(model.id)
        return {slug: tuple(sorted(models)) for slug, models in found.items()}

    @cached_property
    def _model_names(self) -> Names:
        return Names(self.endpoints_by_model)


def make_catalogue(
    *,
    providers: Iterable[Provider],
    endpoints: Iterable[Endpoint],
    models: Iterable[Model] = (),
    version: str,
    known_providers: Iterable[str] = (),
    complete: Callable[[Endpoint], Endpoint] = as_declared,
) -> Catalogue:
    """Indexes offers. Of two with the same id the later one stands.

    Canonical models that nobody described are named after their slug. `known_providers` are known
    beside those given. `complete` is told of at `Catalogue`.
    """
    endpoints_by_id = {endpoint.id: endpoint for endpoint in endpoints}
    by_model: dict[str, list[Endpoint]] = {}
    for endpoint_id in sorted(endpoints_by_id):
        endpoint = endpoints_by_id[endpoint_id]
        by_model.setdefault(endpoint.model, []).append(endpoint)
    described = {model.id: model for model in models}
    for model_id, offers in by_model.items():
        if model_id not in described and offers[0].has_canonical_model:
            author, _, slug = model_id.partition("/")
            described[model_id] = Model(id=model_id, name=slug or author, author=author)
    providers_by_id = {provider.id: provider for provider in providers}
    return Catalogue(
        version=version,
        providers=providers_by_id,
        models=described,
        endpoints_by_id=endpoints_by_id,
        endpoints_by_model={model: tuple(offers) for model, offers in by_model.items()},
        known_providers=frozenset(providers_by_id).union(known_providers),
        complete=complete,
    )


def load_catalogue(folder: Path | None = None, *, cache: Path | None = None) -> Catalogue:
    """The catalogue of a folder of tables, by default the shipped ones.

    `cache` is a file of ours beside the installation's data: tables that did not change since it
    was written are not parsed again. Raises `CatalogueError` naming file, key, value and remedy.
    """
    tables = read_tables(folder or TABLES, cache=cache)
    return make_catalogue(
        providers=tables.providers,
        endpoints=tables.endpoints,
        models=tables.models,
        version=tables.digest[:16],
    )
