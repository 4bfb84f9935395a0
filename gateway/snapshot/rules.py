"""Brings rules into the snapshot, from a file or from Postgres, and keeps the last that were good.

A text with a mistake changes nothing: what was in force stays in force, the mistake is logged with
its line, and the snapshot says that newer rules wait. At a start with a mistake the last good copy
on disk is taken; without one nothing is answered, since a rule that denies would not be there.
"""

import asyncio
import logging
from pathlib import Path

import msgspec

from gateway.routing.rules.problems import Problem, RulesError
from gateway.routing.rules.references import check_references
from gateway.routing.rules.rule_set import RuleSet, compile_rules
from gateway.snapshot.copies import write_copy
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.changes import RULES, read_epoch
from gateway.storage.engine import Connection
from gateway.storage.rule_sets import active_rule_set

FILE_POLL_S = 0.2
_MOST_TOLD = 20

_log = logging.getLogger("tollway.rules")


class _Copy(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    text: str


class RuleBook:
    """Where rules come into force: one per worker, whatever they are read from."""

    def __init__(self, snapshots: SnapshotHolder, copy: Path) -> None:
        """Prepare, without reading anything.

        Args:
            snapshots: whose rules are set.
            copy: the file of the last good copy; its directory is made.
        """
        self._snapshots = snapshots
        self._copy = copy

    async def take(self, text: str, *, source: str) -> bool:
        """Put a text in force; False when it has a mistake and the rules stay as they were."""
        try:
            # In a thread: a thousand rules would hold up requests for tens of milliseconds.
            rules = await asyncio.to_thread(compile_rules, text, source=source)
        except RulesError as exc:
            self.refuse([*exc.problems])
            return False
        return self._enforce(rules, text)

    def refuse(self, problems: list[Problem]) -> None:
        """Newer rules are wrong: say so, here and in the snapshot."""
        for problem in problems[:_MOST_TOLD]:
            _log.error("%s", problem)
        current = self._snapshots.current
        kept = current.rules
        if kept is None:
            _log.error("no rules are known; requests are refused until these are put right")
        else:
            _log.error("these rules are not in force; %s stays", kept.version or "no rule")
        self._snapshots.current = msgspec.structs.replace(current, rules_problem=str(problems[0]))

    def load_copy(self) -> bool:
        """Take the last good copy if no rules are known yet; False when there is none."""
        if self._snapshots.current.rules is not None:
            return True
        try:
            copy = msgspec.msgpack.decode(self._copy.read_bytes(), type=_Copy)
            rules = compile_rules(copy.text, source=copy.source)
        except FileNotFoundError:
            return False
        except (OSError, msgspec.MsgspecError, RulesError) as exc:
            _log.error("the last good copy of the rules cannot be used: %s", exc)
            return False
        current = self._snapshots.current
        self._snapshots.current = msgspec.structs.replace(current, rules=rules)
        _log.warning("rules %s are in force, from the last good copy", rules.version or "(none)")
        return True

    def _enforce(self, rules: RuleSet, text: str) -> bool:
        current = self._snapshots.current
        problems = check_references(rules, current.catalogue, text=text, aliases=current.aliases)
        errors = [problem for problem in problems if problem.severity == "error"]
        # At a start there is nothing better to keep, and such a rule fails its own requests alone.
        if errors and current.rules is not None:
            self.refuse(errors)
            return False
        for problem in problems[:_MOST_TOLD]:
            _log.warning("%s", problem)
        was = current.rules
        self._snapshots.current = msgspec.structs.replace(current, rules=rules, rules_problem=None)
        known = None if was is None else was.version
        if known != rules.version:
            _log.info(
                "rules %s are in force, %d of them, from %s",
                rules.version or "(none)",
                len(rules.rules),
                rules.source,
            )
        write_copy(self._copy, _Copy(source=rules.source, text=text), of="rules")
        return True


class StoredRules:
    """Follows the rule set that is in force in Postgres."""

    def __init__(self, book: RuleBook) -> None:
        self._book = book
        self._epoch: int | None = None

    async def follow(self, connection: Connection) -> None:
        """Load what is in force when it changed."""
        epoch = await read_epoch(connection, RULES)
        if epoch == self._epoch:
            return
        stored = await active_rule_set(connection)
        text = "" if stored is None else stored.source
        source = "no rules" if stored is None else f"rule set {stored.number}"
        # One that is wrong is not tried again until there is another.
        self._epoch = epoch
        if not await self._book.take(text, source=source):
            self._book.load_copy()

    def load_copy(self) -> None:
        self._book.load_copy()


Stamp = tuple[int, int, int]


class RuleFile:
    """Follows a file of rules by its inode, size and time of change."""

    def __init__(self, book: RuleBook, path: Path, *, poll_s: float = FILE_POLL_S) -> None:
        self._book = book
        self._path = path
        self._poll_s = poll_s
        self._taken: Stamp | None = None

    async def load(self) -> None:
        """Read it once, at the start; falls back to the last good copy."""
        if not await self._read(_stamp(self._path)):
            self._book.load_copy()

    async def run(self) -> None:
        """Until cancelled: read it whenever it is another one."""
        seen = self._taken
        while True:
            await asyncio.sleep(self._poll_s)
            stamp = _stamp(self._path)
            # Half-written files are left alone: it has to stand still from one look to the next.
            if stamp == seen and stamp != self._taken:
                await self._read(stamp)
            seen = stamp

    async def _read(self, stamp: Stamp | None) -> bool:
        self._taken = stamp
        try:
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else f"is not UTF-8 (byte {exc.start})"
            message = f"cannot be read: {why}; put the file in place, or take the setting away"
            self._book.refuse([Problem(source=str(self._path), message=message)])
            return False
        return await self._book.take(text, source=str(self._path))


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
