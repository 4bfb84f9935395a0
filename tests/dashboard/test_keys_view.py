from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboard.operating import (
    Operated,
    again,
    click,
    html,
    open_view,
    operated,
    texts,
)

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("keys")) as found:
        yield found


@pytest.fixture
def shown(gateway: Operated) -> Iterator[Operated]:
    close = gateway.show()
    yield gateway
    close()


def fill(at: Any, **values: str) -> Any:
    for key, value in values.items():
        at.text_input(key=key).set_value(value)
    return at


def test_a_key_is_shown_once_works_and_is_revoked(shown: Operated) -> None:
    at = open_view("keys")
    assert any("Nobody may ask yet" in one.value for one in at.caption)

    fill(at, key_name=HOSTILE, key_labels="team=search, env=prod", key_models="demo/*")
    click(at, "key_create")
    (text,) = [one.value for one in at.code]
    shown.follows("the key works", lambda: shown.gateway.accepts(text))
    assert "&lt;script&gt;" in html(at)
    assert "<script" not in html(at)
    assert "env=prod, team=search" in html(at)
    click(at, "key_copied")
    assert not at.code

    at = open_view("keys")
    assert text not in html(at) + texts(at)
    (kid,) = at.selectbox(key="key_to_revoke").options
    assert text[-4:] in kid
    at.selectbox(key="key_to_revoke").select_index(0)
    again(at)
    assert at.button(key="revoke").disabled
    at.checkbox(key="sure_to_revoke").check()
    again(at)
    click(at, "revoke")
    assert "is revoked" in texts(at)
    shown.follows("the key is refused", lambda: shown.gateway.accepts(text, expected=401))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"key_name": ""}, "name: give 1 to 128 characters", id="no-name"),
        pytest.param({"key_name": "x", "key_labels": "team"}, "name=value", id="no-pair"),
    ],
)
def test_a_key_that_cannot_be_says_why(
    shown: Operated, values: dict[str, str], expected: str
) -> None:
    at = click(fill(open_view("keys"), **values), "key_create")

    assert expected in texts(at)
    assert not at.code


def test_a_budget_is_made_changed_and_deleted(shown: Operated) -> None:
    at = open_view("keys")
    assert any("No budget limits anybody yet." in one.value for one in at.caption)

    fill(at, budget_name="search: monthly", budget_limit="$1,500", budget_labels="team=search")
    click(at, "budget_create")
    assert "The budget search: monthly holds" in texts(at)
    assert "$1,500.00" in html(at)
    assert "team = search" in html(at)
    assert len(at.get("vega_lite_chart")) == 1

    at.selectbox(key="budget_to_change").set_value("search: monthly")
    again(at)
    fill(at, budget_new_limit="20.50")
    again(at)
    click(at, "budget_set")
    assert "$20.50" in html(at)

    at.checkbox(key="sure_to_delete").check()
    again(at)
    click(at, "budget_delete")
    assert any("No budget limits anybody yet." in one.value for one in at.caption)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("much", "Write an amount in USD"), ("-1", "give an amount in USD")],
)
def test_a_budget_that_cannot_be_says_why(shown: Operated, limit: str, expected: str) -> None:
    at = fill(open_view("keys"), budget_name="x", budget_limit=limit, budget_labels="a=b")

    click(at, "budget_create")

    assert expected in texts(at)
