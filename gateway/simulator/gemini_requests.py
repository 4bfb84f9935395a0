"""What the Gemini API refuses in a request that its transcoder let pass.

Messages are quoted from reports of users where there are some; the rules from ai.google.dev
(function-calling, thinking, thought-signatures, structured-output, tool-combination).
"""

import base64
import binascii
import re
from typing import Any, NoReturn

from gateway.simulator.gemini_errors import invalid, unknown_model
from gateway.simulator.gemini_fields import read_request
from gateway.simulator.gemini_models import Abilities, abilities
from gateway.simulator.gemini_schema import check_json_schema, check_openapi
from gateway.simulator.json_values import as_array, as_object
from gateway.simulator.wire import Call

SIGNATURE = b"simulated-signature:"
"""How the signatures begin that this service has given out; others are foreign to it."""
DUMMY_SIGNATURES = (b"skip_thought_signature_validator", b"context_engineering_is_the_way_to_go")

_DATA = (
    "text",
    "inlineData",
    "functionCall",
    "functionResponse",
    "fileData",
    "executableCode",
    "codeExecutionResult",
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:\-]{0,63}")
_MEDIA = re.compile(
    r"image/(png|jpeg|webp|heic|heif|bmp)|audio/[a-z0-9.+-]+|video/[a-z0-9.+-]+|application/pdf"
    r"|text/[a-z0-9.+-]+|application/(json|rtf|xml)"
)
_YOUTUBE = re.compile(r"https://(www\.youtube\.com/watch\?|youtu\.be/|www\.youtube\.com/shorts/)")
_FILES = "https://generativelanguage.googleapis.com/"
_JSON = "application/json"
_MODES_WITH_NAMES = ("ANY", "VALIDATED")


def member(node: dict[str, Any], name: str) -> dict[str, Any]:
    """A message inside another; empty when it is not set."""
    return as_object(node.get(name)) or {}


def check_request(call: Call, *, is_vertex: bool) -> dict[str, Any]:
    """The request in camelCase. Raises `RefusedError` for whatever Google would refuse."""
    if call.provider is not None and call.offer is None:
        raise unknown_model(call.asked_model)
    if not call.model:
        raise unknown_model(call.asked_model)
    body = read_request(call.body, is_vertex=is_vertex)
    able = abilities(call.model)
    _check_contents(body, able, is_vertex=is_vertex)
    _check_system(body)
    _check_tools(body)
    _check_generation(member(body, "generationConfig"), able, call)
    _check_combinations(body, able, is_vertex=is_vertex)
    tier = body.get("serviceTier")
    if tier is not None and tier not in ("standard", "flex", "priority"):
        raise invalid(f"Invalid service tier: {tier}.", field="service_tier")
    return body


def _check_contents(body: dict[str, Any], able: Abilities, *, is_vertex: bool) -> None:
    contents: list[dict[str, Any]] = body.get("contents") or []
    if not contents:
        _refuse("contents", "contents is not specified")
    last_role = ""
    for index, content in enumerate(contents):
        at = f"contents[{index}]"
        role = content.get("role") or "user"
        if role not in ("user", "model", "function"):
            raise invalid("Please use a valid role: user, model.", field=f"{at}.role")
        role = "user" if role == "function" else role
        if role == last_role:
            raise invalid(
                "Please ensure that multiturn requests alternate between user and model.", field=at
            )
        last_role = role
        _check_parts(content, role, at, is_vertex=is_vertex, able=able)
    if (contents[0].get("role") or "user") == "model":
        raise invalid("Please ensure that multiturn requests start with a user role.")
    _check_calls(contents)
    if able.is_third:
        _check_signatures(contents)


def _check_parts(
    content: dict[str, Any], role: str, at: str, *, is_vertex: bool, able: Abilities
) -> None:
    parts: list[dict[str, Any]] = content.get("parts") or []
    if not parts:
        _refuse(f"{at}.parts", "contents.parts must not be empty.")
    for index, part in enumerate(parts):
        where = f"{at}.parts[{index}]"
        data = [name for name in _DATA if name in part]
        is_signature_alone = part.get("text") == "" and "thoughtSignature" in part
        if not data or (part.get("text") == "" and not is_signature_alone):
            _refuse(f"{where}.data", "required oneof field 'data' must have one initialized field")
        if len(data) > 1:
            raise invalid(
                f"Invalid value at '{where}' (oneof), oneof field 'data' is already set. Cannot "
                f"set '{data[1]}'",
                field=where,
            )
        if "functionCall" in part and role != "model":
            raise invalid("Function calls are only allowed in the role model.", field=where)
        if "functionResponse" in part and role != "user":
            raise invalid("Function responses are not allowed in the role model.", field=where)
        if "inlineData" in part:
            _check_blob(part["inlineData"], f"{where}.inline_data")
        if "fileData" in part:
            _check_file(part["fileData"], f"{where}.file_data", is_vertex=is_vertex, able=able)


