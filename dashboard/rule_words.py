"""Rules and their differences as words and escaped HTML. Pure."""

from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec

from dashboard import pieces
from dashboard.admin_answers import MemberDiff, Problem, RuleDiff, RuleSetDiff
from dashboard.pieces import Cell, Column, Row

_KINDS: dict[str, tuple[str, str]] = {
    "added": ("added", "good"),
    "removed": ("removed", "bad"),
    "changed": ("changed", "warn"),
    "moved": ("moved", ""),
}
_DIFF_COLUMNS = (Column(name="Rule"), Column(name=""), Column(name="Before → after"))
_PROBLEM_COLUMNS = (Column(name="Line", is_number=True), Column(name=""), Column(name="Problem"))


def written(value: object) -> str:
    """A value as the language writes it."""
    return msgspec.json.encode(value).decode()


def lines(members: Mapping[str, Any]) -> list[str]:
    """Each member with its value."""
    return [f"{member} = {written(value)}" for member, value in members.items()]


def diff_html(diff: RuleSetDiff) -> str:
    """A table of what becomes different, or a sentence when nothing does."""
    if not diff.changes:
        return f'<div class="tw-note">{escape("No rule differs from those in force.")}</div>'
    return pieces.table(_DIFF_COLUMNS, [_diff_row(change) for change in diff.changes])


def problems_html(problems: tuple[Problem, ...]) -> str:
    """A table of what is wrong, each with its line."""
    rows = [
        Row(
            cells=(
                Cell(text="" if one.line is None else str(one.line)),
                Cell(
                    text=one.severity,
                    tone="bad" if one.severity == "error" else "warn",
                    is_chip=True,
                ),
                Cell(
                    text=one.message,
                    sub=" · ".join(filter(None, (one.rule and f"rule {one.rule}", one.where))),
                    wraps=True,
                ),
            )
        )
        for one in problems
    ]
    return pieces.table(_PROBLEM_COLUMNS, rows)


def _diff_row(change: RuleDiff) -> Row:
    word, tone = _KINDS[change.kind]
    return Row(
        cells=(
            Cell(text=change.rule, wraps=True),
            Cell(text=word, tone=tone, is_chip=True),
            Cell(
                text="; ".join(_member(member, change.kind) for member in change.members),
                wraps=True,
            ),
        )
    )


def _member(member: MemberDiff, kind: str) -> str:
    if kind == "added" or member.before is None:
        return f"{member.member} = {written(member.after)}"
    if kind == "removed" or member.after is None:
        return f"{member.member} was {written(member.before)}"
    return f"{member.member}: {written(member.before)} → {written(member.after)}"
