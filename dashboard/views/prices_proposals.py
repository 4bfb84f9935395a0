"""What public price lists propose: said yes or no to one by one, or yes to all the small ones."""

from collections.abc import Sequence

import streamlit as st

from dashboard import numbers, pieces, price_words
from dashboard.admin import AdminError
from dashboard.admin_answers import Proposal, RateDifference
from dashboard.admin_states import admin, lacks, note
from dashboard.pieces import Cell, Column, Row
from dashboard.views import prices_import
from pricing.operator_layer import PriceChange

_PAGE_ROWS = 20
_MOST = 200
_PAGE, _REASON = "proposals_page", "proposal_reason"
_ACCEPTED = "accepted as the list has it"
_MOST_REASON = 1_000

_COLUMNS = (
    Column(name="Meter"),
    Column(name="Now", is_number=True),
    Column(name="Proposed", is_number=True),
    Column(name="Factor", is_number=True),
)


def count_words(proposals: Sequence[Proposal]) -> str:
    """How many are open; "" for none."""
    if not proposals:
        return ""
    more = " or more" if len(proposals) >= _MOST else ""
    return f"{len(proposals)}{more} proposal{'s' * (len(proposals) != 1)}"


def render(proposals: tuple[Proposal, ...], zone: str) -> None:
    """Draw the upload of a list and the open proposals, newest first."""
    prices_import.render()
    with st.container(border=True, key="proposals"):
        st.html(pieces.heading("Proposals", "of public price lists; nothing changes by itself"))
        if not proposals:
            st.caption(
                "No list proposes anything. Import one above, or have "
                "`tollway prices import genai-prices` fetch it; what differs is then listed."
            )
            return
        why_not = lacks("operator")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input(
                "Why",
                key=_REASON,
                max_chars=_MOST_REASON,
                placeholder="for the history; to refuse takes a reason",
            )
            small = tuple(one for one in proposals if not one.gates)
            st.button(
                f"Accept the {len(small)} small one{'s' * (len(small) != 1)}",
                key="accept_small",
                disabled=not small or why_not is not None,
                help=why_not
                or "Those without a mark: no amount changes by half or more, nothing is free.",
                on_click=_accept,
                args=(small,),
            )
        pages = -(-len(proposals) // _PAGE_ROWS)
        page = min(int(st.session_state.get(_PAGE, 0)), pages - 1)
        for one in proposals[page * _PAGE_ROWS : (page + 1) * _PAGE_ROWS]:
            _render_one(one, zone, why_not)
        if pages > 1:
            _render_pages(page, pages)


def _render_one(one: Proposal, zone: str, why_not: str | None) -> None:
    with st.container(border=True, key=f"proposal_{one.id}"):
        left, right = st.columns([2.2, 1], gap="small", vertical_alignment="center")
        when = "once accepted"
        if one.effective_from is not None:
            when = f"from {numbers.when_to_minute(one.effective_from, zone)}"
        gates = pieces.chips([(gate, "warn") for gate in one.gates])
        left.html(
            pieces.heading(one.target, f"{one.source} {one.source_version}, {when}")
            + gates
            + pieces.table(_COLUMNS, [_row(difference) for difference in one.differences])
        )
        with right.container(horizontal=True, horizontal_alignment="right"):
            st.button(
                "Accept",
                key=f"accept_{one.id}",
                disabled=why_not is not None,
                help=why_not,
                on_click=_accept,
                args=((one,),),
            )
            st.button(
                "Refuse",
                key=f"refuse_{one.id}",
                type="tertiary",
                disabled=why_not is not None,
                help=why_not,
                on_click=_refuse,
                args=(one,),
            )


def _row(one: RateDifference) -> Row:
    rate, _, tier = one.rate.partition("@")
    rate, _, size = rate.partition(">=")
    return Row(
        cells=(
            Cell(
                text=price_words.rate_word(rate),
                sub=f"prompts from {int(size):,} tokens" if size.isdecimal() else tier,
            ),
            Cell(text=price_words.amount(rate, one.before)),
            Cell(text=price_words.amount(rate, one.after)),
            Cell(
                text="now known"
                if one.before is None
                else f"{numbers.TIMES}{one.times}"
                if one.times
                else "changed",
                tone="warn" if price_words.is_large(one.before, one.after) else "",
            ),
        )
    )


def _render_pages(page: int, pages: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Back", key="proposals_back", disabled=page == 0, on_click=_go, args=(page - 1,))
        st.button(
            "More", key="proposals_more", disabled=page + 1 >= pages, on_click=_go, args=(page + 1,)
        )
        st.caption(f"Page {page + 1} of {pages}")


def _go(page: int) -> None:
    st.session_state[_PAGE] = page


def _accept(chosen: tuple[Proposal, ...]) -> None:
    reason = (st.session_state.get(_REASON) or "").strip() or _ACCEPTED
    done, problems = 0, list[str]()
    for one in chosen:
        try:
            admin().post(f"/admin/proposals/{one.id}/accept", PriceChange, {"reason": reason})
        except AdminError as error:
            problems.append(f"{one.target}: {error.remedy}")
            if error.status is None:
                break
        else:
            done += 1
    st.session_state[_REASON] = ""
    said = f"{done} accepted; every gateway process follows within a second."
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        said = f"{done} of {len(chosen)} accepted. {problems[0]}{more}"
    note(said, is_done=not problems)


def _refuse(one: Proposal) -> None:
    reason = (st.session_state.get(_REASON) or "").strip()
    if not reason:
        note("To refuse a proposal, write the reason into the field Why.", is_done=False)
        return
    try:
        admin().post(f"/admin/proposals/{one.id}/refuse", Proposal, {"reason": reason})
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    st.session_state[_REASON] = ""
    note(f"Refused: {one.source} does not propose the same for {one.target} again.")
