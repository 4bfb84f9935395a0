"""Copies text that is nearly JSON, and writes what it should have been.

Numbers and texts are copied as they are. What cannot be understood without guessing is given up.
"""

import json
import re
from typing import Final

import msgspec

TRAILING_COMMAS: Final = "removed trailing commas"
MISSING_COMMAS: Final = "added missing commas"
BARE_KEYS: Final = "quoted bare keys"
SINGLE_QUOTES: Final = "turned other quotes into double ones"
WORDS: Final = "wrote True, False and None as JSON does"
COMMENTS: Final = "removed comments"
ESCAPES: Final = "escaped characters inside strings"
CUT: Final = "closed what was cut off"

MAX_DEPTH = 64

_BLANK = re.compile(r"[ \t\r\n\ufeff]*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_BEGUN = re.compile(r"-?[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]*)?")
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_CLOSING_QUOTE: Final = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
_PLAIN_TEXT: Final = {
    close: re.compile(f'[^\\\\"\\x00-\\x1f{close}]*') for close in _CLOSING_QUOTE.values()
}
_LITERALS: Final = {
    "true": "true",
    "false": "false",
    "null": "null",
    "True": "true",
    "False": "false",
    "None": "null",
    "undefined": "null",
}


def refuse_constant(name: str) -> None:
    """NaN and the infinities, which the decoder knows, are not JSON."""
    raise ValueError(name)


