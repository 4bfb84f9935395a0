from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
    propose,
    texts,
)
from tests.installation import closed_port, wait_until

HOSTILE_NAMES = ("<script>alert(1)</script>", "[x](javascript:alert(1))", "=cmd()")
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


def output_price(gateway: Operated, endpoint: str) -> str:
    found = gateway.admin.get("/admin/prices", dict[str, Any], model=endpoint)
    return found["data"][0]["price"]["output_usd_per_mtok"]


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


def proposed(gateway: Operated) -> list[str]:
    found = gateway.admin.get("/admin/proposals", dict[str, Any])["data"]
    return [one["target"] for one in found]


def test_small_proposals_are_accepted_at_once_and_a_large_one_is_refused(shown: Operated) -> None:
    propose(
        shown,
        {
            CHEAP: ("output_usd_per_mtok", "2", "5"),
            DEAR: ("output_usd_per_mtok", "2", "2.25"),
        },
    )
    at = open_view("prices", tab="Proposals")
    assert "2 proposals" in html(at)
    assert "$2.25" in html(at)
    assert "it changes a lot" in html(at)
    assert at.button(key="accept_small").label == "Accept the 1 small one"

    click(at, "accept_small")
    assert "1 accepted" in texts(at)
    assert proposed(shown) == [CHEAP]
    (refuse,) = [one.key for one in at.button if (one.key or "").startswith("refuse_")]
    assert refuse is not None
    click(at, refuse)
    assert "write the reason" in texts(at)
    assert proposed(shown) == [CHEAP]
    at.text_input(key="proposal_reason").set_value(HOSTILE)
    click(at, refuse)

    assert "Refused" in texts(at)
    assert any("No list proposes anything" in one.value for one in at.caption)
    found = shown.admin.get("/admin/prices", dict[str, Any], model=DEAR)
    assert found["data"][0]["price"]["output_usd_per_mtok"] == "2.25"
    refused = shown.admin.get("/admin/proposals", dict[str, Any], status="refused")["data"]
    assert refused[0]["comment"] == HOSTILE


def test_a_proposal_that_is_too_late_is_told(shown: Operated) -> None:
    propose(shown, {CHEAP: ("input_usd_per_mtok", "17", "18")})
    at = open_view("prices", tab="Proposals")

    click(
        at,
        next(
            one.key
            for one in at.button
            if (one.key or "").startswith("accept_") and one.key != "accept_small"
        )
        or "",
    )

    assert "0 of 1 accepted" in texts(at)
    assert "has changed since" in texts(at)


def test_a_model_is_compared_by_price_without_any_traffic(shown: Operated) -> None:
    at = open_view("prices", tab="Compare", compare="demo/fast")

    assert CHEAP in html(at)
    assert DEAR in html(at)
    assert any("Nothing was answered in the last 7 days" in one.value for one in at.caption)
    assert len(at.get("vega_lite_chart")) == 1


@pytest.mark.parametrize("model", HOSTILE_NAMES)
def test_a_model_that_nobody_offers_is_said_to_be_none(shown: Operated, model: str) -> None:
    at = open_view("prices", tab="Compare", compare=model)

    assert "No endpoint here offers" in texts(at)
    assert "<script" not in html(at)


def test_an_endpoint_shows_its_layers_from_top_to_bottom_and_what_is_to_come(
    shown: Operated,
) -> None:
    begins = datetime.now(UTC) + timedelta(days=20)
    wishes = (
        {"kind": "discount", "target": "dear", "factor": "0.8", "reason": "of the provider"},
        {"kind": "price", "target": DEAR, "rates": {"output_usd_per_mtok": "10"}, "reason": "ours"},
        {
            "kind": "price",
            "target": DEAR,
            "rates": {"output_usd_per_mtok": "20"},
            "effective_from": begins,
            "reason": "announced",
        },
    )
    made = [shown.admin.post("/admin/prices/changes", dict[str, Any], one) for one in wishes]
    shown.follows("they hold", lambda: Decimal(output_price(shown, DEAR)) == 8)

    page = html(open_view("prices", endpoint=DEAR))

    _, _, layers = page.partition("from top to bottom")
    layers, _, _ = layers.partition("</table>")
    order = ["what holds", "times 0.8", "price set", "tables"]
    assert sorted(order, key=layers.index) == order
    at = open_view("prices", endpoint=DEAR)
    spec = at.get("vega_lite_chart")[0].proto.spec
    assert "strokeDash" in spec
    assert "announced" in html(at)
    for one in made:
        shown.admin.post(
            "/admin/prices/changes",
            dict[str, Any],
            {"kind": "revoke", "target": one["id"], "reason": "the test is over"},
        )


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


def test_an_uploaded_list_becomes_proposals(shown: Operated) -> None:
    at = open_view("prices", tab="Proposals")
    at.selectbox(key="import_source").set_value("models-dev")
    listed = b'{"cheap": {"models": {"fast-1": {"cost": {"input": 1.25, "output": 2}}}}}'
    at.file_uploader(key="import_file").set_value(("api.json", listed, "application/json"))
    again(at)

    click(at, "import_begin")
    shown.follows("the list is compared", lambda: "are not listed" in texts(again(at)))

    assert "1 endpoints compared, 1 differ" in texts(at)
    assert "1 proposals are new" in texts(at)
    again(at)
    assert "cheap/fast-1" in html(at)


def test_an_upload_that_is_no_list_says_so(shown: Operated) -> None:
    at = open_view("prices", tab="Proposals")
    at.file_uploader(key="import_file").set_value(("a.json", b"[nonsense", "application/json"))
    click(again(at), "import_begin")

    shown.follows("it failed", lambda: "not valid JSON" in texts(again(at)))
