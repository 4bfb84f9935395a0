"""Give clients an address of the embedded server that a socket can carry, and log in there."""

import asyncio
import contextlib
import os
import re
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none

from gateway.storage.pg_cluster import DATABASE, OWNER, PORT
from gateway.storage.pg_process import EmbeddedPostgresError

LONGEST_SOCKET_DIR = 107 - len(f"/.s.PGSQL.{PORT}")
"""Bytes; Linux allows 107 in a socket's path."""


def database_url(socket_dir: Path, password: str) -> str:
    """The owner's URL; both parts need no quoting (`is_fit`, `pg_cluster.make_password`)."""
    # The port stands there lest PGPORT be read from the client's environment.
    return f"postgresql://{OWNER}:{password}@/{DATABASE}?host={socket_dir}&port={PORT}"


def is_fit(directory: Path) -> bool:
    """Whether a socket's path and a URL can hold this directory as it stands."""
    text = str(directory)
    is_plain = re.fullmatch(r"[A-Za-z0-9/._-]+", text) is not None
    return is_plain and len(os.fsencode(text)) <= LONGEST_SOCKET_DIR


def make_short(directory: Path, *, record: Path) -> Path:
    """A fit path that leads to the directory: a link in a private temporary directory.

    The link is remembered in the file ``record`` and used again, by other processes too, as long
    as its directory is ours alone and it leads to the right place.

    Raises:
        EmbeddedPostgresError: there is no place for it.
    """
    link = _recorded(record)
    if link is not None and link.readlink() == directory:
        return link
    bases = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108 - mkdtemp makes the name
    for base in bases:
        if is_fit(base / "tollway-12345678/pg"):
            with contextlib.suppress(OSError):
                link = Path(tempfile.mkdtemp(prefix="tollway-", dir=base)) / "pg"
                link.symlink_to(directory)
                record.write_text(str(link))
                return link
    raise EmbeddedPostgresError(
        f"{directory} is too long for a socket, and none of {', '.join(map(str, bases))} can hold "
        "a link to it; set TMPDIR to a short directory, or TOLLWAY_DATA_DIR to a shorter one"
    )


def remove_short(*, record: Path) -> None:
    """Take away what `make_short` made, if anything; for the last user."""
    link = _recorded(record)
    if link is not None:
        with contextlib.suppress(OSError):
            link.unlink()
            link.parent.rmdir()
    record.unlink(missing_ok=True)


def try_to_log_in(url: str) -> str | None:
    """Log in once; None when that worked, else why it may work later (the URL is in neither).

    Raises:
        EmbeddedPostgresError: it never will.
    """
    # In a thread, since our caller may have an event loop running in its own.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_log_in(url))).result()


def _recorded(record: Path) -> Path | None:
    """The link we made, None when there is none or its directory is not ours alone."""
    try:
        link = Path(record.read_text())
        info = link.parent.lstat()
    except OSError:
        return None
    is_private = stat.S_ISDIR(info.st_mode) and stat.S_IMODE(info.st_mode) == stat.S_IRWXU
    return link if is_private and info.st_uid == os.geteuid() and link.is_symlink() else None


async def _log_in(url: str) -> str | None:
    try:
        connection = await asyncpg.connect(url, timeout=10)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - no stubs
    except asyncpg.TooManyConnectionsError:
        return None
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidPasswordError,
        asyncpg.InvalidCatalogNameError,
    ) as exc:
        raise EmbeddedPostgresError(
            f"PostgreSQL runs but does not let us in ({exc}); stop every Tollway on this data "
            "directory and delete `postgres/password` in it: the next start sets a new one"
        ) from exc
    except (OSError, TimeoutError, asyncpg.PostgresError) as exc:
        return f"{type(exc).__name__}: {exc}"
    await connection.close(timeout=10)  # pyright: ignore[reportUnknownMemberType] - no stubs
    return None
