"""Rules tried on logged requests: what would have gone elsewhere, and what that would cost."""

import streamlit as st

from dashboard import job_panel, numbers, pieces, rule_charts
from dashboard.admin_answers import ReplayExample, ReplayMove, ReplayReport
from dashboard.admin_states import lacks
from dashboard.periods import Period
from dashboard.pieces import Card, Cell, Column, Row

_SLOT, _SAMPLE = "rules_replay", "rules_sample"
_SAMPLES = (1_000, 10_000, 50_000)
_MOST_MOVES = 12

_MOVE_COLUMNS = (
    Column(name="Now"),
    Column(name="Then"),
    Column(name="Requests", is_number=True),
    Column(name="Difference", is_number=True, hint="Of those whose costs are known on both sides."),
)
_EXAMPLE_COLUMNS = (
    Column(name="Request"),
    Column(name="Model"),
    Column(name="Now"),
    Column(name="Then"),
    Column(name="Cost", is_number=True, hint="Of what was used, at the prices of then."),
)
_NOT_REPLAYED = {
    "no_facts": "recorded before decisions kept what was asked",
    "no_plan": "nobody was found to serve it then",
    "own_providers": "it brought its providers along",
    "key_unknown": "its key is not known any more",
    "too_long": "it named more than a record keeps",
    "headers": "a rule asks for headers, which are never stored",
    "speed": "it limits speed by percentiles that are not stored",
    "exclusions_cut": "the list of what was left out for its health was cut",
    "budget": "a budget kept endpoints out, and what it held then is not stored",
    "auto_pool": "`auto` chose from another pool than that of now",
    "unreadable": "its plan is of a form that this version does not know",
}


