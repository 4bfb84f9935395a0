"""What all workers of a node counted, whichever of them is asked: each keeps a file of its own.

A worker that starts goes on counting where the file of its number ends, so that sums never fall
when one dies; a scraper would take that for a restart of all and count everything again. What it
counted since its file was last written, a second at most, is lost with it.
"""

import logging
import os
import time
from pathlib import Path

import msgspec

from gateway.metrics.families import GAUGES, MERGES, WORKERS
from gateway.metrics.tally import Counted, Labels, Tally, merged

VERSION = 1
ALIVE_S = 10.0
"""Gauges of a worker count for so long after it last wrote them."""
_SUFFIX = ".msgpack"

_log = logging.getLogger("tollway.metrics")

Gauges = dict[str, dict[Labels, float]]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's file."""

    version: int
    pid: int
    written_at_s: float
    """Wall clock."""
    counted: Counted
    gauges: Gauges


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What a scrape shows."""

    counted: Counted
    gauges: Gauges


_DECODER = msgspec.msgpack.Decoder(Told)


class NodeFiles:
    """The files of all workers in one directory, of which this worker writes one."""

    def __init__(self, directory: Path, *, worker: int) -> None:
        self._directory = directory
        self._own = directory / f"worker-{worker}{_SUFFIX}"

    def load(self) -> Tally:
        """A tally that goes on where this worker's number ended."""
        told = _read(self._own)
        return Tally(told.counted if told is not None else None)

    def write(self, counted: bytes) -> None:
        """Replace this worker's file; waits for the disk.

        Raises:
            OSError: it cannot be written.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._own.with_suffix(".new")
        temporary.write_bytes(counted)
        temporary.replace(self._own)

    def others(self) -> list[Told]:
        """What the other workers wrote last; waits for the disk."""
        try:
            paths = sorted(self._directory.glob(f"worker-*{_SUFFIX}"))
        except OSError:
            return []
        told = [_read(path) for path in paths if path != self._own]
        return [one for one in told if one is not None]


def encode_told(counted: Counted, gauges: Gauges, *, now_s: float) -> bytes:
    """The content of a worker's file."""
    return msgspec.msgpack.encode(
        Told(version=VERSION, pid=os.getpid(), written_at_s=now_s, counted=counted, gauges=gauges)
    )


def summed(own: Told, others: list[Told], *, now_s: float) -> Sum:
    """The node's counts and gauges. What ended workers counted stays; their gauges do not."""
    living = [own, *(one for one in others if now_s - one.written_at_s <= ALIVE_S)]
    values: dict[str, dict[Labels, list[float]]] = {}
    for one in living:
        for name, series in one.gauges.items():
            for labels, value in series.items():
                values.setdefault(name, {}).setdefault(labels, []).append(value)
    gauges: Gauges = {
        name: {labels: MERGES[GAUGES[name].merge](each) for labels, each in series.items()}
        for name, series in values.items()
        if name in GAUGES
    }
    gauges[WORKERS] = {(): float(len(living))}
    return Sum(counted=merged([own.counted, *(one.counted for one in others)]), gauges=gauges)


def _read(path: Path) -> Told | None:
    try:
        told = _DECODER.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as exc:
        _log.warning("%s is not counted: %s", path.name, exc)
        return None
    return told if told.version == VERSION else None


def wall_s() -> float:
    """Now, on the clock that processes share."""
    return time.time()
