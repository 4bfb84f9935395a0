"""Where a grounded answer comes from: annotations whose places count characters of the content."""

from typing import Final

from gateway.providers.gemini_parts import Citations, Grounding, GroundingChunk, Segment
from gateway.providers.translation.writing import Annotation, Citation
from pricing.endpoint import Endpoint

_MOST: Final = 200


def annotate(
    grounding: Grounding | None, citations: Citations | None, texts: list[str]
) -> list[Annotation]:
    """Citations with their places; ``texts`` are the texts of the parts, in order."""
    found: list[Annotation] = []
    content = "".join(texts)
    if grounding is not None:
        for support in grounding.grounding_supports:
            place = _place(support.segment, texts, content)
            if place is None:
                continue
            for index in support.grounding_chunk_indices:
                if 0 <= index < len(grounding.grounding_chunks):
                    _add(found, grounding.grounding_chunks[index], place)
        if not grounding.grounding_supports:
            for chunk in grounding.grounding_chunks:
                _add(found, chunk, (0, 0))
    if citations is not None:
        for source in citations.citation_sources or citations.citations:
            segment = Segment(start_index=source.start_index, end_index=source.end_index)
            place = _place(segment, texts, content)
            if source.uri and place is not None:
                found.append(_annotation(source.uri, source.title, place))
    return found[:_MOST]


def count_searches(grounding: Grounding | None, endpoint: Endpoint) -> int:
    """Searches that are billed: each question from Gemini 3 on, each grounded answer before.

    https://ai.google.dev/gemini-api/docs/google-search#pricing
    """
    if grounding is None:
        return 0
    questions = len({question for question in grounding.web_search_queries if question})
    return questions if endpoint.capabilities.get("search_per_query") is True else min(questions, 1)


def _add(found: list[Annotation], chunk: GroundingChunk, place: tuple[int, int]) -> None:
    source = chunk.web or chunk.retrieved_context or chunk.maps
    if source is not None and source.uri:
        found.append(_annotation(source.uri, source.title, place))


def _annotation(uri: str, title: str | None, place: tuple[int, int]) -> Annotation:
    citation = Citation(url=uri, title=title or uri, start_index=place[0], end_index=place[1])
    return Annotation(url_citation=citation)


def _place(segment: Segment | None, texts: list[str], content: str) -> tuple[int, int] | None:
    """First and last character (exclusive) of a stretch; None when it is not there."""
    if segment is None or segment.part_index >= len(texts) or segment.part_index < 0:
        return None
    before = sum(len(text) for text in texts[: segment.part_index])
    part = texts[segment.part_index].encode()
    if 0 <= segment.start_index <= segment.end_index <= len(part):
        start = before + len(part[: segment.start_index].decode(errors="ignore"))
        end = before + len(part[: segment.end_index].decode(errors="ignore"))
        if not segment.text or content[start:end] == segment.text:
            return start, end
    if segment.text:
        # Counted otherwise than documented; the words themselves tell.
        start = content.find(segment.text)
        if start >= 0:
            return start, start + len(segment.text)
    return None
