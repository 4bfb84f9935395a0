"""The messages of generateContent field by field, and what the JSON transcoder refuses of them.

From google/ai/generativelanguage/v1beta/{generative_service,content,safety}.proto, and the fields
that ai.google.dev documents beyond the published files. Unknown names are a 400 there ("Cannot find
field"), names may be camelCase or snake_case, and int64 may be a string.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from gateway.simulator.gemini_errors import invalid
from gateway.simulator.json_values import as_array, as_object

LEAST_INT32, MOST_INT32 = -(2**31), 2**31 - 1


class Many(msgspec.Struct, frozen=True):
    """A repeated field."""

    of: "str | Choice"


class Mapped(msgspec.Struct, frozen=True):
    """A map with string keys."""

    of: str


class Choice(msgspec.Struct, frozen=True):
    """An enum."""

    type: str
    values: tuple[str, ...]


Kind = str | Many | Mapped | Choice

_SCHEMA_TYPES = Choice(
    "Type",
    ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"),
)
_MODALITIES = Choice("Modality", ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO"))
THINKING_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH")

MESSAGES: dict[str, dict[str, Kind]] = {
    "GenerateContentRequest": {
        "model": "string",
        "systemInstruction": "Content",
        "contents": Many("Content"),
        "tools": Many("Tool"),
        "toolConfig": "ToolConfig",
        "safetySettings": Many("SafetySetting"),
        "generationConfig": "GenerationConfig",
        "cachedContent": "string",
        "serviceTier": "string",
        "labels": Mapped("string"),
    },
    "Content": {"parts": Many("Part"), "role": "string"},
    "Part": {
        "text": "string",
        "inlineData": "Blob",
        "functionCall": "FunctionCall",
        "functionResponse": "FunctionResponse",
        "fileData": "FileData",
        "executableCode": "ExecutableCode",
        "codeExecutionResult": "CodeExecutionResult",
        "thought": "bool",
        "thoughtSignature": "bytes",
        "videoMetadata": "struct",
        "mediaResolution": "struct",
    },
    "Blob": {"mimeType": "string", "data": "bytes", "displayName": "string"},
    "FileData": {"mimeType": "string", "fileUri": "string", "displayName": "string"},
    "FunctionCall": {"id": "string", "name": "string", "args": "struct"},
    "FunctionResponse": {
        "id": "string",
        "name": "string",
        "response": "struct",
        "willContinue": "bool",
        "scheduling": "string",
        "parts": Many("FunctionResponsePart"),
    },
    "FunctionResponsePart": {"inlineData": "Blob", "fileData": "FileData"},
    "ExecutableCode": {"id": "string", "language": "string", "code": "string"},
    "CodeExecutionResult": {"id": "string", "outcome": "string", "output": "string"},
    "Tool": {
        "functionDeclarations": Many("FunctionDeclaration"),
        "googleSearch": "GoogleSearch",
        "googleSearchRetrieval": "struct",
        "codeExecution": "struct",
        "urlContext": "struct",
    },
    "GoogleSearch": {"timeRangeFilter": "struct", "excludeDomains": Many("string")},
    "FunctionDeclaration": {
        "name": "string",
        "description": "string",
        "parameters": "Schema",
        "parametersJsonSchema": "value",
        "response": "Schema",
        "responseJsonSchema": "value",
        "behavior": "string",
    },
    "Schema": {
        "type": _SCHEMA_TYPES,
        "format": "string",
        "title": "string",
        "description": "string",
        "nullable": "bool",
        "enum": Many("string"),
        "items": "Schema",
        "maxItems": "int64",
        "minItems": "int64",
        "properties": Mapped("Schema"),
        "required": Many("string"),
        "minProperties": "int64",
        "maxProperties": "int64",
        "minLength": "int64",
        "maxLength": "int64",
        "pattern": "string",
        "example": "value",
        "anyOf": Many("Schema"),
        "propertyOrdering": Many("string"),
        "default": "value",
        "minimum": "double",
        "maximum": "double",
    },
    "ToolConfig": {
        "functionCallingConfig": "FunctionCallingConfig",
        "retrievalConfig": "RetrievalConfig",
        "includeServerSideToolInvocations": "bool",
    },
    "FunctionCallingConfig": {
        "mode": Choice("Mode", ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")),
        "allowedFunctionNames": Many("string"),
    },
    "RetrievalConfig": {"latLng": "LatLng", "languageCode": "string"},
    "LatLng": {"latitude": "double", "longitude": "double"},
    "SafetySetting": {"category": "string", "threshold": "string"},
    "GenerationConfig": {
        "candidateCount": "int32",
        "stopSequences": Many("string"),
        "maxOutputTokens": "int32",
        "temperature": "float",
        "topP": "float",
        "topK": "int32",
        "seed": "int32",
        "responseMimeType": "string",
        "responseSchema": "Schema",
        "responseJsonSchema": "value",
        "presencePenalty": "float",
        "frequencyPenalty": "float",
        "responseLogprobs": "bool",
        "logprobs": "int32",
        "responseModalities": Many(_MODALITIES),
        "speechConfig": "SpeechConfig",
        "thinkingConfig": "ThinkingConfig",
        "imageConfig": "ImageConfig",
        "mediaResolution": "string",
    },
    "SpeechConfig": {
        "voiceConfig": "VoiceConfig",
        "multiSpeakerVoiceConfig": "struct",
        "languageCode": "string",
    },
    "VoiceConfig": {"prebuiltVoiceConfig": "PrebuiltVoiceConfig"},
    "PrebuiltVoiceConfig": {"voiceName": "string"},
    "ThinkingConfig": {
        "includeThoughts": "bool",
        "thinkingBudget": "int32",
        "thinkingLevel": Choice("ThinkingLevel", ("THINKING_LEVEL_UNSPECIFIED", *THINKING_LEVELS)),
    },
    "ImageConfig": {"aspectRatio": "string", "imageSize": "string"},
}

VERTEX_ONLY = frozenset({"labels"})
DEVELOPER_API_ONLY = frozenset({"serviceTier", "includeServerSideToolInvocations"})
"""Names that the other of the two services does not know."""


def read_request(body: dict[str, Any], *, is_vertex: bool) -> dict[str, Any]:
    """The request with every name in camelCase. Raises `RefusedError` as the transcoder does."""
    unknown = DEVELOPER_API_ONLY if is_vertex else VERTEX_ONLY
    return _Reader(unknown).message("GenerateContentRequest", body, "")


class _Reader:
    def __init__(self, unknown: frozenset[str]) -> None:
        self._unknown = unknown

    def message(self, name: str, value: object, at: str) -> dict[str, Any]:
        members = as_object(value)
        if members is None:
            _wrong(at, f"type.googleapis.com/google.ai.generativelanguage.v1beta.{name}", value)
        fields = MESSAGES[name]
        read: dict[str, Any] = {}
        for written, member in members.items():
            field = _camel(written)
            where = f"{at}.{written}" if at else written
            if field not in fields or field in self._unknown:
                place = f" at '{_snake(at)}'" if at else ""
                raise invalid(
                    f'Invalid JSON payload received. Unknown name "{written}"{place}: '
                    "Cannot find field.",
                    field=_snake(at),
                )
            if field in read:
                raise invalid(
                    f"Invalid value at '{_snake(where)}': field is given twice.", field=where
                )
            if member is not None:
                read[field] = self.value(fields[field], member, where)
        return read

    def value(self, kind: Kind, value: object, at: str) -> Any:  # noqa: ANN401 -- JSON
        if isinstance(kind, Many):
            many = as_array(value)
            if many is None:
                _wrong(at, "a list", value)
            return [self.value(kind.of, one, f"{at}[{index}]") for index, one in enumerate(many)]
        if isinstance(kind, Mapped):
            members = as_object(value)
            if members is None:
                _wrong(at, "a map", value)
            return {
                key: self.value(kind.of, one, f"{at}[{len(key)}].value")
                for key, one in members.items()
            }
        if isinstance(kind, Choice):
            known = value.upper() if isinstance(value, str) else value
            if known not in kind.values:
                _wrong(
                    at,
                    f"type.googleapis.com/google.ai.generativelanguage.v1beta.{kind.type}",
                    value,
                )
            return known
        if kind in MESSAGES:
            return self.message(kind, value, at)
        return _SCALARS[kind](value, at)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _snake(path: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), path)


def _wrong(at: str, kind: str, value: object) -> NoReturn:
    shown = msgspec.json.encode(value).decode()[:64]
    raise invalid(f"Invalid value at '{_snake(at)}' ({kind}), {shown}", field=_snake(at))


def _string(value: object, at: str) -> str:
    if not isinstance(value, str):
        _wrong(at, "TYPE_STRING", value)
    return value


def _bool(value: object, at: str) -> bool:
    if not isinstance(value, bool):
        _wrong(at, "TYPE_BOOL", value)
    return value


def _integer(least: int, most: int, kind: str) -> Callable[[object, str], int]:
    def read(value: object, at: str) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            _wrong(at, kind, value)
        return value

    return read


def _number(value: object, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _wrong(at, "TYPE_FLOAT", value)
    return float(value)


def _bytes(value: object, at: str) -> str:
    try:
        text = _string(value, at)
        # Both alphabets are taken, and missing padding.
        plain = text.replace("-", "+").replace("_", "/")
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(
            f"Invalid value at '{_snake(at)}' (TYPE_BYTES), Base64 decoding failed for "
            f'"{str(value)[:32]}"',
            field=_snake(at),
        ) from None
    return text


def _struct(value: object, at: str) -> dict[str, Any]:
    members = as_object(value)
    if members is None:
        _wrong(at, "type.googleapis.com/google.protobuf.Struct", value)
    return members


def _value(value: object, _: str) -> object:
    return value


_SCALARS: dict[str, Callable[[object, str], Any]] = {
    "string": _string,
    "bool": _bool,
    "int32": _integer(LEAST_INT32, MOST_INT32, "TYPE_INT32"),
    "int64": _integer(-(2**63), 2**63 - 1, "TYPE_INT64"),
    "float": _number,
    "double": _number,
    "bytes": _bytes,
    "struct": _struct,
    "value": _value,
}
