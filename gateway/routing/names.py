"""What a model name means here: aliases, pins, slugs and variants. A name is never guessed."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError, ModelNotFoundError
from gateway.routing.plan import PlanInputs
from gateway.routing.pools import endpoints_of_pool, pool_of
from pricing.catalogue import Catalogue
from pricing.endpoint import Endpoint

Variant = Literal["floor", "nitro", "free", "online", "thinking", "extended", "exacto"]

VARIANTS: dict[str, Variant] = {
    ":floor": "floor",
    ":nitro": "nitro",
    ":free": "free",
    ":online": "online",
    ":thinking": "thinking",
    ":extended": "extended",
    ":exacto": "exacto",
}
"""Suffixes that change how a model is routed; any other suffix is part of the name.

``:online`` asks for a web search and ``:thinking`` switches reasoning on, which reading the request
has taken note of; ``:extended`` tries offers with the longest window first, ``:exacto`` those known
to serve both tools and schemas."""

AUTO = "auto"
"""The model of a target that stands for the pool."""

AUTO_NAMES = frozenset(
    {"auto", "openrouter/auto", "llmgateway/auto", "nordlys/hypernova", "intelligent-routing"}
)
"""Names under which the published APIs let the gateway choose the model."""

_LONGEST_QUOTED = 200


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What one of the request's names stands for."""

    name: str
    """As typed, after the pinned provider and the variant were taken off."""
    model: str
    """Canonical, or the endpoint's id when its model has no canonical name."""
    provider: str | None = None
    """The only provider that may serve it; None leaves the choice to routing."""
    endpoints: tuple[Endpoint, ...]
    """All offers the name stands for; under a pin those of the pinned provider."""
    variant: Variant | None = None
    is_auto: bool = False
    """The gateway chooses the model."""


def resolve_names(request: ChatRequest, inputs: PlanInputs) -> tuple[Target, ...]:
    """What the request's models stand for, in order; at least one.

    Raises:
        ModelNotFoundError: nobody serves one of them; carries up to three nearest names.
        InvalidRequestError: a name is ambiguous, or there is none and neither the key has a default
            nor ``auto`` a pool.
    """
    names = request.models
    if not names:
        default = inputs.caller.default_model
        if default is None and pool_of(inputs):
            default = AUTO
        if default is None:
            raise InvalidRequestError(
                "The request names no model and its key has no default: send `model`, or give the "
                "key a default model",
                param="model",
                code="missing_model",
            )
        names = (default,)
    return tuple([_resolve(name.strip(), request.dialect, inputs) for name in names])


def _resolve(name: str, dialect: Dialect, inputs: PlanInputs) -> Target:
    target = _look_up(name, dialect, inputs)
    if target is not None:
        return target
    base, colon, suffix = name.rpartition(":")
    variant = VARIANTS.get(colon + suffix)
    if variant is not None:
        target = _look_up(base, dialect, inputs)
        if target is not None:
            return msgspec.structs.replace(target, variant=variant)
    raise _not_found(name, dialect, inputs.catalogue)


def _look_up(name: str, dialect: Dialect, inputs: PlanInputs) -> Target | None:
    catalogue = inputs.catalogue
    aliased = inputs.aliases.get(name)
    if aliased is not None:
        return _aliased(name, aliased, inputs)
    if name in inputs.configured_models:
        return _model(name, catalogue)
    if name in AUTO_NAMES:
        return _auto(name, inputs)
    separator = _pin_separator(dialect, inputs)
    if separator is not None:
        provider, found, rest = name.partition(separator)
        if found:
            pinned = _pinned(provider.strip().lower(), rest, catalogue)
            if pinned is not None:
                return pinned
    return _model(name, catalogue) or _by_slug(name, catalogue)


def _pin_separator(dialect: Dialect, inputs: PlanInputs) -> str | None:
    if dialect is Dialect.FASTAPI:
        return ":"
    if dialect in {Dialect.OPENAI, Dialect.ANTHROPIC}:
        own = inputs.caller.slash_pins_provider
        return "/" if (inputs.slash_pins_provider if own is None else own) else None
    return None


