"""One request: what it cost and took, who was tried, why there, and what every meter came to."""

from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import streamlit as st

from dashboard import looking, numbers, pieces, queries, records, source, words
from dashboard.narrowing import Narrowing
from dashboard.periods import Period
from dashboard.pieces import Card
from dashboard.views import request_again, request_attempts, request_cost, request_plan
from dashboard.views.request_search import ID

_SECOND_MS = 1_000
_NEIGHBOURS_S = 0.2
"""Spent on looking for each of them where filters leave few."""
_JSON = ("labels", "tags", "plan")


def render(wanted: str, period: Period, only: Narrowing) -> None:
    """Draw the request with that id, ``gen-…`` or a UUID; its neighbours are those of the list."""
    request_id = queries.parse_request_id(wanted)
    found = None if request_id is None else records.read_request(request_id)
    if request_id is None or found is None or found.is_empty():
        _draw_way_back()
        _show_missing(wanted, is_id=request_id is not None)
        return
    adjustments = records.read_adjustments((request_id,))
    recorded: dict[str, Any] = found.row(0, named=True)
    request: dict[str, Any] = queries.corrected(found, adjustments).row(0, named=True)
    attempts = _corrected(records.read_attempts((request_id,)).to_dicts(), adjustments)

    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="head"
    ):
        with st.container(
            horizontal=True, vertical_alignment="center", width="content", key="head_what"
        ):
            _draw_way_back()
            st.html(pieces.chips(_chips(request)), width="content")
        with st.container(
            horizontal=True, vertical_alignment="center", width="content", key="head_where"
        ):
            st.code(queries.generation_id(request_id), language=None, width="content")
            _draw_neighbours(request_id, period, only)
    st.html(pieces.cards(_cards(request, attempts)))
    st.html(pieces.facts(_facts(request, attempts, period.zone)))
    if attempts:
        request_attempts.render(request, attempts)
    left, right = st.columns([1.25, 1], gap="small")
    with left.container(border=True, key="plan", height="stretch"):
        request_plan.render(request["plan"], attempts)
        request_again.render(queries.generation_id(request_id), request["used_endpoint"])
    with right.container(border=True, key="cost", height="stretch"):
        request_cost.render(request, attempts, adjustments, period.zone)
    if request["warnings"]:
        with st.container(border=True, key="warnings"):
            st.html(pieces.heading("Warnings"))
            for warning in request["warnings"]:
                st.text(warning)
    with st.expander("The record as it is stored"):
        st.json(_raw(recorded, records.read_attempts((request_id,)), adjustments), expanded=1)


def _draw_way_back() -> None:
    st.button(
        "Requests", key="back", type="tertiary", icon=":material/arrow_back:", on_click=_close
    )


def _draw_neighbours(request_id: str, period: Period, only: Narrowing) -> None:
    within_s = looking.time_for(period, _NEIGHBOURS_S) if only.values_count else None
    near = [
        look(period.start, period.end, request_id, 1, only=only, within_s=within_s)
        for look in (looking.look_ahead, looking.look_back)
    ]
    with st.container(horizontal=True, width="content", key="neighbours"):
        for name, icon, look in (
            ("Newer", ":material/chevron_left:", near[0]),
            ("Older", ":material/chevron_right:", near[1]),
        ):
            found = look.rows["id"]
            st.button(
                name,
                key=f"go_{name.lower()}",
                icon=icon,
                type="tertiary",
                disabled=found.is_empty(),
                help=None if look.looked_to is None else "None is near; the list looks further.",
                on_click=_open,
                args=(next(iter(found), ""),),
            )


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
            "paid by the caller" if request["is_paid_by_caller"] else None,
        )
        if text
    ]
    return [first, *more]


def _cards(request: dict[str, Any], attempts: list[dict[str, Any]]) -> list[Card]:
    planned, _, _ = queries.plan_rows(request["plan"])
    expected = planned[0].expected_usd if planned else None
    return [
        Card(
            label="Cost",
            value=numbers.usd(request["cost_usd"]),
            note=" · ".join(
                filter(
                    None,
                    (
                        words.cost_status(request["cost_status"])
                        if request["cost_usd"] is None or request["cost_status"] != "unpriced"
                        else "known since",
                        f"expected {numbers.usd(expected)}" if expected is not None else "",
                    ),
                )
            ),
            hint=numbers.usd_exact(request["cost_usd"]),
        ),
        Card(
            label="Total",
            value=numbers.duration(request["duration_ms"]),
            note=_attempts_note(request, attempts),
        ),
        Card(
            label="First token",
            value=numbers.duration(request["ttft_ms"]),
            note="" if request["stream"] else "not streamed",
        ),
        Card(
            label="Output",
            value=_tokens(request["completion_tokens"]),
            note=_speed(request),
        ),
        Card(label="Gateway", value=numbers.duration(request["overhead_ms"]), note="our overhead"),
    ]


