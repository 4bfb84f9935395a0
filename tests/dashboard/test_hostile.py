"""Hostile names stay texts in every view and every export."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from streamlit.testing.v1 import AppTest

from dashboard import exports, pieces, queries
from tests.dashboard import hostile
from tests.dashboard.hostile import NAMES
from tests.dashboard.operating import CHEAP, Operated, click, html, operated

END = datetime.now(UTC)
TAGS = {"a", "b", "div", "h1", "i", "span", "table", "tbody", "td", "th", "thead", "tr", "u"}
ATTRIBUTES = {"class", "href", "style", "target", "title"}
DANGEROUS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - a spreadsheet takes the wide ones, too
READ_AS_MARKDOWN = ("html", "script", "attribute", "markdown", "directive", "template")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("hostile")) as found:
        hostile.fill(found.database_url, END, endpoint=CHEAP)
        yield found


@pytest.fixture
def shown(gateway: Operated) -> Iterator[Operated]:
    close = gateway.show()
    yield gateway
    close()


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> list[pl.DataFrame]:
    """Everything that can be downloaded of what is drawn."""
    found: list[pl.DataFrame] = []
    draw = exports.draw_downloads

    def listen(frame: Any, name: str) -> None:
        found.append(frame if isinstance(frame, pl.DataFrame) else frame())
        draw(frame, name)

    monkeypatch.setattr(exports, "draw_downloads", listen)
    return found


def script(path: str) -> None:
    from datetime import UTC, datetime

    from dashboard import exports
    from dashboard.filters import choose_narrowing, choose_period
    from dashboard.views import VIEWS

    view = next(view for view in VIEWS if view.path == path)
    period = choose_period(datetime.now(UTC))
    exports.draw_menu(period)
    choose_narrowing()
    view.render(period)


def drawn(path: str, **parameters: str | list[str]) -> AppTest:
    at = AppTest.from_function(script, args=(path,))
    for name, value in ({"period": "24h"} | parameters).items():
        at.query_params[name] = value
    return at.run(timeout=60)


class Marks(HTMLParser):
    """Which tags and attributes there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value or "" for name, value in attrs if name == "href"}


def check(at: AppTest) -> None:
    """Nothing that a name holds became anything else than text."""
    assert not at.exception
    assert not at.error
    marks = Marks(html(at))
    assert marks.tags <= TAGS
    assert marks.attributes <= ATTRIBUTES
    assert all(link.startswith("/") for link in marks.links)
    labels: list[Any] = [*at.button, *at.segmented_control, *at.radio, *at.checkbox, *at.expander]
    said = [one.value for one in (*at.markdown, *at.caption)]
    said += [str(getattr(one, "label", "")) for one in labels]
    said += [str(one) for group in at.segmented_control for one in group.options]
    said += [str(one.help) for one in at.button]
    for name in (*(NAMES[word] for word in READ_AS_MARKDOWN), *hostile.LABELS):
        assert not [one for one in said if name in one], name


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("overview", {}),
        ("overview", {"model": list(NAMES.values())}),
        ("spend", {}),
        ("latency", {"lanes": "Endpoints", "lines": "Providers"}),
        ("latency", {"lanes": "Models"}),
        ("reliability", {}),
        ("requests", {}),
        ("requests", {"label": [f"team={name}" for name in NAMES.values()]}),
        ("prices", {}),
        ("prices", {"endpoint": CHEAP}),
        ("prices", {"tab": "Compare", "compare": NAMES["html"]}),
        ("prices", {"tab": "Proposals"}),
        ("prices", {"tab": "Unpriced"}),
        ("rules", {}),
        ("keys", {}),
        ("keys", {"kid": "html0000"}),
        ("keys", {"kid": "directiv"}),
    ],
    ids=str,
)
def test_every_view_draws_hostile_names_as_texts_and_exports_none_as_a_formula(
    shown: Operated,
    offered: list[pl.DataFrame],
    path: str,
    parameters: dict[str, str | list[str]],
) -> None:
    at = drawn(path, **parameters)

    check(at)
    for frame in offered:
        check_export(frame)
    is_of_records = path in {"overview", "spend", "latency", "reliability", "requests"}
    assert bool(offered) == is_of_records


@pytest.mark.parametrize(
    "by", ["model", "key", "label:Provider", *(f"label:{name}" for name in hostile.LABELS)]
)
def test_spend_is_grouped_by_hostile_names(
    shown: Operated, offered: list[pl.DataFrame], by: str
) -> None:
    at = drawn("spend")

    at.segmented_control(key="by").set_value(by)
    at.run(timeout=60)

    check(at)
    assert any(by in frame.columns for frame in offered)
    for frame in offered:
        check_export(frame)


def check_export(frame: pl.DataFrame) -> None:
    rows = list(csv.reader(io.StringIO(exports.as_csv(frame).decode(), newline="")))
    assert len(rows) == frame.height + 1
    texts = [place for place, kind in enumerate(frame.dtypes) if not kind.is_numeric()]
    assert not [cell for row in rows for place in texts if (cell := row[place])[:1] in DANGEROUS]
    assert_frame_equal(pl.read_parquet(io.BytesIO(exports.as_parquet(frame))), frame)


@pytest.mark.parametrize("word", ["html", "attribute", "directive", "return", "long"])
def test_a_request_of_hostile_names_is_shown_as_it_was_told(shown: Operated, word: str) -> None:
    made = hostile.request(NAMES[word], END)

    at = drawn("requests", id=queries.generation_id(str(made.id)))

    check(at)
    assert "Why here" in html(at)
    assert at.text[-1].value == NAMES[word].strip()


def test_dialogs_draw_hostile_names_as_texts(shown: Operated) -> None:
    at = drawn("keys")

    check(click(at, "edit_budget"))
    check(click(drawn("keys", kid="html0000"), "change_key"))
    at = drawn("rules")
    at.selectbox(key="rules_version").select_index(0)
    check(at.run(timeout=60))


@pytest.mark.parametrize("word", [*NAMES, "an ordinary one"])
def test_a_label_of_a_button_reads_as_the_name_does(word: str) -> None:
    name = NAMES.get(word, "gpt-4o:free www.x @y")

    written = pieces.as_markdown(name)

    plain = written.replace("\\", "").replace("\N{WORD JOINER}", "")
    assert plain == " ".join(name.split()).replace("\\", "")


def test_what_holds_no_list_is_written_as_it_was() -> None:
    frame = pl.DataFrame(
        {
            "=a": ["=1", "＝1", "\n=1", " =1", "'x", None],  # noqa: RUF001
            "many": [["=1", "-2"], ["x"], [], None, ["a, b"], ["\t"]],
            "number": [-1, 2, 3, 4, 5, 6],
        }
    )

    rows = list(csv.reader(io.StringIO(exports.as_csv(frame).decode(), newline="")))

    assert rows[0] == ["'=a", "many", "number"]
    assert [row[0] for row in rows[1:]] == ["'=1", "'＝1", "'\n=1", " =1", "'x", ""]  # noqa: RUF001
    assert [row[1] for row in rows[1:]] == ["'=1; -2", "x", "", "", "a, b", "'\t"]
    assert [row[2] for row in rows[1:]] == ["-1", "2", "3", "4", "5", "6"]