def _auto(name: str, inputs: PlanInputs) -> Target:
    endpoints = endpoints_of_pool(inputs)
    if not endpoints:
        raise InvalidRequestError(
            f"`{name}` would let the gateway choose the model, and there is none to choose from: "
            "the operator declares a pool with `auto_models` in `[routing]`; or name one or more "
            "models in `model` and `models`",
            param="model",
            code="auto_unavailable",
        )
    return Target(name=name, model=AUTO, endpoints=endpoints, is_auto=True)


def _aliased(alias: str, name: str, inputs: PlanInputs) -> Target:
    """An alias means a model, whatever the dialect; it is not looked up among the aliases again."""
    target = _plain(name, inputs)
    if target is None:
        base, colon, suffix = name.rpartition(":")
        variant = VARIANTS.get(colon + suffix)
        target = variant and _plain(base, inputs)
        if not target:
            raise ModelNotFoundError(
                f"`{_quoted(alias)}` is an alias of `{name}`, which nobody serves here; correct "
                "the alias or enable a provider of that model",
                param="model",
            )
        target = msgspec.structs.replace(target, variant=variant)
    return msgspec.structs.replace(target, name=alias)


def _plain(name: str, inputs: PlanInputs) -> Target | None:
    catalogue = inputs.catalogue
    target = _model(name, catalogue)
    if target is None and name in AUTO_NAMES:
        return _auto(name, inputs)
    return target or _by_slug(name, catalogue)


def _model(name: str, catalogue: Catalogue) -> Target | None:
    endpoints = catalogue.endpoints_of(name)
    if not endpoints:
        return None
    first = endpoints[0]
    pin = None if first.has_canonical_model else first.provider
    return Target(name=name, model=first.model, provider=pin, endpoints=endpoints)


def _by_slug(slug: str, catalogue: Catalogue) -> Target | None:
    models = catalogue.models_of_slug(slug)
    if not models:
        return None
    model, *others = models
    if others:
        raise _ambiguous(slug, models)
    return Target(name=slug, model=model, endpoints=catalogue.endpoints_of(model))


def _pinned(provider: str, name: str, catalogue: Catalogue) -> Target | None:
    """The provider's own id first, then the canonical name or an alias, then the slug."""
    if provider not in catalogue.providers or not name:
        return None
    own = catalogue.endpoints_by_id.get(f"{provider}/{name}")
    if own is not None:
        return Target(name=name, model=own.model, provider=provider, endpoints=(own,))
    served: dict[str, tuple[Endpoint, ...]] = {
        model: endpoints
        for model in (name, *catalogue.models_of_slug(name))
        if (endpoints := _of_provider(catalogue.endpoints_of(model), provider))
    }
    if not served:
        return None
    if len(served) > 1 and name not in served:
        raise _ambiguous(f"{provider}/{name}", tuple(served))
    endpoints = served[name if name in served else next(iter(served))]
    return Target(name=name, model=endpoints[0].model, provider=provider, endpoints=endpoints)


def _of_provider(endpoints: Iterable[Endpoint], provider: str) -> tuple[Endpoint, ...]:
    return tuple(endpoint for endpoint in endpoints if endpoint.provider == provider)


def _ambiguous(name: str, models: tuple[str, ...]) -> InvalidRequestError:
    listed = ", ".join(f"`{model}`" for model in models)
    return InvalidRequestError(
        f"`{_quoted(name)}` is the name of several models: {listed}; name one of them in full",
        param="model",
        code="ambiguous_model",
        metadata={"models": list(models)},
    )


def _not_found(name: str, dialect: Dialect, catalogue: Catalogue) -> ModelNotFoundError:
    nearest = list(catalogue.nearest(name[:_LONGEST_QUOTED], 3))
    provider, colon, rest = name.partition(":")
    if dialect is Dialect.FASTAPI and colon and provider.strip().lower() in catalogue.providers:
        message = f"Provider `{provider}` does not serve `{_quoted(rest)}` here"
    else:
        message = f"There is no model `{_quoted(name)}` here"
    if nearest:
        message += "; the nearest names are " + ", ".join(f"`{model}`" for model in nearest)
    else:
        message += "; GET /v1/models lists what there is"
    return ModelNotFoundError(message, param="model", metadata={"nearest": nearest})


def _quoted(name: str) -> str:
    return name if len(name) <= _LONGEST_QUOTED else name[:_LONGEST_QUOTED] + "…"