def _check_blob(blob: dict[str, Any], at: str) -> None:
    mime = blob.get("mimeType") or ""
    if not _MEDIA.fullmatch(mime):
        raise invalid(f"Unsupported MIME type: {mime}", field=at)
    if not blob.get("data"):
        _refuse(f"{at}.data", "required field is not set")


def _check_file(file: dict[str, Any], at: str, *, is_vertex: bool, able: Abilities) -> None:
    uri = file.get("fileUri") or ""
    if is_vertex:
        if not file.get("mimeType"):
            raise invalid("Unable to submit request because it must have a mimeType.", field=at)
        if not uri.startswith(("gs://", "https://")):
            raise invalid(f"Unsupported file URI type: {uri}", field=at)
        return
    if uri.startswith(_FILES) or _YOUTUBE.match(uri):
        return
    # ai.google.dev/gemini-api/docs/file-input-methods: not with Gemini 2.0 and before.
    if uri.startswith("https://") and able.generation > 2:  # noqa: PLR2004 -- Gemini 2.0
        return
    raise invalid(f"Invalid or unsupported file uri: {uri}", field=at)


def _check_calls(contents: list[dict[str, Any]]) -> None:
    waiting: list[dict[str, Any]] | None = None
    for index, content in enumerate(contents):
        at = f"contents[{index}]"
        answers = [part["functionResponse"] for part in content["parts"] if _answers(part)]
        if waiting is not None:
            _check_answered(waiting, answers, at)
        elif answers:
            raise invalid(
                "Please ensure that function response turn comes immediately after a function "
                "call turn.",
                field=at,
            )
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        for call in calls:
            _check_name(call.get("name"), f"{at}.function_call")
        waiting = calls or None
    if waiting is not None:
        raise invalid(
            "Please ensure that the number of function response parts is equal to the number of "
            "function call parts of the function call turn."
        )


def _answers(part: dict[str, Any]) -> bool:
    return "functionResponse" in part


def _check_answered(calls: list[dict[str, Any]], answers: list[dict[str, Any]], at: str) -> None:
    if len(calls) != len(answers):
        raise invalid(
            "Please ensure that the number of function response parts is equal to the number of "
            "function call parts of the function call turn.",
            field=at,
        )
    for call, answer in zip(calls, answers, strict=True):
        if "response" not in answer:
            _refuse(f"{at}.function_response.response", "required field is not set")
        if _refers(answer["response"]):
            # A reference names one of the response's own parts, and no parts are sent here.
            raise invalid("A $ref in the function response names no part of it.", field=at)
        if answer.get("name") != call.get("name"):
            raise invalid(
                f"Function response name {answer.get('name')} does not match the function call "
                f"name {call.get('name')}.",
                field=at,
            )
        if answer.get("id") != call.get("id"):
            raise invalid(
                f"Function response id {answer.get('id')} does not match the function call id "
                f"{call.get('id')}.",
                field=at,
            )


def _refers(value: object) -> bool:
    node, items = as_object(value), as_array(value)
    if node is not None:
        return "$ref" in node or any(_refers(one) for one in node.values())
    return any(_refers(one) for one in items or [])


def _check_signatures(contents: list[dict[str, Any]]) -> None:
    """The first call of each step of the current turn is signed, by this service or by nobody."""
    asked_at = max(
        (
            index
            for index, content in enumerate(contents)
            if (content.get("role") or "user") != "model"
            and not all(_answers(part) for part in content["parts"])
        ),
        default=0,
    )
    for index, content in enumerate(contents):
        calls = [
            (place, part) for place, part in enumerate(content["parts"]) if "functionCall" in part
        ]
        for part in content["parts"]:
            if "thoughtSignature" in part and not _is_known(part["thoughtSignature"]):
                raise invalid("Corrupted thought signature.", field=f"contents[{index}]")
        if index > asked_at and calls and "thoughtSignature" not in calls[0][1]:
            place, part = calls[0]
            raise invalid(
                "Function call is missing a thought_signature in functionCall parts. This is "
                "required for tools to work correctly, and missing thought_signature may lead to "
                "degraded model performance. Additional data, function call "
                f"`default_api:{part['functionCall']['name']}`, position {place + 1}. Please refer "
                "to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
                field=f"contents[{index}]",
            )


