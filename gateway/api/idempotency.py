"""``Idempotency-Key``: a request that is sent twice is answered, and paid for, once.

What is remembered lives in the memory of this worker process: a repeat that reaches another worker
or another machine is a new request there.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from gateway.answers import StreamedAnswer, WholeAnswer
from gateway.domain.errors import GatewayError, InvalidRequestError

KEEP_S = 24 * 60 * 60.0
MAX_ENTRIES = 10_000
MAX_ANSWER_BYTES = 1024 * 1024
MAX_KEPT_BYTES = 64 * 1024 * 1024
MAX_KEY_CHARACTERS = 255

_CONFLICT = 409
_UNPROCESSABLE = 422
_REPLAYED = ("idempotency-replayed", "true")

Scope = tuple[UUID, str]


class _Entry:
    """One key: what was asked under it, and the answer once there is one."""

    __slots__ = ("answer", "at_s", "fingerprint", "is_open", "size")

    def __init__(self, fingerprint: bytes, at_s: float) -> None:
        self.fingerprint = fingerprint
        self.at_s = at_s
        self.is_open = True
        self.answer: WholeAnswer | None = None
        self.size = 0


class Idempotency:
    """Remembers whole answers by API key and idempotency key; bounded in number, bytes and age.

    Only answers are kept: after an error the same key may be used again.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = MAX_ENTRIES,
        max_kept_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        """Make an empty memory; ``clock`` tells monotonic seconds."""
        self._clock = clock
        self._max_entries = max_entries
        self._max_kept_bytes = max_kept_bytes
        self._entries: dict[Scope, _Entry] = {}
        self.kept_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def once(
        self,
        key_id: UUID,
        key: str,
        asked: tuple[str, bytes],
        answer: Callable[[], Awaitable[WholeAnswer | StreamedAnswer]],
    ) -> WholeAnswer | StreamedAnswer:
        """The answer of this key: made now, or as it was made the first time.

        Args:
            key_id: whose key it is; others may use the same one.
            key: the header's value.
            asked: path and body, which must be the same every time.
            answer: makes the answer.

        Raises:
            InvalidRequestError: the key is not one, or was used with another body (422).
            GatewayError: 409 while the first request is open, or when its answer was too large to
                be kept.
        """
        _check(key)
        scope, fingerprint = (key_id, key), _fingerprint(*asked)
        now_s = self._clock()
        self._forget_old(now_s)
        entry = self._entries.get(scope)
        if entry is not None:
            return _replay(entry, fingerprint)
        entry = self._entries[scope] = _Entry(fingerprint, now_s)
        self._make_room()
        try:
            made = await answer()
        except BaseException:
            self._forget(scope, entry)
            raise
        entry.is_open = False
        if isinstance(made, WholeAnswer) and self._entries.get(scope) is entry:
            self._keep(entry, made)
        return made

    def _keep(self, entry: _Entry, made: WholeAnswer) -> None:
        size = len(made.body)
        if size > MAX_ANSWER_BYTES:
            return
        entry.answer, entry.size = made, size
        self.kept_bytes += size
        self._make_room()

    def _make_room(self) -> None:
        """The oldest go first; never those whose request is still open."""
        if not self._is_too_full:
            return
        for scope, entry in list(self._entries.items()):
            if not entry.is_open:
                self._forget(scope, entry)
                if not self._is_too_full:
                    return

    @property
    def _is_too_full(self) -> bool:
        return len(self._entries) > self._max_entries or self.kept_bytes > self._max_kept_bytes

    def _forget_old(self, now_s: float) -> None:
        while self._entries:
            # They stand in the order of their beginning.
            scope, entry = next(iter(self._entries.items()))
            if now_s - entry.at_s < KEEP_S:
                return
            self._forget(scope, entry)

    def _forget(self, scope: Scope, entry: _Entry) -> None:
        if self._entries.get(scope) is entry:
            del self._entries[scope]
            self.kept_bytes -= entry.size


def refuse_stream() -> InvalidRequestError:
    """The error for a stream with a key: there is no whole answer to keep."""
    return InvalidRequestError(
        "`Idempotency-Key` is for answers in one piece: drop the header or `stream`",
        param="stream",
        code="idempotent_stream",
    )


def _check(key: str) -> None:
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        raise InvalidRequestError(
            f"`Idempotency-Key` must be 1 to {MAX_KEY_CHARACTERS} printable characters of ASCII",
            param="Idempotency-Key",
            code="invalid_idempotency_key",
        )


def _fingerprint(path: str, body: bytes) -> bytes:
    return hashlib.sha256(b"%b\0%b" % (path.encode(), body)).digest()


def _replay(entry: _Entry, fingerprint: bytes) -> WholeAnswer:
    if entry.fingerprint != fingerprint:
        raise InvalidRequestError(
            "this `Idempotency-Key` was used with another request; take a new one",
            status=_UNPROCESSABLE,
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    if entry.is_open:
        raise GatewayError(
            "the request with this `Idempotency-Key` is still being answered; ask again",
            status=_CONFLICT,
            kind="invalid_request_error",
            code="idempotent_request_open",
            retry_after_s=1,
        )
    if entry.answer is None:
        raise GatewayError(
            "the request with this `Idempotency-Key` was answered, and its answer was larger than "
            f"the {MAX_ANSWER_BYTES} bytes that are kept",
            status=_CONFLICT,
            kind="invalid_request_error",
            code="idempotent_answer_not_kept",
            should_retry=False,
        )
    return msgspec.structs.replace(entry.answer, headers=[*entry.answer.headers, _REPLAYED])
