"""Reads server-sent events from bytes, however they are cut (WHATWG HTML §9.2.6).

Line ends may be CR, LF or CRLF; comments, unknown fields and a byte order mark are skipped; the
lines of one event's data are joined. An event without a closing blank line is not lost: `end`
returns it, since many servers leave the last blank line out.
"""

MAX_EVENT_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class SseReader:
    """One stream of events."""

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_most",
        "_tail",
        "_tail_bytes",
        "is_overflowing",
        "names",
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Read events of at most that many bytes."""
        self._most = max_event_bytes
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._after_cr = False
        self._at_start = True
        self.is_overflowing = False
        """An event was larger than allowed; nothing is read after it."""
        self.names: dict[int, str] = {}
        """Event names of the payloads that were returned last, by position, where given."""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that these bytes complete."""
        if self.names:
            self.names = {}
        if self.is_overflowing or not data:
            return []
        if self._after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        if self._tail:
            # Only what is new, and the byte before it, can hold the blank line.
            if b"\n\n" not in data and not (data[:1] == b"\n" and self._tail[-1][-1:] == b"\n"):
                self._keep(data)
                return []
            self._tail.append(data)
            data = b"".join(self._tail)
            self._tail = []
            self._tail_bytes = 0
        if self._at_start:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._keep(data)
                return []
            self._at_start = False
            data = data.removeprefix(_BOM)
        blocks = data.split(b"\n\n")
        last = blocks.pop()
        payloads: list[bytes] = []
        for block in blocks:
            if len(block) > self._most:
                self.is_overflowing = True
                return payloads
            if block.startswith(b"data: ") and b"\n" not in block:
                payloads.append(block[6:])
            else:
                self._read_block(block, payloads)
        if last:
            self._keep(last)
        return payloads

    def end(self) -> list[bytes]:
        """The payload of an event that was never closed, if there is one."""
        self.names = {}
        block = b"".join(self._tail)
        self._tail = []
        if self._at_start:
            block = block.removeprefix(_BOM)
        payloads: list[bytes] = []
        if not self.is_overflowing:
            self._read_block(block, payloads)
        return payloads

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]  # the second half of a CRLF
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        # One line feed may belong to the blank line that closes the event.
        if self._tail_bytes - data.endswith(b"\n") > self._most:
            self.is_overflowing = True

    def _read_block(self, block: bytes, payloads: list[bytes]) -> None:
        lines: list[bytes] = []
        name = b""
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"data":
                lines.append(value[1:] if value.startswith(b" ") else value)
            elif field == b"event":
                name = value.strip()
        if lines:
            if name:
                self.names[len(payloads)] = name.decode("utf-8", "replace")
            payloads.append(b"\n".join(lines))