def _is_known(text: str) -> bool:
    plain = text.replace("-", "+").replace("_", "/")
    try:
        signature = base64.b64decode(plain + "=" * (-len(plain) % 4))
    except binascii.Error:
        return False
    return (
        signature in DUMMY_SIGNATURES
        or signature.startswith(SIGNATURE)
        or text.encode() in DUMMY_SIGNATURES
    )


def _check_system(body: dict[str, Any]) -> None:
    system = body.get("systemInstruction")
    if system is None:
        return
    parts: list[dict[str, Any]] = system.get("parts") or []
    if not parts:
        _refuse("system_instruction.parts", "system_instruction.parts must not be empty.")
    for part in parts:
        if not part.get("text"):
            raise invalid("System instruction must be text.", field="system_instruction")


def _check_tools(body: dict[str, Any]) -> None:
    names: list[str] = []
    tools: list[dict[str, Any]] = body.get("tools") or []
    for index, tool in enumerate(tools):
        if not tool:
            raise invalid(f"* tools[{index}].tool_type: required one_of must have one field.\n")
        declarations: list[dict[str, Any]] = tool.get("functionDeclarations") or []
        for place, declared in enumerate(declarations):
            at = f"tools[{index}].function_declarations[{place}]"
            _check_name(declared.get("name"), f"{at}.name")
            if declared["name"] in names:
                raise invalid(f"Duplicate function declaration found: {declared['name']}")
            names.append(declared["name"])
            if "parameters" in declared and "parametersJsonSchema" in declared:
                raise invalid(f"* {at}: parameters and parametersJsonSchema exclude each other.\n")
            if "parameters" in declared:
                if declared["parameters"].get("type") != "OBJECT":
                    raise invalid(f"* {at}.parameters: schema should be of type OBJECT.\n")
                check_openapi(declared["parameters"], f"{at}.parameters")
            if "parametersJsonSchema" in declared:
                check_json_schema(declared["parametersJsonSchema"], f"{at}.parameters_json_schema")
    config = member(body, "toolConfig").get("functionCallingConfig")
    if config is None:
        return
    if not names:
        raise invalid("Function calling config is set without function_declarations.")
    allowed: list[str] = config.get("allowedFunctionNames") or []
    if allowed and config.get("mode") not in _MODES_WITH_NAMES:
        raise invalid(
            "Allowed function names can only be set when function calling mode is ANY or VALIDATED."
        )
    for name in allowed:
        if name not in names:
            raise invalid(
                f"allowed_function_names contains the value {name} which is not present in the "
                "function_declarations provided."
            )


def _check_name(name: object, at: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid(
            f"* {at}: Invalid function name. Must start with a letter or an underscore. Must be "
            "alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), "
            "with a maximum length of 64.\n",
            field=at,
        )


_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "topK": (1, 1000),
    "candidateCount": (1, 8),
    "presencePenalty": (-2, 2),
    "frequencyPenalty": (-2, 2),
    "logprobs": (0, 20),
}


def _check_generation(config: dict[str, Any], able: Abilities, call: Call) -> None:
    at = "generation_config"
    for name, (least, most) in _RANGES.items():
        value = config.get(name)
        if value is not None and not least <= value <= most:
            _refuse(f"{at}.{name}", f"{name} must be in the range [{least}, {most}].")
    limit = call.offer.max_output_tokens if call.offer is not None else 1_048_576
    tokens = config.get("maxOutputTokens")
    if tokens is not None and not 1 <= tokens <= limit:
        raise invalid(
            f"Unable to submit request because it has a maxOutputTokens value of {tokens} but the "
            f"supported range is from 1 (inclusive) to {limit + 1} (exclusive). Update the value "
            "and try again.",
            field=f"{at}.max_output_tokens",
        )
    stops: list[str] = config.get("stopSequences") or []
    if len(stops) > 5:  # noqa: PLR2004 -- Google's limit
        _refuse(f"{at}.stop_sequences", "at most 5 stop sequences are supported.")
    if "" in stops:
        _refuse(f"{at}.stop_sequences", "stop sequences must not be empty.")
    if config.get("logprobs") is not None and not config.get("responseLogprobs"):
        _refuse(f"{at}.logprobs", "logprobs needs response_logprobs to be true.")
    _check_shape(config, at)
    _check_modalities(config, able)
    _check_thinking(config.get("thinkingConfig"), able)


