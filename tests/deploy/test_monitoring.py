"""Alerts and the Grafana dashboard ask for metrics that there are, by labels that they have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.metrics.families import COUNTERS, GAUGES, HISTOGRAMS

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = (DEPLOY / "prometheus/tollway-alerts.yml").read_text("utf-8")
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/tollway.json").read_text("utf-8"))

LABELS = {
    **{f"{name}_total": {*family.labels} for name, family in COUNTERS.items()},
    **{name: {*family.labels} for name, family in GAUGES.items()},
    **{f"{name}_bucket": {*family.labels, "le"} for name, family in HISTOGRAMS.items()},
}
EXPRESSIONS = [
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
    *re.findall(r"tollway_[^\n]*", ALERTS),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_there_is(expression: str) -> None:
    names = re.findall(r"\btollway_\w+", expression)
    assert names
    assert [name for name in names if name not in LABELS] == []

    known = set[str]().union(*(LABELS[name] for name in names))
    asked = {
        label.strip()
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in group.split(",")
    }
    asked |= set(re.findall(r"(\w+)!?=\"", expression))
    assert asked <= known


def test_panels_show_the_labels_they_keep() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            name = re.findall(r"\btollway_\w+", target["expr"])[0]
            assert shown <= LABELS[name], panel["title"]


def test_panels_do_not_lie_on_each_other() -> None:
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]]

    assert len(set(places)) == len(places)
    assert len({p["id"] for p in DASHBOARD["panels"]}) == len(places)
