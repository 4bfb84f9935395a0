"""On which line of a rule set's text something stands: the TOML reader does not tell.

A search by words, good enough to lead an operator to the place. What it cannot find is looked for
one level further out, and in the end nowhere.
"""

import re
from collections.abc import Sequence

_HEADER = re.compile(r"\s*\[{1,2}\s*(?P<path>[^\[\]]+?)\s*\]{1,2}")
_RULE = "rules"
_FENCES = ('"""', "'''")


class Lines:
    """The lines of one text, and which of them belong to which rule."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._is_code = list(_outside_of_long_strings(self._lines))
        self._starts = [
            number
            for number, line in enumerate(self._lines)
            if self._is_code[number] and line.lstrip().startswith("[[") and _header(line) == _RULE
        ]

    def of_rule(self, index: int, path: Sequence[str | int] = ()) -> int | None:
        """The line of a member of the rule with that index (from 0); None when it has none.

        Numbers in ``path`` count the members of an array, from 0.
        """
        if index >= len(self._starts):
            return self.of_key(_RULE)
        first = self._starts[index]
        last = self._starts[index + 1] if index + 1 < len(self._starts) else len(self._lines)
        found, column = first, len(self._lines[first])
        key = ""
        for part in path:
            place = (
                self._find_item(key, part, found, column, last)
                if isinstance(part, int)
                else self._find(part, found, column, last)
            )
            if place is None:
                break
            found, column = place
            key = str(part)
        return found + 1

    def of_key(self, key: str) -> int | None:
        """The line of a key or header at the top level."""
        place = self._find(key, 0, 0, len(self._lines))
        return None if place is None else place[0] + 1

    def _find(self, key: str, line: int, column: int, last: int) -> tuple[int, int] | None:
        """Where a key is assigned or heads a table, at or behind a place; with the end of it."""
        quoted = re.escape(key)
        word = re.compile(rf"(?:^|[\s{{,.\[\"']){quoted}[\"']?\s*(?:=|\.|\])")
        for number in range(line, last):
            if not self._is_code[number]:
                continue
            start = column if number == line else 0
            for match in word.finditer(_without_comment(self._lines[number]), max(start - 1, 0)):
                return number, match.end()
        return None

    def _find_item(
        self, key: str, item: int, line: int, column: int, last: int
    ) -> tuple[int, int] | None:
        """Where an item of an array of tables begins, right behind the array's key or header."""
        if self._lines[line].lstrip().startswith("[["):
            heads = [
                number
                for number in range(line, last)
                if self._is_code[number] and _header(self._lines[number]).endswith(key)
            ]
            return (heads[item], len(self._lines[heads[item]])) if item < len(heads) else None
        depth = 0
        for number in range(line, last):
            text = _without_comment(self._lines[number])
            for place in range(column if number == line else 0, len(text)):
                depth += {"{": 1, "}": -1}.get(text[place], 0)
                if text[place] == "{" and depth == 1:
                    if item == 0:
                        return number, place
                    item -= 1
        return None


def _header(line: str) -> str:
    match = _HEADER.match(line)
    return re.sub(r"[\s\"']", "", match["path"]) if match else ""


def _without_comment(line: str) -> str:
    return "" if line.lstrip().startswith("#") else line


def _outside_of_long_strings(lines: Sequence[str]) -> list[bool]:
    outside: list[bool] = []
    fence: str | None = None
    for line in lines:
        outside.append(fence is None)
        rest = line
        while True:
            if fence is None:
                found = [(rest.find(mark), mark) for mark in _FENCES if mark in rest]
                if not found:
                    break
                at, fence = min(found)
            else:
                at = rest.find(fence)
                if at < 0:
                    break
                fence = None
            rest = rest[at + 3 :]
    return outside