def _check_shape(config: dict[str, Any], at: str) -> None:
    mime = config.get("responseMimeType")
    if mime not in (None, "text/plain", _JSON, "text/x.enum"):
        _refuse(
            f"{at}.response_mime_type",
            "allowed mimetypes are `text/plain`, `application/json`, `application/xml`, "
            "`application/yaml` and `text/x.enum`.",
        )
    has_both = "responseSchema" in config and "responseJsonSchema" in config
    if has_both:
        _refuse(at, "only one of response_schema and response_json_schema may be set.")
    if ("responseSchema" in config or "responseJsonSchema" in config) and mime in (
        None,
        "text/plain",
    ):
        _refuse(
            f"{at}.response_schema",
            "response_schema requires response_mime_type `application/json` or `text/x.enum`.",
        )
    if "responseSchema" in config:
        check_openapi(config["responseSchema"], f"{at}.response_schema")
    if "responseJsonSchema" in config:
        check_json_schema(config["responseJsonSchema"], f"{at}.response_json_schema")


def _check_modalities(config: dict[str, Any], able: Abilities) -> None:
    wanted = set(config.get("responseModalities") or ["TEXT"])
    if able.makes_audio and wanted != {"AUDIO"}:
        raise invalid(
            "The requested combination of response modalities (TEXT) is not supported by the "
            "model. models/tts accepts the following combination of response modalities:\n* AUDIO\n"
        )
    unable = ({"IMAGE"} if not able.makes_images else set[str]()) | (
        {"AUDIO"} if not able.makes_audio else set[str]()
    )
    if wanted & unable:
        raise invalid(f"Multi-modal output is not supported: {', '.join(sorted(wanted & unable))}.")
    if "speechConfig" in config and "AUDIO" not in wanted:
        raise invalid("speech_config is only supported with the response modality AUDIO.")


def _check_thinking(thinking: dict[str, Any] | None, able: Abilities) -> None:
    if thinking is None:
        return
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    if not able.thinks:
        raise invalid("Thinking is not enabled for this model.")
    if budget is not None and level is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if level is not None and not able.levels:
        raise invalid("Thinking level is not supported for this model.")
    if level is not None and level not in able.levels:
        raise invalid(
            f"Thinking level {level} is not supported for this model. Please retry with other "
            "thinking level."
        )
    if budget is None:
        return
    if able.budget is None:
        raise invalid("Thinking budget is not supported for this model.")
    least, most = able.budget
    if budget == 0:
        if not able.can_stop_thinking:
            raise invalid("Budget 0 is invalid. This model only works in thinking mode.")
        if thinking.get("includeThoughts"):
            raise invalid(
                "Thinking_config.include_thoughts is only enabled when thinking is enabled."
            )
    elif budget != -1 and not least <= budget <= most:
        raise invalid(
            f"The thinking budget ({budget}) is invalid. Please choose a value between {least} and "
            f"{most}."
        )


def _check_combinations(body: dict[str, Any], able: Abilities, *, is_vertex: bool) -> None:
    tools: list[dict[str, Any]] = body.get("tools") or []
    declares = any(tool.get("functionDeclarations") for tool in tools)
    searches = any("googleSearch" in tool for tool in tools)
    is_json = member(body, "generationConfig").get("responseMimeType") == _JSON
    if declares and searches:
        if not able.is_third or is_vertex:
            raise invalid("Tool use with function calling is unsupported")
        if not member(body, "toolConfig").get("includeServerSideToolInvocations"):
            raise invalid(
                "Please enable tool_config.include_server_side_tool_invocations to use Built-in "
                "tools with Function calling."
            )
    if is_json and not able.is_third:
        if declares:
            raise invalid(
                "Function calling with a response mime type: 'application/json' is unsupported"
            )
        if searches:
            raise invalid("Tool use with a response mime type: 'application/json' is unsupported")


def _refuse(field: str, why: str) -> NoReturn:
    raise invalid(f"* GenerateContentRequest.{field}: {why}\n", field=field)