def render(text: str, period: Period) -> None:
    """Draw the form and what came of it, for the text in the editor."""
    with st.container(border=True, key="replay"):
        st.html(
            pieces.heading(
                "On logged requests", f"of {_the(period.words)}: decided again, nobody is asked"
            )
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.selectbox(
                "At most",
                _SAMPLES,
                index=1,
                format_func=lambda number: f"the newest {number:,}",
                key=_SAMPLE,
                width=200,
            )
            why_not = lacks("operator")
            st.button(
                "Try on logged requests",
                key="replay_try",
                icon=":material/play_arrow:",
                disabled=job_panel.is_running(_SLOT) or why_not is not None,
                help=why_not,
                on_click=_begin,
                args=(text, period),
            )
        found = job_panel.result(_SLOT, ReplayReport, about=_about(text))
        if found is None and not job_panel.is_running(_SLOT) and _has_result():
            st.caption("The text has changed since it was tried: try it again.")
        job_panel.render(
            _SLOT,
            "Deciding logged requests again",
            lambda: None if found is None else _show(found, period.zone),
        )


def render_figures(text: str) -> None:
    """The figures alone, before these very rules are put in force."""
    found = job_panel.result(_SLOT, ReplayReport, about=_about(text))
    if found is None:
        st.caption("This text was not tried on logged requests.")
        return
    st.html(
        pieces.heading(
            "On logged requests",
            f"the newest {found.replayed:,} between {found.since:%-d %b} and {found.until:%-d %b}",
        )
    )
    st.html(pieces.cards(_cards(found)))


def forget() -> None:
    """For callbacks: let go of what was tried."""
    job_panel.forget(_SLOT)


def _begin(text: str, period: Period) -> None:
    sample: int = st.session_state[_SAMPLE]
    body = {"source": text, "since": period.start, "until": period.end, "sample": sample}
    job_panel.begin(_SLOT, "/admin/rules/replay", body, about=_about(text))


def _about(text: str) -> str:
    return text


def _has_result() -> bool:
    return isinstance(st.session_state.get(_SLOT), job_panel.Followed)


def _the(words: str) -> str:
    return words if words.startswith("this") else f"the {words}"


def _show(found: ReplayReport, zone: str) -> None:
    if not found.requests:
        st.caption("No request was logged in this period.")
        return
    st.html(pieces.cards(_cards(found)))
    changed = rule_charts.changed_moves(found.moves)
    if not changed:
        st.caption("Every request that could be decided again would go where it went.")
    else:
        left, right = st.columns([1, 1.2], gap="medium")
        with left:
            st.html(pieces.heading("From → to", "rows: now, columns: under this text"))
            st.altair_chart(
                rule_charts.moves_chart(rule_charts.move_frame(changed)),
                alt=f"From which endpoint to which {found.changed} requests would go",
            )
        with right:
            st.html(pieces.heading("Moves", "the commonest first"))
            st.html(pieces.table(_MOVE_COLUMNS, [_move_row(one) for one in changed[:_MOST_MOVES]]))
            if len(changed) > _MOST_MOVES:
                st.caption(f"and {len(changed) - _MOST_MOVES} more moves")
        if found.examples:
            st.html(pieces.heading("Examples", zone))
            rows = [_example_row(one, zone) for one in found.examples]
            st.html(pieces.table(_EXAMPLE_COLUMNS, rows))
    for line in _doubts(found):
        st.caption(line)


def _cards(found: ReplayReport) -> list[Card]:
    share = numbers.share(found.changed_share)
    scale = float(found.recorded_cost_usd)
    of_all = numbers.change(float(found.difference_usd) / scale) if scale else ""
    priced = f"of {numbers.count(found.priced)} whose cost is known"
    refused = found.newly_refused - found.no_longer_refused
    return [
        Card(
            label="Would change endpoint",
            value=numbers.count(found.changed),
            note=f"{share} of {numbers.count(found.replayed)} decided again",
        ),
        Card(
            label="Cost",
            value=numbers.usd_change(found.difference_usd) if found.priced else numbers.UNKNOWN,
            note=f"{of_all} of all, {priced}" if of_all else priced,
        ),
        Card(
            label="Newly refused",
            value=numbers.count(found.newly_refused),
            note=f"{numbers.count(found.no_longer_refused)} no longer refused",
            change_tone="bad" if refused > 0 else "",
        ),
        Card(
            label="Not decided again",
            value=numbers.count(sum(found.not_replayed.values())),
            note=f"of {numbers.count(found.requests)} looked at",
        ),
    ]


def _doubts(found: ReplayReport) -> list[str]:
    """What could not be told, each in a line."""
    lines = [
        f"Not decided again, {count:,}: {_NOT_REPLAYED.get(why, why.replace('_', ' '))}."
        for why, count in found.not_replayed.items()
        if count
    ]
    if not found.is_complete:
        lines.append(f"There are more in the period than the {found.requests:,} looked at.")
    if found.reproduced.requests:
        same = found.reproduced.same / found.reproduced.requests
        lines.append(
            f"Decided again under the rules of now, {numbers.share(same)} of "
            f"{found.reproduced.requests:,} go where they went then."
        )
    return lines


def _move_row(one: ReplayMove) -> Row:
    return Row(
        cells=(
            Cell(text=one.from_ or rule_charts.REFUSED, wraps=True),
            Cell(text=one.to or rule_charts.REFUSED, wraps=True),
            Cell(text=numbers.count(one.requests)),
            Cell(
                text=numbers.UNKNOWN
                if one.difference_usd is None
                else numbers.usd_change(one.difference_usd)
            ),
        )
    )


def _example_row(one: ReplayExample, zone: str) -> Row:
    rules = ", ".join(one.new_rules)
    return Row(
        cells=(
            Cell(text=one.id[-12:], sub=numbers.when(one.received_at, zone), hint=one.id),
            Cell(text=one.requested_model, wraps=True),
            Cell(text=one.from_ or rule_charts.REFUSED, wraps=True),
            Cell(
                text=one.to or rule_charts.REFUSED,
                sub=one.refusal or (f"by {rules}" if rules else ""),
                wraps=True,
            ),
            Cell(
                text=numbers.usd(one.new_cost_usd),
                sub=f"now {numbers.usd(one.old_cost_usd)}",
            ),
        )
    )
