"""Tools, the choice among them, and the form of the answer, as typed values."""

from typing import Any, Final, Literal, cast

import msgspec
from msgspec import Raw

from gateway.chat.request import ChatRequest
from gateway.providers.translation.parts import bad, read_cache_mark
from gateway.providers.translation.turns import CacheMark

Mode = Literal["none", "auto", "required"]


class FunctionTool(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: Raw | None = None
    """The JSON Schema object as it came; None when it takes nothing or does not say."""
    strict: bool | None = None
    cache: CacheMark | None = None


class Tools(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What may be called. Without functions there is no mode and nobody is forced."""

    functions: tuple[FunctionTool, ...] = ()
    """Already narrowed to ``allowed_tools``."""
    mode: Mode | None = None
    """None leaves it to the endpoint, which means ``auto``."""
    forced: str | None = None
    """The one function that must be called; ``mode`` is then ``required``."""
    parallel: bool | None = None
    """False: at most one call in an answer."""

    @property
    def must_call(self) -> bool:
        return self.mode == "required"


class AnswerForm(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """``response_format``."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    description: str | None = None
    schema: Raw | None = None
    """Present when the kind is ``json_schema``."""
    strict: bool | None = None


class _Function(msgspec.Struct, kw_only=True, gc=False):
    name: str
    description: str | None = None
    # Not `Raw | None`, which msgspec reads as null alone.
    parameters: Raw = Raw()
    strict: bool | None = None
    cache_control: Any = None


class _Custom(msgspec.Struct, kw_only=True, gc=False):
    name: str
    description: str | None = None


class _Tool(msgspec.Struct, kw_only=True, gc=False):
    type: str = "function"
    function: _Function | None = None
    custom: _Custom | None = None
    cache_control: Any = None


class _Schema(msgspec.Struct, kw_only=True, gc=False):
    name: str = "answer"
    description: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class _Form(msgspec.Struct, kw_only=True, gc=False):
    type: str
    json_schema: _Schema | None = None


_TOOLS: Final = msgspec.json.Decoder(list[_Tool])
_FORM: Final = msgspec.json.Decoder(_Form)
_NULL: Final = Raw(b"null")
_NOTHING: Final = frozenset({b"", b"null"})
_ANY_SCHEMA: Final = Raw(b'{"type":"object"}')
_FREE_TEXT: Final = Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}'
)


def read_tools(request: ChatRequest, warnings: list[str]) -> Tools:
    """The functions and the choice among them.

    Custom tools become functions of one text, ``input``. Other types are left out with a warning.

    Raises:
        FaultError: they are not of the published form.
    """
    raw = request.body.get("tools", _NULL)
    if raw == _NULL:
        return Tools()
    try:
        sent = _TOOLS.decode(raw)
    except msgspec.DecodeError as exc:
        raise bad("tools", f"cannot be read: {exc}") from exc
    functions = [tool for item in sent if (tool := _function(item, warnings)) is not None]
    mode, forced, allowed = _choice(request.body.get("tool_choice", _NULL))
    if allowed is not None:
        functions = [tool for tool in functions if tool.name in allowed] or functions
    if not functions:
        return Tools()
    if forced is not None and all(tool.name != forced for tool in functions):
        raise bad("tool_choice", f"names {forced[:64]!r}, which is not among the tools")
    parallel = request.body.get("parallel_tool_calls", _NULL)
    may_be_several: bool | None = None if parallel == _NULL else bytes(parallel) == b"true"
    if may_be_several is None and request.uses_legacy_functions:
        # The older form of an answer holds one call.
        may_be_several = False
    return Tools(functions=tuple(functions), mode=mode, forced=forced, parallel=may_be_several)


def _function(item: _Tool, warnings: list[str]) -> FunctionTool | None:
    cache = read_cache_mark({"cache_control": item.cache_control})
    if item.function is not None:
        inner = item.function
        if cache is None:
            cache = read_cache_mark({"cache_control": inner.cache_control})
        parameters = None if bytes(inner.parameters) in _NOTHING else inner.parameters
        return FunctionTool(
            name=inner.name,
            description=inner.description or None,
            parameters=parameters,
            strict=inner.strict,
            cache=cache,
        )
    if item.custom is not None:
        return FunctionTool(
            name=item.custom.name,
            description=item.custom.description or None,
            parameters=_FREE_TEXT,
            cache=cache,
        )
    warnings.append(f"a tool of type {item.type[:64]!r} is not supported and was left out")
    return None


def _choice(raw: Raw) -> tuple[Mode | None, str | None, frozenset[str] | None]:
    """Mode, the one function that is forced, and the names that are allowed."""
    if raw == _NULL:
        return None, None, None
    value: object = msgspec.json.decode(raw)
    if isinstance(value, str):
        return cast("Mode", value) if value in {"none", "auto", "required"} else None, None, None
    if not isinstance(value, dict):
        return None, None, None
    choice = cast("dict[str, Any]", value)
    allowed = choice.get("allowed_tools")
    if isinstance(allowed, dict):
        members = cast("dict[str, Any]", allowed)
        names = frozenset(_name_of(tool) for tool in members.get("tools", ()))
        return ("required" if members.get("mode") == "required" else "auto"), None, names
    name = _name_of(choice)
    return ("required", name, None) if name else (None, None, None)


def _name_of(tool: dict[str, Any]) -> str:
    for kind in ("function", "custom"):
        inner = tool.get(kind)
        if isinstance(inner, dict):
            return str(cast("dict[str, Any]", inner).get("name", ""))
    return str(tool.get("name", ""))


def read_answer_form(request: ChatRequest) -> AnswerForm:
    """The wished form of the answer; plain text when nothing is said.

    Raises:
        FaultError: it is not of the published form.
    """
    raw = request.body.get("response_format", _NULL)
    if raw == _NULL:
        return AnswerForm()
    try:
        sent = _FORM.decode(raw)
    except msgspec.DecodeError as exc:
        raise bad("response_format", f"cannot be read: {exc}") from exc
    if sent.type == "json_object":
        return AnswerForm(kind="json_object")
    if sent.type != "json_schema" or sent.json_schema is None:
        return AnswerForm()
    inner = sent.json_schema
    schema = _ANY_SCHEMA if bytes(inner.schema) in _NOTHING else inner.schema
    return AnswerForm(
        kind="json_schema",
        name=inner.name,
        description=inner.description,
        schema=schema,
        strict=inner.strict,
    )
