"""What commands print: tables for people on a terminal, one JSON value for programs."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class CommandError(Exception):
    """A command cannot do what was asked; the message says why and what to do. Exit code 1."""


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever the command tells
    """One line of JSON on standard output."""
    sys.stdout.write(_ENCODER.encode(value).decode() + "\n")
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
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = ""
) -> None:
    """A table; None shows as a dash."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else shown(cell) for cell in row))
    out = Console(width=max(console().width, 100)) if not sys.stdout.isatty() else console()
    out.print(table, markup=False)


def shown(cell: object) -> str:
    """A value as people read it; money keeps every digit."""
    if isinstance(cell, Decimal):
        text = format(cell, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(cell, float):
        return f"{cell:.1f}"
    return str(cell)
