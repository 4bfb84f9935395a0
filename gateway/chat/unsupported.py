"""Members of the published APIs that this version does not act upon.

They are refused where ignoring them could cost money or break a promise, else accepted with a
warning.
"""

from collections.abc import Mapping

from msgspec import Raw

from gateway.chat.view import View
from gateway.domain.errors import InvalidRequestError

_WARNED = ("transforms", "trace", "effort")


def refuse_unsupported(view: View, members: Mapping[str, Raw], warnings: list[str]) -> None:
    """Check what is not built; ``warnings`` receives what is ignored.

    Raises:
        InvalidRequestError: one of them must not be ignored.
    """
    if view.free_models_only:
        raise _not_supported(
            "free_models_only", "choose a free model, or cap the price with `provider.max_price`"
        )
    if view.no_reasoning:
        raise _not_supported("no_reasoning", "send `reasoning_effort`")
    if view.route == "sort":
        raise _not_supported("route", "leave it out, or send `fallback`")
    warnings += [
        f"`{name}` is not supported and was ignored" for name in _WARNED if name in members
    ]


def _not_supported(param: str, remedy: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"`{param}` is not supported; {remedy}.", param=param, code="not_supported"
    )
