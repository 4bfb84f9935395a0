"""Nothing that a service may send makes the Gemini adapter fail in a way that is not foreseen."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.providers.base import Completion, FaultError
from tests.properties import many
from tests.providers.gemini_judge import ADAPTER, as_events, decode, target_of

TARGET = target_of("gemini-3.8-flash", modalities_out=("text", "image", "audio"))
MANY = settings(max_examples=many(200), suppress_health_check=[HealthCheck.too_slow])

texts = st.sampled_from(["", "Far", "Größe 東京", "audio/L16;rate=x", "STOP", "SAFETY", "é" * 3])
numbers = st.integers(-5, 2**40)
junk: st.SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), numbers, texts, st.just({}))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, at times anything."""
    return st.one_of(strategy, strategy, strategy, junk)


def members(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {name: maybe(strategy) for name, strategy in strategies.items()}
    return st.fixed_dictionaries({}, optional=optional)


parts = members(
    text=texts,
    thought=st.booleans(),
    thoughtSignature=texts,
    functionCall=members(name=texts, id=texts, args=st.just({"a": 1})),
    inlineData=members(
        mimeType=st.sampled_from(["image/png", "audio/L16;rate=8000", "video/mp4"]), data=texts
    ),
    executableCode=members(code=texts, language=texts),
)
grounding = members(
    webSearchQueries=st.lists(texts, max_size=3),
    groundingChunks=st.lists(members(web=members(uri=texts, title=texts)), max_size=2),
    groundingSupports=st.lists(
        members(
            segment=members(startIndex=numbers, endIndex=numbers, partIndex=numbers, text=texts),
            groundingChunkIndices=st.lists(st.integers(-2, 3), max_size=3),
        ),
        max_size=2,
    ),
)
answers = members(
    candidates=st.lists(
        members(
            index=st.integers(-1, 3),
            content=members(parts=st.lists(parts, max_size=3), role=texts),
            finishReason=texts,
            groundingMetadata=grounding,
            citationMetadata=members(citationSources=st.lists(members(uri=texts), max_size=2)),
            logprobsResult=members(chosenCandidates=st.lists(members(token=texts), max_size=2)),
        ),
        max_size=3,
    ),
    promptFeedback=members(blockReason=texts),
    usageMetadata=members(
        promptTokenCount=numbers, candidatesTokenCount=numbers, thoughtsTokenCount=numbers
    ),
    responseId=texts,
    error=members(code=numbers, message=texts, status=texts, details=st.lists(junk, max_size=2)),
)


@given(answers)
@MANY
def test_any_answer_is_a_completion_or_a_fault(answer: dict[str, Any]) -> None:
    try:
        completion = ADAPTER.parse_response(200, {}, json.dumps(answer).encode(), TARGET)
    except FaultError:
        return
    assert isinstance(completion, Completion)
    assert json.loads(completion.choices)


@given(st.lists(answers, max_size=4))
@MANY
def test_any_stream_is_events_of_which_the_last_may_be_a_fault(
    stream: list[dict[str, Any]],
) -> None:
    events = decode(TARGET, as_events(*(json.dumps(one).encode() for one in stream)))

    for event in events:
        json.loads(event.choices)
    assert all(event.fault is None for event in events[:-1])


@given(st.lists(st.binary(max_size=80), max_size=5))
@MANY
def test_any_bytes_are_read_without_failing(pieces: list[bytes]) -> None:
    events = decode(TARGET, *pieces)

    assert events[-1].fault is not None
