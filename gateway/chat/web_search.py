"""The wish for a web search, from all the fields that say so. Only the provider's own is used."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.domain.errors import InvalidRequestError

ContextSize = Literal["low", "medium", "high"]
_Text = Annotated[str, Meta(max_length=128)]


class SentPlace(msgspec.Struct, kw_only=True, gc=False):
    """A place roughly, as clients send it."""

    city: _Text | None = None
    country: _Text | None = None
    region: _Text | None = None
    timezone: _Text | None = None


class SentLocation(SentPlace, kw_only=True, gc=False):
    """A location: with the place inside ``approximate``, or side by side with the type."""

    type: Literal["approximate"] = "approximate"
    approximate: SentPlace | None = None


class SentSearch(msgspec.Struct, kw_only=True, gc=False):
    """``web_search_options``, or a tool of the type web_search."""

    search_context_size: ContextSize | None = None
    user_location: SentLocation | None = None
    max_uses: Annotated[int, Meta(ge=1, le=100)] | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the user is, roughly; None is unknown."""

    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class WebSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A search of the provider's own. None leaves a part to the endpoint."""

    asked_by: tuple[str, ...]
    """The fields that ask for it, for messages."""
    context_size: ContextSize | None = None
    location: Place | None = None
    max_uses: int | None = None


def merge_searches(wishes: Iterable[tuple[str, SentSearch]]) -> WebSearch | None:
    """One wish from several, each with the field that it stands in; None when there is none.

    Raises:
        InvalidRequestError: two of them want different things.
    """
    asked_by: list[str] = []
    found: dict[str, tuple[str, object]] = {}
    for field, sent in wishes:
        asked_by.append(field)
        for part, value in _parts(sent).items():
            if value is None:
                continue
            earlier, known = found.setdefault(part, (field, value))
            if known != value:
                raise InvalidRequestError(
                    f"`{earlier}` and `{field}` want different searches (`{part}`); send one of "
                    "them.",
                    param=field,
                    code="contradiction",
                )
    if not asked_by:
        return None
    parts: dict[str, Any] = {part: value for part, (_, value) in found.items()}
    return WebSearch(asked_by=tuple(asked_by), **parts)


def _parts(sent: SentSearch) -> Mapping[str, object]:
    location = sent.user_location
    place: Place | None = None
    if location is not None:
        inner = location.approximate or location
        place = Place(
            city=inner.city,
            country=inner.country,
            region=inner.region,
            timezone=inner.timezone,
        )
    return {
        "context_size": sent.search_context_size,
        "location": place,
        "max_uses": sent.max_uses,
    }
