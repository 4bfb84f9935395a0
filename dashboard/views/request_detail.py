"""One request: what it cost and took, who was tried, why there, and what every meter came to."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import streamlit as st

from dashboard import charts, numbers, pieces, queries, source, words
from dashboard.palette import slots
from dashboard.pieces import Card, Cell, Column, Row
from gateway.storage.tables import cost_column
from pricing.usage import METERS

_METER_COLUMNS = tuple((meter, cost_column(meter)) for meter in METERS)
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
_PLAN_COLUMNS = (
    Column(name=""),
    Column(name="Endpoint"),
    Column(name="Expected", is_number=True, hint="Of this request, when the plan was made."),
    Column(name="Drawn with", is_number=True, hint="Probability of being the first."),
    Column(name="Outcome"),
)
_COST_COLUMNS = (
    Column(name="Meter"),
    Column(name="Quantity", is_number=True),
    Column(name="per M", is_number=True),
    Column(name="Cost", is_number=True),
)


def render(wanted: str, zone: str) -> None:
    """Draw the request with that id, ``gen-…`` or a UUID."""
    request_id = queries.parse_request_id(wanted)
    found = None if request_id is None else source.read_request(request_id)
    if request_id is None or found is None or found.is_empty():
        _show_missing(wanted, is_id=request_id is not None)
        return
    request: dict[str, Any] = found.row(0, named=True)
    frame = source.read_attempts((request_id,))
    attempts: list[dict[str, Any]] = frame.to_dicts()

    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="head"
    ):
        st.html(pieces.chips(_chips(request)), width="content")
        st.code(queries.generation_id(request_id), language=None, width="content")
    st.html(pieces.cards(_cards(request, attempts)))
    st.html(pieces.facts(_facts(request, attempts, zone)))
    if attempts:
        _draw_attempts(request, attempts)
    left, right = st.columns([1.25, 1], gap="small")
    with left.container(border=True, key="plan"):
        _draw_plan(request, attempts)
    with right.container(border=True, key="cost"):
        _draw_cost(request, attempts)
    if request["warnings"]:
        with st.container(border=True, key="warnings"):
            st.html(pieces.heading("Warnings"))
            for warning in request["warnings"]:
                st.text(warning)


def _show_missing(wanted: str, *, is_id: bool) -> None:
    with st.container(border=True, key="empty"):
        if not is_id:
            st.markdown("**That is not the id of a request.**")
            st.text(wanted[:80])
            st.caption("Ids begin with gen- and go on with 32 hexadecimal digits.")
            return
        waiting = int(source.read_freshness()["backlog_bytes"].sum())
        st.markdown("**No such request.**")
        st.text(wanted[:80])
        st.caption(
            "It may be older than what is kept"
            + (
                f", or among the {waiting / 1024:,.0f} KiB that are not in the database yet."
                if waiting
                else "."
            )
        )


def _chips(request: dict[str, Any]) -> list[tuple[str, str]]:
    if request["outcome"] != "success":
        first = (words.outcome(request["outcome"]), "bad")
    elif request["is_fallback"]:
        first = ("served by fallback", "warn")
    else:
        first = ("served", "good")
    more = [
        (text, "")
        for text in (
            "stream" if request["stream"] else None,
            request["finish_reason"],
            f"HTTP {request['status_code']}",
        )
        if text
    ]
    return [first, *more]


def _cards(request: dict[str, Any], attempts: list[dict[str, Any]]) -> list[Card]:
    planned, _, _ = queries.plan_rows(request["plan"])
    expected = planned[0].expected_usd if planned else None
    fallback_ms = _before_last_ms(request, attempts)
    return [
        Card(
            label="Cost",
            value=numbers.usd(request["cost_usd"]),
            note=" · ".join(
                filter(
                    None,
                    (
                        words.cost_status(request["cost_status"]),
                        f"expected {numbers.usd(expected)}" if expected is not None else "",
                    ),
                )
            ),
            hint=numbers.usd_exact(request["cost_usd"]),
        ),
        Card(
            label="Total",
            value=numbers.duration(request["duration_ms"]),
            note="one attempt"
            if fallback_ms is None
            else f"+{numbers.duration(fallback_ms)} by fallback",
        ),
        Card(
            label="First token",
            value=numbers.duration(request["ttft_ms"]),
            note="" if request["stream"] else "not streamed",
        ),
        Card(
            label="Output",
            value=f"{numbers.count(request['completion_tokens'])}",
            note=_speed(request),
        ),
        Card(label="Gateway", value=numbers.duration(request["overhead_ms"]), note="our overhead"),
    ]


def _facts(
    request: dict[str, Any], attempts: list[dict[str, Any]], zone: str
) -> list[tuple[str, str]]:
    served = request["used_endpoint"] or request["used_provider"] or numbers.UNKNOWN
    labels: dict[str, str] = msgspec.json.decode(request["labels"], type=dict[str, str])
    tiers = {attempt["service_tier"] for attempt in attempts if attempt["service_tier"]}
    named = [
        ("When", numbers.when_exactly(request["received_at"], zone)),
        ("Model asked for", request["requested_model"]),
        ("Provider asked for", request["requested_provider"]),
        ("Served by", served),
        ("Underlying model", request["underlying_used_model"]),
        (
            "Tokens",
            f"{numbers.count(request['prompt_tokens'])} in, "
            f"{numbers.count(request['completion_tokens'])} out",
        ),
        ("Key", request["key_name"]),
        ("User", request["end_user"]),
        ("Session", request["session_id"]),
        ("Error", request["error_kind"]),
        ("Rules", request["rule_version"]),
        ("Service tier", ", ".join(sorted(tiers))),
        ("Dialect", request["dialect"]),
        ("Catalogue", request["catalogue_version"]),
        *(labels.items()),
    ]
    return [(name, value) for name, value in named if value]


def _draw_attempts(request: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
    with st.container(border=True, key="attempts"):
        st.html(pieces.heading("Attempts", _count_words(len(attempts))))
        phases, captions = _waterfall(request["received_at"], attempts)
        st.altair_chart(
            charts.waterfall_chart(phases, captions), alt="What each attempt did, and when"
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
        parts = [
            attempt["finish_reason"] or "served",
            f"{numbers.count(tokens)} output tokens" if tokens is not None else "",
        ]
    else:
        parts = [
            f"{attempt['status_code']}" if attempt["status_code"] else "",
            words.outcome(attempt["outcome"]),
            attempt["error_code"] or "",
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


def _draw_plan(request: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
    planned, excluded, excluded_count = queries.plan_rows(request["plan"])
    st.html(pieces.heading("Why here", f"plan of {len(planned)}, {excluded_count} excluded"))
    if not planned and not excluded:
        st.caption("No plan was recorded: the request was refused before one was made.")
        return
    rows = [
        Row(
            cells=(
                Cell(text=str(rank)),
                Cell(text=one.endpoint, wraps=True),
                Cell(text=numbers.usd(one.expected_usd), hint=numbers.usd_exact(one.expected_usd)),
                Cell(text=numbers.share(one.probability)),
                _tried(one.endpoint, attempts),
            )
        )
        for rank, one in enumerate(planned, start=1)
    ]
    rows += [
        Row(
            cells=(
                Cell(text=""),
                Cell(text=one.endpoint, wraps=True),
                Cell(text=numbers.usd(one.expected_usd)),
                Cell(text=""),
                Cell(
                    text=one.reason or "",
                    is_chip=True,
                    sub=one.detail or words.exclusion(one.reason or ""),
                    wraps=True,
                ),
            )
        )
        for one in excluded
    ]
    st.html(pieces.table(_PLAN_COLUMNS, rows))
    if len(excluded) < excluded_count:
        st.caption(f"{excluded_count - len(excluded)} more exclusions were counted but not listed.")


def _tried(endpoint: str, attempts: list[dict[str, Any]]) -> Cell:
    outcomes = [one["outcome"] for one in attempts if one["endpoint"] == endpoint]
    if not outcomes:
        return Cell(text="not needed" if attempts else "not tried")
    if outcomes[-1] == "success":
        return Cell(text="✓ served", tone="good")
    times = "" if len(outcomes) == 1 else f" {len(outcomes)} times"
    return Cell(text=f"✕ tried{times}: {words.outcome(outcomes[-1])}", tone="bad", wraps=True)


def _draw_cost(request: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
    st.html(pieces.heading("Cost", _price_words(attempts)))
    rows = [row for one in attempts for row in _cost_rows(one, is_named=len(attempts) > 1)]
    rows.append(
        Row(
            cells=(
                Cell(text="Total", sub=words.cost_status(request["cost_status"])),
                Cell(text=""),
                Cell(text=""),
                Cell(text=numbers.usd_exact(request["cost_usd"])),
            ),
            kind="total",
        )
    )
    wasted = [one["cost_usd"] for one in attempts if one["outcome"] != "success"]
    if wasted:
        known = None if None in wasted else sum(wasted, Decimal(0))
        rows.append(
            Row(
                cells=(
                    Cell(text="of it on failed attempts"),
                    Cell(text=""),
                    Cell(text=""),
                    Cell(text=numbers.usd_exact(known)),
                ),
                kind="quiet",
            )
        )
    st.html(pieces.table(_COST_COLUMNS, rows))


def _cost_rows(attempt: dict[str, Any], *, is_named: bool) -> list[Row]:
    name = f"{attempt['number']} {attempt['endpoint']}" if is_named else ""
    rows = [
        Row(
            cells=(
                Cell(text=words.meter(line.meter), sub=name, wraps=True),
                Cell(text=f"{line.quantity:,}" if line.quantity is not None else numbers.UNKNOWN),
                Cell(text=numbers.usd_per_mtok(line.usd_per_mtok)),
                Cell(text=numbers.usd_exact(line.cost_usd)),
            )
        )
        for line in queries.cost_lines(attempt, _METER_COLUMNS)
    ]
    if attempt["cost_usd"] is None:
        rows += [
            Row(
                cells=(
                    Cell(text=words.meter(meter), sub=name, wraps=True),
                    Cell(text=f"{quantity:,}"),
                    Cell(text=numbers.UNKNOWN),
                    Cell(text=numbers.UNKNOWN),
                )
            )
            for meter, quantity in queries.unpriced_meters(attempt, _METER_COLUMNS)
        ]
    if attempt["cost_source"] == "provider_reported":
        rows.append(
            Row(
                cells=(
                    Cell(text="the provider's own figure", sub=name, wraps=True),
                    Cell(text=""),
                    Cell(text=""),
                    Cell(
                        text=numbers.usd_exact(attempt["cost_usd"]),
                        sub=f"ours {numbers.usd_exact(attempt['computed_cost_usd'])}",
                    ),
                ),
            )
        )
    return rows


def _price_words(attempts: list[dict[str, Any]]) -> str:
    versions = [one["price_version"] for one in attempts if one["price_version"]]
    return f"price {', '.join(dict.fromkeys(versions))}" if versions else "no price was applied"


def _before_last_ms(request: dict[str, Any], attempts: list[dict[str, Any]]) -> float | None:
    if len(attempts) < 2:  # noqa: PLR2004 - a fallback is the second
        return None
    return (attempts[-1]["started_at"] - request["received_at"]).total_seconds() * _SECOND_MS


def _speed(request: dict[str, Any]) -> str:
    tokens, whole_ms, first_ms = (
        request["completion_tokens"],
        request["duration_ms"],
        request["ttft_ms"],
    )
    if not tokens or first_ms is None or whole_ms <= first_ms:
        return "tokens"
    return f"tokens · {tokens * _SECOND_MS / (whole_ms - first_ms):,.0f} tokens/s"


def _count_words(number: int) -> str:
    return "one" if number == 1 else str(number)
