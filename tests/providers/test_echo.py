"""What a provider was sent, shown to the caller without credentials."""

import json
from collections.abc import Callable
from typing import Any

from gateway.chat.answer import ChunkFrame
from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.providers.base import Target, UpstreamRequest
from gateway.providers.echo import redacted_body
from gateway.providers.openai import OpenAIAdapter

MakeTarget = Callable[..., Target]
KEY = "sk-proj-" + "a1B2" * 8


def wire(target: Target, content: object) -> UpstreamRequest:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": content}],
        "max_completion_tokens": 5,
        "debug": {"echo_upstream_body": True},
        "stream": True,
    }
    request = decode_chat_request(json.dumps(body).encode(), dialect=Dialect.OPENROUTER)
    assert request.echo_upstream_body
    return OpenAIAdapter().build_request(request, target, KEY)


def test_the_body_is_shown_as_it_was_sent(target: Target) -> None:
    shown = redacted_body(wire(target, "hello"))

    assert json.loads(shown) == {
        "model": "native-1",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_credentials_are_blotted_out_wherever_they_stand(target: Target) -> None:
    text = f'my key is {KEY}, say "Bearer {"x" * 30}" at https://x/?key=s3cret\\n'

    shown = redacted_body(wire(target, text))

    for secret in (KEY, "x" * 30, "s3cret"):
        assert secret.encode() not in shown
    assert json.loads(shown)["messages"][0]["content"].startswith("my key is [redacted], say")


def test_images_and_sounds_are_cut_short(target: Target) -> None:
    data = "iVBORw0KGgo" + "A" * 5000
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
    ]

    shown = json.loads(redacted_body(wire(target, parts)))["messages"][0]["content"]

    assert len(json.dumps(shown)) < 500
    assert shown[0]["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert shown[1]["input_audio"]["format"] == "wav"


def test_the_chunk_holds_no_choices() -> None:
    frame = ChunkFrame(id="gen-1", created=1, model="acme/one", provider="acme")

    chunk = frame.echo(b'{"model":"native-1"}')

    assert json.loads(chunk.removeprefix(b"data: ")) == {
        "id": "gen-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "acme/one",
        "provider": "acme",
        "choices": [],
        "debug": {"echo_upstream_body": {"model": "native-1"}},
    }
