"""Members of the published APIs that this version does not act upon.

They are refused where ignoring them could cost money or break a promise, else accepted with a
warning.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway.chat.complaints import wrong_value
from gateway.domain.errors import InvalidRequestError

_REFUSED = {
    "free_models_only": "choose a free model, or cap the price with `provider.max_price`",
    "no_reasoning": "send `reasoning_effort`",
    "web_search": "send `web_search_options`",
}
_NOT_ASKED_FOR = frozenset({b"false", b"[]", b"{}"})
_WARNED = ("debug", "transforms")


class _Plugin(msgspec.Struct, kw_only=True):
    id: str
    enabled: bool | None = None


_PLUGINS = msgspec.json.Decoder(list[_Plugin])


def refuse_unsupported(members: Mapping[str, Raw], warnings: list[str]) -> None:
    """Check the members of a body; ``warnings`` receives what is ignored.

    Raises:
        InvalidRequestError: one of them must not be ignored.
    """
    for name, raw in members.items():
        if name in _REFUSED and bytes(raw) not in _NOT_ASKED_FOR:
            raise _not_supported(name, _REFUSED[name])
        if name.startswith("provider_"):
            nested = name.removeprefix("provider_")
            raise _not_supported(name, f"send `{nested}` inside the `provider` object")
        if name == "route" and bytes(raw) != b'"fallback"':
            raise _not_supported("route", "leave it out, or send `fallback`")
        if name == "plugins":
            _check_plugins(raw, warnings)
        elif name in _WARNED:
            warnings.append(f"`{name}` is not supported and was ignored")


def _check_plugins(raw: Raw, warnings: list[str]) -> None:
    try:
        plugins = _PLUGINS.decode(raw)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc, below=".plugins") from exc
    for number, plugin in enumerate(plugins):
        if plugin.enabled is False:
            continue
        if plugin.id != "response-healing":
            raise _not_supported(f"plugins.{number}", f"remove {plugin.id[:64]!r}")
        warnings.append("the plugin response-healing is not supported and was ignored")


def _not_supported(param: str, remedy: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"`{param}` is not supported; {remedy}.", param=param, code="not_supported"
    )
