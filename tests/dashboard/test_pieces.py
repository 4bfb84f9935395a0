import pytest

from dashboard import pieces
from dashboard.pieces import Card, Cell, Column, Row
from tests.dashboard.traffic import HOSTILE_LABEL, HOSTILE_MODEL

HOSTILE = HOSTILE_LABEL + HOSTILE_MODEL + "\" onmouseover='x'"


@pytest.mark.parametrize(
    "html",
    [
        pytest.param(pieces.title(HOSTILE, note=HOSTILE, hint=HOSTILE), id="title"),
        pytest.param(pieces.heading(HOSTILE, HOSTILE, legend=[(HOSTILE, "")]), id="heading"),
        pytest.param(
            pieces.cards([Card(label=HOSTILE, value=HOSTILE, note=HOSTILE, hint=HOSTILE)]),
            id="cards",
        ),
        pytest.param(
            pieces.table(
                [Column(name=HOSTILE, hint=HOSTILE)],
                [
                    Row(cells=(Cell(text=HOSTILE, sub=HOSTILE, hint=HOSTILE, slot=1, bar=0.5),)),
                    Row(cells=(Cell(text=HOSTILE, tone="bad", is_chip=True),), kind=HOSTILE),
                ],
            ),
            id="table",
        ),
        pytest.param(pieces.facts([(HOSTILE, HOSTILE)]), id="facts"),
        pytest.param(pieces.chips([(HOSTILE, "good")]), id="chips"),
    ],
)
def test_texts_from_traffic_stay_texts(html: str) -> None:
    assert "<script" not in html
    assert "<img" not in html
    assert '" onmouseover' not in html


def test_an_unknown_tone_is_refused() -> None:
    with pytest.raises(ValueError, match="not a tone"):
        pieces.chips([("x", '"><script>')])


@pytest.mark.parametrize(
    "spark", [(), (1.0,), (None, None), (0.0, 0.0), (None, 1.0, None, 3.0), (5.0, 5.0)]
)
def test_every_sparkline_stays_in_its_box(spark: tuple[float | None, ...]) -> None:
    for from_zero in (True, False):
        html = pieces.cards([Card(label="x", value="1", spark=spark, spark_from_zero=from_zero)])

        assert "nan" not in html
        assert "-" not in html.partition("polygon")[2].partition('"')[0]
