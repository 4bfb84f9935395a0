"""What commands print: tables for people on a terminal, one JSON value for programs."""

import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from gateway.domain.plain_json import encode_with_numbers, plain

_ENDLESS = 10_000
"""Characters of a line that goes to a file or another program: a row is one line there."""
_UNKNOWN = "-"
# What a long name may be broken after; a sign in front belongs to its number.
_PARTS = re.compile(r".[^/@-]*[/@-]*")


class CommandError(Exception):
    """A command cannot do what was asked; the message says why and what to do. Exit code 1."""


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever the command tells
    """One line of JSON on standard output."""
    sys.stdout.write(encode_with_numbers(value).decode() + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """A line for people, on standard output."""
    console().print(text, highlight=False, soft_wrap=True, markup=False)


def note(text: str) -> None:
    """A line about progress, on standard error, so that pipes stay clean."""
    Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False, style="dim")


def console() -> Console:
    """The terminal, as it is now."""
    return Console()


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str = "",
    less: Sequence[str] = (),
) -> None:
    """A table; None shows as a dash.

    Args:
        columns: their names.
        rows: a value for each column.
        title: stands above it.
        less: columns that a terminal leaves out when it has no room for all, the least important
            first; before them those of them that have no value at all.
    """
    is_terminal = sys.stdout.isatty()
    out = console() if is_terminal else Console(width=_ENDLESS)
    cells = [[_UNKNOWN if cell is None else shown(cell) for cell in row] for row in rows]
    absent = _too_much(out, columns, cells, less) if is_terminal else []
    out.print(_table(columns, cells, title=title, without=absent), markup=False)
    told = [name for name in columns if name in absent and not _is_empty(columns, cells, name)]
    if told:
        say(f"Too narrow for {', '.join(told)}: a wider terminal shows them, and --json.")


def shown(cell: object) -> str:
    """A value as people read it; money keeps every digit."""
    if isinstance(cell, Decimal):
        return plain(cell)
    if isinstance(cell, float):
        return f"{cell:.1f}"
    return str(cell)


def in_usd(amount: Decimal, *, signed: bool = False) -> str:
    """An amount of money in a sentence, with every digit; ``signed`` shows a plus, too."""
    return f"{'+' * (signed and amount > 0)}{plain(amount)} USD"


class _Cell:
    """A text that is broken between words, and words that are too long between their parts."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Text(self._text).__rich_measure__(console, options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [_broken(line, options.max_width) for line in self._text.splitlines()]
        yield Text("\n".join(lines), overflow="fold")


def _too_much(
    out: Console, columns: Sequence[str], cells: Sequence[Sequence[str]], less: Sequence[str]
) -> list[str]:
    """Those columns of ``less`` that there is no room for."""
    anywhere = out.options.update(max_width=_ENDLESS)

    def fits(absent: Sequence[str]) -> bool:
        table = _table(columns, cells, without=absent)
        return Measurement.get(out, anywhere, table).maximum <= out.width

    if fits(()):
        return []
    absent = sorted(less, key=lambda name: not _is_empty(columns, cells, name))
    for name in reversed(absent[:]):
        others = [one for one in absent if one != name]
        if fits(others):
            absent = others
    return absent


def _is_empty(columns: Sequence[str], cells: Sequence[Sequence[str]], name: str) -> bool:
    place = columns.index(name)
    return all(row[place] == _UNKNOWN for row in cells)


def _table(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    *,
    title: str = "",
    without: Sequence[str] = (),
) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    kept = [place for place, name in enumerate(columns) if name not in without]
    for place in kept:
        table.add_column(columns[place], overflow="fold")
    for row in cells:
        table.add_row(*(_Cell(row[place]) for place in kept))
    return table


def _broken(line: str, width: int) -> str:
    """A line with breaks in words that are too long by themselves."""
    return " ".join(
        word if cell_len(word) <= width else _broken_word(word, width) for word in line.split(" ")
    )


def _broken_word(word: str, width: int) -> str:
    lines = [""]
    for part in _PARTS.findall(word):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
