"""Where a provider processes what is sent to it, as far as the settings tell: it may cost more."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from gateway.settings.enabled import EnabledProvider
from gateway.settings.load import SettingsError

_OPENAI_HOST = re.compile(r"(?P<region>[a-z]{2})\.api\.openai\.com")
"""platform.openai.com/docs/guides/your-data, data residency: ``us.`` and ``eu.api.openai.com``."""
_VERTEX_LOCATION = re.compile(r"/locations/(?P<location>[a-z0-9-]+)/")


def region_of(provider: EnabledProvider, known: Collection[str]) -> str | None:
    """The region whose prices hold, one of those that the provider's prices know; None: the list's.

    Raises:
        SettingsError: the settings name one that no price knows.
    """
    named = provider.settings.region
    if named is not None:
        if named not in known:
            words = f"known are {', '.join(sorted(known))}" if known else "none of them knows any"
            raise SettingsError(
                f"providers.{provider.id}: no price of its endpoints has a `region_multiplier` for "
                f"the region {named[:64]!r}; {words}"
            )
        return named
    host = _OPENAI_HOST.fullmatch(urlsplit(provider.base_url).hostname or "")
    if host is not None:
        return host["region"] if host["region"] in known else None
    place = _VERTEX_LOCATION.search(provider.base_url)
    if place is not None and place["location"] != "global":
        return "non_global" if "non_global" in known else None
    return None
