"""What stands beside chat, through a whole installation: models, accounts, records, the dry run."""

from typing import Any

import httpx
import openai
import pytest

from tests.clients.conftest import Site
from tests.installation import wait_until

USER: Any = {"role": "user", "content": "How far is the bridge?"}


def ask(site: Site, path: str, **query: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {site.key}"}
    return httpx.get(
        f"{site.gateway.url}{path}", params=query or None, headers=headers, trust_env=False
    )


def test_the_official_client_lists_and_retrieves_models(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]

    assert "test/plain" in listed
    assert client.models.retrieve("test/plain").id == "test/plain"
    with pytest.raises(openai.NotFoundError, match="test/plain"):
        client.models.retrieve("test/plian")


@pytest.mark.parametrize("base", ["", "/v1", "/api/v1", "/api/v1/openai"])
def test_the_official_client_works_on_every_base(site: Site, base: str) -> None:
    with openai.OpenAI(base_url=f"{site.gateway.url}{base}", api_key=site.key) as client:
        answer = client.chat.completions.create(model="test/plain", messages=[USER])
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="test/nothing", messages=[USER])
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="test/plain", prompt="x")

    assert answer.choices[0].message.content
    assert answer.model == "test/plain"


def test_a_key_finds_its_request_and_what_it_spent(site: Site, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="test/plain", messages=[USER])
    found = wait_until(
        "the record is in the database",
        lambda: (
            got
            if (got := ask(site, "/api/v1/generation", id=answer.id)).status_code == 200
            else None
        ),
    )
    generation = found.json()["data"]
    key = ask(site, "/api/v1/key").json()["data"]
    days = ask(site, "/api/v1/activity").json()["data"]

    usage: Any = answer.usage
    assert generation["total_cost"] == usage.cost
    assert generation["tokens_prompt"] == usage.prompt_tokens
    assert generation["model"] == "test/plain"
    assert key["label"] == "test"
    assert key["usage"] >= usage.cost > 0
    assert sum(day["usage"] for day in days) == pytest.approx(key["usage"])


def test_a_repeat_under_a_key_is_answered_from_memory(client: openai.OpenAI, received: Any) -> None:
    once = {"Idempotency-Key": "the bridge"}
    answers = [
        client.chat.completions.with_raw_response.create(
            model="test/plain", messages=[USER], extra_headers=once
        )
        for _ in range(2)
    ]

    assert answers[0].parse().id == answers[1].parse().id
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert received() == 1


def test_the_document_and_the_page_are_there(site: Site) -> None:
    document = httpx.get(f"{site.gateway.url}/openapi.json", trust_env=False)
    page = httpx.get(f"{site.gateway.url}/docs", trust_env=False)

    assert document.json()["openapi"].startswith("3.1")
    assert "/v1/chat/completions" in page.text
    assert page.headers["x-request-id"]
