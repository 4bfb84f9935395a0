"""The attempts of one request: what each did when, and how it ended."""

from datetime import datetime
from typing import Any

import polars as pl
import streamlit as st

from dashboard import numbers, pieces, waterfall, words
from dashboard.palette import slots
from dashboard.pieces import Cell, Column, Row

_SECOND_MS = 1_000

_ATTEMPT_COLUMNS = (
    Column(name="#", is_number=False),
    Column(name="Endpoint"),
    Column(name="Kind"),
    Column(name="Outcome"),
    Column(name="Status", is_number=True),
    Column(name="First token", is_number=True),
    Column(name="Took", is_number=True),
    Column(name="Cost", is_number=True),
)


def render(request: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
    """Draw the attempts of a row of `schemas.REQUEST`, rows of `schemas.ATTEMPTS`."""
    with st.container(border=True, key="attempts"):
        st.html(pieces.heading("Attempts", _count_words(len(attempts))))
        phases, captions = _waterfall(request["received_at"], attempts)
        st.altair_chart(
            waterfall.waterfall_chart(phases, captions), alt="What each attempt did, and when"
        )
        st.html(pieces.table(_ATTEMPT_COLUMNS, [_attempt_row(one) for one in attempts]))


def _waterfall(
    received_at: datetime, attempts: list[dict[str, Any]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    phases: list[dict[str, object]] = []
    captions: list[dict[str, object]] = []
    for lane, one in enumerate(attempts):
        begun_ms = max(0.0, (one["started_at"] - received_at).total_seconds() * _SECOND_MS)
        name = f"{one['number']} {one['endpoint']}"
        captions.append({"lane": lane, "name": name, "note": _attempt_note(one)})
        for phase, from_ms, to_ms in _phases(one):
            phases.append(
                {
                    "lane": lane,
                    "phase": phase,
                    "from_ms": begun_ms + from_ms,
                    "to_ms": begun_ms + to_ms,
                    "attempt": name,
                    "took_text": numbers.duration(to_ms - from_ms),
                }
            )
    return (
        pl.DataFrame(
            phases,
            schema={
                "lane": pl.Int64,
                "phase": pl.String,
                "from_ms": pl.Float64,
                "to_ms": pl.Float64,
                "attempt": pl.String,
                "took_text": pl.String,
            },
        ),
        pl.DataFrame(captions, schema={"lane": pl.Int64, "name": pl.String, "note": pl.String}),
    )


def _phases(attempt: dict[str, Any]) -> list[tuple[str, float, float]]:
    first_ms, whole_ms = attempt["ttft_ms"], attempt["duration_ms"]
    if attempt["outcome"] != "success":
        return [("failed", 0.0, whole_ms)]
    if first_ms is None:
        return [("answer", 0.0, whole_ms)]
    return [("wait", 0.0, first_ms), ("stream", first_ms, max(first_ms, whole_ms))]


def _attempt_note(attempt: dict[str, Any]) -> str:
    if attempt["outcome"] == "success":
        tokens = attempt["output_tokens"]
        if tokens is not None:
            tokens += attempt["reasoning_tokens"] or 0
        parts = [
            attempt["finish_reason"] or "served",
            f"{numbers.count(tokens)} output tokens" if tokens is not None else "",
        ]
    else:
        became, code = words.outcome(attempt["outcome"]), attempt["error_code"] or ""
        parts = [
            f"{attempt['status_code']}" if attempt["status_code"] else "",
            became,
            "" if code in {became, attempt["outcome"]} else code,
            (
                f"retry after {numbers.duration(attempt['retry_after_ms'])}"
                if attempt["retry_after_ms"] is not None
                else ""
            ),
        ]
    return " · ".join(filter(None, parts))


def _attempt_row(attempt: dict[str, Any]) -> Row:
    is_served = attempt["outcome"] == "success"
    return Row(
        cells=(
            Cell(text=str(attempt["number"])),
            Cell(text=attempt["endpoint"], slot=slots([attempt["provider"]])[attempt["provider"]]),
            Cell(text=attempt["kind"]),
            Cell(
                text=words.outcome(attempt["outcome"]),
                tone="good" if is_served else "bad",
                is_chip=True,
                sub=attempt["error_message"] or "",
                wraps=True,
            ),
            Cell(text=str(attempt["status_code"] or numbers.UNKNOWN)),
            Cell(text=numbers.duration(attempt["ttft_ms"])),
            Cell(text=numbers.duration(attempt["duration_ms"])),
            Cell(
                text=numbers.usd_exact(attempt["cost_usd"]),
                sub=words.cost_status(attempt["cost_status"]),
            ),
        )
    )


def _count_words(number: int) -> str:
    return "one" if number == 1 else str(number)
