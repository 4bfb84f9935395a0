"""What the strict simulated OpenAI takes from a client, it takes from us for the same client."""

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings

from gateway.providers.base import Target
from gateway.providers.openai import OpenAIAdapter
from gateway.providers.registry import quirks_of
from gateway.simulator.answers import PromptCache
from gateway.simulator.openai import OPENAI
from gateway.simulator.script import parse_behaviour
from gateway.simulator.wire import Answer, Call, RefusedError
from pricing.catalogue import load_catalogue
from tests.properties import many
from tests.providers.conversations import bodies, to_request

CATALOGUE = load_catalogue()
ADAPTER = OpenAIAdapter(user_agent="tests")
MODELS = ("gpt-4o-mini", "gpt-5.1")
OURS = ("reasoning", "prompt_cache_key", "verbosity", "top_k")
"""Members that other services have, or that only some of OpenAI's models take."""


def judge(sent: dict[str, Any], model: str) -> Answer:
    """What the strict simulator answers. Raises `RefusedError` with OpenAI's words."""
    raw = json.dumps(sent).encode()
    return OPENAI.answer(
        Call(
            route="chat/completions",
            target="/v1/chat/completions",
            headers={},
            body=sent,
            raw=raw,
            model=model,
            asked_model=model,
            is_stream=sent.get("stream") is True,
            provider=None,
            offer=None,
            behaviour=parse_behaviour(""),
            cache=PromptCache(),
            number=1,
            created=1,
        )
    )


def is_taken(sent: dict[str, Any], model: str) -> bool:
    try:
        judge(sent, model)
    except RefusedError:
        return False
    return True


@settings(max_examples=many(150), suppress_health_check=[HealthCheck.filter_too_much])
@given(bodies())
def test_any_conversation_that_is_valid_reaches_the_service_in_a_form_it_takes(
    body: dict[str, Any],
) -> None:
    plain = {name: value for name, value in body.items() if name not in OURS}
    for model in MODELS:
        endpoint = CATALOGUE.endpoints_by_id[f"openai/{model}"]
        target = Target(
            endpoint=endpoint, base_url="http://127.0.0.1:9/v1", quirks=quirks_of("openai")
        )
        assume(is_taken({**plain, "model": model}, model))
        built = ADAPTER.build_request(to_request(body), target, "k")
        judge(json.loads(built.body), model)
