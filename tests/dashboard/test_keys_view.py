from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from gateway.cli.database import ask
from gateway.storage.budgets import StoredBudget, insert_budget
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


def names(at: Any) -> list[str]:
    return at.dataframe[0].value["Key"].to_list()


def is_refused(gateway: Operated, text: str) -> bool:
    # 429 once it was tried too often: guessing is slow.
    return gateway.gateway.status_of_models(text) in {401, 429}


def kid_of(gateway: Operated, name: str) -> str:
    found = gateway.admin.get("/admin/keys", dict[str, Any])["data"]
    return next(one["kid"] for one in found if one["name"] == name)


def test_a_key_is_shown_once_works_is_rotated_and_revoked(shown: Operated) -> None:
    at = open_view("keys")
    assert any("Nobody may ask yet" in one.value for one in at.caption)

    click(at, "new_key")
    fill(at, key_name=HOSTILE, key_labels="team=search, env=prod", key_models="demo/*")
    at.number_input(key="key_requests").set_value(60)
    click(at, "key_create")
    text, curl = (one.value for one in at.code)
    assert text in curl
    shown.follows("the key works", lambda: shown.gateway.accepts(text))
    assert "&lt;script&gt;" in html(at)
    assert "<script" not in html(at)
    row = at.dataframe[0].value.iloc[0]
    assert (row["Key"], row["Labels"]) == (HOSTILE, "env=prod, team=search")
    assert (row["May use"], row["Limits"]) == ("demo/*", "60 requests/min")
    assert (row["Spent"], row["Last used"], row["Ends in"]) == (
        "$0",
        "not in 30 days",
        f"…{text[-4:]}",
    )
    click(at, "key_copied")
    assert not at.code

    at = open_view("keys", kid=kid_of(shown, HOSTILE))
    assert text not in html(at) + texts(at)
    assert "<script" not in html(at)
    click(at, "rotate")
    second = at.code[0].value
    assert second != text
    assert "the old one works until" in html(at)
    shown.follows("both secrets work", lambda: shown.gateway.accepts(second))
    assert shown.gateway.accepts(text)
    click(at, "key_copied")

    click(at, "revoke")
    assert "To revoke it, type its name" in texts(at)
    fill(at, revoke_name=HOSTILE)
    click(at, "revoke")
    assert "is revoked" in texts(at)
    shown.follows("the key is refused", lambda: is_refused(shown, second))
    assert is_refused(shown, text)
    at = open_view("keys")
    assert any("No key matches" in one.value for one in at.caption)
    at.segmented_control(key="keys_state").set_value("Ended")
    assert names(again(at)) == [HOSTILE]


def test_a_rotated_key_may_lose_its_old_secret_at_once(shown: Operated) -> None:
    first = shown.gateway.make_key("at-once")
    at = open_view("keys", kid=kid_of(shown, "at-once"))

    at.selectbox(key="rotate_overlap").select_index(0)
    click(at, "rotate")

    second = at.code[0].value
    shown.follows("the old secret is refused", lambda: is_refused(shown, first))
    assert shown.gateway.accepts(second)


def test_keys_are_found_by_name_id_and_label(shown: Operated) -> None:
    shown.gateway.make_key("for-finding", {"team": "growth"})

    for search in ("FOR-find", "team=growth", kid_of(shown, "for-finding")):
        assert names(open_view("keys", find=search)) == ["for-finding"]


def test_a_key_is_changed_and_what_is_left_alone_stays(shown: Operated) -> None:
    text = shown.gateway.make_key("to-change", {"team": "growth"})
    kid = kid_of(shown, "to-change")
    at = click(open_view("keys", kid=kid), "change_key")
    assert at.text_input(key="changed_name").value == "to-change"
    assert at.text_input(key="changed_labels").value == "team=growth"

    fill(at, changed_labels="team=growth, env=dev", changed_origins="api.example.com")
    click(at, "key_change_apply")
    assert "provider_configs_origins: at most" in html(at)

    fill(at, changed_origins="https://api.example.com", changed_models="demo/*")
    at.number_input(key="changed_requests").set_value(30)
    at.selectbox(key="changed_slash").select_index(2)
    click(at, "key_change_apply")

    assert "The key to-change is changed" in texts(at)
    assert "30 requests/min" in html(at)
    assert "https://api.example.com" in html(at)
    key = shown.admin.get(f"/admin/keys/{kid}", dict[str, Any])
    assert key["labels"] == {"team": "growth", "env": "dev"}
    assert (key["allowed_models"], key["requests_per_minute"]) == (["demo/*"], 30)
    assert (key["slash_pins_provider"], key["expires_at"]) == (False, None)
    assert shown.gateway.accepts(text)
    (entry,) = shown.admin.get("/admin/audit", dict[str, Any], subject=kid, action="key.change")[
        "data"
    ]
    assert (entry["before"]["requests_per_minute"], entry["after"]["requests_per_minute"]) == (
        None,
        30,
    )

    click(at, "change_key")
    assert at.text_input(key="changed_origins").value == "https://api.example.com"
    click(at, "key_change_apply")
    assert "is as it was" in texts(at)


