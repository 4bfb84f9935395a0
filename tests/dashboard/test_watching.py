"""What the Overview is told apart from its sums: to draw itself anew, its baseline, and a key."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import live
from dashboard.installation import Installation, show
from dashboard.pool import Pool
from tests.dashboard.test_views import html, open_view

KEY = "team one"


def watched(choice: str) -> None:
    import streamlit as st

    from dashboard import live

    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    live.choose(choice)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What it shows whenever it is looked at, the next one last."""
    times = [0.0]
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=times.pop))
    return times


def runs(at: AppTest) -> int:
    found = at.session_state["runs"]
    at.session_state["runs"] = 0
    return found


def test_nothing_is_drawn_anew_before_somebody_wants_it(clock: list[float]) -> None:
    at = AppTest.from_function(watched, args=("24h",)).run()

    assert not at.exception
    assert runs(at) == 1
    assert not at.toggle(key="live").value


def test_a_live_page_is_drawn_anew_once_its_time_has_come(clock: list[float]) -> None:
    at = AppTest.from_function(watched, args=("24h",)).run()
    runs(at)
    # Drawn at 100 and looked at then, as each run does: it is as new as it can be.
    clock[:] = [100.0, 100.0]
    at.toggle(key="live").set_value(True).run()
    assert runs(at) == 1

    # Looked at 15 s after it was drawn, as its timer does.
    clock[:] = [215.0, 215.0, 215.0, 200.0]
    at.run()

    assert not at.exception
    assert runs(at) == 2


def test_a_period_with_ends_of_its_own_stands_still(clock: list[float]) -> None:
    at = AppTest.from_function(watched, args=("custom",))
    at.session_state["live"] = True
    clock[:] = [0.0]

    at.run()

    assert not at.exception
    assert at.toggle(key="live").disabled
    assert runs(at) == 1


@pytest.fixture
def declared(rich_url: str) -> Iterator[Callable[[str | None], None]]:
    """Call it with the baseline that the installation declares."""
    pool = Pool(rich_url)

    def declare(baseline: str | None) -> None:
        show(Installation(pool=pool, baseline=baseline))
        st.cache_data.clear()

    yield declare
    st.cache_data.clear()
    pool.close()


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        pytest.param("openai/gpt-4o", "against openai/gpt-4o · ", id="an-endpoint"),
        pytest.param("dearest", "against the dearest that might · ", id="the-dearest"),
        pytest.param(None, "against the baseline · ", id="none-any-more"),
        pytest.param("<b>x</b>", "against &lt;b&gt;x&lt;/b&gt; · ", id="hostile"),
    ],
)
def test_what_was_saved_names_what_it_is_told_against(
    declared: Callable[[str | None], None], baseline: str | None, expected: str
) -> None:
    declared(baseline)

    assert expected in html(open_view("overview", period="7d"))


def test_the_latency_of_a_key_is_told_by_the_hour(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)

    at = open_view("overview", period="7d", key=KEY)

    assert not at.exception
    text = html(at)
    assert "p50 to p95 of successful requests, by the hour" in text
    p95 = text.partition("Latency p95")[2].partition('<div class="note">')[0]
    assert "ms" in p95 or "\N{NO-BREAK SPACE}s" in p95
    assert len(at.get("vega_lite_chart")) == 3


def test_a_label_beside_the_key_leaves_its_latency_out(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)

    at = open_view("overview", period="7d", key=KEY, label="team=one")

    assert not at.exception
    assert any(one.value.startswith("Latency is kept by provider") for one in at.caption)
    assert len(at.get("vega_lite_chart")) == 2
