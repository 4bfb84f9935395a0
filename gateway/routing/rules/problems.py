"""What is wrong with a rule set, each with its place, so that an operator can go there."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Literal

import msgspec

Severity = Literal["error", "warning"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, and what to do about it."""

    message: str
    """Names the thing and the remedy."""
    source: str
    """The file, or how else the text is called."""
    line: int | None = None
    """From 1; None when no line could be made out."""
    rule: str | None = None
    """The rule's name, or ``#3`` for the third one when it has none."""
    where: str | None = None
    """The member, dotted from the rule: ``when.prompt_tokens.min``."""
    severity: Severity = "error"

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        rule = f": rule `{self.rule}`" if self.rule else ""
        where = f": {self.where}" if self.where else ""
        return f"{place}{rule}{where}: {self.message}"


class RulesError(Exception):
    """A rule set cannot be used; carries everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    names = list(known)
    close = get_close_matches(name[:64], names, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(names)}"
