"""How pressing it is that records reach Postgres: what the spool holds, and for how long."""

from enum import StrEnum

_YELLOW_SHARE, _ORANGE_SHARE, _RED_SHARE = 0.25, 0.75, 0.95
_YELLOW_S = 60.0


class Pressure(StrEnum):
    """From nothing to do to no more requests."""

    GREEN = "green"
    YELLOW = "yellow"
    """Totals are delayed; nothing is lost and nothing is refused."""
    ORANGE = "orange"
    """Somebody should look: the spool fills, and what was shipped is no longer kept."""
    RED = "red"
    """Requests that cost money are refused, since they could not be remembered."""


def pressure_of(
    *, used_bytes: int, max_bytes: int, oldest_unshipped_s: float, has_failed: bool
) -> Pressure:
    """The worst that size, age and the disk itself say.

    `oldest_unshipped_s` is the age of the oldest record that is not in Postgres, 0 without any.
    `has_failed` says that the last write was refused.
    """
    if has_failed or used_bytes >= max_bytes * _RED_SHARE:
        return Pressure.RED
    if used_bytes >= max_bytes * _ORANGE_SHARE:
        return Pressure.ORANGE
    if used_bytes >= max_bytes * _YELLOW_SHARE or oldest_unshipped_s > _YELLOW_S:
        return Pressure.YELLOW
    return Pressure.GREEN
