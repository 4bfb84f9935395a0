"""`langchain-openai` works unchanged: messages, streams, tools, structures and errors."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.clients.conftest import Site

QUESTION = HumanMessage("How far is the bridge?")


class Distance(BaseModel):
    """An answer with a structure."""

    place: str
    metres: int


@tool
def measure(place: str) -> str:
    """Measure the way to a place."""
    return f"{place}: 42 m"


@pytest.fixture
def chat(site: Site) -> Callable[..., ChatOpenAI]:
    def make(model: str = "test/plain", **more: Any) -> ChatOpenAI:
        return ChatOpenAI(model=model, base_url=site.base_url, api_key=SecretStr(site.key), **more)

    return make


def cost_in(message: AIMessage) -> Decimal:
    """What the client keeps of the answer's own ``usage``."""
    return Decimal(str(message.response_metadata["token_usage"]["cost_usd_total"]))


def test_a_whole_answer_has_text_usage_and_its_cost(chat: Callable[..., ChatOpenAI]) -> None:
    answer = chat().invoke([QUESTION])

    assert isinstance(answer, AIMessage)
    assert answer.text
    assert answer.response_metadata["model_name"] == "test/plain"
    assert answer.response_metadata["id"].startswith("gen-")
    usage = answer.usage_metadata
    assert usage is not None
    # 1 USD a million tokens in, 2 USD a million tokens out.
    tokens = Decimal(usage["input_tokens"]) + 2 * Decimal(usage["output_tokens"])
    assert cost_in(answer) == tokens / 1_000_000


def test_a_stream_gives_the_same_text_and_its_usage(chat: Callable[..., ChatOpenAI]) -> None:
    whole = chat().invoke([QUESTION])
    chunks = list(chat(stream_usage=True).stream([QUESTION]))

    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert isinstance(total, AIMessageChunk)
    assert total.text == whole.text
    assert len(chunks) > 5
    assert total.usage_metadata == whole.usage_metadata
    assert total.response_metadata["finish_reason"] == "stop"


@pytest.mark.anyio
async def test_the_asynchronous_calls_answer_and_stream(chat: Callable[..., ChatOpenAI]) -> None:
    client = chat()
    whole = await client.ainvoke([QUESTION])
    pieces = [chunk.text async for chunk in client.astream([QUESTION])]

    assert "".join(pieces) == whole.text


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_tool_is_called_and_its_result_is_answered(
    chat: Callable[..., ChatOpenAI], is_streamed: bool
) -> None:
    bound = chat(streaming=is_streamed).bind_tools([measure])  # pyright: ignore[reportUnknownMemberType] (bare generics)

    asked = bound.invoke([QUESTION])
    (call,) = asked.tool_calls
    result = measure.invoke(call)
    assert isinstance(result, ToolMessage)
    answered = bound.invoke([QUESTION, asked, result])

    assert call["name"] == "measure"
    assert set(call["args"]) == {"place"}
    assert str(result.content).endswith("42 m")
    assert answered.tool_calls == []
    assert answered.text


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_with_a_schema_is_parsed_into_its_class(
    chat: Callable[..., ChatOpenAI], method: Any
) -> None:
    structured = chat().with_structured_output(Distance, method=method)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (bare generics)
    parsed: object = structured.invoke([QUESTION])  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (the same)

    assert isinstance(parsed, Distance)


def test_embeddings_are_vectors(site: Site) -> None:
    embeddings = OpenAIEmbeddings(
        model="test/embed",
        dimensions=4,
        base_url=site.base_url,
        api_key=SecretStr(site.key),
        # Else it cuts texts into OpenAI's tokens, with a table that it would fetch.
        check_embedding_ctx_length=False,
    )

    assert [len(vector) for vector in embeddings.embed_documents(["near", "far"])] == [4, 4]
    assert len(embeddings.embed_query("near")) == 4


@pytest.mark.parametrize(
    ("model", "more", "error"),
    [
        ("test/plian", {}, openai.NotFoundError),
        ("test/plain", {"temperature": 3}, openai.BadRequestError),
        ("test/broken", {}, openai.InternalServerError),
        ("test/limited", {"max_retries": 0}, openai.RateLimitError),
    ],
)
def test_errors_are_the_official_clients_own(
    chat: Callable[..., ChatOpenAI],
    received: Callable[[], int],
    model: str,
    more: dict[str, Any],
    error: type[openai.APIStatusError],
) -> None:
    with pytest.raises(error) as caught:
        chat(model, **more).invoke([QUESTION])

    assert caught.value.message
    # Its two retries stay out: the last endpoint alone is repeated, by the gateway.
    assert received() <= 2


def test_an_answer_that_breaks_in_the_middle_raises(chat: Callable[..., ChatOpenAI]) -> None:
    said: list[str] = []
    with pytest.raises(openai.APIError):  # noqa: PT012 - what came before it counts too
        for chunk in chat("test/half").stream([QUESTION]):
            said.append(chunk.text)  # noqa: PERF401 - an extension would lose them

    assert "".join(said)
