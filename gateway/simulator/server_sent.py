"""Streams as server-sent events (WHATWG HTML §9.2), in the forms that a behaviour asks for."""

import msgspec

from gateway.simulator.wire import Frame, StreamForm

_LINE_ENDS = {"crlf": b"\r\n", "cr": b"\r"}


def _encode(frame: Frame, forms: frozenset[str]) -> bytes:
    line_end = next((_LINE_ENDS[form] for form in _LINE_ENDS if form in forms), b"\n")
    colon = b":" if "no_space" in forms else b": "
    payload = frame.data
    if "multi_data" in forms and payload[:1] == b"{":
        payload = msgspec.json.format(payload, indent=1)
    lines = [b"data" + colon + line for line in payload.split(b"\n")]
    if frame.event is not None:
        lines.insert(0, b"event" + colon + frame.event.encode())
    if "comments" in forms:
        lines.insert(0, b": keep-alive" + line_end)
    return line_end.join([*lines, b"", b""])


def _around(_: int) -> tuple[bytes, bytes]:
    return b'data: {"choices":[{"text":"', b'"}]}\n\n'


SERVER_SENT = StreamForm(
    content_type="text/event-stream; charset=utf-8",
    encode=_encode,
    keep_alive=b": keep-alive\n\n",
    around=_around,
)
"""`event` is written where a frame has one; the end marker of a protocol is a frame like others."""
