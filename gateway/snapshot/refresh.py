"""Keeps the snapshot's keys in step with Postgres, and lives without it on the last good copy."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec

from gateway.domain.caller import Caller
from gateway.snapshot.copies import write_copy
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.changes import CONFIG_CHANNEL, read_epoch
from gateway.storage.engine import (
    Connection,
    RawConnection,
    asyncpg_kwargs,
    connect_raw,
    make_engine,
)
from gateway.storage.keys import load_callers, load_ended
from gateway.storage.waiting import bounded, is_unavailable

POLL_S = 5.0
COPY_S = 60.0
_ANSWER_S = 10.0
_FIRST_LOAD_S = 2.5
_PAUSE_S = 1.0

_log = logging.getLogger("tollway.snapshot")


class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    """The callers as they were last confirmed, on local disk. Digests only: no key can be read."""

    epoch: int
    confirmed_at_s: float
    callers: list[tuple[bytes, Caller]]


class Follower(Protocol):
    """Keeps another part of the snapshot in step, over the same connection."""

    async def follow(self, connection: Connection) -> None:
        """Look whether anything changed, and load it; called at every notice and poll."""
        ...

    def load_copy(self) -> None:
        """Postgres does not answer at the start: take the last good copy."""
        ...


class KeyRefresh:
    """Loads callers at the start, at every announced change, and when a poll finds a new epoch."""

    def __init__(
        self,
        snapshots: SnapshotHolder,
        database_url: str,
        copy: Path,
        *,
        poll_s: float = POLL_S,
        copy_s: float = COPY_S,
        followers: Sequence[Follower] = (),
        end_requests_of: Callable[[frozenset[UUID]], None] = lambda _: None,
    ) -> None:
        """Prepare, without connecting.

        Args:
            snapshots: whose callers are kept in step.
            database_url: may hold a password.
            copy: the file of the last good copy; its directory is made.
            poll_s: how often Postgres is asked when nothing is announced.
            copy_s: how old the copy may become while Postgres confirms it.
            followers: load at the same occasions; one that fails counts as Postgres being away.
            end_requests_of: told of keys that were revoked at once, again and again: a request may
                have begun while they were loaded.
        """
        self._snapshots = snapshots
        self._poll_s = poll_s
        self._copy_s = copy_s
        self._copied_at_s = float("-inf")
        self._followers = tuple(followers)
        self._end_requests_of = end_requests_of
        self._ended: frozenset[UUID] = frozenset()
        self._database_url = database_url
        self._copy = copy
        self._engine = make_engine(database_url, pool_size=1, application_name="tollway snapshot")
        self._changed = asyncio.Event()
        self._listener: RawConnection | None = None
        self._is_away = False

    async def load(self) -> None:
        """Load once: from Postgres if it answers at once, else from the last good copy."""
        try:
            await bounded(self._load(), _FIRST_LOAD_S)
        except Exception as exc:  # noqa: BLE001 - a start without Postgres is a start
            self._tell_away(exc)
            self._load_copy()
            for follower in self._followers:
                follower.load_copy()

    async def run(self) -> None:
        """Until cancelled: follow Postgres, whatever becomes of it."""
        try:
            while True:
                try:
                    await bounded(self._follow(), _ANSWER_S)
                    self._tell_back()
                except Exception as exc:  # noqa: BLE001 - requests live on; this must too
                    self._tell_away(exc)
                    self._drop_listener()
                    await asyncio.sleep(_PAUSE_S)
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._changed.wait()
                self._changed.clear()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Let the connections go; `run` does so by itself when it is cancelled."""
        self._drop_listener()
        await self._engine.dispose()

    async def _follow(self) -> None:
        """Listen, then compare epochs: a change between the two is seen by one of them."""
        if self._listener is None or self._listener.is_closed():
            listener = await connect_raw(
                asyncpg_kwargs(self._database_url, application_name="tollway listener")
            )
            await listener.add_listener(CONFIG_CHANNEL, lambda *_: self._changed.set())
            listener.add_termination_listener(lambda *_: self._changed.set())
            self._listener = listener
        async with self._engine.connect() as connection:
            epoch = await read_epoch(connection)
            for follower in self._followers:
                await follower.follow(connection)
        current = self._snapshots.current
        if epoch != current.epoch or current.confirmed_at_s is None:
            await self._load()
            return
        self._end_requests_of(self._ended)
        self._snapshots.current = msgspec.structs.replace(current, confirmed_at_s=time.time())
        # The copy says when its keys were last confirmed, and a start without Postgres goes by it.
        if time.monotonic() - self._copied_at_s >= self._copy_s:
            self._save_copy(current.epoch, list(current.callers.items()))

    async def _load(self) -> None:
        # The epoch first: callers that are newer than it are merely loaded once more.
        async with self._engine.connect() as connection:
            epoch = await read_epoch(connection)
            callers = await load_callers(connection)
            self._ended = await load_ended(connection)
            for follower in self._followers:
                await follower.follow(connection)
        self._take(_Copy(epoch=epoch, confirmed_at_s=time.time(), callers=callers))
        self._end_requests_of(self._ended)
        self._save_copy(epoch, callers)

    def _take(self, copy: _Copy) -> None:
        self._snapshots.current = msgspec.structs.replace(
            self._snapshots.current,
            callers=dict(copy.callers),
            epoch=copy.epoch,
            confirmed_at_s=copy.confirmed_at_s,
        )

    def _save_copy(self, epoch: int, callers: list[tuple[bytes, Caller]]) -> None:
        copy = _Copy(epoch=epoch, confirmed_at_s=time.time(), callers=callers)
        self._copied_at_s = time.monotonic()
        write_copy(self._copy, copy, of="keys")

    def _load_copy(self) -> None:
        try:
            copy = msgspec.msgpack.decode(self._copy.read_bytes(), type=_Copy)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as exc:
            _log.warning("the last good copy of the keys cannot be read: %s", exc)
            return
        self._take(copy)

    def _drop_listener(self) -> None:
        if self._listener is not None:
            self._listener.terminate()
            self._listener = None

    def _tell_away(self, exc: BaseException) -> None:
        if not self._is_away and is_unavailable(exc):
            _log.warning("Postgres does not answer (%s); keys stay as they are", type(exc).__name__)
        elif not self._is_away:
            _log.error("keys cannot be loaded; they stay as they are", exc_info=exc)
        self._is_away = True

    def _tell_back(self) -> None:
        if self._is_away:
            _log.info("Postgres answers again")
        self._is_away = False
