"""The data directory: private to its owner, used by one Tollway at a time, home of its secrets."""

import fcntl
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_LOCK = "lock"
_SECRET = "secret"  # noqa: S105 - the name of a file
_OWNER_TOKEN = "owner-token"  # noqa: S105 - the name of a file
_SECRET_BYTES = 32
_PID = re.compile(r"\(pid (\d+)\)")


class DataDirectoryError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DataDirectory:
    """An opened data directory. Its lock is held until ``close`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd: int | None = None

    def prepare(self) -> None:
        """Make the directory if it is missing, for its owner alone.

        Raises:
            DataDirectoryError: it cannot be made, written, or is open to others.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = self.path.stat().st_mode & 0o777
            if mode & 0o077:
                self.path.chmod(0o700)
            probe = self.path / f".probe-{os.getpid()}"
            probe.touch(mode=0o600)
            probe.unlink()
        except OSError as exc:
            raise DataDirectoryError(
                f"{self.path}: the data directory cannot be used: {exc.strerror}; "
                "set TOLLWAY_DATA_DIR or --data-dir to a directory of your own"
            ) from exc

    def lock(self, purpose: str) -> None:
        """Take the directory for this process.

        Raises:
            DataDirectoryError: another process holds it; the message names it.
        """
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise DataDirectoryError(
                f"{self.path}: the data directory is in use by {holder or 'another Tollway'}; "
                "stop it, or give this one another with TOLLWAY_DATA_DIR or --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{purpose} (pid {os.getpid()})".encode())
        self._lock_fd = descriptor

    def holder_pid(self) -> int | None:
        """The process that holds the directory; None when nobody does."""
        try:
            descriptor = os.open(self.path / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            found = _PID.search(_read_holder(descriptor))
            return None if found is None else int(found[1])
        finally:
            os.close(descriptor)
        return None

    def close(self) -> None:
        """Let others use the directory."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def pepper(self, configured: str | None) -> bytes:
        """What key digests are peppered with: the configured secret, or the directory's own.

        Raises:
            DataDirectoryError: the secret file is open to others or unreadable.
        """
        if configured:
            return configured.encode()
        return self._read_or_make(_SECRET).encode()

    @property
    def owner_token_file(self) -> Path:
        """Where `owner_token` lies."""
        return self.path / _OWNER_TOKEN

    def owner_token(self) -> str:
        """What opens the admin listener; made when first asked for."""
        return self._read_or_make(_OWNER_TOKEN)

    def _read_or_make(self, name: str) -> str:
        path = self.path / name
        if not path.exists():
            self._make(path)
        try:
            if path.stat().st_mode & 0o077:
                raise DataDirectoryError(f"{path}: is open to others; run: chmod 600 {path}")
            text = path.read_text().strip()
        except OSError as exc:
            raise DataDirectoryError(f"{path}: cannot be read: {exc.strerror}") from exc
        if not text:
            raise DataDirectoryError(f"{path}: is empty; delete it to have it made anew")
        return text

    def _make(self, path: Path) -> None:
        """Make a secret whole or not at all; of several at once, one wins."""
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_urlsafe(_SECRET_BYTES))
                with suppress(FileExistsError):
                    path.hardlink_to(draft)
            finally:
                draft.unlink()
        except OSError as exc:
            raise DataDirectoryError(f"{path}: cannot be written: {exc.strerror}") from exc


def _read_holder(descriptor: int) -> str:
    return os.read(descriptor, 200).decode("utf-8", "replace").strip()
