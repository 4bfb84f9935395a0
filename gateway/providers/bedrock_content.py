"""Parts of messages -> Converse's content blocks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

import re
from typing import Any, Final

from gateway.domain.outcomes import Outcome
from gateway.providers.base import Fault, FaultError
from gateway.providers.bedrock_families import Family
from gateway.providers.translation.turns import (
    PLACEHOLDER,
    AudioPart,
    CacheMark,
    FilePart,
    ImagePart,
    Part,
    TextPart,
    ToolResult,
    VideoPart,
)

Block = dict[str, Any]

MAX_CACHE_POINTS: Final = 4
_IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_VIDEOS: Final = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/x-matroska": "mkv",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
_SOUNDS: Final = frozenset({"mp3", "opus", "wav", "aac", "flac", "ogg", "m4a", "webm", "pcm"})
_SOUND_NAMES: Final = {"pcm16": "pcm"}
# Alphanumeric, single blanks, hyphens, parentheses, square brackets (API_runtime_DocumentBlock).
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9\-()\[\]]+")
_MAX_NAME: Final = 180


class ContentWriter:
    """Writes the blocks of one request; document names are unique in it, cache points few."""

    def __init__(self, family: Family, endpoint_id: str, warnings: list[str]) -> None:
        """Write for an endpoint; ``warnings`` receives what is left out."""
        self._family = family
        self._endpoint_id = endpoint_id
        self._warnings = warnings
        self._names: set[str] = set()

    def user(self, parts: tuple[Part, ...]) -> list[Block]:
        """What the user says, with cache points where they are marked.

        Raises:
            FaultError: a part is of a kind or a form that the service does not take.
        """
        blocks: list[Block] = []
        for part in parts:
            blocks.append(self._part(part))
            self._mark(part.cache, blocks)
        if any("document" in block for block in blocks) and not any(
            "text" in block for block in blocks
        ):
            # A document without a text beside it is refused.
            blocks.append({"text": PLACEHOLDER})
        return blocks

    def assistant(self, parts: tuple[TextPart | ImagePart, ...]) -> list[Block]:
        """What the model said; images of its own are not taken back."""
        blocks: list[Block] = []
        for part in parts:
            if isinstance(part, ImagePart):
                self._warnings.append(
                    f"images in messages of the assistant are not taken by {self._endpoint_id}"
                )
                continue
            blocks.append({"text": part.text})
            self._mark(part.cache, blocks)
        return blocks

    def result(self, result: ToolResult) -> list[Block]:
        """What a tool answered, and a cache point if it is marked."""
        inner = [self._part(part) for part in result.parts if not isinstance(part, AudioPart)] or [
            {"text": PLACEHOLDER}
        ]
        answered: Block = {"toolUseId": result.call_id, "content": inner}
        if result.is_error and self._family.takes_status:
            answered["status"] = "error"
        blocks: list[Block] = [{"toolResult": answered}]
        marks = [part.cache for part in result.parts if part.cache is not None]
        self._mark(result.cache or (marks[-1] if marks else None), blocks)
        return blocks

    def system(self, texts: tuple[TextPart, ...]) -> list[Block]:
        """System texts with their cache points."""
        blocks: list[Block] = []
        for text in texts:
            blocks.append({"text": text.text})
            self._mark(text.cache, blocks)
        return blocks

    def _mark(self, mark: CacheMark | None, blocks: list[Block]) -> None:
        if mark is not None:
            blocks.append(cache_point(mark, self._family))

    def _part(self, part: Part) -> Block:
        if isinstance(part, TextPart):
            return {"text": part.text}
        if isinstance(part, ImagePart):
            source = self._source(part.data, part.url, "image")
            return {
                "image": {
                    "format": self._format(part.media_type, _IMAGES, part.url, "image"),
                    "source": source,
                }
            }
        if isinstance(part, VideoPart):
            source = self._source(part.data, part.url, "video")
            return {
                "video": {
                    "format": self._format(part.media_type, _VIDEOS, part.url, "video"),
                    "source": source,
                }
            }
        if isinstance(part, AudioPart):
            kind = _SOUND_NAMES.get(part.format, part.format)
            if kind not in _SOUNDS:
                raise self._cannot(f"sound of the format {kind[:32]!r}", sorted(_SOUNDS))
            return {"audio": {"format": kind, "source": {"bytes": part.data}}}
        return self._document(part)

    def _document(self, part: FilePart) -> Block:
        if part.file_id is not None:
            raise self._cannot("files by `file_id`", ["`file_data`"])
        source = self._source(part.data, part.url, "document")
        kind = self._format(part.media_type, _DOCUMENTS, part.url, "document")
        return {"document": {"format": kind, "name": self._name(part.filename), "source": source}}

    def _source(self, data: str | None, url: str | None, what: str) -> Block:
        if data is not None:
            return {"bytes": data}
        if url is not None and url.startswith("s3://"):
            return {"s3Location": {"uri": url}}
        raise self._cannot(f"the address of a remote {what}", ["a data URL", "an s3:// address"])

    def _format(
        self, media_type: str | None, known: dict[str, str], url: str | None, what: str
    ) -> str:
        kind = known.get(media_type or "")
        if kind is None and url is not None:
            ending = url.rpartition(".")[2].lower()
            kind = ending if ending in known.values() else None
        if kind is None:
            raise self._cannot(f"a {what} of the type {(media_type or '')[:64]!r}", sorted(known))
        return kind

    def _name(self, filename: str | None) -> str:
        """A name of the characters that are allowed, unlike any other in the request."""
        stem = (filename or "").rpartition(".")[0] or filename or ""
        name = _NOT_IN_NAMES.sub(" ", stem).strip()[:_MAX_NAME].strip() or "document"
        found, count = name, 1
        while found in self._names:
            count += 1
            found = f"{name} ({count})"
        self._names.add(found)
        return found

    def _cannot(self, what: str, taken: list[str]) -> FaultError:
        message = f"{self._endpoint_id} does not take {what}; send {', '.join(taken)}"
        return FaultError(
            Fault(outcome=Outcome.UNSUPPORTED, message=message[:512], status_code=400)
        )


def cache_point(mark: CacheMark, family: Family) -> Block:
    """A cache point, with a time to keep where the family takes one."""
    point: Block = {"type": "default"}
    if mark.ttl is not None and mark.ttl in family.cache_ttls:
        point["ttl"] = mark.ttl
    return {"cachePoint": point}


def settle_cache_points(lists: list[list[Block]], *, allowed: bool) -> None:
    """Keep the cache points that are allowed: the last four, the longer ones first.

    ``lists`` are the tools, the system texts and the messages, in this order, which is the order in
    which prompts are cached; they are changed in place.
    """
    most = MAX_CACHE_POINTS if allowed else 0
    has_short = False
    total = sum("cachePoint" in block for blocks in lists for block in blocks)
    for blocks in lists:
        kept: list[Block] = []
        for block in blocks:
            point = block.get("cachePoint")
            if point is None:
                kept.append(block)
                continue
            total -= 1
            if total >= most or not kept or "cachePoint" in kept[-1]:
                continue
            if has_short and point.get("ttl") == "1h":
                # Refused after a shorter one.
                del point["ttl"]
            has_short = has_short or point.get("ttl") != "1h"
            kept.append(block)
        blocks[:] = kept
