"""``tollway prices``: what the endpoints of a model cost now, and where the figures come from."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.settings.offer import make_offer
from gateway.settings.values import Settings
from pricing.catalogue import Catalogue, Endpoint, load_catalogue
from pricing.price import Price, resolve

prices = App(name="prices", help="Show what endpoints cost, and change it.")
# By name, since showing a price needs no database.
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


@prices.command
def show(
    model: str,
    /,
    *,
    prompt_tokens: int = 0,
    at: datetime | None = None,
    enabled: Annotated[bool, Parameter(negative="")] = False,
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
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    at = at or datetime.now(UTC)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    shown = _shown(settings, model, prompt_tokens=prompt_tokens, at=at, only_enabled=enabled)
    if as_json:
        print_json(shown)
        return
    print_table(
        ["endpoint", "serves", "context", "input", "cache read", "output", "reasoning", "other"],
        [_row(row) for row in shown],
    )
    say("USD per million tokens; - is unknown, which is never 0.")


def _shown(
    settings: Settings, model: str, *, prompt_tokens: int, at: datetime, only_enabled: bool
) -> list[ShownPrice]:
    offer = make_offer(settings, None)
    serving = {provider.id for provider in offer.providers}
    catalogue = load_catalogue().with_endpoints(
        [provider.provider for provider in offer.providers],
        offer.catalogue.endpoints_by_id.values(),
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
        )
        for endpoint in endpoints
        if endpoint.provider in serving or not only_enabled
    ]


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
        near = ", ".join(catalogue.nearest(name))
        hint = f"; nearest are {near}" if near else ""
        raise CommandError(f"no model or endpoint is called {name!r}{hint}")
    return endpoints


def _row(shown: ShownPrice) -> tuple[object, ...]:
    price = shown.price
    serves = "yes" if shown.is_enabled else "no"
    if price is None:
        return (shown.endpoint, serves, shown.context_tokens, None, None, None, None, None)
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
    )
