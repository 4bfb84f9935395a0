"""Last good copies on local disk: what a start without Postgres goes by."""

import logging
import os
from pathlib import Path

import msgspec

_log = logging.getLogger("tollway.snapshot")


def write_copy(path: Path, content: object, *, of: str) -> None:
    """Replace a copy, readable by us alone; one that cannot be written is logged, no more.

    Args:
        path: the file; its directory is made.
        content: what msgpack can hold.
        of: what it is a copy of, for the log.
    """
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.msgpack.encode(content))
        temporary.replace(path)
    except OSError as exc:
        _log.warning("the last good copy of the %s cannot be written: %s", of, exc.strerror)
