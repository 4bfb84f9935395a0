"""One page per file. Each has `render(period)`, called below the shell of `dashboard.app`."""

from collections.abc import Callable

import msgspec

from dashboard.narrowing import FILTERS
from dashboard.periods import Period
from dashboard.views import keys, latency, overview, prices, reliability, requests, rules, spend


class View(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the navigation."""

    title: str
    path: str
    """Below the root of the URL; the first view is the root itself."""
    render: Callable[[Period], None]
    is_of_records: bool = True
    """Shows what was recorded in the period; the others show and change what holds."""
    filters: tuple[str, ...] = ()
    """Those of `dashboard.narrowing.FILTERS` that all its figures can apply."""


_OF_ATTEMPTS = ("provider", "model", "key", "label")
_OF_REQUESTS = tuple(FILTERS)
_OF_LATENCY = ("provider", "model", "key")

VIEWS: tuple[View, ...] = (
    View(title="Overview", path="overview", render=overview.render, filters=_OF_ATTEMPTS),
    View(title="Spend", path="spend", render=spend.render, filters=_OF_ATTEMPTS),
    View(title="Latency", path="latency", render=latency.render, filters=_OF_LATENCY),
    View(title="Reliability", path="reliability", render=reliability.render, filters=_OF_ATTEMPTS),
    View(title="Requests", path="requests", render=requests.render, filters=_OF_REQUESTS),
    View(title="Prices", path="prices", render=prices.render, is_of_records=False),
    View(title="Rules", path="rules", render=rules.render, is_of_records=False),
    View(title="Keys", path="keys", render=keys.render, is_of_records=False),
)
"""In the order of the navigation: what is read first, what changes things last."""
