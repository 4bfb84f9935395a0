"""Names of functions as Gemini takes them: they begin with a letter or an underscore.

OpenAI's may begin with a digit or a dash. Answers are read without the request at hand, so that the
way back must follow from the name alone.
"""

import re
from typing import Final

_MARK: Final = "_0_"
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\-]{0,63}")
_STRANGE: Final = re.compile(r"[^A-Za-z0-9_.:\-]")
_LONGEST: Final = 64


def to_wire_name(name: str) -> str:
    """The name that is sent; the same one unless it would be refused."""
    if _PLAIN.fullmatch(name) and not name.startswith(_MARK):
        return name
    return (_MARK + _STRANGE.sub("_", name))[:_LONGEST]


def from_wire_name(name: str) -> str:
    """The client's name for what the model called."""
    return name.removeprefix(_MARK)
