"""Locks on files that the kernel drops when their holder dies, however it dies."""

import fcntl
import os
from pathlib import Path


def try_lock(fd: int, *, exclusive: bool) -> bool:
    """Take or convert the lock of an open file without waiting; False when somebody is in the way.

    A conversion that fails may have lost the lock that was there.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_locked(path: Path) -> int | None:
    """A descriptor that holds the exclusive lock, or None when somebody else holds one."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if try_lock(fd, exclusive=True):
        return fd
    os.close(fd)
    return None


def is_locked_exclusively(path: Path) -> bool:
    """Whether somebody holds the exclusive lock; a file that is missing is not locked."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd, exclusive=False)
    finally:
        os.close(fd)
