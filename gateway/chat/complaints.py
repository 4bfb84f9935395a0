"""Turns a decoder's complaint into one that a caller can act upon: field, fault and remedy."""

import re

import msgspec

from gateway.chat.fields import BY_NAME
from gateway.domain.errors import InvalidRequestError

_PLACE = re.compile(r" - at `(?:key in )?`?\$(.*?)`$")
_MISSING = re.compile(r"required field `([^`]+)`")
_BYTE = re.compile(r"\(byte (\d+)\)")


def malformed_json(error: msgspec.DecodeError) -> InvalidRequestError:
    """The body is not JSON; says where it breaks when the decoder knows."""
    text = str(error)
    found = _BYTE.search(text)
    if found is not None:
        reason = text.rsplit("malformed: ", maxsplit=1)[-1].removesuffix(found[0]).strip()
        message = f"The body is not valid JSON: {reason} at byte {found[1]}."
        param = found[1]
    elif "truncated" in text:
        message = (
            "The body is not valid JSON: it ends too early, or holds half an escaped character."
        )
        param = None
    else:
        message, param = f"The body is not valid JSON: {text}.", None
    return InvalidRequestError(
        message, code="json_invalid", metadata={"byte": int(param)} if param else None
    )


def wrong_value(error: msgspec.ValidationError, *, below: str = "") -> InvalidRequestError:
    """A value has the wrong type or is out of range; ``below`` is the path it was decoded at."""
    text = str(error)
    place = _PLACE.search(text)
    reason = text[: place.start()] if place else text
    path = below + (place[1] if place else "")
    missing = _MISSING.search(reason)
    if missing is not None:
        param = _dotted(f"{path}.{missing[1]}")
        return InvalidRequestError(
            f"`{param}` is missing; it is required.", param=param, code="missing"
        )
    param = _dotted(path)
    reason = reason[:1].lower() + reason[1:]
    field = BY_NAME.get(param)
    hint = f"; it must be {field.accepts}" if field is not None else ""
    name = f"`{param}`" if param else "The body"
    return InvalidRequestError(
        f"{name} is not acceptable: {reason}{hint}.", param=param or None, code="invalid_value"
    )


def _dotted(path: str) -> str:
    """``$.messages[0].role`` without its ``$`` as ``messages.0.role``."""
    return path.replace("[...]", ".*").replace("[", ".").replace("]", "").strip(".")
