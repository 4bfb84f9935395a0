"""The operator's pages on much: thousands of endpoints, keys and versions of rules stay bounded."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from streamlit.testing.v1 import AppTest

from dashboard.views import rules_history
from gateway.cli.database import ask
from gateway.storage.budgets import StoredBudget, insert_budget
from gateway.storage.tables import api_key, rule_set
from tests.dashboard.operating import Operated, click, html, open_view, operated

ENDPOINTS, KEYS, VERSIONS, BUDGETS = 3_500, 5_000, 500, 120
HOSTILE = "<script>alert(1)</script>"
_MOST_BYTES = 1_500_000
"""Of what a page draws by itself: whatever there is, it does not grow beyond this."""

NOW = datetime.now(UTC)


def many_endpoints() -> str:
    lines = ["[providers.many]", 'base_url = "http://127.0.0.1:9/v1"', "allow_private = true"]
    for number in range(ENDPOINTS):
        lines += [
            "[[providers.many.endpoints]]",
            f'id = "m-{number}"',
            f'model = "many/model-{number % 700}"',
            "context_tokens = 128_000",
            f"input_usd_per_mtok = {1 + number % 7}",
            "output_usd_per_mtok = 8",
        ]
    return "\n".join(lines) + "\n"


async def fill(connection: AsyncConnection) -> None:
    await connection.execute(
        insert(api_key),
        [
            {
                "id": uuid4(),
                "kid": f"k{number:07}",
                "last4": f"{number:04}",
                "name": f"{HOSTILE} {number}",
                "labels": {"team": f"t{number % 50}"},
                "allowed_models": [],
                "allowed_providers": [],
                "provider_configs_origins": [],
                "has_hard_budget": False,
                "created_at": NOW - timedelta(minutes=number),
                "created_by": "tests",
                "digest": sha256(str(number).encode()).digest(),
                "pepper_version": 1,
            }
            for number in range(KEYS)
        ],
    )
    rules = [
        f'[[rules]]\nname = "r{number}"\nthen = {{ sort = "price" }}\n'
        for number in range(VERSIONS)
    ]
    await connection.execute(
        insert(rule_set),
        [
            {
                "version": f"v{number}",
                "sha256": sha256(text.encode()).digest(),
                "source": text,
                "comment": HOSTILE,
                "created_at": NOW - timedelta(hours=VERSIONS - number),
                "created_by": "tests",
                "is_active": number == 0,
                "activated_at": NOW if number == 0 else None,
            }
            for number, text in enumerate(rules)
        ],
    )
    for number in range(BUDGETS):
        budget = StoredBudget(
            id=uuid4(),
            name=f"budget-{number}",
            key_id=None,
            labels={"team": f"t{number % 50}"},
            period="month",
            limit_nusd=1_000_000_000,
            mode="hard",
            is_strict=False,
            created_at=NOW - timedelta(days=40),
            created_by="tests",
        )
        await insert_budget(connection, budget)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("large"), options=many_endpoints()) as found:
        ask(found.database_url, fill)
        yield found


@pytest.fixture
def shown(gateway: Operated) -> Iterator[Operated]:
    close = gateway.show()
    yield gateway
    close()


def names(at: Any, column: str) -> list[str]:
    return at.dataframe[0].value[column].to_list()


def weight(at: AppTest) -> int:
    """How many bytes of what it drew go to the browser."""
    return sum(
        element.proto.ByteSize()
        for kind in ("html", "arrow_data_frame")
        for element in at.get(kind)
    )


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda: open_view("prices"), id="catalogue"),
        pytest.param(
            lambda: open_view("prices", tab="Compare", compare="many/model-3"), id="compare"
        ),
        pytest.param(lambda: open_view("prices", endpoint="many/m-17"), id="endpoint"),
        pytest.param(lambda: open_view("rules"), id="rules"),
        pytest.param(lambda: open_view("keys"), id="keys"),
        pytest.param(lambda: open_view("keys", kid="k0000042"), id="one-key"),
    ],
)
def test_a_page_of_much_is_bounded(shown: Operated, draw: Callable[[], AppTest]) -> None:
    at = draw()

    assert not at.exception
    assert weight(at) < _MOST_BYTES
    assert "<script" not in html(at)
    assert max((len(one.options) for one in at.selectbox), default=0) <= ENDPOINTS


def test_the_catalogue_says_how_much_there_is_is_paged_and_finds_the_rest(shown: Operated) -> None:
    at = open_view("prices")
    assert f"{ENDPOINTS + 2:,} endpoints" in html(at)
    first = names(at, "Endpoint")
    assert len(first) == 100
    assert at.button(key="catalogue_first").disabled

    click(at, "catalogue_next")

    second = names(at, "Endpoint")
    assert len(second) == 100
    assert not set(first) & set(second)
    click(at, "catalogue_first")
    assert names(at, "Endpoint") == first

    found = open_view("prices", q="m-3499")

    assert names(found, "Endpoint") == ["many/m-3499"]
    assert not [one for one in found.button if one.key == "catalogue_next"]


def test_thousands_of_keys_are_paged_and_any_is_found(shown: Operated) -> None:
    at = open_view("keys")
    assert "100 of more, newest first" in html(at)
    assert names(at, "Key") == [f"{HOSTILE} {number}" for number in range(100)]
    assert at.button(key="keys_newest").disabled

    click(at, "keys_older")

    assert names(at, "Key") == [f"{HOSTILE} {number}" for number in range(100, 200)]
    click(at, "keys_newest")
    assert names(at, "Key")[0] == f"{HOSTILE} 0"

    found = open_view("keys", find="k0004711")

    assert names(found, "Key") == [f"{HOSTILE} 4711"]
    assert not [one for one in found.button if one.key == "keys_older"]


def test_of_many_budgets_those_nearest_to_their_end_are_drawn(shown: Operated) -> None:
    at = open_view("keys")

    assert html(at).count("each month") == 50
    assert any(f"and {BUDGETS - 50} more" in one.value for one in at.caption)


def test_hundreds_of_versions_are_paged_and_the_one_in_force_is_known(shown: Operated) -> None:
    at = open_view("rules")
    rows = rules_history.PAGE_ROWS
    numbers = [int(one.partition(":")[0]) for one in at.selectbox(key="rules_version").options]
    assert numbers == list(range(VERSIONS, VERSIONS - rows, -1))
    assert 'name = "r0"' in str(at.text_area(key="rules_text").value)
    assert at.button(key="rules_newest").disabled

    click(at, "rules_older")

    older = [int(one.partition(":")[0]) for one in at.selectbox(key="rules_version").options]
    assert older == list(range(VERSIONS - rows, VERSIONS - 2 * rows, -1))
    click(at, "rules_newest")
    assert at.button(key="rules_newest").disabled
