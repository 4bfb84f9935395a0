"""Embeddings of the simulator: OpenAI's limits, counts and encodings."""

import base64
import math
import struct
from typing import Any

import httpx
import openai
import pytest

from gateway.simulator.server import Simulator

pytestmark = pytest.mark.anyio
SMALL = "text-embedding-3-small"


async def embed(simulator: Simulator, model: str = SMALL, **members: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(
            f"{simulator.base_url}/v1/embeddings", json={"model": model, **members}
        )


async def test_base64_holds_the_same_numbers_as_the_list(simulator: Simulator) -> None:
    asked: dict[str, Any] = {"input": ["near", "far"], "dimensions": 8}
    plain, packed = [
        (await embed(simulator, encoding_format=encoding, **asked)).json()
        for encoding in ("float", "base64")
    ]

    for one, other in zip(plain["data"], packed["data"], strict=True):
        unpacked = struct.unpack("<8f", base64.b64decode(other["embedding"]))
        assert unpacked == pytest.approx(one["embedding"], abs=1e-6)
        assert math.hypot(*one["embedding"]) == pytest.approx(1, abs=1e-6)
    assert plain["data"][0]["embedding"] != plain["data"][1]["embedding"]
    # Four bytes are a token: one for "near", one for "far".
    assert plain["usage"] == packed["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


@pytest.mark.parametrize(
    ("model", "size"),
    [("text-embedding-3-large", 3_072), (SMALL, 1_536), ("text-embedding-ada-002", 1_536)],
)
async def test_a_vector_is_as_long_as_its_model_makes_it(
    client: openai.AsyncOpenAI, model: str, size: int
) -> None:
    answer = await client.embeddings.create(model=model, input="near")

    assert len(answer.data[0].embedding) == size


async def test_tokens_come_as_numbers_too(simulator: Simulator) -> None:
    one = (await embed(simulator, input=[1, 2, 3])).json()
    two = (await embed(simulator, input=[[1, 2], [3]])).json()

    assert (len(one["data"]), one["usage"]["prompt_tokens"]) == (1, 3)
    assert (len(two["data"]), two["usage"]["prompt_tokens"]) == (2, 3)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a"] * 2_049}, "input"),
        ({"input": "word " * 8_192}, "input"),
        ({"input": [[1] * 8_000] * 38}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 1_537}, "dimensions"),
        ({"input": "a", "dimensions": "8"}, "dimensions"),
        ({"input": "a", "dimensions": 8, "model": "text-embedding-ada-002"}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "user": 7}, "user"),
        ({"input": "a", "provider": {"only": ["x"]}}, "provider"),
        ({"input": "a", "stream": True}, "stream"),
    ],
)
async def test_what_openai_refuses_is_refused(
    simulator: Simulator, members: dict[str, Any], param: str
) -> None:
    answer = await embed(simulator, **members)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_faults_strike_embeddings_as_well(simulator: Simulator) -> None:
    assert (await embed(simulator, f"{SMALL}!503", input="a")).status_code == 503
    assert "usage" not in (await embed(simulator, f"{SMALL}!usage_missing", input="a")).json()
