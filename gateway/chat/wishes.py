"""What a checked request wishes beyond its answer: a search, healing, a look at what was sent."""

from gateway.chat.plugins import RESPONSE_HEALING, WEB, PluginWishes
from gateway.chat.view import View
from gateway.chat.web_search import SentSearch, WebSearch, merge_searches
from gateway.domain.errors import InvalidRequestError

_ONLINE = ":online"
"""A model's suffix that asks for a web search; routing takes it off."""


def read_web_search(view: View, plugins: PluginWishes, models: tuple[str, ...]) -> WebSearch | None:
    """One wish for a search from every field that can ask for one; None when none does.

    Raises:
        InvalidRequestError: two of them contradict each other.
    """
    wishes: list[tuple[str, SentSearch]] = []
    if view.web_search_options is not None:
        wishes.append(("web_search_options", view.web_search_options))
    for number, tool in enumerate(view.tools or ()):
        if tool.type == "web_search":
            wishes.append((f"tools.{number}", tool))
    if view.web_search:
        wishes.append(("web_search", SentSearch()))
    if plugins.searches_web:
        wishes.append((f"plugins.{WEB}", SentSearch()))
    if any(model.endswith(_ONLINE) for model in models):
        wishes.append((_ONLINE, SentSearch()))
    if not wishes:
        return None
    if view.web_search is False:
        raise InvalidRequestError(
            f"`web_search` is false, and `{wishes[0][0]}` asks for a search; send one of them.",
            param="web_search",
            code="contradiction",
        )
    return merge_searches(wishes)


def can_heal(view: View, warnings: list[str]) -> bool:
    """Whether response healing applies; ``warnings`` receives why not."""
    form = view.response_format
    if not view.stream and form is not None and form.type in {"json_object", "json_schema"}:
        return True
    warnings.append(
        f"the plugin {RESPONSE_HEALING} works on whole answers whose `response_format` is "
        "json_object or json_schema, and was ignored"
    )
    return False


def echoes_upstream_body(view: View, warnings: list[str]) -> bool:
    """Whether a stream is to show what providers were sent; ``warnings`` receives why not."""
    if view.debug is None or not view.debug.echo_upstream_body:
        return False
    if not view.stream:
        warnings.append("`debug.echo_upstream_body` works on streams only, and was ignored")
    return view.stream is True
