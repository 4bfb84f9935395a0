"""The few pieces of HTML, for what is only read. Every text goes through `html.escape` here."""

import re
from collections.abc import Sequence
from html import escape

import msgspec

TONES = frozenset({"", "good", "bad", "warn"})

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
# What Streamlit looks for in texts once their escapes are gone: its logo, icons and emoji between
# colons, addresses of pages and people, arrows.
_READ_LATER = re.compile(
    r"(?<=:)(?=[\w+-]+:)|(?<=[\w.+-])(?=@)|(?<=www)(?=\.)|(?<=http)(?=s?://)|(?<=[-<>~])(?=[-=>])",
    re.IGNORECASE,
)
_UNSEEN = "\N{WORD JOINER}"
_CUT = 40
"""Letters that every column has room for."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its name, one line below, and how it went."""

    label: str
    value: str
    change: str = ""
    """Against the period before; stands in front of the note."""
    change_tone: str = ""
    note: str = ""
    spark: tuple[float | None, ...] = ()
    """Heights over time; None is a gap, drawn as 0."""
    spark_from_zero: bool = True
    hint: str = ""
    """Shown on hover."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of a table: its text, a muted line below, a chip or a tone instead of plain text."""

    text: str
    sub: str = ""
    tone: str = ""
    is_chip: bool = False
    slot: int | None = None
    """Draws a provider's colour before the text."""
    bar: float | None = None
    """Between 0 and 1: a thin bar below the text, in the provider's colour."""
    bar_tone: str = ""
    """In a tone's colour instead."""
    bar_mark: float | None = None
    """Between 0 and 1: a tick across the bar, such as where it should be by now."""
    hint: str = ""
    wraps: bool = False
    href: str = ""
    """Within the dashboard; the text leads there."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a table; numbers stand on the right."""

    name: str
    is_number: bool = False
    hint: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table; `kind` is "", "total" or "quiet"."""

    cells: tuple[Cell, ...]
    kind: str = ""


def title(text: str, *, note: str, tone: str = "", hint: str = "") -> str:
    """The one heading of a page, and how fresh its data is."""
    return (
        f'<div class="tw-title"><h1>{escape(text)}</h1>'
        f'<span class="tw-note" title="{escape(hint)}"><i class="tw-dot {_tone(tone)}"></i>'
        f"{escape(note)}</span></div>"
    )


def heading(name: str, what: str = "", *, legend: Sequence[tuple[str, str]] = ()) -> str:
    """A card's name, what is drawn in it, and a legend of words with their tones."""
    keys = "".join(
        f'<span class="tw-note"><i class="tw-swatch {_tone(tone)}"></i>{escape(text)}</span>'
        for text, tone in legend
    )
    return (
        f'<div class="tw-heading"><span><b>{escape(name)}</b>'
        f"{f' · {escape(what)}' if what else ''}</span>{keys}</div>"
    )


def cards(items: Sequence[Card]) -> str:
    """A row of figures, or two."""
    kind = " five" if len(items) == 5 else ""  # noqa: PLR2004 - as many columns
    return f'<div class="tw-cards{kind}">{"".join(map(_card, items))}</div>'


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """A table that is only read."""
    head = "".join(
        f'<th class="{"right" if column.is_number else "left"}" title="{escape(column.hint)}">'
        f"{escape(column.name)}</th>"
        for column in columns
    )
    body = "".join(
        f'<tr class="{escape(row.kind)}">'
        + "".join(_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="tw-scroll"><table class="tw-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def facts(items: Sequence[tuple[str, str]]) -> str:
    """Names over values, as many in a line as fit."""
    parts = (
        f'<div><div class="label">{escape(name)}</div>'
        f'<div class="value">{escape(value)}</div></div>'
        for name, value in items
    )
    return f'<div class="tw-facts">{"".join(parts)}</div>'


def signed_in(name: str, role: str) -> str:
    """Who is signed in, and the way out."""
    return (
        f'<span class="tw-note">{escape(name)} ({escape(role)}) · '
        '<a href="/sign-out" target="_self">Sign out</a></span>'
    )


def chips(items: Sequence[tuple[str, str]]) -> str:
    """Words with a tone each, of `TONES`."""
    return " ".join(
        f'<span class="tw-chip {_tone(tone)}">{escape(text)}</span>' for text, tone in items
    )


def as_markdown(text: str) -> str:
    """For labels of buttons, which read Markdown: a name from traffic stays a text there."""
    return _PUNCTUATION.sub(r"\\\g<0>", _READ_LATER.sub(_UNSEEN, " ".join(text.split())))


def _card(item: Card) -> str:
    tone = f' class="tw-{_tone(item.change_tone)}"' if item.change_tone else ""
    change = f"<b{tone}>{escape(item.change)}</b>" if item.change else ""
    note = f"{change} · {escape(item.note)}" if change and item.note else change + escape(item.note)
    return (
        f'<div class="tw-card" title="{escape(item.hint)}">{_spark(item)}'
        f'<div class="label">{escape(item.label)}</div>'
        f'<div class="value">{escape(item.value)}</div>'
        f'<div class="note">{note}</div></div>'
    )


def _spark(item: Card) -> str:
    known = [height for height in item.spark if height is not None]
    if len(item.spark) < 2 or not known or max(known) <= 0:  # noqa: PLR2004 - two points make a line
        return ""
    top = max(known)
    floor = 0.0 if item.spark_from_zero else min(known) - (top - min(known)) * 0.25
    span = top - floor or 1.0
    heights = [0.0 if height is None else (height - floor) / span for height in item.spark]
    step = 100 / (len(heights) - 1)
    points = ",".join(
        f"{index * step:.1f}% {100 - max(0.0, min(1.0, height)) * 100:.1f}%"
        for index, height in enumerate(heights)
    )
    return f'<i class="spark" style="clip-path: polygon(0% 100%,{points},100% 100%)"></i>'


def _cell(cell: Cell, column: Column) -> str:
    classes = " ".join(filter(None, ("right" if column.is_number else "left", "wrap" * cell.wraps)))
    text = escape(cell.text)
    if cell.is_chip:
        text = f'<span class="tw-chip {_tone(cell.tone)}">{text}</span>'
    elif cell.tone:
        text = f'<span class="tw-{_tone(cell.tone)}">{text}</span>'
    if cell.href:
        text = f'<a href="{escape(cell.href)}" target="_self">{text}</a>'
    slot = "" if cell.slot is None else f"tw-slot-{cell.slot}"
    swatch = f'<i class="tw-swatch {slot}"></i>' if slot else ""
    bar = "" if cell.bar is None else _bar(cell, cell.bar, slot)
    sub = f'<div class="tw-sub">{escape(cell.sub)}</div>' if cell.sub else ""
    # What is too long for its column is cut there.
    hint = cell.hint or (cell.text if len(cell.text) > _CUT and not cell.wraps else "")
    return f'<td class="{classes}" title="{escape(hint)}">{swatch}{text}{sub}{bar}</td>'


def _bar(cell: Cell, share: float, slot: str) -> str:
    width = max(0.0, min(1.0, share))
    kind = " ".join(filter(None, (slot, _tone(cell.bar_tone))))
    mark = cell.bar_mark
    tick = "" if mark is None else f'<u style="left: {max(0.0, min(1.0, mark)):.1%}"></u>'
    return f'<div class="tw-bar {kind}"><i style="width: {width:.1%}"></i>{tick}</div>'


def _tone(tone: str) -> str:
    if tone not in TONES:
        raise ValueError(f"{tone!r} is not a tone")
    return tone
