"""What is wrong with a declared price or endpoint: where, which key and value, and the remedy."""

import re
from difflib import get_close_matches
from typing import Any, cast

import msgspec

_SHOWN_CHARACTERS = 80
_WRONG = "is wrong"
_REMEDIES = {
    "Invalid decimal string": "write a number, as 0.15",
    "Expected `decimal`, got `bool`": "write a number, as 0.15",
}
"""For what msgspec says, where that does not say what to do."""


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
        before = ": " if problem.endswith(_WRONG) else ", not "
        shown = "" if value is None else before + _shown(value)
        super().__init__(f"{place + ': ' if place else ''}{subject}{problem}{shown}; {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.endpoint = endpoint
        self.key = key
        self.value = value
        self.file = file
        self.line = line

    def in_file(self, file: str, text: str, *, provider: str | None = None) -> "CatalogueError":
        """The same error with the file, and the line where it can be found in the file's text.

        `provider` is named where the file is the operator's, whose endpoints stand under
        ``[[providers.X.endpoints]]``.
        """
        return CatalogueError(
            self.problem,
            remedy=self.remedy,
            endpoint=self.endpoint,
            key=self.key,
            value=self.value,
            file=file,
            line=_line_of(text, provider, self.endpoint, self.key, self.value),
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
        f"`{key}` {_WRONG}" if key else f"the table {_WRONG}",
        remedy=_REMEDIES.get(message) or message[:1].lower() + message[1:],
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


def _line_of(
    text: str, provider: str | None, endpoint: str | None, key: str | None, value: object
) -> int | None:
    """The line of `key` inside the endpoint's table, else of the endpoint, else of the key."""
    lines = text.splitlines()
    blocks = _blocks(lines, provider)
    if provider is None and endpoint is None:
        blocks = [range(len(lines))]
    if endpoint is not None:
        own_id = re.compile(rf"""\s*id\s*=\s*["']{re.escape(endpoint)}["']""")
        own = [block for block in blocks if any(own_id.match(lines[n]) for n in block)]
        # Of two that are called alike the first may be as it should be.
        own.sort(key=lambda block: not _keys_in(lines, block, key, value, is_exact=True))
        if not own:
            return None
        blocks = own[:1]
        begin = next(n for n in blocks[0] if own_id.match(lines[n]))
    else:
        begin = None
    for block in blocks:
        found = _keys_in(lines, block, key, value)
        if found:
            return found[0] + 1
    return None if begin is None else begin + 1


def _blocks(lines: list[str], provider: str | None) -> list[range]:
    """The lines of each endpoint's table, with the tables inside it."""
    path = "endpoints" if provider is None else f"providers.{provider}.endpoints"
    plain = [line.strip().replace('"', "").replace(" ", "") for line in lines]
    blocks: list[range] = []
    for first, line in enumerate(plain):
        if not line.startswith(f"[[{path}]]"):
            continue
        following = range(first + 1, len(plain))
        inner = (f"[[{path}.", f"[{path}.")
        ends = (n for n in following if plain[n][:1] == "[" and not plain[n].startswith(inner))
        blocks.append(range(first, next(ends, len(plain))))
    return blocks


def _keys_in(
    lines: list[str], block: range, key: str | None, value: object, *, is_exact: bool = False
) -> list[int]:
    """Where the key stands; a key of every dated price is meant where it has the wrong value."""
    if key is None:
        return []
    own_key = re.compile(rf"""(^|[\s{{,.\[])["']?{re.escape(key)}["']?\s*(=|\])""")
    found = [number for number in block if own_key.search(lines[number])]
    exact = [n for n in found if str(value) in re.split(r"[^\w.:+-]+", lines[n])]
    return exact if is_exact else exact or found
