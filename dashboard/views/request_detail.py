"""One request: what it cost and took, who was tried, why there, and what every meter came to."""

from typing import Any

import msgspec
import streamlit as st

from dashboard import numbers, pieces, queries, source, words
from dashboard.pieces import Card, Cell, Column, Row
from dashboard.views import request_attempts, request_cost

_SECOND_MS = 1_000

_PLAN_COLUMNS = (
    Column(name=""),
    Column(name="Endpoint"),
    Column(name="Expected", is_number=True, hint="Of this request, when the plan was made."),
    Column(name="Drawn with", is_number=True, hint="Probability of being the first."),
    Column(name="Outcome"),
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
        request_attempts.render(request, attempts)
    left, right = st.columns([1.25, 1], gap="small")
    with left.container(border=True, key="plan"):
        _draw_plan(request, attempts)
    with right.container(border=True, key="cost"):
        request_cost.render(request, attempts)
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
