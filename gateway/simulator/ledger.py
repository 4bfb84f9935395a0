"""What the simulated providers received: one entry per attempt, the third of three ledgers.

A test compares the client's history, these lines and the gateway's rows. Entries are changed in
place while their request is open and written to the file once it is over, one JSON object per
line. Request bodies are kept as they came, so a ledger file holds prompts.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

SHOWN_FROM_LENGTH = 16
MAX_ENTRIES = 20_000
MAX_BODY_BYTES = 64 * 1024 * 1024

KEPT_HEADERS = frozenset(
    {"accept", "accept-encoding", "content-type", "idempotency-key", "traceparent", "user-agent"}
)
# Whatever may carry a credential; only whether it was there and its last four characters stay.
CREDENTIAL_HEADERS = (
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "x-amz-security-token",
)

Outcome = Literal["open", "completed", "refused", "faulted", "client_closed", "stopped"]


class LedgerEntry(msgspec.Struct, kw_only=True):
    """One attempt as the provider saw it.

    `received_at`, `first_byte_at`, `closed_at` are monotonic seconds of this machine; `closed_at`
    is when the caller's close was seen while the answer was still open, None if it never was, and
    `closed_after_s` the same since receipt. Tokens are what the provider would bill: prompt tokens
    once it began to answer, output tokens as far as they were produced. `is_usage_sent` tells
    whether the caller could have learnt them.
    """

    number: int
    received_at: float
    provider: str | None
    path: str
    model: str | None = None
    is_stream: bool = False
    request: Any = None
    headers: dict[str, str]
    has_credential: bool
    credential_last4: str | None
    behaviour: str = ""
    status: int | None = None
    outcome: Outcome = "open"
    events_sent: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    is_usage_sent: bool = False
    first_byte_at: float | None = None
    closed_at: float | None = None
    closed_after_s: float | None = None
    duration_s: float | None = None


class Ledger:
    """Entries in order of arrival, the oldest dropped beyond a count and a size of bodies."""

    def __init__(self, path: Path | None = None) -> None:
        self._entries: deque[tuple[LedgerEntry, int]] = deque()
        self._body_bytes = 0
        self._received = 0
        self._file: BinaryIO | None = None if path is None else path.open("ab", buffering=0)

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter([entry for entry, _ in list(self._entries)])

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> LedgerEntry:
        return self._entries[index][0]

    @property
    def received(self) -> int:
        """Attempts received since the start or the last `clear`, dropped ones included."""
        return self._received

    def open(
        self,
        *,
        received_at: float,
        provider: str | None,
        path: str,
        headers: dict[str, str],
        body_bytes: int,
    ) -> LedgerEntry:
        self._received += 1
        credential = next((headers[name] for name in CREDENTIAL_HEADERS if headers.get(name)), None)
        entry = LedgerEntry(
            number=self._received,
            received_at=received_at,
            provider=provider,
            path=path,
            headers=_kept(headers),
            has_credential=credential is not None,
            credential_last4=_last4(credential),
        )
        self._entries.append((entry, body_bytes))
        self._body_bytes += body_bytes
        while len(self._entries) > MAX_ENTRIES or self._body_bytes > MAX_BODY_BYTES:
            self._body_bytes -= self._entries.popleft()[1]
        return entry

    def close_entry(self, entry: LedgerEntry, outcome: Outcome, *, at: float) -> None:
        """The attempt is over; its line is written in one `write`."""
        entry.outcome = outcome
        entry.duration_s = at - entry.received_at
        if entry.closed_at is not None:
            entry.closed_after_s = entry.closed_at - entry.received_at
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry) + b"\n")

    def clear(self) -> None:
        """Forget the entries in memory and count from one again; the file keeps its lines."""
        self._entries.clear()
        self._body_bytes = 0
        self._received = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _last4(credential: str | None) -> str | None:
    # Of a short one, four characters would be too much.
    is_long = credential is not None and len(credential) >= SHOWN_FROM_LENGTH
    return credential[-4:] if credential is not None and is_long else None


def _kept(headers: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name in KEPT_HEADERS or (name.startswith("x-") and name not in CREDENTIAL_HEADERS)
    }
