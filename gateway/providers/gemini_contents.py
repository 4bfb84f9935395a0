"""Turns of a conversation -> ``contents`` and ``systemInstruction`` of generateContent.

Signatures of thoughts travel in ``reasoning_details``: what the model signed comes back at the
place where it stood, as long as it is the same provider's. https://ai.google.dev/gemini-api/docs/thought-signatures
"""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from gateway.chat.request import Signature
from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, FaultError, Target
from gateway.providers.gemini_names import to_wire_name
from gateway.providers.translation.parts import bad
from gateway.providers.translation.turns import (
    AssistantTurn,
    AudioPart,
    Conversation,
    FilePart,
    ImagePart,
    Part,
    ReasoningDetail,
    TextPart,
    ToolCall,
    ToolResult,
    UserTurn,
    VideoPart,
)

Members = dict[str, Any]

FORMAT: Final = "google-gemini-v1"
DUMMY_SIGNATURE: Final = base64.b64encode(b"skip_thought_signature_validator").decode()
"""Stands in for a signature that nobody has: calls of another model, or of a client that drops
what it does not know."""

_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_TYPE_OF_ENDING: Final = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "bmp": "image/bmp",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "html": "text/html",
    "mp4": "video/mp4",
    "webm": "video/webm",
}
_TEXTUAL: Final = re.compile(r"text/.*|application/(json|xml|.*\+xml|x-.*|javascript)")
_YOUTUBE: Final = frozenset({"www.youtube.com", "youtube.com", "youtu.be", "m.youtube.com"})
_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
_REFERENCE: Final = b'"$ref"'
_NOTHING_REMEMBERED: Final[Mapping[str, Signature]] = {}
_OBJECTS: Final = msgspec.json.Decoder(dict[str, Raw])
_ENCODER: Final = msgspec.json.Encoder()


def tag_of(target: Target) -> str:
    """Under which format our signatures go out, and by which they are known again."""
    return f"{FORMAT}:{target.endpoint.provider}"


def write_contents(
    conversation: Conversation,
    target: Target,
    instruction: str | None,
    *,
    is_vertex: bool,
    remembered: Mapping[str, Signature] = _NOTHING_REMEMBERED,
) -> tuple[list[Members], Members | None]:
    """``contents`` and ``systemInstruction``, which is None when there is none.

    ``instruction`` is told beside what the system says, ``remembered`` signs calls whose signature
    the client dropped.

    Raises:
        FaultError: it holds something that this endpoint cannot read.
    """
    writer = _Writer(target, is_vertex=is_vertex, remembered=remembered)
    begins_at = conversation.begins_loop_at
    contents = [
        writer.assistant(turn, is_current=index >= begins_at)
        if isinstance(turn, AssistantTurn)
        else writer.user(turn)
        for index, turn in enumerate(conversation.turns)
    ]
    contents = [content for content in contents if content["parts"]]
    system: list[Members] = [{"text": part.text} for part in conversation.system]
    if instruction is not None:
        system.append({"text": instruction})
    if not system:
        return contents, None
    if target.endpoint.capabilities.get("system_messages") is False:
        contents[0]["parts"] = system + contents[0]["parts"]
        return contents, None
    return contents, {"parts": system}


