"""The models that ``auto`` chooses between: the operator's, else the curated ones of the tables.

Never the whole catalogue: the cheapest of everything was measured to cost 7 to 63 points of
accuracy.
"""

from typing import cast

from gateway.routing.plan import PlanInputs
from pricing.catalogue import Catalogue
from pricing.endpoint import Endpoint

_KEPT = 8


def pool_of(inputs: PlanInputs) -> tuple[str, ...]:
    """Canonical models in the order declared; those that nobody serves here are left out."""
    return _pool(inputs.catalogue, inputs.auto_pool)[0]


def endpoints_of_pool(inputs: PlanInputs) -> tuple[Endpoint, ...]:
    """All offers of the pool's models."""
    return _pool(inputs.catalogue, inputs.auto_pool)[1]


def _pool(
    catalogue: Catalogue, declared: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Endpoint, ...]]:
    key = ("auto pool", declared)
    found = catalogue.worked_out.get(key)
    if found is None:
        names = declared or [model.id for model in catalogue.models.values() if model.auto]
        served = [model for name in names if (model := catalogue.model_named(name)) is not None]
        models = tuple(dict.fromkeys(served))
        endpoints = tuple([e for model in models for e in catalogue.endpoints_of(model)])
        found = (models, endpoints)
        if len(catalogue.worked_out) < _KEPT:
            catalogue.worked_out[key] = found
    return cast("tuple[tuple[str, ...], tuple[Endpoint, ...]]", found)
