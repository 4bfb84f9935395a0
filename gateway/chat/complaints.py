"""Turns a decoder's complaint into one that a caller can act upon: field, fault and remedy."""

import re

import msgspec

from gateway.domain.errors import InvalidRequestError

_PLACE = re.compile(r" - at `(?:key in )?`?\$(.*?)`$")
_MISSING = re.compile(r"required field `([^`]+)`")
_BYTE = re.compile(r"\(byte (\d+)\)")
_REMEDIES = {
    "temperature": "a number from 0 to 2",
    "top_p": "a number from 0 to 1",
    "frequency_penalty": "a number from -2 to 2",
    "presence_penalty": "a number from -2 to 2",
    "max_tokens": "an integer of at least 1",
    "max_completion_tokens": "an integer of at least 1",
    "n": "an integer from 1 to 8",
    "stop": "a string or a list of up to 4 strings",
    "top_logprobs": "an integer from 0 to 20",
    "logit_bias": "an object of numbers from -100 to 100",
    "messages": "a list of at least one message",
    "models": "a list of up to 16 model names",
    "stream": "true or false",
    "seed": "an integer",
    "modalities": "a list of `text`, `audio` and `image`",
    "metadata": "an object of up to 16 strings",
}


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
    remedy = _REMEDIES.get(param)
    hint = f"; it must be {remedy}" if remedy else ""
    name = f"`{param}`" if param else "The body"
    return InvalidRequestError(
        f"{name} is not acceptable: {reason}{hint}.", param=param or None, code="invalid_value"
    )


def _dotted(path: str) -> str:
    """``$.messages[0].role`` without its ``$`` as ``messages.0.role``."""
    return path.replace("[...]", ".*").replace("[", ".").replace("]", "").strip(".")
