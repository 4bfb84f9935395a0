"""``tollway prices``: what the endpoints of a model cost now, and where the figures come from."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from gateway.cli.catalogues import every_table, offered
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.price_origin import origin_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.settings.values import Settings
from gateway.storage.price_changes import load_price_changes
from pricing.catalogue import Catalogue, Endpoint
from pricing.nearest import Names
from pricing.operator_layer import PriceChange, apply_changes
from pricing.price import Price, PriceVersion, resolve

prices = App(name="prices", help="Show what endpoints cost, and change it.")
# By name, so that each loads only what it needs.
for _name, _command in (
    ("set", "price_changes:set_price"),
    ("discount", "price_changes:discount"),
    ("disable", "price_changes:disable"),
    ("revoke", "price_changes:revoke"),
    ("history", "price_changes:history"),
    ("diff", "price_check:diff"),
    ("check", "price_check:check"),
    ("import", "price_import:import_prices"),
    ("proposals", "price_import:proposals"),
    ("accept", "price_import:accept"),
    ("refuse", "price_import:refuse"),
):
    prices.command(f"gateway.cli.{_command}", name=_name)
_UNIT_KEYS = ("request_usd", "web_search_usd", "image_usd")


class ShownPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint and its price at one instant."""

    endpoint: str
    provider: str
    model: str
    is_enabled: bool
    """Its provider serves here."""
    context_tokens: int | None
    at: datetime
    prompt_tokens: int
    price: Price | None
    """None: unknown, which is never 0."""
    is_disabled: bool
    """The operator switched it off."""
    set_by: str | None
    """``tables``, or the operator's change that made the price."""
    conditions: tuple[str, ...]
    """What else the price depends on."""


@prices.command
def show(
    model: str,
    /,
    *,
    prompt_tokens: int = 0,
    at: datetime | None = None,
    enabled: Annotated[bool, Parameter(negative="")] = False,
    tables: Annotated[bool, Parameter(negative="")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the price of every endpoint of a model, in USD per million tokens.

    Args:
        model: as openai/gpt-4o-mini, gpt-4o-mini, or an endpoint's id.
        prompt_tokens: for prices that depend on the prompt's length.
        at: for prices of another time; default: now.
        enabled: only providers that serve here.
        tables: without what was changed here.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    at = at or datetime.now(UTC)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if prompt_tokens < 0:
        raise CommandError(f"--prompt-tokens is {prompt_tokens}; a prompt has 0 tokens or more")
    changes = [] if tables else _changes(settings, quiet=as_json)
    shown = _shown(
        settings, model, changes, prompt_tokens=prompt_tokens, at=at, only_enabled=enabled
    )
    if as_json:
        print_json(shown)
        return
    print_table(
        [
            "endpoint",
            "serves",
            "context",
            "input",
            "cache read",
            "output",
            "reasoning",
            "other",
            "set by",
            "depends on",
        ],
        [_row(row) for row in shown],
        less=("context", "set by", "depends on", "other", "reasoning"),
    )
    say("USD per million tokens; - is unknown, which is never 0.")


def _changes(settings: Settings, *, quiet: bool) -> list[PriceChange]:
    """What was decided here; nothing where there was never a database."""
    if settings.database_url is None and not (settings.data_dir / "postgres").exists():
        return []
    with Database(settings, quiet=quiet) as database:
        bring_up_to_date(database.url)
        return ask(database.url, load_price_changes)


def _shown(
    settings: Settings,
    model: str,
    changes: Sequence[PriceChange],
    *,
    prompt_tokens: int,
    at: datetime,
    only_enabled: bool,
) -> list[ShownPrice]:
    here = offered(settings)
    serving = {provider.id for provider in here.providers}
    believed = apply_changes(here.catalogue, changes)
    catalogue = every_table(settings).with_endpoints(
        [provider.provider for provider in here.providers], believed.endpoints_by_id.values()
    )
    endpoints = _find(catalogue, model)
    return [
        ShownPrice(
            endpoint=endpoint.id,
            provider=endpoint.provider,
            model=endpoint.model,
            is_enabled=endpoint.provider in serving,
            context_tokens=endpoint.context_tokens,
            at=at,
            prompt_tokens=prompt_tokens,
            price=resolve(endpoint, at=at, prompt_tokens=prompt_tokens),
            is_disabled=endpoint.is_disabled_at(at),
            set_by=None if held is None else origin_of(held.id),
            conditions=() if held is None else tuple(_conditions(held)),
        )
        for endpoint in endpoints
        if endpoint.provider in serving or not only_enabled
        for held in [next((v for v in endpoint.prices if v.holds_at(at)), None)]
    ]


def _conditions(version: PriceVersion) -> Iterator[str]:
    yield from (f"prompts from {tier.min_prompt_tokens:,}" for tier in version.size_tiers)
    if version.windows:
        yield "hours"
    yield from sorted(version.service_tiers)
    yield from (f"region {region}" for region in sorted(version.region_multiplier))


def _find(catalogue: Catalogue, name: str) -> tuple[Endpoint, ...]:
    if name in catalogue.endpoints_by_id:
        return (catalogue.endpoints_by_id[name],)
    endpoints = catalogue.endpoints_of(name)
    if not endpoints:
        endpoints = tuple(
            endpoint
            for model in catalogue.models_of_slug(name)
            for endpoint in catalogue.endpoints_of(model)
        )
    if not endpoints:
        names = Names([*catalogue.endpoints_by_model, *catalogue.endpoints_by_id])
        near = ", ".join(names.nearest(name))
        hint = f"; nearest are {near}" if near else ""
        raise CommandError(f"no model or endpoint is called {name!r}{hint}")
    return endpoints


def _row(shown: ShownPrice) -> tuple[object, ...]:
    price = shown.price
    serves = "off" if shown.is_disabled else "yes" if shown.is_enabled else "no"
    if price is None:
        return (shown.endpoint, serves, shown.context_tokens, *(None,) * 7)
    other = ", ".join(
        f"{key.removesuffix('_usd').replace('_', ' ')} ${getattr(price, key)}"
        for key in _UNIT_KEYS
        if getattr(price, key) is not None
    )
    return (
        shown.endpoint,
        serves,
        shown.context_tokens,
        price.input_usd_per_mtok,
        price.cache_read_usd_per_mtok,
        price.output_usd_per_mtok,
        price.reasoning_usd_per_mtok,
        other or None,
        shown.set_by,
        ", ".join(shown.conditions) or None,
    )