def _facts(
    request: dict[str, Any], attempts: list[dict[str, Any]], zone: str
) -> list[tuple[str, str]]:
    served = request["used_endpoint"] or request["used_provider"] or numbers.UNKNOWN
    labels: dict[str, str] = msgspec.json.decode(request["labels"], type=dict[str, str])
    tags: dict[str, Any] = msgspec.json.decode(request["tags"], type=dict[str, Any])
    tiers = {attempt["service_tier"] for attempt in attempts if attempt["service_tier"]}
    regions = {attempt["served_region"] for attempt in attempts if attempt["served_region"]}
    named = [
        ("When", numbers.when_exactly(request["received_at"], zone)),
        ("Model asked for", request["requested_model"]),
        ("Provider asked for", request["requested_provider"]),
        ("Model that served", request["used_model"]),
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
        ("Processed in", ", ".join(sorted(regions))),
        ("Route", request["dialect"]),
        ("At the baseline", _baseline(request)),
        ("Catalogue", request["catalogue_version"]),
        ("Version", request["code_version"]),
        *(labels.items()),
        *((f"metadata {name}", str(value)) for name, value in tags.items()),
    ]
    return [(name, value) for name, value in named if value]


def _baseline(request: dict[str, Any]) -> str:
    usd = request["baseline_cost_usd"]
    return "" if usd is None else numbers.usd_exact(usd)


def _corrected(attempts: list[dict[str, Any]], adjustments: pl.DataFrame) -> list[dict[str, Any]]:
    """With what was corrected since in their costs; what was recorded stays beside it."""
    added: dict[int, Decimal] = {}
    for one in adjustments.iter_rows(named=True):
        added[one["number"]] = added.get(one["number"], Decimal(0)) + one["difference_usd"]
    return [
        attempt
        | {
            "recorded_usd": attempt["cost_usd"],
            "cost_usd": (attempt["cost_usd"] or Decimal(0)) + added[attempt["number"]]
            if attempt["number"] in added
            else attempt["cost_usd"],
        }
        for attempt in attempts
    ]


def _raw(
    request: dict[str, Any], attempts: pl.DataFrame, adjustments: pl.DataFrame
) -> dict[str, Any]:
    parsed = {name: msgspec.json.decode(request[name]) for name in _JSON}
    whole = request | parsed | {"attempts": attempts.to_dicts()}
    if not adjustments.is_empty():
        whole["adjustments"] = adjustments.to_dicts()
    # Money as text, with every digit.
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
    return found


def _attempts_note(request: dict[str, Any], attempts: list[dict[str, Any]]) -> str:
    fallback_ms = _before_last_ms(request, attempts)
    if fallback_ms is not None:
        return f"+{numbers.duration(fallback_ms)} by fallback"
    return "one attempt" if attempts else "nobody was asked"


def _before_last_ms(request: dict[str, Any], attempts: list[dict[str, Any]]) -> float | None:
    served = [one for one in attempts if one["kind"] != "shadow"]
    if len(served) < 2:  # noqa: PLR2004 - a fallback is the second
        return None
    return (served[-1]["started_at"] - request["received_at"]).total_seconds() * _SECOND_MS


def _speed(request: dict[str, Any]) -> str:
    tokens, whole_ms, first_ms = (
        request["completion_tokens"],
        request["duration_ms"],
        request["ttft_ms"],
    )
    if not tokens or first_ms is None or whole_ms <= first_ms:
        return ""
    return f"{tokens * _SECOND_MS / (whole_ms - first_ms):,.0f} tokens/s"


def _tokens(number: int | None) -> str:
    return numbers.UNKNOWN if number is None else f"{numbers.count(number)} tokens"


def _open(request_id: str) -> None:
    st.query_params[ID] = queries.generation_id(request_id)


def _close() -> None:
    st.query_params.pop(ID, None)