class _Writer:
    def __init__(
        self, target: Target, *, is_vertex: bool, remembered: Mapping[str, Signature]
    ) -> None:
        endpoint = target.endpoint
        self._remembered = remembered
        self._endpoint = endpoint
        self._tag = tag_of(target)
        self._is_vertex = is_vertex
        self._signs = endpoint.capabilities.get("signed_tool_calls") is True
        # Vertex AI matches responses by their order alone.
        self._tells_ids = self._signs and not is_vertex

    def user(self, turn: UserTurn) -> Members:
        parts = [self._response(result) for result in turn.results]
        for result in turn.results:
            parts += [self._part(part) for part in result.parts if not isinstance(part, TextPart)]
        parts += [self._part(part) for part in turn.parts]
        return {"role": "user", "parts": parts}

    def assistant(self, turn: AssistantTurn, *, is_current: bool) -> Members:
        own = [one for one in turn.reasoning_details if one.format == self._tag and one.data]
        signatures = {one.id: one.data for one in own if one.id}
        loose = next((one.data for one in reversed(own) if not one.id), None)
        parts: list[Members] = []
        images = 0
        for part in turn.parts:
            written = self._part(part)
            if isinstance(part, ImagePart):
                _sign(written, signatures.get(f"image:{images}"))
                images += 1
            parts.append(written)
        if loose is not None:
            if parts and "text" in parts[-1]:
                _sign(parts[-1], loose)
            elif not turn.calls or parts:
                parts.append({"text": "", "thoughtSignature": loose})
        for number, call in enumerate(turn.calls):
            written = self._call(call)
            signature = signatures.get(call.sent_id) or self._recall(call.sent_id)
            if signature is None and number == 0:
                signature = loose if not turn.parts else None
                if signature is None and self._signs and is_current:
                    signature = DUMMY_SIGNATURE
            _sign(written, signature)
            parts.append(written)
        return {"role": "model", "parts": parts}

    def _recall(self, call_id: str) -> str | None:
        known = self._remembered.get(call_id)
        return known.data if known is not None and known.format == self._tag else None

    def _call(self, call: ToolCall) -> Members:
        called: Members = {"name": to_wire_name(call.name), "args": call.arguments}
        if self._tells_ids:
            called["id"] = call.id
        return {"functionCall": called}

    def _response(self, result: ToolResult) -> Members:
        answered: Members = {"name": to_wire_name(result.name), "response": _to_object(result)}
        if self._tells_ids:
            answered["id"] = result.call_id
        return {"functionResponse": answered}

    def _part(self, part: Part) -> Members:
        if isinstance(part, TextPart):
            return {"text": part.text}
        if isinstance(part, ImagePart):
            if part.data is None:
                return self._remote(part.url or "", None, "image/jpeg")
            return self._image(part.media_type or "image/png", part.data)
        if isinstance(part, AudioPart):
            mime = "audio/mp3" if part.format == "mp3" else part.media_type
            return _inline(mime, part.data)
        if isinstance(part, VideoPart):
            if part.data is None:
                return self._remote(part.url or "", None, "video/mp4")
            return _inline(part.media_type or "video/mp4", part.data)
        return self._file(part)

    def _image(self, mime: str, data: str) -> Members:
        if mime not in _IMAGES:
            raise self._unsupported(f"takes no images of the type {mime}; send PNG, JPEG or WebP")
        return _inline(mime, data)

    def _file(self, part: FilePart) -> Members:
        if part.file_id is not None:
            if self._is_vertex or not part.file_id.startswith("files/"):
                raise bad("file_id", "is known to the provider alone where the file was uploaded")
            return {"fileData": {"fileUri": _FILES + part.file_id}}
        if part.data is None:
            return self._remote(part.url or "", part.media_type, "application/pdf")
        mime = part.media_type or ""
        if mime.startswith("image/"):
            return self._image(mime, part.data)
        if mime.startswith(("audio/", "video/")) or mime == "application/pdf":
            return _inline(mime, part.data)
        if _TEXTUAL.fullmatch(mime):
            return _inline("text/plain", part.data)
        raise self._unsupported(f"takes no files of the type {mime or 'unknown'}; send PDF or text")

    def _remote(self, url: str, mime: str | None, otherwise: str) -> Members:
        """A file that Google fetches itself; the gateway never does.

        ai.google.dev/gemini-api/docs/file-input-methods: public addresses, but not for Gemini 2.0
        and before. Vertex AI takes them too, and gs:// as well, and wants the type.
        """
        parts = urlsplit(url)
        is_video = parts.hostname in _YOUTUBE
        is_fetched = parts.scheme == "https" and (
            self._is_vertex or is_video or self._endpoint.capabilities.get("file_urls") is not False
        )
        if not is_fetched and not (self._is_vertex and parts.scheme == "gs"):
            raise self._unsupported("takes no remote files of this kind; send a data URL")
        ending = parts.path.rpartition(".")[2].lower()
        mime = "video/mp4" if is_video else mime or _TYPE_OF_ENDING.get(ending)
        if mime is None and self._is_vertex:
            mime = otherwise
        file: Members = {"fileUri": url}
        if mime is not None and (self._is_vertex or not is_video):
            file["mimeType"] = mime
        return {"fileData": file}

    def _unsupported(self, what: str) -> FaultError:
        return FaultError(
            Fault(
                outcome=Outcome.UNSUPPORTED,
                message=f"{self._endpoint.id} {what}",
                status_code=400,
            )
        )


def _inline(mime: str, data: str) -> Members:
    return {"inlineData": {"mimeType": mime, "data": data}}


def _sign(part: Members, signature: str | None) -> None:
    if signature is not None:
        part["thoughtSignature"] = signature


def _to_object(result: ToolResult) -> Raw | dict[str, str]:
    """What a call came to, as the JSON object that is wanted."""
    text = result.text
    if result.is_error:
        return {"error": text}
    raw = text.strip().encode()
    # A `$ref` would be taken for a reference to a part of the answer.
    if raw[:1] == b"{" and _REFERENCE not in raw:
        try:
            _OBJECTS.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            pass
        else:
            return Raw(raw)
    return {"output": text}


def detail_of_signature(signature: str, index: int, tag: str, id_: str | None) -> ReasoningDetail:
    """A signature as clients get it; ``id_`` names the call or the image that it stands at."""
    return ReasoningDetail(
        type="reasoning.encrypted", data=signature, id=id_, format=tag, index=index
    )
