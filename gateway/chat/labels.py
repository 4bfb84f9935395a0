"""The ``metadata`` of a request: the caller's own labels, within the published limits."""

import re

import msgspec
from msgspec import Raw

from gateway.chat.dialects import Dialect
from gateway.domain.errors import InvalidRequestError

MAX_PAIRS = 16
MAX_NAME_CHARACTERS = 64
MAX_VALUE_CHARACTERS = 512

_TEXT = msgspec.json.Decoder(str)
_PLAIN = re.compile(rb"-?[0-9].*|true|false")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NULL = Raw(b"null")


def read_labels(sent: dict[str, Raw], dialect: Dialect) -> dict[str, str]:
    """Names and texts; numbers, true and false become text where the dialect allows them.

    Raises:
        InvalidRequestError: there are too many, or one is too long or not a text.
    """
    labels: dict[str, str] = {}
    for name, raw in sent.items():
        if raw == _NULL:
            continue
        text = bytes(raw)
        if text[:1] == b'"':
            value = _TEXT.decode(raw)
        elif dialect is not Dialect.OPENROUTER and _PLAIN.fullmatch(text):
            value = text.decode()
        else:
            raise _refused(name, "is not a text; its values must be strings")
        if len(name) > MAX_NAME_CHARACTERS or len(value) > MAX_VALUE_CHARACTERS:
            raise _refused(
                name,
                f"is too long; names take up to {MAX_NAME_CHARACTERS} and values up to "
                f"{MAX_VALUE_CHARACTERS} characters",
            )
        if _CONTROL.search(name) or _CONTROL.search(value):
            raise _refused(name, "holds a control character; remove it")
        labels[name] = value
    if len(labels) > MAX_PAIRS:
        raise InvalidRequestError(
            f"`metadata` holds {len(labels)} pairs; at most {MAX_PAIRS} are accepted.",
            param="metadata",
            code="invalid_value",
        )
    return labels


def _refused(name: str, what: str) -> InvalidRequestError:
    quoted = _CONTROL.sub("?", name[:MAX_NAME_CHARACTERS])
    return InvalidRequestError(
        f"`metadata`: {quoted!r} {what}.",
        param="metadata",
        code="invalid_value",
    )