def test_a_key_that_is_not_there_says_so(shown: Operated) -> None:
    at = open_view("keys", kid="<script>")

    assert any("no such key" in one.value for one in at.markdown)
    assert "<script" not in html(at)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"key_name": ""}, "name: give 1 to 128 characters", id="no-name"),
        pytest.param({"key_name": "x", "key_labels": "team"}, "name=value", id="no-pair"),
    ],
)
def test_a_key_that_cannot_be_says_why_at_its_field(
    shown: Operated, values: dict[str, str], expected: str
) -> None:
    at = click(fill(click(open_view("keys"), "new_key"), **values), "key_create")

    assert expected in html(at)
    assert not at.code


def test_a_budget_is_made_changed_and_deleted(shown: Operated) -> None:
    at = open_view("keys")
    assert any("No budget limits anybody yet." in one.value for one in at.caption)

    click(at, "new_budget")
    fill(at, budget_name="<script>: monthly", budget_limit="$1,500", budget_labels="team=search")
    click(at, "budget_create")
    assert "monthly holds" in texts(at)
    assert "$1,500.00" in html(at)
    assert "team = search" in html(at)
    assert "made with a limit of $1,500.00" in html(at)
    assert "<script" not in html(at)
    assert len(at.get("vega_lite_chart")) == 1

    click(at, "edit_budget")
    fill(at, budget_new_limit="20.50")
    at.selectbox(key="budget_new_mode").set_value("soft")
    click(at, "budget_set")
    assert "$20.50" in html(at)
    assert "limit set to $20.50, now warns" in html(at)

    click(at, "edit_budget")
    assert at.button(key="budget_delete").disabled
    at.checkbox(key="sure_to_delete").check()
    again(at)
    click(at, "budget_delete")
    assert any("No budget limits anybody yet." in one.value for one in at.caption)


def test_a_budget_whose_name_holds_a_slash_is_changed_and_deleted(shown: Operated) -> None:
    # They could be made once.
    budget = StoredBudget(
        id=uuid4(),
        name="team/search",
        period="month",
        limit_nusd=5_000_000_000,
        created_at=datetime.now(UTC),
        created_by="tests",
    )
    ask(shown.database_url, lambda connection: insert_budget(connection, budget))
    at = click(open_view("keys"), "edit_budget")
    fill(at, budget_new_limit="7")
    click(at, "budget_set")
    assert "limit set to $7.00" in html(at)

    click(at, "edit_budget")
    at.checkbox(key="sure_to_delete").check()
    click(again(at), "budget_delete")

    assert any("No budget limits anybody yet." in one.value for one in at.caption)


@pytest.mark.parametrize("mode", ["hard", "soft", "shadow"])
def test_a_budget_of_every_key_has_the_mode_that_was_chosen(shown: Operated, mode: str) -> None:
    at = click(open_view("keys"), "new_budget")
    at.segmented_control(key="budget_whose").set_value("every key")
    again(at)
    at.selectbox(key="budget_mode").set_value(mode)
    fill(at, budget_name=mode, budget_limit="5")
    click(at, "budget_create")

    (made,) = shown.admin.get("/admin/budgets", dict[str, Any])["data"]
    assert (made["mode"], made["everyone"]) == (mode, True)
    assert "every key" in html(at)
    shown.admin.delete(f"/admin/budgets/{mode}", dict[str, Any])


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("much", "Write an amount in USD"), ("-1", "give an amount in USD")],
)
def test_a_budget_that_cannot_be_says_why_at_its_field(
    shown: Operated, limit: str, expected: str
) -> None:
    at = click(open_view("keys"), "new_budget")
    fill(at, budget_name="x", budget_limit=limit, budget_labels="a=b")

    click(at, "budget_create")

    assert expected in html(at)
