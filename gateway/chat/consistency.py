"""Rules that hold between members of a request, or that no type can say."""

from gateway.chat.view import View
from gateway.domain.errors import InvalidRequestError

_COUNTS = ("max_tokens", "max_completion_tokens", "top_logprobs")


def check_consistency(view: View) -> None:
    """Check a request whose members are each of the right type.

    Raises:
        InvalidRequestError: names the member at fault.
    """
    for name in _COUNTS:
        count = getattr(view, name)
        if isinstance(count, float) and not count.is_integer():
            raise _bad(name, f"is {count:g}; it must be an integer")
    form = view.response_format
    if form is not None:
        if form.type == "json_schema" and form.json_schema is None:
            raise _missing("response_format.json_schema", "the type json_schema")
        if form.type == "grammar" and form.grammar is None:
            raise _missing("response_format.grammar", "the type grammar")
    if view.stop == "" or (isinstance(view.stop, list) and "" in view.stop):
        raise _bad("stop", "holds an empty string, which would end every answer at once; remove it")
    if view.prediction is not None and not view.prediction.content:
        raise _bad("prediction.content", "is empty; send the text that is expected")
    for number, tool in enumerate(view.tools or ()):
        custom = tool.custom
        if custom is None or custom.format is None:
            continue
        if custom.format.type == "grammar" and custom.format.grammar is None:
            raise _missing(f"tools.{number}.custom.format.grammar", "the type grammar")
    if view.function_call is not None and not isinstance(view.function_call, str):
        name = view.function_call.name
        if name not in {function.name for function in view.functions or ()}:
            raise _bad("function_call", f"names {name!r}, which is not among `functions`")


def _missing(param: str, kind: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{param}` is required for {kind}.", param=param, code="missing")


def _bad(param: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{param}` {what}.", param=param, code="invalid_value")
