"""What is wrong with a declared price or endpoint: where, which key and value, and the remedy."""

import re
from difflib import get_close_matches
from typing import Any, cast

import msgspec

_SHOWN_CHARACTERS = 80


class CatalogueError(ValueError):
    """A price table that cannot be used.

    `file` and `line` are None until whoever read the file adds them with `in_file`; `endpoint` is
    the provider's id of the endpoint it concerns, None when it concerns none.
    """

    def __init__(
        self,
        problem: str,
        *,
        remedy: str,
        endpoint: str | None = None,
        key: str | None = None,
        value: object = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        place = ":".join(str(part) for part in (file, line) if part is not None)
        subject = f"endpoint `{endpoint}`: " if endpoint is not None else ""
        shown = "" if value is None else f", not {_shown(value)}"
        super().__init__(f"{place + ': ' if place else ''}{subject}{problem}{shown}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.endpoint = endpoint
        self.key = key
        self.value = value
        self.file = file
        self.line = line

    def in_file(self, file: str, text: str) -> "CatalogueError":
        """The same error with the file, and the line where it can be found in the file's text."""
        return CatalogueError(
            self.problem,
            remedy=self.remedy,
            endpoint=self.endpoint,
            key=self.key,
            value=self.value,
            file=file,
            line=_line_of(text, self.endpoint, self.key, self.value),
        )


def error_from_validation(
    exc: msgspec.ValidationError, document: dict[str, Any], keys: tuple[str, ...]
) -> CatalogueError:
    """Translates msgspec's message. `document` is the table it read, `keys` the names allowed."""
    message, _, path = str(exc).partition(" - at `")
    steps = re.findall(r"\.([^.\[`]+)|\[(\d+|\.\.\.)\]", path)
    endpoint = document.get("id") if "base_url" not in document else None
    named = str(endpoint) if endpoint is not None else None
    unknown = re.search(r"unknown field `(.+)`", message)
    if unknown:
        key = unknown.group(1)
        return CatalogueError(
            f"unknown key `{key}`", remedy=_nearest_key(key, keys), endpoint=named, key=key
        )
    missing = re.search(r"missing required field `(.+)`", message)
    if missing:
        key = missing.group(1)
        return CatalogueError(f"`{key}` is missing", remedy=f"add `{key}`", endpoint=named, key=key)
    key = next((name for name, _ in reversed(steps) if name), None)
    return CatalogueError(
        f"`{key}` is wrong" if key else "the table is wrong",
        remedy=message[:1].lower() + message[1:],
        endpoint=named,
        key=key,
        value=_value_at(document, steps),
    )


def _nearest_key(key: str, keys: tuple[str, ...]) -> str:
    nearest = get_close_matches(key, keys, n=1, cutoff=0.5)
    return f"did you mean `{nearest[0]}`?" if nearest else f"known keys: {', '.join(keys)}"


def _shown(value: object) -> str:
    text = str(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _value_at(document: object, steps: list[tuple[str, str]]) -> object:
    for name, index in steps:
        if name and isinstance(document, dict):
            document = cast(dict[str, object], document).get(name)
        elif index.isdigit() and isinstance(document, list):
            document = cast(list[object], document)[int(index)]
        else:
            return None
    return document


def _line_of(text: str, endpoint: str | None, key: str | None, value: object) -> int | None:
    """The line of `key` inside the endpoint's table, else of the endpoint, else of the key."""
    lines = text.splitlines()
    begin, end = 0, len(lines)
    if endpoint is not None:
        own_id = re.compile(rf"""\s*id\s*=\s*["']{re.escape(endpoint)}["']""")
        begin = next((n for n, line in enumerate(lines) if own_id.match(line)), -1)
        if begin < 0:
            return None
        following = range(begin + 1, end)
        end = next((n for n in following if lines[n].strip() == "[[endpoints]]"), end)
    found: list[int] = []
    if key is not None:
        own_key = re.compile(rf"""(^|[\s{{,.\[])["']?{re.escape(key)}["']?\s*(=|\])""")
        found = [number for number in range(begin, end) if own_key.search(lines[number])]
        # A key stands in every dated price: the one with the wrong value is meant.
        found = [n for n in found if str(value) in re.split(r"[^\w.:+-]+", lines[n])] or found
    if found:
        return found[0] + 1
    return begin + 1 if endpoint is not None else None
