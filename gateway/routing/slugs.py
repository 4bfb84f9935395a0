"""Whether the providers that a request names exist: a mistyped one must not pass for a wish."""

import difflib

from gateway.chat.flat_preferences import member_name
from gateway.chat.request import ChatRequest
from gateway.domain.errors import InvalidRequestError
from pricing.catalogue import Catalogue

_MEMBERS = ("only", "order", "ignore")


def check_slugs(request: ChatRequest, catalogue: Catalogue) -> None:
    """Check the names in ``only``, ``order`` and ``ignore``; providers not enabled here are fine.

    Raises:
        InvalidRequestError: nobody is called that; names the nearest.
    """
    wishes = request.provider
    if not (wishes.only or wishes.order or wishes.ignore):
        return
    known = catalogue.known_providers
    for member in _MEMBERS:
        for number, slug in enumerate(getattr(wishes, member)):
            if slug in known or slug.partition("/")[0] in _bases(catalogue):
                continue
            raise _unknown(f"{member_name(member, request.flat_preferences)}.{number}", slug, known)


def _bases(catalogue: Catalogue) -> frozenset[str]:
    """Providers' names without the tag of a variant."""
    found = catalogue.worked_out.get("provider bases")
    if not isinstance(found, frozenset):
        found = frozenset(provider.partition("/")[0] for provider in catalogue.known_providers)
        catalogue.worked_out["provider bases"] = found
    return found  # pyright: ignore[reportUnknownVariableType] only we write this key


def _unknown(param: str, slug: str, known: frozenset[str]) -> InvalidRequestError:
    nearest = difflib.get_close_matches(slug.partition("/")[0], sorted(known), n=1, cutoff=0.5)
    hint = f"; did you mean `{nearest[0]}`?" if nearest else "; GET /api/v1/providers lists them"
    return InvalidRequestError(
        f"`{param}`: there is no provider `{slug}`{hint}",
        param=param,
        code="unknown_provider",
        metadata={"nearest": nearest},
    )
