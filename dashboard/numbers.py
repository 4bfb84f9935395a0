"""How numbers, money, durations and times are written. Pure; unknown is a dash, never 0.

Streamlit puts this directory on the import path while a page runs. The standard module of the same
name is not hidden by that: it is loaded long before, by Polars among others.
"""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

UNKNOWN = "—"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NBSP = "\N{NO-BREAK SPACE}"

_THOUSAND, _MILLION, _BILLION = 1_000, 1_000_000, 1_000_000_000
_PLAIN_COUNTS_BELOW = 10_000
_PLAIN_USD_FROM, _CENTS_FROM, _FOUR_DECIMALS_FROM = Decimal(10_000), Decimal(1), Decimal("0.01")
_EXACT_DECIMALS = 6
_SIGNIFICANT = 3
_TENFOLD = 10
_TENTHS_BELOW_MS = 10
_SECOND_MS, _MINUTE_MS, _HOUR_MS = 1_000, 60_000, 3_600_000


def usd(amount: Decimal | None) -> str:
    """Money to be read at a glance: ``$51,448``, ``$5,144.80``, ``$0.0235``, ``$0.000123``."""
    if amount is None:
        return UNKNOWN
    sign, size = (MINUS if amount < 0 else ""), abs(amount)
    if size == 0:
        return "$0"
    if size >= _MILLION:
        return f"{sign}${size / _MILLION:.2f}M"
    if size >= _PLAIN_USD_FROM:
        return f"{sign}${size:,.0f}"
    if size >= _CENTS_FROM:
        return f"{sign}${size:,.2f}"
    if size >= _FOUR_DECIMALS_FROM:
        return f"{sign}${size:.4f}"
    decimals = _SIGNIFICANT - 1 - size.adjusted()
    return f"{sign}${size:.{decimals}f}".rstrip("0")


def usd_exact(amount: Decimal | None) -> str:
    """Every digit of the amount, at least six decimals."""
    if amount is None:
        return UNKNOWN
    if amount == 0:
        return "$0"
    text = f"{abs(amount):f}"
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0").ljust(_EXACT_DECIMALS, "0")
    return f"{MINUS if amount < 0 else ''}${int(whole):,}.{decimals}"


def usd_sum(amount: Decimal | None, *, is_complete: bool) -> str:
    """A sum; ``≥`` says that parts of it have no known price.

    A sum that knows nothing but zeros while parts are missing says nothing: it is unknown.
    """
    if is_complete:
        return usd(amount)
    return f"≥{NBSP}{usd(amount)}" if amount else UNKNOWN


def usd_per_mtok(amount: Decimal | None) -> str:
    """A price per million tokens: two decimals, more if needed."""
    if amount is None:
        return UNKNOWN
    text = f"{amount.normalize():f}"
    whole, _, decimals = text.partition(".")
    return f"${int(whole):,}.{decimals.ljust(2, '0')}"


def count(number: int | None) -> str:
    """``9,812``, ``457k``, ``1.13B``."""
    if number is None:
        return UNKNOWN
    if abs(number) < _PLAIN_COUNTS_BELOW:
        return f"{number:,}"
    for size, letter in ((_BILLION, "B"), (_MILLION, "M"), (_THOUSAND, "k")):
        # 999,999 is 1M rather than 1000k.
        if abs(number) >= size * 0.9995:
            return f"{_three_digits(number / size)}{letter}"
    return f"{number:,}"


def share(value: float | None, *, decimals: int = 1) -> str:
    """A ratio as a percentage.

    Only a true 0 or 1 is written as such: 99.996 % with one decimal is "> 99.9 %". Parts of a
    whole lie between; what is spent of a budget may be more.
    """
    if value is None:
        return UNKNOWN
    if value in {0, 1}:
        return f"{value:.0%}".replace("%", f"{NBSP}%")
    text = f"{value * 100:.{decimals}f}"
    step = 10**-decimals
    if float(text) == 0:
        return f"<{NBSP}{step:.{decimals}f}{NBSP}%"
    if value < 1 and float(text) >= 100:  # noqa: PLR2004 - per cent
        return f">{NBSP}{100 - step:.{decimals}f}{NBSP}%"
    return f"{text}{NBSP}%"


def change(ratio: float | None) -> str:
    """By how much something grew: ``+10.3 %``, a factor from tenfold on; "" without one."""
    if ratio is None:
        return ""
    if ratio >= _TENFOLD - 1:
        return f"{TIMES}{ratio + 1:,.0f}"
    sign = "+" if ratio > 0 else MINUS if ratio < 0 else "±"
    return f"{sign}{abs(ratio) * 100:.1f}{NBSP}%"


def points(difference: float | None) -> str:
    """A difference of shares: ``+0.14 pp``; "" without one."""
    if difference is None:
        return ""
    sign = "+" if difference > 0 else MINUS if difference < 0 else "±"
    return f"{sign}{abs(difference) * 100:.2f}{NBSP}pp"


def usd_change(amount: Decimal) -> str:
    """Money with its sign."""
    return f"+{usd(amount)}" if amount > 0 else usd(amount)


def duration(ms: float | None) -> str:
    """``3.4 ms``, ``512 ms``, ``4.31 s``, ``2.5 min``, ``1.2 h``."""
    if ms is None:
        return UNKNOWN
    if ms == 0:
        return f"0{NBSP}ms"
    if ms < _TENTHS_BELOW_MS:
        return f"{ms:.1f}{NBSP}ms"
    # What would be rounded up to the next unit is written in it.
    if ms < _SECOND_MS - 0.5:
        return f"{ms:.0f}{NBSP}ms"
    if ms < _MINUTE_MS - 5:
        return f"{ms / _SECOND_MS:.2f}{NBSP}s"
    if ms < _HOUR_MS:
        return f"{ms / _MINUTE_MS:.1f}{NBSP}min"
    return f"{ms / _HOUR_MS:.1f}{NBSP}h"


def when(at: datetime, zone: str) -> str:
    """Weekday, day, month and minute in the zone: ``Tue 17 Nov 10:14``."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%b %H:%M}"


def when_exactly(at: datetime, zone: str) -> str:
    """The same with year, milliseconds and the zone's abbreviation."""
    local = at.astimezone(ZoneInfo(zone))
    milliseconds = local.microsecond // 1_000
    return f"{local:%a} {local.day} {local:%b %Y %H:%M:%S}.{milliseconds:03} {local:%Z}"


def when_to_minute(at: datetime, zone: str) -> str:
    """Day, month, year and minute in the zone: ``17 Nov 2026 10:14``."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %Y %H:%M}"


def clock(at: datetime, zone: str, *, now: datetime) -> str:
    """``14:03:20`` when it is within a day of now, else with its date."""
    local = at.astimezone(ZoneInfo(zone))
    is_near = abs((now - at).total_seconds()) < _HOUR_MS * 24 / _SECOND_MS
    return f"{local:%H:%M:%S}" if is_near else f"{local.day} {local:%b %H:%M}"


def _three_digits(value: float) -> str:
    digits = len(f"{abs(value):.0f}")
    return f"{value:.{max(0, _SIGNIFICANT - digits)}f}"
