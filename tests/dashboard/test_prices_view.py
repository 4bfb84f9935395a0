from collections.abc import Iterator
from typing import Any

import pytest

from dashboard.admin import Admin
from tests.dashboard.operating import (
    CHEAP,
    DEAR,
    Operated,
    again,
    click,
    html,
    open_view,
    operated,
    texts,
)
from tests.installation import closed_port, wait_until

HOSTILE = "<script>alert(1)</script> ![x](https://example.invalid/x.png)"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("prices")) as found:
        yield found


@pytest.fixture
def shown(gateway: Operated) -> Iterator[Operated]:
    close = gateway.show()
    yield gateway
    close()


def catalogue(at: Any) -> dict[str, str]:
    """Endpoint to input price."""
    frame = at.dataframe[0].value
    return dict(zip(frame["Endpoint"], frame["Input"], strict=True))


def input_price(gateway: Operated, endpoint: str) -> str:
    found = gateway.admin.get("/admin/prices", dict[str, Any], model=endpoint)
    return found["data"][0]["price"]["input_usd_per_mtok"]


def until_previewed(at: Any) -> None:
    """Until what the last week would have cost is known: only then may it be applied."""
    wait_until("the preview is there", lambda: not again(at).button(key="change_record").disabled)
    assert not [one for one in at.button if one.key == "price_preview_stop"]


def test_the_catalogue_lists_what_may_be_bought_and_is_searched(shown: Operated) -> None:
    at = open_view("prices")

    assert {name: price.strip() for name, price in catalogue(at).items()} == {
        CHEAP: "$1.00",
        DEAR: "$1.00",
    }
    at.text_input(key="q").set_value("FAST dear")
    assert list(catalogue(again(at))) == [DEAR]
    at.text_input(key="q").set_value("nothing-like-it")
    assert any("Nothing matches" in one.value for one in again(at).caption)


def test_a_search_comes_with_its_link(shown: Operated) -> None:
    at = open_view("prices", q="cheap")

    assert list(catalogue(at)) == [CHEAP]


def test_a_price_is_seen_before_it_is_recorded_and_then_holds(shown: Operated) -> None:
    at = open_view("prices", endpoint=CHEAP)

    at.text_input(key="rate_input_usd_per_mtok").set_value("1.50")
    at.text_input(key="change_reason").set_value(HOSTILE)
    click(at, "change_check")
    assert "$1.00" in html(at)
    assert "$1.50" in html(at)
    assert "+50.0" in html(at)
    assert input_price(shown, CHEAP) == "1"
    until_previewed(at)
    assert "Nothing was asked of it in these days." in "".join(one.value for one in at.caption)
    click(at, "change_record")

    assert "is on record" in texts(at)
    shown.follows("the price holds", lambda: input_price(shown, CHEAP) == "1.50")
    at = open_view("prices", endpoint=CHEAP)
    assert "price set" in html(at)
    assert "&lt;script&gt;" in html(at)
    assert "<script" not in html(at)
    click(at, "back")
    assert catalogue(at)[CHEAP].strip() == "$1.50"


def test_a_discount_of_a_provider_is_given_and_revoked(shown: Operated) -> None:
    at = open_view("prices", endpoint=DEAR)
    at.segmented_control(key="change_kind").set_value("Discount")
    again(at)

    at.text_input(key="percent_off").set_value("10 %")
    at.selectbox(key="discount_target").set_value("dear")
    at.text_input(key="change_reason").set_value("negotiated")
    click(at, "change_check")
    assert "$0.90" in html(at)
    until_previewed(at)
    click(at, "change_record")
    shown.follows("the discount holds", lambda: input_price(shown, DEAR) == "0.9")

    at = open_view("prices", endpoint=DEAR)
    assert "times 0.9" in html(at)
    at.segmented_control(key="change_kind").set_value("Revoke")
    again(at)
    at.text_input(key="change_reason").set_value("it ended")
    click(at, "change_check")
    until_previewed(at)
    click(at, "change_record")
    shown.follows("it is revoked", lambda: input_price(shown, DEAR) == "1")


@pytest.mark.parametrize(
    ("rate", "reason", "expected"),
    [
        pytest.param("0", "because", "free", id="free-by-mistake"),
        pytest.param("1,5", "because", "1,5", id="no-number"),
        pytest.param("2", " ", "the reason is missing", id="no-reason"),
    ],
)
def test_what_cannot_be_is_told_with_its_remedy(
    shown: Operated, rate: str, reason: str, expected: str
) -> None:
    at = open_view("prices", endpoint=DEAR)

    at.text_input(key="rate_input_usd_per_mtok").set_value(rate)
    at.text_input(key="change_reason").set_value(reason)
    click(at, "change_check")

    assert expected in html(at) + texts(at)
    assert not [one for one in at.button if one.key == "change_record"]


def test_an_endpoint_that_is_not_there_says_so(shown: Operated) -> None:
    at = open_view("prices", endpoint="<script>alert(1)</script>")

    assert "there is no endpoint" in texts(at)
    assert "<script" not in html(at)


def test_a_gateway_that_is_away_is_said_in_a_sentence(gateway: Operated) -> None:
    away = Admin(f"http://127.0.0.1:{closed_port()}", lambda: "secret-token")
    close = gateway.show(admin=away)

    at = open_view("prices")

    assert "The gateway does not answer." in html(at)
    assert "tollway doctor" in texts(at)
    assert "secret-token" not in html(at) + texts(at)
    close()


def test_a_stranger_is_told_that_nobody_knows_them(gateway: Operated) -> None:
    close = gateway.show(admin=Admin(gateway.gateway.admin_url, lambda: "wrong"))

    at = open_view("prices")

    assert "does not know who you are" in html(at)
    close()
