"""Members of the published APIs that this version does not act upon."""

from collections.abc import Mapping

from msgspec import Raw

_WARNED = ("transforms", "trace")


def warn_of_unsupported(members: Mapping[str, Raw], warnings: list[str]) -> None:
    """Add to ``warnings`` what is accepted and ignored."""
    warnings += [
        f"`{name}` is not supported and was ignored" for name in _WARNED if name in members
    ]
