"""One wish for a web search from the fields of all the published APIs."""

import json
from typing import Any

import pytest

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.chat.request import ChatRequest
from gateway.chat.web_search import Place, WebSearch
from gateway.domain.errors import InvalidRequestError

NOTHING: dict[str, Any] = {}
TOOL = {"type": "function", "function": {"name": "f"}}


def request(model: str = "m", **members: Any) -> ChatRequest:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], **members}
    return decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENAI)


@pytest.mark.parametrize(
    ("result", "asked_by"),
    [
        (request(web_search=True), "web_search"),
        (request(web_search_options=NOTHING), "web_search_options"),
        (request(tools=[TOOL, {"type": "web_search"}]), "tools.1"),
        (request(plugins=[{"id": "web"}]), "plugins.web"),
        (request("acme/one:online"), ":online"),
    ],
)
def test_every_field_that_asks_for_a_search_is_read(result: ChatRequest, asked_by: str) -> None:
    assert result.web_search == WebSearch(asked_by=(asked_by,))
    assert "web_search" in result.needs


@pytest.mark.parametrize(
    "members",
    [
        NOTHING,
        {"web_search": False},
        {"plugins": [{"id": "web", "enabled": False}]},
        {"tools": [TOOL]},
    ],
)
def test_nothing_else_asks_for_a_search(members: dict[str, Any]) -> None:
    assert request(**members).web_search is None
    assert "web_search" not in request(**members).needs


def test_a_search_among_the_tools_is_taken_out() -> None:
    search = {"type": "web_search", "max_uses": 3, "user_location": {"city": "Graz"}}

    result = request(tools=[TOOL, search], tool_choice={"type": "web_search"})

    assert json.loads(bytes(result.body["tools"])) == [TOOL]
    assert "tool_choice" not in result.body
    assert result.needs == {"tools", "web_search"}
    assert result.web_search == WebSearch(
        asked_by=("tools.1",), max_uses=3, location=Place(city="Graz")
    )


def test_a_search_alone_leaves_no_tools() -> None:
    result = request(tools=[{"type": "web_search"}], tool_choice="auto")

    assert set(result.body) == {"model", "messages"}
    assert result.needs == {"web_search"}


def test_wishes_add_up() -> None:
    place = {"type": "approximate", "approximate": {"country": "AT"}}

    result = request(
        web_search=True,
        web_search_options={"user_location": place},
        tools=[{"type": "web_search", "search_context_size": "low"}],
    )

    assert result.web_search == WebSearch(
        asked_by=("web_search_options", "tools.0", "web_search"),
        context_size="low",
        location=Place(country="AT"),
    )


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {
                "web_search_options": {"search_context_size": "low"},
                "tools": [{"type": "web_search", "search_context_size": "high"}],
            },
            "`web_search_options` and `tools.0` want different searches",
        ),
        ({"web_search": False, "web_search_options": NOTHING}, "`web_search` is false"),
    ],
)
def test_contradictions_are_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        request(**members)
