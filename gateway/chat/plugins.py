"""The ``plugins`` of a request: which are known, and what each of them asks for."""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.domain.errors import InvalidRequestError

AUTO_ROUTER = "auto-router"
RESPONSE_HEALING = "response-healing"
WEB = "web"
_NATIVE_ENGINES = frozenset({None, "native"})
_Patterns = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=64)]


class SentPlugin(msgspec.Struct, kw_only=True, gc=False):
    """One plugin; members of plugins that are not built are not read."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    enabled: bool | None = None
    engine: Literal["native", "exa"] | None = None
    max_results: Annotated[int, Meta(ge=1, le=100)] | None = None
    search_prompt: str | None = None
    allowed_models: _Patterns | None = None
    excluded_models: _Patterns | None = None


class PluginWishes(msgspec.Struct, kw_only=True):
    """What the enabled plugins ask for."""

    heals_response: bool = False
    searches_web: bool = False
    allowed_models: tuple[str, ...] = ()
    """Patterns with ``*`` that ``auto`` chooses between; empty allows all."""
    excluded_models: tuple[str, ...] = ()


def read_plugins(plugins: list[SentPlugin], warnings: list[str]) -> PluginWishes:
    """What is asked for; a plugin with ``enabled: false`` asks for nothing, whatever it is.

    ``warnings`` receives settings without effect.

    Raises:
        InvalidRequestError: a plugin is unknown or not built.
    """
    wishes = PluginWishes()
    for number, plugin in enumerate(plugins):
        if plugin.enabled is False:
            continue
        read = _KNOWN.get(plugin.id)
        if read is None:
            raise _refused(number, plugin.id)
        read(plugin, number, wishes, warnings)
    return wishes


def _refused(number: int, name: str) -> InvalidRequestError:
    known = ", ".join(f"`{one}`" for one in _KNOWN)
    what = _NOT_BUILT.get(name, "is not known")
    return InvalidRequestError(
        f"`plugins.{number}`: the plugin `{name[:64]}` {what}; remove it, or send it with "
        f"`enabled: false`. Supported are {known}.",
        param=f"plugins.{number}",
        code="not_supported",
    )


def _read_healing(
    plugin: SentPlugin, number: int, wishes: PluginWishes, warnings: list[str]
) -> None:
    del plugin, number, warnings
    wishes.heals_response = True


def _read_web(plugin: SentPlugin, number: int, wishes: PluginWishes, warnings: list[str]) -> None:
    if plugin.engine not in _NATIVE_ENGINES:
        raise InvalidRequestError(
            f"`plugins.{number}.engine` must be `native`: only the providers' own searches are "
            "used.",
            param=f"plugins.{number}.engine",
            code="not_supported",
        )
    warnings += [
        f"`plugins.{number}.{name}` has no effect on a provider's own search"
        for name in ("max_results", "search_prompt")
        if getattr(plugin, name) is not None
    ]
    wishes.searches_web = True


def _read_auto_router(
    plugin: SentPlugin, number: int, wishes: PluginWishes, warnings: list[str]
) -> None:
    del number, warnings
    wishes.allowed_models = tuple(plugin.allowed_models or ())
    wishes.excluded_models = tuple(plugin.excluded_models or ())


_KNOWN: dict[str, Callable[[SentPlugin, int, PluginWishes, list[str]], None]] = {
    RESPONSE_HEALING: _read_healing,
    WEB: _read_web,
    AUTO_ROUTER: _read_auto_router,
}
_NOT_BUILT = {
    "moderation": "is not offered here",
    "file-parser": "is not offered here; models that read files themselves need none",
}
