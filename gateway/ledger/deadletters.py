"""Records that Postgres will not take: kept in files of their own, and told to Postgres."""

import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.domain.records import SCHEMA_VERSION
from gateway.ledger.frames import (
    DEAD,
    RECORD,
    DeadLetter,
    FileHeader,
    encode_payload,
    frame_seeds,
    make_file_start,
    make_frame,
    salt_of,
)
from gateway.ledger.reader import Found
from gateway.storage.ingest import DeadRow, note_dead
from gateway.storage.waiting import run_bounded

_MOST_UNTOLD = 1_000
_TELL_S = 10.0


class DeadLetters:
    """Appends to one file a day; nothing in it is ever lost or tried again by itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._untold: deque[DeadRow] = deque(maxlen=_MOST_UNTOLD)

    def append(self, found: Found, reason: str, sqlstate: str | None) -> None:
        """Set a record aside, durably, with the reason."""
        now = datetime.now(UTC)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        name = f"{now:%Y%m%d}-{os.getpid()}"
        letter = DeadLetter(
            reason=reason,
            sqlstate=sqlstate,
            refused_at=now,
            frame_type=RECORD,
            payload=found.payload,
        )
        frame = make_frame(DEAD, encode_payload(letter), frame_seeds(salt_of(name))[DEAD])
        path = self._directory / f"{name}.dead"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size == 0:
                frame = _start(name, now) + frame
            os.write(descriptor, frame)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._untold.append(
            DeadRow(
                seen_at=now,
                segment=found.segment,
                offset=found.offset,
                record_id=found.record.id if found.record is not None else None,
                sqlstate=sqlstate,
                reason=reason.replace("\0", ""),
                frame=found.payload,
            )
        )

    async def report(self, engine: AsyncEngine) -> None:
        """Tell Postgres what was set aside since the last time."""
        while self._untold:
            dead = self._untold[0]
            await run_bounded(
                engine, lambda connection, row=dead: note_dead(connection, row), seconds=_TELL_S
            )
            self._untold.popleft()


def _start(name: str, now: datetime) -> bytes:
    return make_file_start(
        FileHeader(schema_version=SCHEMA_VERSION, node="deadletter", name=name, created_at=now)
    )
