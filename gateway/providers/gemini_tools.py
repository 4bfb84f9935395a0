"""Functions, the choice among them, and searches, as the ``tools`` of generateContent."""

from typing import Any, Final

import msgspec

from gateway.chat.request import ChatRequest
from gateway.providers.base import Target
from gateway.providers.gemini_names import to_wire_name
from gateway.providers.gemini_schema import Fitted, fit_schema
from gateway.providers.translation.tools import FunctionTool, Tools

Members = dict[str, Any]

_MODES: Final = {"none": "NONE", "required": "ANY"}


class GeminiTools(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into the body; empty members are left out."""

    tools: list[Members]
    config: Members


def write_tools(
    request: ChatRequest, tools: Tools, target: Target, *, is_vertex: bool, warnings: list[str]
) -> GeminiTools:
    """``tools`` and ``toolConfig``. ``warnings`` receives what could not be said."""
    endpoint = target.endpoint
    takes_json_schema = endpoint.capabilities.get("json_schema") is not False
    written: list[Members] = []
    config: Members = {}
    if tools.functions:
        declared = [
            _declare(tool, warnings, is_openapi=not takes_json_schema) for tool in tools.functions
        ]
        written.append({"functionDeclarations": declared})
        mode = _MODES.get(tools.mode or "")
        if mode is not None:
            config["functionCallingConfig"] = {"mode": mode}
        if tools.forced is not None:
            config["functionCallingConfig"] = {
                "mode": "ANY",
                "allowedFunctionNames": [to_wire_name(tools.forced)],
            }
        if tools.parallel is False:
            warnings.append(
                f"`parallel_tool_calls` is not supported by {endpoint.id}; it may make several"
            )
    if request.web_search is not None and _may_search(
        request, target, warnings, has_functions=bool(written), is_vertex=is_vertex
    ):
        if written:
            # ai.google.dev/gemini-api/docs/tool-combination
            config["includeServerSideToolInvocations"] = True
            config.setdefault("functionCallingConfig", {"mode": "VALIDATED"})
        written.append({"googleSearch": {}})
    return GeminiTools(tools=written, config=config)


def _may_search(
    request: ChatRequest,
    target: Target,
    warnings: list[str],
    *,
    has_functions: bool,
    is_vertex: bool,
) -> bool:
    wish, endpoint = request.web_search, target.endpoint
    if wish is None:
        return False
    if endpoint.capabilities.get("web_search") is not True:
        warnings.append(
            f"no web search by {endpoint.id}, which is not known to have one here "
            f"(asked for by `{wish.asked_by[0]}`)"
        )
        return False
    if has_functions and (is_vertex or endpoint.capabilities.get("mixed_tools") is not True):
        warnings.append(
            f"no web search by {endpoint.id}, which cannot search beside the functions "
            f"(asked for by `{wish.asked_by[0]}`)"
        )
        return False
    for name, value in (("max_uses", wish.max_uses), ("search_context_size", wish.context_size)):
        if value is not None:
            warnings.append(f"`{name}` of a web search is not supported by {endpoint.id}")
    return True


def _declare(tool: FunctionTool, warnings: list[str], *, is_openapi: bool) -> Members:
    declared: Members = {"name": to_wire_name(tool.name)}
    if tool.description:
        declared["description"] = tool.description
    if tool.parameters is None:
        return declared
    fitted = fit_schema(tool.parameters, is_openapi=is_openapi)
    warn_of_dropped(fitted, f"the parameters of `{tool.name[:64]}`", warnings)
    if not fitted.is_empty_object:
        declared["parameters" if is_openapi else "parametersJsonSchema"] = fitted.schema
    return declared


def warn_of_dropped(fitted: Fitted, what: str, warnings: list[str]) -> None:
    """Say which keywords of a schema are only described to the model."""
    if fitted.dropped:
        names = ", ".join(f"`{name[:32]}`" for name in fitted.dropped[:8])
        warnings.append(f"{names} in {what} cannot be enforced there and became a description")