STRICT: Final = json.JSONDecoder(parse_constant=refuse_constant)


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON text made of nearly one."""

    text: str
    end: int
    """Where it ended in the text that was read."""
    repairs: tuple[str, ...]


class UnrepairableError(Exception):
    """Reading on would be guessing."""


def repair(text: str, start: int, end: int) -> Repaired:
    """The JSON value that begins at ``start``; nothing from ``end`` on is read.

    Raises:
        UnrepairableError: there is none.
    """
    scribe = _Scribe(text, start, end)
    scribe.value(0)
    return Repaired(text="".join(scribe.out), end=scribe.at, repairs=tuple(scribe.repairs))


class _CutError(Exception):
    """The text ended where a value was due."""


class _Scribe:
    """Reads along one text and writes its JSON."""

    __slots__ = ("_end", "_text", "at", "out", "repairs")

    def __init__(self, text: str, start: int, end: int) -> None:
        self._text = text
        self._end = end
        self.at = start
        self.out: list[str] = []
        self.repairs: dict[str, None] = {}

    def value(self, depth: int) -> None:
        char = self._peek()
        if not char:
            raise _CutError
        if char in "{[":
            if depth >= MAX_DEPTH:
                raise UnrepairableError
            if not self._copies_whole():
                self._container(char, depth)
        elif char in _CLOSING_QUOTE:
            self._string(char)
        elif char in "-0123456789":
            self._number()
        else:
            self._literal()

    def _copies_whole(self) -> bool:
        """Copy an object or a list that needs no repair, much faster than piece by piece."""
        try:
            _, end = STRICT.raw_decode(self._text, self.at)
        except (ValueError, RecursionError):
            return False
        if end > self._end:
            return False
        self.out.append(self._text[self.at : end])
        self.at = end
        return True

    def _peek(self) -> str:
        """The next character that says something; empty at the end."""
        while True:
            blank = _BLANK.match(self._text, self.at, self._end)
            self.at = blank.end() if blank else self.at
            if self.at >= self._end:
                return ""
            comment = _COMMENT.match(self._text, self.at, self._end)
            if comment is None:
                return self._text[self.at]
            self._note(COMMENTS)
            self.at = comment.end()

    def _note(self, repair: str) -> None:
        self.repairs[repair] = None

    def _container(self, opening: str, depth: int) -> None:
        closing = "}" if opening == "{" else "]"
        self.out.append(opening)
        self.at += 1
        is_first = True
        while True:
            char = self._peek()
            if char == closing:
                self.at += 1
                break
            if not char or char in "}]":
                # The end, or the bracket of one that stands around: this one was left open.
                self._note(CUT)
                break
            mark = len(self.out)
            if not is_first:
                self.out.append(",")
            try:
                if opening == "{":
                    self._pair(depth)
                else:
                    self.value(depth + 1)
            except _CutError:
                del self.out[mark:]
                self._note(CUT)
                break
            is_first = False
            self._separator(closing)
        self.out.append(closing)

    def _separator(self, closing: str) -> None:
        char = self._peek()
        if char == ",":
            self.at += 1
            if self._peek() == closing:
                self._note(TRAILING_COMMAS)
        elif char and char not in "}]":
            self._note(MISSING_COMMAS)

    def _pair(self, depth: int) -> None:
        char = self._peek()
        if char in _CLOSING_QUOTE:
            self._string(char)
        else:
            word = _WORD.match(self._text, self.at, self._end)
            if word is None:
                raise UnrepairableError
            self.at = word.end()
            self.out.append(f'"{word[0]}"')
            self._note(BARE_KEYS)
        colon = self._peek()
        if not colon:
            raise _CutError
        if colon != ":":
            raise UnrepairableError
        self.at += 1
        self.out.append(":")
        self.value(depth + 1)

    def _string(self, opening: str) -> None:
        closing = _CLOSING_QUOTE[opening]
        if closing != '"':
            self._note(SINGLE_QUOTES)
        plain = _PLAIN_TEXT[closing]
        self.out.append('"')
        self.at += 1
        while True:
            run = plain.match(self._text, self.at, self._end)
            if run is not None:
                self.out.append(run[0])
                self.at = run.end()
            if self.at >= self._end:
                self._note(CUT)
                break
            char = self._text[self.at]
            if char == closing:
                self.at += 1
                break
            if char == "\\":
                self._escape()
            elif char == '"':
                self.out.append('\\"')
                self.at += 1
            else:
                self.out.append(f"\\u{ord(char):04x}")
                self.at += 1
                self._note(ESCAPES)
        self.out.append('"')

    def _escape(self) -> None:
        escaped = self._text[self.at + 1 : min(self.at + 2, self._end)]
        if escaped == "u":
            digits = _HEX.match(self._text, self.at + 2, self._end)
            if digits is not None:
                self.out.append(self._text[self.at : digits.end()])
                self.at = digits.end()
                return
            if self.at + 6 >= self._end:
                self.at = self._end
                return
        elif escaped and escaped in '"\\/bfnrt':
            self.out.append("\\" + escaped)
            self.at += 2
            return
        elif escaped == "'":
            self.out.append("'")
            self._note(ESCAPES)
            self.at += 2
            return
        elif not escaped:
            self.at = self._end
            return
        self.out.append("\\\\")
        self._note(ESCAPES)
        self.at += 1

    def _number(self) -> None:
        begun = _NUMBER_BEGUN.match(self._text, self.at, self._end)
        whole = _NUMBER.match(self._text, self.at, self._end)
        begun_end = begun.end() if begun is not None else self.at
        if begun_end >= self._end and (whole is None or whole.end() < begun_end):
            self._note(CUT)
            self.at = self._end
            if whole is None:
                raise _CutError
        elif whole is None or whole.end() != begun_end:
            raise UnrepairableError
        else:
            self.at = whole.end()
        self.out.append(whole[0])

    def _literal(self) -> None:
        word = _WORD.match(self._text, self.at, self._end)
        if word is None:
            raise UnrepairableError
        literal = _LITERALS.get(word[0])
        if literal is None:
            if word.end() < self._end:
                raise UnrepairableError
            # Half a word at the end of the text.
            meant = [name for name in _LITERALS if name.startswith(word[0])]
            if not meant:
                raise UnrepairableError
            literal = _LITERALS[meant[0]]
            self._note(CUT)
        elif literal != word[0]:
            self._note(WORDS)
        self.at = word.end()
        self.out.append(literal)
