"""Content parts of a message, as clients write them, into typed ones."""

import base64
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

from msgspec import Raw

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, FaultError
from gateway.providers.translation.turns import (
    AudioPart,
    CacheMark,
    FilePart,
    ImagePart,
    Part,
    TextPart,
    VideoPart,
)

Members = dict[str, Any]

_NULL: Final = Raw(b"null")
_BEGINNINGS: Final = (
    ("/9j/", "image/jpeg"),
    ("iVBORw0KGgo", "image/png"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)
"""How the base64 of the usual image files begins: clients often name another type."""
_TYPES: Final = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "htm": "text/html",
    "json": "application/json",
    "xml": "application/xml",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_LOCATORS: Final = ("http://", "https://", "gs://", "s3://")


def is_blank(text: str) -> bool:
    """Whether protocols would refuse the text as empty."""
    return not text or text.isspace()


def read_parts(content: str | list[Members] | None, where: str, warnings: list[str]) -> list[Part]:
    """Parts that hold something. ``where`` is the dotted path of the content, for messages.

    Raises:
        FaultError: a part lacks what its type requires.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [] if is_blank(content) else [TextPart(text=content)]
    parts: list[Part] = []
    for number, sent in enumerate(content):
        part = _read_part(sent, f"{where}.{number}", warnings)
        if part is not None:
            parts.append(part)
    return parts


def _read_part(sent: Members, where: str, warnings: list[str]) -> Part | None:
    kind = sent.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is not None:
        return read(sent, where)
    text = sent.get("text")
    if isinstance(text, str):
        return _text(sent, where)
    warnings.append(f"`{where}`: a part of type {str(kind)[:64]!r} is unknown and was left out")
    return None


def _text(sent: Members, where: str) -> TextPart | None:
    text = sent.get("text", sent.get("refusal"))
    if text is None:
        return None
    if not isinstance(text, str):
        raise bad(f"{where}.text", "must be a string")
    return None if is_blank(text) else TextPart(text=text, cache=read_cache_mark(sent))


def _image(sent: Members, where: str) -> ImagePart:
    url, detail = _address(sent.get("image_url"), f"{where}.image_url")
    cache = read_cache_mark(sent)
    found = parse_data_url(url, f"{where}.image_url.url")
    if found is None:
        return ImagePart(url=url, detail=detail, cache=cache)
    media_type, data = found
    return ImagePart(media_type=image_type(data, media_type), data=data, detail=detail, cache=cache)


def _video(sent: Members, where: str) -> VideoPart:
    url, _ = _address(sent.get("video_url"), f"{where}.video_url")
    cache = read_cache_mark(sent)
    found = parse_data_url(url, f"{where}.video_url.url")
    if found is None:
        return VideoPart(url=url, cache=cache)
    return VideoPart(media_type=found[0] or "video/mp4", data=found[1], cache=cache)


def _audio(sent: Members, where: str) -> AudioPart:
    inner = sent.get("input_audio")
    if not isinstance(inner, dict):
        raise bad(f"{where}.input_audio", "must be an object of `data` and `format`")
    members = cast("Members", inner)
    data, form = members.get("data"), members.get("format")
    if not isinstance(data, str) or not data:
        raise bad(f"{where}.input_audio.data", "must be base64 text")
    found = parse_data_url(data, f"{where}.input_audio.data")
    if found is not None:
        media_type, data = found
        form = form or media_type.partition("/")[2]
    return AudioPart(
        format=form if isinstance(form, str) and form else "wav",
        data=data,
        cache=read_cache_mark(sent),
    )


def _file(sent: Members, where: str) -> FilePart:
    inner = sent.get("file")
    if not isinstance(inner, dict):
        raise bad(f"{where}.file", "must be an object of `file_data` and `filename`, or `file_id`")
    members = cast("Members", inner)
    cache = read_cache_mark(sent)
    filename = members.get("filename")
    name = filename if isinstance(filename, str) and filename else None
    file_id = members.get("file_id")
    if isinstance(file_id, str) and file_id:
        return FilePart(file_id=file_id, filename=name, cache=cache)
    data = members.get("file_data") or members.get("file_url")
    if not isinstance(data, str) or not data:
        raise bad(f"{where}.file.file_data", "must be a data URL, or give a `file_id`")
    guessed = _TYPES.get(name.rpartition(".")[2].lower()) if name else None
    if data.startswith(_LOCATORS):
        return FilePart(url=data, filename=name, media_type=guessed, cache=cache)
    found = parse_data_url(data, f"{where}.file.file_data")
    media_type, data = found if found is not None else ("", data)
    if media_type in {"", "application/octet-stream"}:
        media_type = guessed or ("application/pdf" if data.startswith("JVBERi") else media_type)
    return FilePart(filename=name, media_type=media_type or None, data=data, cache=cache)


_READERS: Final = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "refusal": _text,
    "image_url": _image,
    "video_url": _video,
    "input_audio": _audio,
    "file": _file,
}


def _address(sent: object, where: str) -> tuple[str, str | None]:
    """The address in ``image_url``, which may be an object or just text, and the detail."""
    if isinstance(sent, str) and sent:
        return sent, None
    if isinstance(sent, dict):
        members = cast("Members", sent)
        url, detail = members.get("url"), members.get("detail")
        if isinstance(url, str) and url:
            return url, detail if isinstance(detail, str) else None
    raise bad(f"{where}.url", "must be a data URL or an http(s) address")


def parse_data_url(url: str, where: str) -> tuple[str, str] | None:
    """Media type (maybe empty) and base64 of a data URL; None for any other text.

    Raises:
        FaultError: it begins like one and is none.
    """
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    if not comma or not data:
        raise bad(where, "is a data URL without data")
    media_type, *parameters = head.split(";")
    if "base64" not in parameters:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return media_type.strip().lower(), data


def image_type(data: str, named: str) -> str:
    """The media type by the first bytes of an image, else as it was named."""
    for beginning, media_type in _BEGINNINGS:
        if data.startswith(beginning):
            return media_type
    return "image/jpeg" if named == "image/jpg" else named or "image/png"


def read_cache_mark(sent: Members) -> CacheMark | None:
    """``cache_control`` of a part, a message or a tool."""
    mark = sent.get("cache_control")
    if not isinstance(mark, dict):
        return None
    ttl = cast("Members", mark).get("ttl")
    return CacheMark(ttl=ttl if ttl in {"5m", "1h"} else None)


def bad(param: str, what: str) -> FaultError:
    """The client's own mistake, found while translating."""
    return FaultError(
        Fault(outcome=Outcome.INVALID_REQUEST, message=f"`{param}` {what}", status_code=400)
    )
