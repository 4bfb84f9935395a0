"""What a model's name asks for beside the model, where it was not the caller who wrote it.

Reading a request takes note of the ends of names that it carries; those of an alias, of the key's
default model and of models that rules put in are known only here.
"""

from msgspec.structs import replace

from gateway.chat.reasoning import Reasoning
from gateway.chat.request import ChatRequest, Need
from gateway.chat.web_search import SentSearch, merge_searches
from gateway.routing.plan import PlanInputs

THINKING = ":thinking"
ONLINE = ":online"
_EFFORT = "medium"
_SEARCHES: frozenset[Need] = frozenset({"web_search"})


def with_implied_wishes(request: ChatRequest, inputs: PlanInputs) -> ChatRequest:
    """The request with reasoning switched on and a search wished for where a name means that.

    What the request says itself stands: reasoning that it switched off stays off.
    """
    names = request.models
    if not names:
        default = inputs.caller.default_model
        names = () if default is None else (default,)
    aliases = inputs.aliases
    for name in names:
        meant = aliases.get(name, name) if aliases else name
        if meant.endswith(THINKING):
            request = _thinking(request)
        elif meant.endswith(ONLINE):
            request = _searching(request)
    return request


def _thinking(request: ChatRequest) -> ChatRequest:
    wish = request.reasoning or Reasoning()
    if wish.effort is not None or wish.max_tokens is not None:
        return request
    return replace(request, reasoning=replace(wish, effort=_EFFORT))


def _searching(request: ChatRequest) -> ChatRequest:
    if request.web_search is not None:
        return request
    search = merge_searches([(ONLINE, SentSearch())])
    return replace(request, web_search=search, needs=request.needs | _SEARCHES)
